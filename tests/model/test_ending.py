"""How an attempt ends, for the provider and for the message."""

from datetime import UTC, datetime, timedelta

import pytest

from dialerd.model.breaker import LONGEST_WISH_S, UNREACHABLE_IN_A_ROW, Breaker
from dialerd.model.ending import PATIENCE, Attempt, Endings
from dialerd.model.message import State, Status
from dialerd.model.outcome import Failed, InDoubt, Outcome, Partly, Sent, Throttled, Unreachable
from dialerd.model.retry import Verdict
from tests.drivers.conformance import an_sms
from tests.rig import campaign

NOW = datetime(2026, 6, 10, 15, 0, tzinfo=UTC)
FULL = Throttled("message queue full")


class Provider:
    """Its breaker, and what has become of messages; the time is that at which it may be used again."""

    def __init__(self) -> None:
        self.breaker = Breaker(5)
        self.endings = Endings()
        self.at = 100.0

    def says(self, message_id: str, outcome: Outcome, *, accepted: int = 0) -> tuple[Verdict, bool]:
        """Return what becomes of a message of three parts that is tried as soon as this may be."""
        self.at = max(self.at + 0.1, self.breaker.shut_until or 0)
        message = an_sms(id=message_id, parts=3, accepted=dict.fromkeys(range(1, accepted + 1)))
        attempt = Attempt(message, outcome, self.at, 0.05, 0.0)
        return self.endings.judge(attempt, self.breaker, campaign(), now=NOW)

    def refuses_until_set_aside(self, message_id: str) -> Verdict:
        for _ in range(PATIENCE):
            decided, is_shut = self.says(message_id, FULL)
            assert (State.QUEUED, True) == (decided.state, is_shut)
        decided, is_shut = self.says(message_id, FULL)
        assert is_shut
        return decided


def waits_s(decided: Verdict) -> float:
    """Return for how long a message was set aside."""
    assert (State.DEFERRED, 0) == (decided.state, decided.spent)
    assert decided.due_at is not None
    return (decided.due_at - NOW) / timedelta(seconds=1)


def test_one_that_is_refused_through_many_pauses_is_set_aside() -> None:
    """The others get their chance when the pause is over, and it counts as one that remains until it is answered."""
    provider = Provider()
    decided = provider.refuses_until_set_aside("full")
    assert 2 * 2**PATIENCE == pytest.approx(waits_s(decided))

    for message_id, aside in (("other", [FULL.error]), ("full", [])):
        assert Status.SENT is provider.says(message_id, Sent())[0].status
        assert aside == provider.endings.refusals.aside


@pytest.mark.parametrize("refusal", [FULL, Unreachable("HTTP 401"), Partly({1: None}, 7, FULL)])
def test_whose_refusal_is_its_own_stops_nobody(refusal: Outcome) -> None:
    """While others are taken, a message that was set aside is so for longer each time, and its provider stays up."""
    provider = Provider()
    provider.refuses_until_set_aside("full")
    provider.says("other", Sent())
    window = provider.breaker.window
    for times in range(1, UNREACHABLE_IN_A_ROW + 3):
        decided, is_shut = provider.says("full", refusal)
        assert 3**times == waits_s(decided)
        assert (False, window) == (is_shut, provider.breaker.allows(provider.at))


@pytest.mark.parametrize(("wish_s", "expected_s"), [(None, 3), (1.0, 3), (300.0, 300), (10**9, LONGEST_WISH_S)])
def test_it_is_left_alone_for_as_long_as_its_provider_wishes(wish_s: float | None, expected_s: float) -> None:
    """A Retry-After holds for a message alone, too, where only that one is refused."""
    for outcome in (Throttled("full", wish_s), Partly({1: None}, 7, Throttled("full", wish_s))):
        provider = Provider()
        provider.refuses_until_set_aside("full")
        provider.says("other", Sent())
        assert expected_s == waits_s(provider.says("full", outcome)[0])


def test_an_answer_ends_it() -> None:
    """What a provider has answered, or a doubt, is no refused message any more: the next refusal is about our rate."""
    for outcome in (Sent(), Failed("no such number"), InDoubt("lost")):
        provider = Provider()
        provider.refuses_until_set_aside("full")
        provider.says("other", Sent())
        assert not provider.says("full", outcome)[1]
        decided, is_shut = provider.says("full", FULL)
        assert (State.QUEUED, True) == (decided.state, is_shut)


def test_parts_under_a_reference_that_is_not_known_are_in_doubt() -> None:
    """However often the rest is refused: some parts are there, and it is not set aside as if nothing was."""
    provider = Provider()
    provider.refuses_until_set_aside("full")
    provider.says("other", Sent())
    assert State.IN_DOUBT is provider.says("full", Partly({1: None}, None, FULL))[0].state


def test_what_was_taken_is_counted_once() -> None:
    """Of some parts those count that were taken now; of a whole message those that were left."""
    for outcome, accepted, taken in (
        (Sent(), 0, 3),
        (Sent(), 2, 1),
        (Partly({1: None, 2: None}, 7, FULL), 0, 2),
        (Partly({1: None, 2: None}, 7, FULL), 1, 1),
        (Partly({1: None}, 7, FULL), 1, 0),
    ):
        message = an_sms(parts=3, accepted=dict.fromkeys(range(1, accepted + 1)))
        assert taken == Attempt(message, outcome, 1.0, 0.1, 0.0).taken
