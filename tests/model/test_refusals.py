"""Messages that a provider refuses as too fast again and again."""

from dialerd.model import refusals
from dialerd.model.outcome import Deferred, Partly, Postponed, Sent, Throttled, Unreachable
from dialerd.model.refusals import Refusals

FULL = Throttled("message queue full")


def test_it_is_set_aside_for_longer_each_time() -> None:
    """Not the first refusal says something of a message; later ones set it aside past the pause, ever longer."""
    known = Refusals()
    assert known.saw("a", FULL, 100)
    assert known.aside_s("a", 100, 1) is None
    assert not known.is_its_own("a")
    waits = []
    now = 101.0
    for _ in range(4):
        assert known.saw("a", Partly({1: "x"}, 7, FULL), now)
        wait = known.aside_s("a", now, 2)
        assert wait is not None
        assert known.is_its_own("a")
        waits.append(wait)
        now += wait
    assert waits == [4, 12, 36, 108]
    assert known.saw("a", FULL, 100_000)
    assert known.aside_s("a", 100_000, 60) == 60 + refusals.LONGEST_ASIDE_S


def test_it_is_forgotten_once_it_is_answered() -> None:
    """An answer about the message itself ends it; what never reached the provider says nothing."""
    known = Refusals()
    for outcome, is_known in (
        (Unreachable("no bind"), True), (Postponed("later", 1), True), (Sent(), False), (Deferred("no"), False),
    ):  # fmt: skip
        known.saw("a", FULL, 0)
        known.saw("a", FULL, 1)
        assert known.aside_s("a", 1, 1)
        assert not known.saw("a", outcome, 2)
        assert known.is_its_own("a") is is_known


def test_it_remembers_so_many() -> None:
    """A provider that refuses everything for a day fills no memory."""
    known = Refusals()
    for n in range(refusals.MOST + 1):
        for _ in range(2):
            known.saw(str(n), FULL, 0)
    assert known.aside_s("0", 1, 1) is None
    assert known.aside_s("1", 1, 1) is not None
