"""What comes into the spool, ripens and expires there."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from dialerd.model.message import BULK, URGENT, State
from dialerd.store import Store
from dialerd.store.spool import count_queued, expire, newest_seq, next_ripe, ripen, submit
from dialerd.store.tables import sms_repo, sms_spool
from tests.store.conftest import another, campaign, fill, message, put, select, take_all, texts
from tests.store.filled import NOW, rows

SECOND = timedelta(seconds=1)


def in_states(store: Store) -> dict[str, list[str]]:
    """Return the texts of the messages in each state."""
    found: dict[str, list[str]] = {}
    for data, state in select(store, "SELECT data, state FROM sms_spool ORDER BY seq"):
        found.setdefault(state, []).append(data)
    return found


# -- coming in ---------------------------------------------------------------------------------------------------------


def test_a_submitted_message_is_stored_whole(store: Store) -> None:
    """What intake knows of a message stands in the spool, with nothing claimed and nothing counted."""
    given = message(
        data="¿qué tal? 😀",
        priority=URGENT,
        base="base",
        calldate=NOW - SECOND,
        agent="agent",
        source="1234",
        details={"subject": "ñ"},
        state=State.HELD,
        due_at=NOW + SECOND,
        due_since=None,
        queued_at=NOW,
        zone="America/Montevideo",
        parts=2,
    )
    store.transact_here(submit, [given])

    row = rows(store, sms_spool)[given.id]
    assert {name: getattr(given, name) for name in given.__slots__} == {
        name: getattr(row, name) for name in given.__slots__
    }
    assert (0, None, None, None, None) == (row.attempts, row.node, row.incarnation, row.claimed_at, row.last_error)


def test_many_are_stored_in_their_order(store: Store) -> None:
    """What is submitted together is first in first out in the given order."""
    put(store, *(str(number) for number in range(1500)))

    assert [str(number) for number in range(1500)] == [
        data for (data,) in select(store, "SELECT data FROM sms_spool ORDER BY seq")
    ]


def test_an_empty_submission_is_nothing(store: Store) -> None:
    """Nothing to submit is no trouble."""
    store.transact_here(submit, [])

    assert {} == rows(store, sms_spool)


def test_a_seq_is_never_given_twice(store: Store) -> None:
    """Even when the newest message has left, the next one stands behind it: no late outcome meets another message."""
    put(store, "a", "b")
    newest = store.transact_here(newest_seq)
    store.transact_here(lambda connection: connection.execute(sms_spool.delete()))
    put(store, "c")

    assert newest < store.transact_here(newest_seq)


def test_the_newest_seq_bounds_what_is_there(store: Store) -> None:
    """It is 0 in an empty spool, else the seq of what came last."""
    assert 0 == store.transact_here(newest_seq)
    put(store, "a", "b")

    assert max(row.seq for row in rows(store, sms_spool).values()) == store.transact_here(newest_seq)


def test_queued_messages_are_counted(store: Store) -> None:
    """Only queued ones of the campaigns asked for, and not what came later."""
    put(store, "a", "b", {"campaign": "other"}, {"campaign": "third"}, {"state": "held"}, {"state": "deferred"})
    newest = store.transact_here(newest_seq)
    put(store, "later")

    counts = [
        store.transact_here(count_queued, campaigns=names, up_to_seq=newest)
        for names in (["Ventas"], ["Ventas", "other"], ["unknown"], [])
    ]
    assert [2, 3, 0, 0] == counts


# -- ripening ----------------------------------------------------------------------------------------------------------


def test_what_is_due_is_queued(store: Store) -> None:
    """A deferred message ripens at its time, not before; nothing else does."""
    put(store, {"data": "held", "state": "held"}, {"data": "doubt", "state": "in_doubt"}, due_at=NOW - SECOND)
    put(
        store,
        {"data": "past", "due_at": NOW - SECOND},
        {"data": "now", "due_at": NOW},
        {"data": "soon", "due_at": NOW + timedelta(microseconds=1)},
        state="deferred",
    )

    assert 2 == store.transact_here(ripen, now=NOW, most=10)

    assert {"queued": ["past", "now"], "deferred": ["soon"], "held": ["held"], "in_doubt": ["doubt"]} == in_states(
        store
    )


def test_ripe_messages_keep_their_place(store: Store) -> None:
    """A retry that has ripened goes before what came after it, by its old seq."""
    put(store, {"data": "first", "state": "deferred"}, "second")
    store.transact_here(ripen, now=NOW, most=10)

    assert ["first", "second"] == texts(take_all(store))


def test_the_oldest_ripen_first(store: Store) -> None:
    """At most so many at a time, those due for longest."""
    put(store, *({"data": str(n), "due_at": NOW - n * SECOND} for n in range(5)), state="deferred")

    assert 2 == store.transact_here(ripen, now=NOW, most=2)
    assert ["3", "4"] == in_states(store)["queued"]
    assert [2, 1, 0] == [store.transact_here(ripen, now=NOW, most=2) for _ in range(3)]


def test_two_ripen_without_waiting_for_each_other(store: Store) -> None:
    """Several processes queue what is due together, each row once."""
    fill(store, 300, state="deferred", due_at=NOW)

    def ripener(_: int) -> int:
        total = 0
        with closing(another(store)) as own:
            while select(own, "SELECT 1 FROM sms_spool WHERE state = 'deferred' LIMIT 1"):
                total += own.transact_here(ripen, now=NOW, most=20)
        return total

    with ThreadPoolExecutor(3) as threads:
        assert 300 == sum(threads.map(ripener, range(3)))


def test_the_next_to_ripen_is_known(store: Store) -> None:
    """When the first deferred message is due; None while there is none."""
    put(store, {"due_at": NOW - SECOND}, {"due_at": NOW - SECOND, "state": "held"})
    assert None is store.transact_here(next_ripe)
    put(store, {"due_at": NOW + 2 * SECOND}, {"due_at": NOW + SECOND}, state="deferred")

    assert NOW + SECOND == store.transact_here(next_ripe)


@pytest.mark.parametrize("fraction", ["", ".5", ".500", ".500000"])
def test_any_spelling_of_an_instant_ripens(sqlite_store: Store, fraction: str) -> None:
    """SQLite's instants are text, and those with and without a fraction ripen in their second."""
    due = datetime(2026, 6, 10, 15, 0, 0, int(float("0" + fraction) * 1e6), tzinfo=UTC)
    sqlite_store.transact_here(
        lambda c: c.exec_driver_sql(
            "INSERT INTO sms_spool (campaign, destination, data, state, due_at) VALUES ('c', '1', 'x', 'deferred', ?)",
            (f"2026-06-10 15:00:00{fraction}",),
        )
    )

    assert due == sqlite_store.transact_here(next_ripe)
    assert 0 == sqlite_store.transact_here(ripen, now=due - timedelta(microseconds=1), most=9)
    assert 1 == sqlite_store.transact_here(ripen, now=due + timedelta(microseconds=1), most=9)


