"""Messages that a provider refuses again and again while it takes others."""

from dialerd.model import refusals
from dialerd.model.outcome import Deferred, Partly, Postponed, Sent, Throttled, Unreachable
from dialerd.model.refusals import Refusals

FULL = Throttled("message queue full")


def test_it_is_set_aside_for_longer_each_time() -> None:
    """The first refusal says nothing of a message; later ones set it aside past the pause, ever longer."""
    known = Refusals()
    assert known.saw("a", FULL)
    assert known.aside_s("a", 1) is None
    assert not known.is_its_own("a")
    waits = []
    for outcome in (Partly({1: "x"}, 7, FULL), FULL, Unreachable("401"), FULL):
        assert known.saw("a", outcome)
        waits.append(known.aside_s("a", 4))
        assert known.is_its_own("a")
    assert waits == [4 + 4, 4 + 9, 4 + 27, 4 + 81]
    for _ in range(20):
        known.saw("a", FULL)
    assert known.aside_s("a", 60) == 60 + refusals.LONGEST_ASIDE_S


def test_it_is_forgotten_once_it_is_answered() -> None:
    """An answer about the message itself ends it; one whose turn has not come says nothing."""
    known = Refusals()
    for outcome, is_known in ((Postponed("later", 1), True), (Sent(), False), (Deferred("no"), False)):
        known.saw("a", FULL)
        known.saw("a", FULL)
        assert known.aside_s("a", 1)
        assert not known.saw("a", outcome)
        assert known.is_its_own("a") is is_known


def test_it_remembers_so_many() -> None:
    """A provider that refuses everything for a day fills no memory."""
    known = Refusals()
    for n in range(refusals.MOST + 1):
        for _ in range(2):
            known.saw(str(n), FULL)
    assert known.aside_s("0", 1) is None
    assert known.aside_s("1", 1) is not None
