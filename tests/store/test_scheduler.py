"""Promotion: from sms_scheduler into the spool, each message once and in time."""

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaiting
from contextlib import closing
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy.engine import Connection

from dialerd.store import Store
from dialerd.store.scheduler import base_name, promote, promoted_until, schedule
from dialerd.store.tables import sms_scheduler, sms_spool
from tests.store.conftest import another, execute, fill, message, put, select, take_all, texts
from tests.store.filled import NOW, rows

SECOND = timedelta(seconds=1)
UNTIL = NOW + timedelta(minutes=1)
MONTEVIDEO = ZoneInfo("America/Montevideo")


def plan(store: Store, *some: dict[str, Any], **common: Any) -> list[str]:
    """Schedule messages, each given by what is special about it; return their ids."""
    messages = [message(**{"calldate": NOW} | common | one) for one in some]
    store.transact_here(schedule, messages)
    return [one.id for one in messages]


def promoted(store: Store, **changed: Any) -> dict[str, int]:
    usual = {"until": UNTIL, "now": NOW, "zones": {"Ventas": MONTEVIDEO}, "most": 100}
    return store.transact_here(promote, **usual | changed)


def until(store: Store) -> datetime:
    return store.transact_here(promoted_until)


def test_a_promoted_message_is_urgent_and_whole(store: Store) -> None:
    """A due message stands in the spool with priority 1 and all it was scheduled with, and in sms_scheduler no more."""
    given: dict[str, Any] = {
        "calldate": NOW - SECOND,
        "destination": "099 123 456",
        "data": "¿qué tal? 😀",
        "agent": "agent",
        "source": "1234",
        "details": {"subject": "ñ", "n": [1, None]},
        "address": "59899123456",
        "zone": "America/Montevideo",
        "parts": 3,
    }
    (id_,) = plan(store, given)

    assert {"Ventas": 1} == promoted(store)

    assert ({id_}, set()) == (rows(store, sms_spool).keys(), rows(store, sms_scheduler).keys())
    row = rows(store, sms_spool)[id_]
    assert given == {name: getattr(row, name) for name in given}
    assert (1, "Schedule 2026-06-10 11:59:59", "queued", 0) == (row.priority, row.base, row.state, row.attempts)
    assert (NOW - SECOND, NOW - SECOND, NOW) == (row.due_at, row.due_since, row.queued_at)


def test_the_minute_that_begins_is_promoted(store: Store) -> None:
    """What is due before the end of the minute moves; what is due later within it waits as deferred, the rest stays."""
    plan(
        store,
        {"data": "last year", "calldate": NOW - timedelta(days=365)},
        {"data": "now", "calldate": NOW},
        {"data": "soon", "calldate": NOW + timedelta(microseconds=1)},
        {"data": "last instant", "calldate": UNTIL - timedelta(microseconds=1)},
        {"data": "next minute", "calldate": UNTIL},
    )

    promoted(store)

    spool = rows(store, sms_spool).values()
    assert {"last year": "queued", "now": "queued", "soon": "deferred", "last instant": "deferred"} == {
        row.data: row.state for row in spool
    }
    assert all(row.due_at == row.due_since == row.calldate for row in spool)
    assert ["next minute"] == [row.data for row in rows(store, sms_scheduler).values()]


def test_what_others_inserted_is_promoted(store: Store) -> None:
    """A row with nothing but calldate, campaign, destination and data is promoted, and examined by the claim."""
    execute(
        store,
        "INSERT INTO sms_scheduler (calldate, campaign, destination, data)"
        " VALUES ('2026-06-10 14:59:00', 'Ventas', '099123456', 'hola')"
        if store.dialect == "sqlite"
        else "INSERT INTO sms_scheduler (calldate, campaign, destination, data)"
        " VALUES ('2026-06-10 14:59:00Z', 'Ventas', '099123456', 'hola')",
    )
    (id_,) = rows(store, sms_scheduler)

    assert {"Ventas": 1} == promoted(store)
    assert {id_} == rows(store, sms_spool).keys()
    assert ["hola"] == texts(take_all(store))


