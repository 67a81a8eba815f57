"""Pace: the generic cell rate of providers and campaigns."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialerd.model.pace import HORIZON_S, MOST_PARTS, Gate, plan, room

NOW = 1000.0

#: Float's rounding at a clock of 1000 s; the gates' own clock adds up to 1e-6 at 2e9 s.
TINY = 1e-6


def starts_of(waiting: list[tuple[str, int]], provider: Gate | None = None, **campaigns: Gate) -> list[float | None]:
    starts = plan(waiting, provider=[provider] if provider else [], campaigns=campaigns, now=NOW)
    return [None if start is None else round(start, 6) for start in starts]


@pytest.mark.parametrize(
    ("gate", "most", "expected"),
    [
        (None, 7, 7),
        (Gate(0.08, NOW), 7, 3),
        (Gate(0.08, NOW), 2, 2),
        (Gate(0.08, NOW + 0.1), 7, 2),
        (Gate(10.0, NOW), 7, 1),
        (Gate(10.0, NOW + 0.19), 7, 1),
        (Gate(10.0, NOW + 0.21), 7, 0),
    ],
)
def test_room_counts_what_may_start_within_the_horizon(gate: Gate | None, most: int, expected: int) -> None:
    """So many messages of one part may start within 200 ms."""
    assert expected == room(gate, NOW, most)


@pytest.mark.parametrize(
    ("next_at", "expected"),
    [(NOW + 5, NOW + 5), (NOW - 50, NOW), (0.0, NOW), (NOW + 86_400, NOW), (NOW + MOST_PARTS, NOW + MOST_PARTS)],
)
def test_an_opened_gate_is_of_now(next_at: float, expected: float) -> None:
    """Unused time is not saved up, and what no booking can reach (a clock set back, a faster rate) does not block."""
    assert expected == Gate(1.0, next_at).opened(NOW, most_cost=MOST_PARTS).next_at


def test_a_gate_is_never_shut_for_longer_than_a_message_costs() -> None:
    """An hourly campaign waits an hour at most, whatever another clock has booked."""
    assert NOW == Gate(3600.0, NOW + 3601).opened(NOW, most_cost=1).next_at
    assert NOW + 3600 == Gate(3600.0, NOW + 3600).opened(NOW, most_cost=1).next_at


def test_without_limits_all_start_now() -> None:
    """What has no pace starts at once."""
    assert [0.0, 0.0, 0.0] == starts_of([("a", 1), ("b", 9), ("a", 1)])


def test_a_campaign_is_paced_in_messages() -> None:
    """A campaign's interval lies between messages, however many parts they have, and only within the horizon."""
    assert [0.0, 0.08, 0.16, None] == starts_of([("a", 3)] * 4, a=Gate(0.08, NOW))


def test_a_provider_is_paced_in_parts() -> None:
    """A message of three parts keeps a provider's gate shut for three intervals."""
    assert [0.0, 0.12, 0.16, None] == starts_of([("a", 3), ("a", 1), ("b", 2), ("a", 1)], Gate(0.04, NOW))


def test_a_slow_campaign_holds_up_nobody() -> None:
    """Whose own gate is shut gives way to those behind it."""
    slow = Gate(10.0, NOW + 0.08)

    assert [0.1, 0.0, 0.05, 0.15] == starts_of([("slow", 1), ("b", 1), ("b", 1), ("b", 1)], Gate(0.05, NOW), slow=slow)


def test_the_slower_of_both_wins() -> None:
    """A message starts when its campaign's and its provider's gate are both open."""
    assert [0.0, 0.1, 0.2] == starts_of([("a", 1)] * 3, Gate(0.02, NOW), a=Gate(0.1, NOW))
    assert [0.0, 0.1, 0.2] == starts_of([("a", 1)] * 3, Gate(0.1, NOW), a=Gate(0.02, NOW))


def test_nothing_starts_through_a_shut_gate() -> None:
    """A gate that opens beyond the horizon lets nothing pass and does not move."""
    gate = Gate(1.0, NOW + HORIZON_S + 0.01)

    assert [None, None] == starts_of([("a", 1), ("b", 1)], gate)
    assert NOW + HORIZON_S + 0.01 == gate.next_at


