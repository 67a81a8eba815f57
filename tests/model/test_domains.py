"""Back-off by recipient domain."""

from hypothesis import given
from hypothesis import strategies as st

from dialerd.model.domains import (
    DOMAINS_IN_A_ROW,
    LEAST_WAIT_S,
    LONGEST_REST_S,
    LONGEST_WAIT_S,
    MOST_REMEMBERED,
    Domains,
    Turn,
)
from dialerd.model.outcome import Deferred, Failed, InDoubt, Outcome, Postponed, Sent, Throttled

BULK = 9999
SHUT = Throttled("421 go away")


def entered(domains: Domains, name: str = "a", now: float = 0) -> Turn:
    turn = domains.enter(name, now)
    assert turn is not None
    return turn


def full(domains: Domains, name: str = "a", priority: int = BULK, now: float = 0) -> float:
    assert domains.enter(name, now) is None
    return domains.postpone(name, priority, now).wait_s


def limit(domains: Domains, name: str = "a", now: float = 0) -> int:
    """Return how many may be under way, by trying."""
    turns = []
    while turn := domains.enter(name, now):
        turns.append(turn)
    for turn in turns:
        domains.leave(turn, None, now)
    return len(turns)


def at_once(domains: Domains, outcome: Outcome, name: str = "a", now: float = 0) -> None:
    """Have as many mails as may be end together."""
    for turn in [entered(domains, name, now=now) for _ in range(limit(domains, name, now))]:
        domains.leave(turn, outcome, now)


def test_trouble_halves() -> None:
    """Refusals of one volley halve the limit once, however many they are, and never below one."""
    domains = Domains(20)
    seen = []
    for outcome in (Deferred("450"), InDoubt("lost"), Deferred("450"), Deferred("450"), Deferred("450"), Deferred("4")):
        at_once(domains, outcome)
        seen.append(limit(domains))

    assert [10, 5, 2, 1, 1, 1] == seen


def test_success_adds_one() -> None:
    """A volley of consents raises the limit by about one, up to the most, where nothing is left to remember."""
    domains = Domains(4)
    for _ in range(3):
        at_once(domains, Deferred("450"))
    assert 1 == limit(domains)
    seen = []
    for _ in range(5):
        at_once(domains, Sent())
        seen.append(limit(domains))

    assert [2, 2, 3, 4, 4] == seen
    domains.leave(entered(domains, now=10), Sent(), 10)
    assert not domains._known


def test_a_refusal_for_good_says_nothing() -> None:
    """An unknown mailbox is no reason to slow down."""
    domains = Domains(4)
    at_once(domains, Failed("550"))

    assert 4 == limit(domains)


def test_others_go_on() -> None:
    """One domain's trouble is no other's."""
    domains = Domains(8)
    for _ in range(9):
        at_once(domains, Deferred("450"), "bad")

    assert (1, 8) == (limit(domains, "bad"), limit(domains, "good"))


def test_a_shut_door_rests() -> None:
    """421 lets a domain rest, longer each time in a row up to a minute; a consent ends that."""
    domains = Domains(1)
    now, rests = 0.0, []
    for _ in range(9):
        outcome = domains.leave(entered(domains, now=now), SHUT, now)
        assert isinstance(outcome, Postponed)
        rests.append(outcome.wait_s)
        assert full(domains, now=now + outcome.wait_s * 0.9) > 0
        now += outcome.wait_s
    assert [1, 2, 4, 8, 16, 32, 60, 60, 60] == rests
    assert rests[-1] == LONGEST_REST_S

    domains.leave(entered(domains, now=now), Sent(), now)
    again = domains.leave(entered(domains, now=now), SHUT, now)
    assert isinstance(again, Postponed)
    assert again.wait_s == 1


def test_many_shut_doors_are_the_provider() -> None:
    """421 of several domains without a consent between is the provider's; of one domain it never is."""
    domains = Domains(1)
    names = [str(number) for number in range(DOMAINS_IN_A_ROW)]
    told = [domains.leave(entered(domains, name), SHUT, 0) for name in names]
    assert [Postponed, Postponed, Throttled] == [type(outcome) for outcome in told]

    told = []
    for name in names:
        domains.leave(entered(domains, "good"), Sent(), 0)
        told.append(domains.leave(entered(domains, name, now=100), SHUT, 100))
    assert {Postponed} == {type(outcome) for outcome in told}


def test_turns_in_order() -> None:
    """What finds no room comes back one after the other, at the pace that the domain keeps; what is urgent, before."""
    domains = Domains(2)
    entered(domains)
    domains.leave(entered(domains), Sent(), 1.0)
    entered(domains, now=1)

    assert [1.0, 1.5, 2.0] == [full(domains, now=1) for _ in range(3)]
    assert [1.0, 1.5] == [full(domains, priority=1, now=1) for _ in range(2)]
    assert 2.5 == full(domains, now=1)


def test_refused_mails_keep_a_pace_too() -> None:
    """What a domain that refuses everything leaves over comes back spread out, not all of it each second."""
    domains = Domains(1)
    entered(domains)
    waits = [full(domains) for _ in range(1000)]
    assert 90 < waits[-1] < 110

    domains = Domains(2)
    domains.leave(entered(domains), Deferred("450"), 0.25)
    entered(domains, now=1)
    assert [1.0, 1.25, 1.5] == [full(domains, now=1) for _ in range(3)]


def test_memory_is_bounded() -> None:
    """Trouble with any number of domains is remembered of so many at most, and of those that are busy always."""
    domains = Domains(4)
    busy = [entered(domains, "busy") for _ in range(4)]
    for number in range(2 * MOST_REMEMBERED + 1):
        domains.leave(entered(domains, str(number)), Deferred("450"), 0)

    assert len(domains._known) <= MOST_REMEMBERED
    for turn in busy:
        domains.leave(turn, Deferred("450"), 0)
    assert 2 == limit(domains, "busy")


@given(st.lists(st.tuples(st.integers(1, 3), st.floats(0, 20)), max_size=200), st.floats(0.001, 30))
def test_waits_are_bounded(asked: list[tuple[int, float]], takes_s: float) -> None:
    """However many find no room, each comes back in a second at the soonest and in ten minutes at the latest."""
    domains = Domains(1)
    domains.leave(entered(domains, now=0), Sent(), takes_s)
    now = takes_s
    entered(domains, now=now)
    for priority, later_s in asked:
        now += later_s
        assert LEAST_WAIT_S - 1e-6 <= full(domains, priority=priority, now=now) <= LONGEST_WAIT_S + 1e-6
