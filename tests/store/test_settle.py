"""Settling: where attempts and messages end, and that nobody ends what is not theirs."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from dialerd.model.message import State, Status
from dialerd.model.retry import Verdict
from dialerd.store import Store
from dialerd.store.nodes import rescue
from dialerd.store.operate import CANCEL, RESEND, SETTLE_SENT, Selection, act
from dialerd.store.settle import Ending, Settlement, finish_waiting, give_back, settle
from dialerd.store.tables import sms_repo, sms_spool
from tests.store.conftest import ME, execute, put, select, take
from tests.store.filled import NOW, rows

LATER = NOW + timedelta(minutes=5)

SENT = Verdict(status=Status.SENT, provider_id="m-1")
FAILED = Verdict(status=Status.FAILED, error="no such number")
DEFERRED = Verdict(state=State.DEFERRED, error="busy", due_at=LATER)
DOUBT = Verdict(state=State.IN_DOUBT, error="no answer")
BACK = Verdict(state=State.QUEUED, error="refused", spent=0)

#: What a message takes along from the spool to the repo.
CARRIED = ("campaign", "destination", "data", "priority", "base", "calldate", "agent", "source", "details", "attempts",
           "parts", "queued_at", "address")  # fmt: skip


def of(seq: int, verdict: Verdict, **changed: Any) -> Settlement:
    usual = {"seq": seq, "attempt": 1, "incarnation": ME, "provider": "p", "verdict": verdict}
    return Settlement(**usual | changed)


def claimed(store: Store, *some: Any, **given: Any) -> list[int]:
    """Submit messages, claim them, and return their seqs."""
    put(store, *some or ("hola",))
    return [one.seq for one, _ in take(store, permits=500, **given).messages]


def spool_row(store: Store, *columns: str) -> tuple[Any, ...]:
    (row,) = rows(store, sms_spool).values()
    return tuple(getattr(row, column) for column in columns)


def repo_row(store: Store, *columns: str) -> tuple[Any, ...]:
    (row,) = rows(store, sms_repo).values()
    return tuple(getattr(row, column) for column in columns)


def places(store: Store) -> dict[str, str]:
    """Return where each message stands, by its text."""
    return {row.data: row.state for row in rows(store, sms_spool).values()} | {
        row.data: row.status for row in rows(store, sms_repo).values()
    }


def operate(store: Store, verb: Any, seqs: list[int]) -> int:
    return store.transact_here(act, Selection(campaign="Ventas"), verb, seqs, now=NOW)


# -- verdicts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (SENT, ("sent", "p", "m-1", None)),
        (Verdict(status=Status.SENT), ("sent", "p", None, None)),
        (FAILED, ("failed", "p", None, "no such number")),
    ],
    ids=["sent", "sent without id", "failed"],
)
def test_an_ended_message_stands_in_the_repo(store: Store, verdict: Verdict, expected: tuple[Any, ...]) -> None:
    """Sent and failed messages move to the repo whole, with what the provider said and when it was recorded."""
    given = {
        "destination": "099 123 456",
        "address": "59899123456",
        "data": "¿qué tal? 😀 \"'\\",
        "priority": 17,
        "base": "base",
        "calldate": NOW - timedelta(days=1, microseconds=1),
        "agent": "agent",
        "source": "1234",
        "details": {"subject": "ñ", "n": [1.5, None, {"a": "b"}]},
        "queued_at": NOW - timedelta(days=2),
        "parts": 3,
    }
    (seq,) = claimed(store, given)
    before = rows(store, sms_spool)

    assert 1 == store.transact_here(settle, [of(seq, verdict)], now=LATER)

    after = rows(store, sms_repo)
    (id_,) = before
    assert {id_} == after.keys()
    assert {name: getattr(before[id_], name) for name in CARRIED} == {
        name: getattr(after[id_], name) for name in CARRIED
    }
    assert given == {name: getattr(after[id_], name) for name in given}
    assert expected == repo_row(store, "status", "provider", "provider_id", "error")
    assert (LATER, 1, None, None) == repo_row(store, "dateprocessed", "attempts", "delivery", "delivered_at")
    assert {} == rows(store, sms_spool)


def test_a_deferred_message_waits_for_its_time(store: Store) -> None:
    """A deferred message stays, counted, until its time; it belongs to nobody and is as old as it was."""
    (seq,) = claimed(store)

    assert 1 == store.transact_here(settle, [of(seq, DEFERRED)], now=NOW)

    assert ("deferred", LATER, "busy", 1) == spool_row(store, "state", "due_at", "last_error", "attempts")
    assert (None, None, NOW) == spool_row(store, "incarnation", "node", "due_since")


def test_a_doubt_keeps_its_incarnation(store: Store) -> None:
    """A doubt stays the attempt of who made it, so that its late outcome may still end it."""
    (seq,) = claimed(store)

    assert 1 == store.transact_here(settle, [of(seq, DOUBT)], now=NOW)

    assert ("in_doubt", ME, "n1", 1, "no answer") == spool_row(
        store, "state", "incarnation", "node", "attempts", "last_error"
    )


def test_what_never_left_goes_back_uncounted(store: Store) -> None:
    """Given back, a message is queued at its old place, its attempt uncounted."""
    first, second = claimed(store, "a", "b")

    assert 2 == store.transact_here(settle, [of(second, BACK), of(first, BACK)], now=NOW)

    assert [("queued", 0, "refused", None)] == select(
        store, "SELECT DISTINCT state, attempts, last_error, incarnation FROM sms_spool"
    )
    assert ["a", "b"] == [one.data for one, _ in take(store).messages]


def test_no_error_keeps_the_last_one(store: Store) -> None:
    """What is given back unstarted does not hide why it was deferred before."""
    (seq,) = claimed(store)
    store.transact_here(settle, [of(seq, DEFERRED)], now=NOW)
    execute(store, "UPDATE sms_spool SET state = 'queued'")
    take(store)

    store.transact_here(settle, [of(seq, Verdict(state=State.QUEUED, spent=0), attempt=2)], now=NOW)

    assert ("busy", 1) == spool_row(store, "last_error", "attempts")


# -- whose attempt it is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", [SENT, DEFERRED, DOUBT, BACK], ids=["sent", "deferred", "doubt", "back"])
@pytest.mark.parametrize("changed", [{"incarnation": "other"}, {"attempt": 2}, {"attempt": 0}, {"seq": 10**6}], ids=str)
def test_only_the_own_attempt_is_settled(store: Store, verdict: Verdict, changed: dict[str, Any]) -> None:
    """Another incarnation's claim, another attempt and what is gone stay untouched, and do not count."""
    (seq,) = claimed(store)
    before = rows(store, sms_spool)

    assert 0 == store.transact_here(settle, [of(**{"seq": seq, "verdict": verdict} | changed)], now=NOW)

    assert (before, {}) == (rows(store, sms_spool), rows(store, sms_repo))


