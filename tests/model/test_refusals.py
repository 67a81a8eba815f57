"""Messages that a provider refuses again and again while it takes others."""

from dialerd.model import refusals
from dialerd.model.outcome import Deferred, Partly, Postponed, Sent, Throttled, Unreachable
from dialerd.model.refusals import Refusals

FULL = Throttled("message queue full")


def test_it_is_set_aside_for_longer_each_time() -> None:
    """The first refusal says nothing of a message; later ones that are its own set it aside ever longer."""
    known = Refusals()
    assert known.saw("a", FULL)
    assert known.aside_s("a", 1, is_its_own=False) is None
    assert not known.is_its_own("a")
    waits = []
    for outcome in (Partly({1: "x"}, 7, FULL), FULL, Unreachable("401"), FULL):
        assert known.saw("a", outcome)
        waits.append(known.aside_s("a", 4, is_its_own=known.is_its_own("a")))
        assert known.is_its_own("a")
    assert waits == [4 + 4, 4 + 4, 4 + 9, 4 + 27]
    for _ in range(20):
        known.saw("a", FULL)
        longest = known.aside_s("a", 60, is_its_own=True)
    assert longest == 60 + refusals.LONGEST_ASIDE_S


def test_one_of_all_that_are_refused_waits_no_longer() -> None:
    """Who refuses everything all night keeps nobody waiting in the morning for more than two pauses."""
    known = Refusals()
    for _ in range(500):
        known.saw("a", FULL)
        aside_s = known.aside_s("a", 60, is_its_own=False)
    assert aside_s == 120


def test_it_is_forgotten_once_it_is_answered() -> None:
    """An answer about the message itself ends it; one whose turn has not come says nothing."""
    known = Refusals()
    for outcome, is_known in ((Postponed("later", 1), True), (Sent(), False), (Deferred("no"), False)):
        known.saw("a", FULL)
        known.saw("a", FULL)
        assert known.aside_s("a", 1, is_its_own=False)
        assert not known.saw("a", outcome)
        assert known.is_its_own("a") is is_known


def test_it_remembers_so_many() -> None:
    """A provider that refuses everything for a day fills no memory."""
    known = Refusals()
    for n in range(refusals.MOST + 1):
        for _ in range(2):
            known.saw(str(n), FULL)
    assert known.aside_s("0", 1, is_its_own=False) is None
    assert known.aside_s("1", 1, is_its_own=False) is not None