# -- expiry ------------------------------------------------------------------------------------------------------------


def expired(store: Store, *, most: int = 10) -> int:
    """Expire what has waited for longer than a minute."""
    return store.transact_here(expire, "Ventas", due_before=NOW - 60 * SECOND, reason="too old", now=NOW, most=most)


def test_what_waits_too_long_expires(store: Store) -> None:
    """Queued and deferred messages that are due since before then expire; held ones, doubts and neighbours do not."""
    old = {"due_since": NOW - 61 * SECOND}
    put(
        store,
        {"data": "queued"} | old,
        {"data": "deferred", "state": "deferred"} | old,
        {"data": "held", "state": "held"} | old,
        {"data": "doubt", "state": "in_doubt"} | old,
        {"data": "sending", "state": "sending"} | old,
        {"data": "neighbour", "campaign": "other"} | old,
        {"data": "just", "due_since": NOW - 60 * SECOND},
        {"data": "never due", "due_since": None},
    )

    assert 2 == expired(store)

    gone = {row.data: (row.status, row.error, row.dateprocessed) for row in rows(store, sms_repo).values()}
    assert dict.fromkeys(("queued", "deferred"), ("expired", "too old", NOW)) == gone
    assert {"held", "doubt", "sending", "neighbour", "just", "never due"} == {
        row.data for row in rows(store, sms_spool).values()
    }


def test_the_oldest_expire_first(store: Store) -> None:
    """At most so many at a time, those due for longest."""
    put(store, *({"data": str(n), "due_since": NOW - (61 + n) * SECOND} for n in range(5)))

    assert 2 == expired(store, most=2)
    assert {"3", "4"} == {row.data for row in rows(store, sms_repo).values()}
    assert [2, 1, 0] == [expired(store, most=2) for _ in range(3)]


def test_expiry_and_claim_share_nothing(store: Store) -> None:
    """Expiry that runs beside claims takes no message that is being sent, and every message goes exactly one way."""
    fill(store, 300, due_since=NOW - 61 * SECOND)

    def expirer() -> int:
        total = 0
        with closing(another(store)) as own:
            while select(own, "SELECT 1 FROM sms_spool WHERE state = 'queued' LIMIT 1"):
                total += expired(own, most=7)
        return total

    def claimer() -> int:
        total = 0
        with closing(another(store)) as own:
            while select(own, "SELECT 1 FROM sms_spool WHERE state = 'queued' LIMIT 1"):
                total += len(take_all(own, campaign(), permits=7))
        return total

    with ThreadPoolExecutor(2) as threads:
        gone, taken = threads.submit(expirer), threads.submit(claimer)

    assert 300 == gone.result() + taken.result()
    assert [(taken.result(),)] == select(store, "SELECT count(*) FROM sms_spool WHERE state = 'sending'")
    assert [(gone.result(),)] == select(store, "SELECT count(*) FROM sms_repo")


def test_priorities_are_what_the_tables_allow(store: Store) -> None:
    """The first and the last priority are stored as they are."""
    put(store, {"priority": URGENT}, {"priority": BULK})

    assert [(1,), (9999,)] == select(store, "SELECT priority FROM sms_spool ORDER BY priority")
