"""Turns among campaigns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialerd.model.turns import share


@pytest.mark.parametrize(
    ("total", "wanted", "expected"),
    [
        (20, {"a": 3000, "b": 3000}, {"a": 10, "b": 10}),
        (20, {"a": 3000, "b": 2}, {"a": 18, "b": 2}),
        (1, {"a": 5, "b": 5, "c": 5}, {"a": 1}),
        (5, {"a": 5, "b": 5, "c": 5}, {"a": 2, "b": 2, "c": 1}),
        (9, {"a": 1, "b": 2, "c": 100}, {"a": 1, "b": 2, "c": 6}),
        (100, {"a": 1, "b": 2}, {"a": 1, "b": 2}),
        (10, {"a": 0, "b": 4}, {"b": 4}),
        (0, {"a": 5}, {}),
        (7, {}, {}),
    ],
)
def test_all_get_the_same_as_long_as_they_want_it(total: int, wanted: dict[str, int], expected: dict[str, int]) -> None:
    """What one leaves goes to the others, and what cannot be divided to those whose turn comes first."""
    assert expected == share(total, wanted)


@given(total=st.integers(0, 600), wanted=st.dictionaries(st.text(max_size=3), st.integers(0, 300), max_size=12))
def test_shares_are_fair(total: int, wanted: dict[str, int]) -> None:
    """Everything is given that is wanted and there, nobody gets more than wanted, and the unsatisfied differ by 1."""
    given_ = share(total, wanted)

    assert min(total, sum(wanted.values())) == sum(given_.values())
    assert all(given_[name] <= wanted[name] for name in given_)
    unsatisfied = [given_.get(name, 0) for name, most in wanted.items() if given_.get(name, 0) < most]
    if unsatisfied:
        assert max(given_.values(), default=0) <= min(unsatisfied) + 1
        # Those whose turn comes first get what cannot be divided.
        assert sorted(unsatisfied, reverse=True) == unsatisfied