@pytest.mark.parametrize("state", ["queued", "deferred", "held"])
@pytest.mark.parametrize("verdict", [SENT, DEFERRED], ids=["sent", "deferred"])
def test_only_what_is_under_way_or_in_doubt_is_settled(store: Store, state: str, verdict: Verdict) -> None:
    """A message that has been put elsewhere meanwhile stays there."""
    (seq,) = claimed(store)
    execute(store, f"UPDATE sms_spool SET state = '{state}'")

    assert 0 == store.transact_here(settle, [of(seq, verdict)], now=NOW)
    assert {"hola": state} == places(store)


def test_a_settlement_counts_once(store: Store) -> None:
    """Settled again, whether after a lost commit or twice in one batch, a message has ended once."""
    (seq,) = claimed(store)

    assert 1 == store.transact_here(settle, [of(seq, SENT), of(seq, SENT)], now=NOW)
    assert 0 == store.transact_here(settle, [of(seq, SENT)], now=LATER)
    assert 0 == store.transact_here(settle, [of(seq, DEFERRED)], now=LATER)
    assert ("sent", NOW) == repo_row(store, "status", "dateprocessed")


def test_an_outcome_beats_the_doubt_in_its_batch(store: Store) -> None:
    """A doubt and the late outcome of the same attempt that are recorded together are the outcome."""
    (seq,) = claimed(store)

    assert 1 == store.transact_here(settle, [of(seq, DOUBT), of(seq, SENT)], now=NOW)
    assert {"hola": "sent"} == places(store)


def test_two_attempts_in_one_batch(store: Store) -> None:
    """After a lost answer to a commit a batch may hold two attempts of one message: only the one under way counts."""
    (seq,) = claimed(store)
    store.transact_here(settle, [of(seq, DEFERRED)], now=NOW)
    execute(store, "UPDATE sms_spool SET state = 'queued'")
    take(store)

    assert 1 == store.transact_here(settle, [of(seq, DEFERRED), of(seq, DOUBT, attempt=2)], now=NOW)
    assert ("in_doubt", 2) == spool_row(store, "state", "attempts")


