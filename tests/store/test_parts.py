"""Long SMS of which the provider took some parts: those are kept through everything, and only the rest is sent."""

from datetime import timedelta
from typing import Any

import pytest

from dialerd.model.campaign import OnDoubt, RetryPolicy
from dialerd.model.message import Message
from dialerd.model.outcome import Deferred, Failed, InDoubt, Outcome, Partly, Sent, Throttled, Unreachable
from dialerd.model.retry import Verdict, verdict
from dialerd.store import Store
from dialerd.store.nodes import rescue
from dialerd.store.operate import HOLD, RELEASE, RESEND, Selection, act
from dialerd.store.order import Terms
from dialerd.store.outcomes import settle
from dialerd.store.settle import Settlement, give_back
from dialerd.store.spool import ripen
from tests.store.conftest import ME, Clock, campaign, put, select, take
from tests.store.filled import NOW

TOOK = {1: "a1", 3: None}
VENTAS = campaign(fallbacks=("q",), expires_s=3600.0)
#: What q is told when it sends in the place of p.
P_AWAY = Terms(VENTAS, 50, away=frozenset({"p"}))


def judged(outcome: Outcome, *, on_doubt: OnDoubt = OnDoubt.HOLD) -> Verdict:
    return verdict(outcome, attempt=1, policy=RetryPolicy(first_s=1), on_doubt=on_doubt, now=NOW, jitter=0)


def settled(store: Store, one: Message, outcome: Outcome, **given: Any) -> None:
    settlement = Settlement(
        seq=one.seq, message=one.id, parted=bool(one.accepted), attempt=one.attempt, incarnation=ME, provider="p",
        verdict=judged(outcome, **given),
    )  # fmt: skip
    assert 1 == store.transact_here(settle, [settlement], now=NOW)


def claimed(store: Store, terms: Any = VENTAS, **given: Any) -> Message:
    ((one, _),) = take(store, terms, **given).messages
    return one


def operate(store: Store, verb: Any) -> None:
    seqs = [seq for (seq,) in select(store, "SELECT seq FROM sms_spool")]
    assert 1 == store.transact_here(act, Selection(campaign="Ventas"), verb, seqs, now=NOW)


def again(store: Store) -> Message:
    """Let time pass until the message can be claimed again."""
    store.transact_here(ripen, now=NOW + timedelta(days=1), most=10)
    return claimed(store)


@pytest.mark.parametrize(
    "rest", [Deferred("busy"), Throttled("slower"), Unreachable("closed"), InDoubt("lost")], ids=str
)
def test_what_was_taken_is_given_back_to_the_driver(store: Store, rest: Any) -> None:
    """Whatever came of the other parts, the next attempt knows which were taken, by which names and reference."""
    put(store, "x", parts=3)
    one = claimed(store)
    assert ({}, None, NOW + timedelta(hours=1)) == (one.accepted, one.reference, one.expires_at)

    settled(store, one, Partly(TOOK, 200, rest), on_doubt=OnDoubt.RESEND)
    assert [] == take(store, P_AWAY, provider="q").messages
    second = again(store)

    assert (TOOK, 200) == (second.accepted, second.reference)
    settled(store, second, Sent(None, ("a1", "a2", "a3")))
    assert [("sent", 3, "a1", 0 if isinstance(rest, Throttled | Unreachable) else 1)] == select(
        store, "SELECT status, parts, provider_id, attempts - 1 FROM sms_repo"
    )
    assert [(1, "a1"), (2, "a2"), (3, "a3")] == select(store, "SELECT part, provider_id FROM sms_part ORDER BY part")


def test_parts_survive_what_happens_to_a_message(store: Store) -> None:
    """Given back, rescued, in doubt, held, released, resent: the accepted parts stay, and stay with their provider."""
    put(store, "x", parts=3)
    settled(store, claimed(store), Partly(TOOK, 200, Unreachable("closed")))
    claimed(store)
    assert 1 == store.transact_here(give_back, incarnation=ME)
    claimed(store)
    assert 1 == store.transact_here(rescue, ME, doubt=lambda *_: judged(InDoubt("died")), now=NOW)
    for verb in (RESEND, HOLD, RELEASE):
        operate(store, verb)

    assert [] == take(store, P_AWAY, provider="q").messages
    one = claimed(store)
    assert (TOOK, 200) == (one.accepted, one.reference)


def test_an_unknown_reference_makes_a_doubt(store: Store) -> None:
    """Parts under a reference that nobody knows are of no use: the message is in doubt, and resent it goes whole."""
    put(store, "x", parts=3)
    settled(store, claimed(store), Partly(TOOK, None, Deferred("busy")))
    assert [("in_doubt",)] == select(store, "SELECT state FROM sms_spool")
    operate(store, RESEND)

    assert ({}, None) == ((one := claimed(store, P_AWAY, provider="q")).accepted, one.reference)


def test_refused_parts_end_the_message(store: Store) -> None:
    """When the rest is refused for good the message has failed; which parts went is kept for their receipts."""
    put(store, "x", parts=3)
    settled(store, claimed(store), Partly(TOOK, 200, Failed("no")))

    assert [("failed", "no", 3)] == select(store, "SELECT status, error, parts FROM sms_repo")
    assert [(2,)] == select(store, "SELECT count(*) FROM sms_part")


def test_pace_counts_what_is_sent(store: Store, clock: Clock) -> None:
    """The provider's pace is booked for the parts that are still to go, not for those it has."""
    put(store, "x", parts=3)
    settled(store, claimed(store), Partly(TOOK, 200, Unreachable("closed")))
    put(store, "next", address="1")

    taken = take(store, VENTAS, provider_interval_s=0.1)

    assert [0, 0.1] == [pytest.approx(start, abs=0.001) for _, start in taken.messages]


def test_a_late_outcome_names_no_parts(store: Store) -> None:
    """Of an attempt that somebody has ended meanwhile nothing is kept."""
    put(store, "x", parts=3)
    one = claimed(store)
    store.transact_here(give_back, incarnation=ME)
    late = judged(Sent(None, ("a", "b", "c")))
    settlement = Settlement(seq=one.seq, message=one.id, attempt=1, incarnation=ME, provider="p", verdict=late)

    assert 0 == store.transact_here(settle, [settlement], now=NOW)
    assert [] == select(store, "SELECT part FROM sms_part")


def test_names_of_any_length_are_stored(store: Store) -> None:
    """A provider's endless or unstorable name for a message ends nowhere but in its own column, cut."""
    put(store, "x")
    settled(store, claimed(store), Sent("\0\ud800" + "ñ" * 100_000))

    ((name,),) = select(store, "SELECT provider_id FROM sms_repo WHERE status = 'sent'")
    assert "?" + "ñ" * 199 == name