names = st.sampled_from("abcd")
intervals = st.floats(0.001, 5.0)
gates = st.builds(Gate, intervals, st.floats(NOW, NOW + 0.5))


@given(
    waiting=st.lists(st.tuples(names, st.integers(1, 10)), max_size=60),
    provider=st.none() | gates,
    campaigns=st.dictionaries(names, gates),
)
def test_a_plan_keeps_every_rate(
    waiting: list[tuple[str, int]], provider: Gate | None, campaigns: dict[str, Gate]
) -> None:
    """In any plan the rates hold, order in a campaign is kept, nothing starts beyond the horizon, and gates move on."""
    opened = {name: gate.next_at - NOW for name, gate in campaigns.items()}
    provider_opened = None if provider is None else provider.next_at - NOW

    starts = plan(waiting, provider=[provider] if provider else [], campaigns=campaigns, now=NOW)

    taken = [(start, name, cost) for start, (name, cost) in zip(starts, waiting, strict=True) if start is not None]
    assert all(-TINY <= start <= HORIZON_S + TINY for start, _, _ in taken)
    for name in {name for name, _ in waiting}:
        own = [start for start, (other, _) in zip(starts, waiting, strict=True) if other == name]
        # None only behind those that start.
        assert own == [s for s in own if s is not None] + [None] * own.count(None)
        begun = [start for start in own if start is not None]
        assert sorted(begun) == begun
        if begun and name in campaigns:
            gate = campaigns[name]
            assert begun[0] >= opened[name] - TINY
            assert all(later - earlier >= gate.interval_s - TINY for earlier, later in pairwise(begun))
            assert gate.next_at - NOW >= begun[-1] + gate.interval_s - TINY
    if provider is not None and provider_opened is not None and taken:
        in_time = sorted(taken)
        assert in_time[0][0] >= provider_opened - TINY
        assert all(b[0] - a[0] >= provider.interval_s * a[2] - TINY for a, b in pairwise(in_time))
        assert provider.next_at - NOW >= in_time[-1][0] + provider.interval_s * in_time[-1][2] - TINY


@given(
    waiting=st.lists(st.tuples(names, st.integers(1, 10)), min_size=1, max_size=60),
    provider=st.none() | gates,
    campaigns=st.dictionaries(names, gates),
)
def test_a_plan_leaves_no_room_unused(
    waiting: list[tuple[str, int]], provider: Gate | None, campaigns: dict[str, Gate]
) -> None:
    """What does not start is kept by a gate that opens beyond the horizon."""
    starts = plan(waiting, provider=[provider] if provider else [], campaigns=campaigns, now=NOW)

    for start, (name, _) in zip(starts, waiting, strict=True):
        if start is None:
            own = campaigns[name].next_at if name in campaigns else -math.inf
            shared = provider.next_at if provider is not None else -math.inf
            assert max(own, shared) > NOW + HORIZON_S - TINY


@given(
    rounds=st.lists(st.tuples(st.floats(0, 0.5), st.integers(0, 20)), max_size=15),
    provider_s=intervals,
    campaign_s=intervals,
    cost=st.integers(1, 5),
)
def test_the_rate_holds_from_plan_to_plan(
    rounds: list[tuple[float, int]], provider_s: float, campaign_s: float, cost: int
) -> None:
    """However plans follow one another, with pauses or without, no window holds more than the rates allow."""
    now, provider, own = NOW, Gate(provider_s, 0.0), Gate(campaign_s, 0.0)
    begun: list[float] = []
    for passed, count in rounds:
        now += passed
        provider, own = provider.opened(now, most_cost=5), own.opened(now, most_cost=1)
        starts = plan([("a", cost)] * count, provider=[provider] if provider else [], campaigns={"a": own}, now=now)
        begun += [now + start for start in starts if start is not None]

    apart = max(provider_s * cost, campaign_s)
    assert all(later - earlier >= apart - TINY for earlier, later in pairwise(begun))