def test_the_earliest_go_first(store: Store) -> None:
    """In the spool they stand by calldate, and of the same calldate by when they were scheduled."""
    plan(store, {"data": "c", "calldate": NOW}, {"data": "a", "calldate": NOW - 2 * SECOND})
    plan(store, {"data": "b", "calldate": NOW - SECOND})
    plan(store, {"data": "d", "calldate": NOW})

    promoted(store)

    assert list("abcd") == texts(take_all(store))


def test_unknown_campaigns_stay(store: Store) -> None:
    """Rows of a campaign without a file stay where they are, and hold up nobody."""
    fill(store, 300, table="sms_scheduler", campaign="Unknown", calldate=NOW)
    plan(store, {"data": "known"})

    assert {"Ventas": 1} == promoted(store, most=10)
    assert [("Unknown", 300)] == select(store, "SELECT campaign, count(*) FROM sms_scheduler GROUP BY campaign")
    assert {} == promoted(store)


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "instant", "name"),
    [
        ("UTC", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "Schedule 2026-01-02 03:04:05"),
        ("America/Montevideo", datetime(2026, 1, 1, 2, 59, 59, 999999, tzinfo=UTC), "Schedule 2025-12-31 23:59:59"),
        # 29 March 2026: clocks go from 02:00 to 03:00, an hour is skipped.
        ("Europe/Madrid", datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC), "Schedule 2026-03-29 01:59:59"),
        ("Europe/Madrid", datetime(2026, 3, 29, 1, 0, 0, tzinfo=UTC), "Schedule 2026-03-29 03:00:00"),
        # 25 October 2026: clocks go from 03:00 back to 02:00, an hour comes twice.
        ("Europe/Madrid", datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "Schedule 2026-10-25 02:30:00"),
        ("Europe/Madrid", datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "Schedule 2026-10-25 02:30:00"),
        ("Asia/Kathmandu", datetime(2026, 6, 10, 15, 0, tzinfo=UTC), "Schedule 2026-06-10 20:45:00"),
    ],
)
def test_a_base_is_called_by_the_campaigns_clock(store: Store, zone: str, instant: datetime, name: str) -> None:
    """The base is `Schedule` and the calldate in the campaign's zone, on days when the clocks change too."""
    plan(store, {"calldate": instant})

    promoted(store, until=instant + SECOND, now=instant, zones={"Ventas": ZoneInfo(zone)})

    assert [(name,)] == select(store, "SELECT base FROM sms_spool")
    assert name == base_name(instant, ZoneInfo(zone))


def test_each_campaign_has_its_own_clock(store: Store) -> None:
    """Campaigns of several zones are promoted together, each under its own name."""
    plan(store, {}, {"campaign": "Madrid"})

    promoted(store, zones={"Ventas": MONTEVIDEO, "Madrid": ZoneInfo("Europe/Madrid")})

    assert {("Ventas", "Schedule 2026-06-10 12:00:00"), ("Madrid", "Schedule 2026-06-10 17:00:00")} == set(
        select(store, "SELECT campaign, base FROM sms_spool")
    )


# -- how far promotion has come ----------------------------------------------------------------------------------------


def test_promotion_begins_at_the_beginning(store: Store) -> None:
    """Before the first promotion ever nothing counts as promoted, so that everything goes into sms_scheduler."""
    assert datetime(1970, 1, 1, tzinfo=UTC) == until(store)


def test_promoted_until_moves_on_and_never_back(store: Store) -> None:
    """Even a promotion without rows says how far it has come, and one with an earlier clock does not take it back."""
    promoted(store)
    assert UNTIL == until(store)

    promoted(store, until=UNTIL - timedelta(hours=1), now=NOW - timedelta(hours=1))
    assert UNTIL == until(store)

    promoted(store, until=UNTIL + timedelta(minutes=1))
    assert UNTIL + timedelta(minutes=1) == until(store)


def test_promotion_stands_or_falls_whole(store: Store) -> None:
    """Rolled back, nothing has moved, neither rows nor promoted_until."""
    (id_,) = plan(store, {})

    def failing(connection: Connection) -> None:
        promote(connection, until=UNTIL, now=NOW, zones={"Ventas": MONTEVIDEO}, most=10)
        raise KeyError("x")

    with pytest.raises(KeyError):
        store.transact_here(failing)

    assert ({id_}, set()) == (rows(store, sms_scheduler).keys(), rows(store, sms_spool).keys())
    assert datetime(1970, 1, 1, tzinfo=UTC) == until(store)