@pytest.mark.parametrize("again", [BACK, DEFERRED, DOUBT], ids=["back", "deferred", "doubt"])
def test_a_claim_is_told_from_the_next_of_the_same_attempt(store: Store, again: Verdict) -> None:
    """What was given back uncounted and claimed anew has the same attempt's number, and is no longer the old claim."""
    first = NOW + timedelta(microseconds=1)
    (seq,) = claimed(store, now=first)
    assert 1 == store.transact_here(settle, [of(seq, BACK, claimed_at=first)], now=LATER)
    take(store, now=LATER)

    # The answer to that commit got lost, and it is recorded once more.
    assert 0 == store.transact_here(settle, [of(seq, again, claimed_at=first)], now=LATER)
    assert ("sending", 1) == spool_row(store, "state", "attempts")
    assert 1 == store.transact_here(settle, [of(seq, again, claimed_at=LATER)], now=LATER)


def test_a_late_outcome_ends_the_own_doubt(store: Store) -> None:
    """A doubt is ended by the late outcome of that same attempt."""
    (seq,) = claimed(store)
    store.transact_here(settle, [of(seq, DOUBT)], now=NOW)

    assert 1 == store.transact_here(settle, [of(seq, SENT)], now=LATER)
    assert ("sent", "m-1", LATER) == repo_row(store, "status", "provider_id", "dateprocessed")


@pytest.mark.parametrize(("verb", "place"), [(SETTLE_SENT, "sent"), (CANCEL, "cancelled"), (RESEND, "queued")])
def test_a_doubt_that_an_operator_ended_is_left(store: Store, verb: Any, place: str) -> None:
    """What an operator has decided of a doubt no late outcome changes."""
    (seq,) = claimed(store)
    store.transact_here(settle, [of(seq, DOUBT)], now=NOW)
    operate(store, verb, [seq])

    assert 0 == store.transact_here(settle, [of(seq, FAILED)], now=LATER)
    assert {"hola": place} == places(store)


def test_a_resent_doubt_is_another_attempt(store: Store) -> None:
    """A doubt that was resent and claimed again, even by the same process, is not ended by the first attempt."""
    (seq,) = claimed(store)
    store.transact_here(settle, [of(seq, DOUBT)], now=NOW)
    operate(store, RESEND, [seq])
    take(store)

    assert 0 == store.transact_here(settle, [of(seq, SENT)], now=LATER)
    assert 1 == store.transact_here(settle, [of(seq, FAILED, attempt=2)], now=LATER)
    assert ("failed", 2) == repo_row(store, "status", "attempts")


def test_what_another_has_claimed_again_is_not_overwritten(store: Store) -> None:
    """A message that was given back, or rescued, and claimed by somebody else is theirs, whatever attempt it is."""
    (seq,) = claimed(store)
    store.transact_here(give_back, incarnation=ME)
    take(store, incarnation="other")

    assert 0 == store.transact_here(settle, [of(seq, SENT)], now=LATER)
    assert ("sending", "other", 1) == spool_row(store, "state", "incarnation", "attempts")
    assert 1 == store.transact_here(settle, [of(seq, FAILED, incarnation="other")], now=LATER)


# -- batches -----------------------------------------------------------------------------------------------------------


def test_a_mixed_batch_is_settled_whole(store: Store) -> None:
    """Verdicts of every kind, own attempts and others', are carried out in one transaction, each on its own message."""
    seqs = claimed(store, *(f"{number:03}" for number in range(500)))
    verdicts = [SENT, FAILED, DEFERRED, DOUBT, BACK]
    batch = [
        of(seq, verdicts[number % 5], incarnation=ME if number % 7 else "other") for number, seq in enumerate(seqs)
    ]

    assert sum(bool(number % 7) for number in range(500)) == store.transact_here(settle, batch, now=NOW)

    outcomes = ["sent", "failed", "deferred", "in_doubt", "queued"]
    expected = {f"{number:03}": outcomes[number % 5] if number % 7 else "sending" for number in range(500)}
    assert expected == places(store)
    assert {"m-1"} == {row.provider_id for row in rows(store, sms_repo).values() if row.status == "sent"}


def test_an_empty_batch_is_nothing(store: Store) -> None:
    """Nothing to settle is no trouble."""
    assert (0, 0) == (
        store.transact_here(settle, [], now=NOW),
        store.transact_here(finish_waiting, [], now=NOW),
    )