def test_what_is_scheduled_meanwhile_is_not_missed(store: Store) -> None:
    """Who has read promoted_until keeps promotion waiting, so that its row for the minute before is promoted too."""
    has_read, go_on = Event(), Event()

    def scheduling(connection: Connection) -> None:
        assert promoted_until(connection) < NOW
        has_read.set()
        assert go_on.wait(60)
        schedule(connection, [message(calldate=NOW)])

    with ThreadPoolExecutor(2) as threads, closing(another(store)) as other:
        begun = threads.submit(store.transact_here, scheduling)
        assert has_read.wait(60)
        promoting = threads.submit(promoted, other)
        with pytest.raises(StillWaiting):
            promoting.result(timeout=0.2)
        go_on.set()
        begun.result(60)
        assert {"Ventas": 1} == promoting.result(60)


def test_after_promotion_its_end_is_seen(store: Store) -> None:
    """Who schedules for a promoted minute learns it, and puts the message straight into the spool."""
    promoted(store)

    with closing(another(store)) as other:
        assert NOW < until(other)


# -- catching up -------------------------------------------------------------------------------------------------------


def test_a_backlog_is_caught_up_in_batches(store: Store) -> None:
    """What was missed is moved, at most so many rows at a time, and only a batch that is not full is the last one."""
    fill(store, 250, table="sms_scheduler", calldate=NOW - timedelta(days=3))

    assert [100, 100, 50, 0] == [promoted(store).get("Ventas", 0) for _ in range(4)]
    assert [(250, 1, 1)] == select(store, "SELECT count(*), min(priority), max(priority) FROM sms_spool")


def test_a_large_neighbour_delays_nobody(store: Store) -> None:
    """Campaigns share a batch: what one leaves goes to the others, and a full batch says that more may be left."""
    fill(store, 200, table="sms_scheduler", calldate=NOW, campaign="A")
    fill(store, 3, table="sms_scheduler", calldate=NOW, campaign="B")
    fill(store, 200, table="sms_scheduler", calldate=NOW, campaign="C")
    zones = dict.fromkeys("ABC", UTC)

    assert {"A": 9, "B": 3, "C": 8} == promoted(store, zones=zones, most=20)
    assert {"A": 50, "C": 50} == promoted(store, zones=zones, most=100)
    assert {"A": 1} == promoted(store, zones=zones, most=1)
    assert 282 == sum(promoted(store, zones=zones, most=1000).values())


def test_two_promoters_lose_and_double_nothing(store: Store) -> None:
    """Several processes that promote at once move every message exactly once."""
    fill(store, 600, table="sms_scheduler", calldate=NOW)
    fill(store, 600, table="sms_scheduler", calldate=NOW, campaign="other")
    ids = set(select(store, "SELECT id FROM sms_scheduler"))

    def promoter(_: int) -> int:
        total = 0
        with closing(another(store)) as own:
            while select(own, "SELECT 1 FROM sms_scheduler LIMIT 1"):
                total += sum(promoted(own, zones={"Ventas": UTC, "other": UTC}, most=50).values())
        return total

    with ThreadPoolExecutor(3) as threads:
        assert 1200 == sum(threads.map(promoter, range(3)))

    assert (1200, ids) == (len(rows(store, sms_spool)), set(select(store, "SELECT id FROM sms_spool")))


def test_nothing_scheduled_is_nothing(store: Store) -> None:
    """Nothing to schedule and nothing to promote is no trouble."""
    store.transact_here(schedule, [])

    assert {} == promoted(store)


def test_an_id_that_stands_in_the_spool(store: Store) -> None:
    """A scheduled message with the id of one in the spool waits until that one has gone, and holds up no other."""
    (id_,) = put(store, "first")
    plan(store, {"id": id_, "data": "second"}, {}, {})

    assert {"Ventas": 2} == promoted(store)
    assert {id_} == rows(store, sms_scheduler).keys()
    execute(store, "DELETE FROM sms_spool WHERE data = 'first'")
    assert {"Ventas": 1} == promoted(store)