# -- endings without an attempt ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["queued", "deferred", "held", "in_doubt"])
def test_what_nobody_sends_may_end(store: Store, state: str) -> None:
    """A message that waits ends without provider or attempt."""
    (id_,) = put(store, {"state": state})
    ((seq,),) = select(store, "SELECT seq FROM sms_spool")

    assert 1 == store.transact_here(finish_waiting, [Ending(seq, Status.EXPIRED, "too old")], now=LATER)

    assert {id_} == rows(store, sms_repo).keys()
    assert ("expired", "too old", 0, None, LATER) == repo_row(
        store, "status", "error", "attempts", "provider", "dateprocessed"
    )


def test_what_is_being_sent_does_not_end(store: Store) -> None:
    """Nobody but its own attempt ends what is under way."""
    (seq,) = claimed(store)

    assert 0 == store.transact_here(finish_waiting, [Ending(seq, Status.EXPIRED)], now=NOW)
    assert {"hola": "sending"} == places(store)


# -- strays ------------------------------------------------------------------------------------------------------------


def test_strays_are_given_back(store: Store) -> None:
    """What a lost commit has claimed goes back uncounted; known attempts, doubts and other incarnations' are left."""
    put(store, *"abcd")
    known = [one.seq for one, _ in take(store, permits=1).messages]
    (doubt,) = [one.seq for one, _ in take(store, permits=1).messages]
    store.transact_here(settle, [of(doubt, DOUBT)], now=NOW)
    take(store, permits=1)
    take(store, permits=1, incarnation="other")

    assert 1 == store.transact_here(give_back, incarnation=ME, except_seqs=known)

    assert {"a": "sending", "b": "in_doubt", "c": "queued", "d": "sending"} == places(store)
    assert [("c", 0, None, None)] == select(
        store, "SELECT data, attempts, incarnation, node FROM sms_spool WHERE state = 'queued'"
    )
    assert 0 == store.transact_here(give_back, incarnation="nobody")


def test_an_id_that_has_ended_before(store: Store) -> None:
    """A message that another system put into the spool under the id of one that had ended: the later result stands."""
    (id_,) = put(store, "hola")
    (first,) = [one.seq for one, _ in take(store).messages]
    store.transact_here(settle, [of(first, FAILED)], now=NOW)

    again = claimed(store, {"id": id_, "data": "hola"}, "otra")

    assert 2 == store.transact_here(settle, [of(seq, SENT) for seq in again], now=LATER)
    assert [("hola", "sent", None), ("otra", "sent", None)] == select(
        store, "SELECT data, status, error FROM sms_repo ORDER BY data"
    )
    assert {} == rows(store, sms_spool)


def test_the_first_attempt_that_counts_dates_a_message(store: Store) -> None:
    """A mail's date is when its first attempt that counted was claimed, and stays through retry, doubt and rescue."""

    def claimed_at(now: datetime) -> datetime | None:
        ((one, _),) = take(store, now=now).messages
        return one.first_claimed_at

    def then(verdict: Verdict, attempt: int) -> None:
        store.transact_here(settle, [of(seq, verdict, attempt=attempt)], now=NOW)
        execute(store, "UPDATE sms_spool SET state = 'queued' WHERE state = 'deferred'")

    hours = [NOW + timedelta(hours=n, microseconds=123456) for n in range(1, 8)]
    put(store, {"queued_at": NOW - timedelta(days=3)})
    ((seq,),) = select(store, "SELECT seq FROM sms_spool")

    assert hours[0] == claimed_at(hours[0])
    then(BACK, 1)
    assert hours[1] == claimed_at(hours[1])
    store.transact_here(give_back, incarnation=ME)
    assert hours[2] == claimed_at(hours[2])
    then(DEFERRED, 1)
    assert hours[2] == claimed_at(hours[3])
    then(BACK, 2)
    assert hours[2] == claimed_at(hours[4])
    store.transact_here(rescue, ME, doubt=lambda *_: DEFERRED, now=NOW)
    execute(store, "UPDATE sms_spool SET state = 'queued'")
    assert hours[2] == claimed_at(hours[5])
    then(DOUBT, 3)
    assert 1 == operate(store, RESEND, [seq])
    assert hours[2] == claimed_at(hours[6])


def test_a_message_tried_by_an_earlier_version_has_no_first_claim(store: Store) -> None:
    """What was tried before the tables knew of it keeps the date that it had."""
    claimed(store)
    store.transact_here(give_back, incarnation=ME)
    execute(store, "UPDATE sms_spool SET attempts = 1, first_claimed_at = NULL")

    ((one, _),) = take(store).messages
    assert one.first_claimed_at is None
