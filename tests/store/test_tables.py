"""What other systems may insert by plain SQL: defaults, what is refused, and what must not stop a claim."""

import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from dialerd.model.calendar import EARLIEST, TOO_LATE, storable
from dialerd.model.message import Status
from dialerd.store import Store
from dialerd.store.scheduler import promote, schedule
from dialerd.store.tables import sms_scheduler, sms_spool
from tests.store.conftest import campaign, message, select, take, texts
from tests.store.filled import NOW, rows

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
REFUSED = (sqlite3.IntegrityError, psycopg.IntegrityError, psycopg.DataError)
SPOOL = {"campaign": "Ventas", "destination": "099123456", "data": "hola", "priority": 5}
SCHEDULER = {"calldate": "2026-06-10 15:00:00", "campaign": "Ventas", "destination": "099123456", "data": "hola"}


def insert(store: Store, table: str, values: dict[str, Any]) -> None:
    """Insert a row as another system does, by its own connection."""
    names, url = ", ".join(values), store._engine.url
    connection: Any
    if store.dialect == "sqlite":
        connection, mark = sqlite3.connect(str(url.database)), "?"
    else:
        connection, mark = psycopg.connect(host=url.host, port=url.port, user=url.username, dbname=url.database), "%s"
    with closing(connection), connection:
        marks = ", ".join(mark for _ in values)
        connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))


def now_about(instant: datetime) -> bool:
    return abs(datetime.now(UTC) - instant) < timedelta(seconds=60)


# -- defaults ----------------------------------------------------------------------------------------------------------


def test_a_spool_row_needs_four_columns(store: Store) -> None:
    """campaign, destination, data and priority are enough: the message is queued, due now, and first touched later."""
    insert(store, "sms_spool", SPOOL)

    ((id_, row),) = rows(store, sms_spool).items()
    assert SPOOL == {name: getattr(row, name) for name in SPOOL}
    assert UUID.fullmatch(id_)
    assert ("queued", 0, "?") == (row.state, row.attempts, row.zone)
    assert all(now_about(instant) for instant in (row.due_at, row.due_since, row.queued_at))
    for name in ("base", "calldate", "agent", "source", "details", "node", "incarnation", "claimed_at", "last_error",
                 "address", "parts"):  # fmt: skip
        assert None is getattr(row, name)
    assert ["hola"] == texts(take(store))


def test_the_default_priority_is_the_last(store: Store) -> None:
    """Without a priority a message goes last."""
    insert(store, "sms_spool", {name: SPOOL[name] for name in ("campaign", "destination", "data")})

    assert [(9999,)] == select(store, "SELECT priority FROM sms_spool")


def test_a_scheduler_row_needs_four_columns(store: Store) -> None:
    """calldate, campaign, destination and data are enough."""
    insert(
        store, "sms_scheduler", SCHEDULER | {"calldate": "2026-06-10 15:00:00+00"[: 19 if is_sqlite(store) else None]}
    )

    ((id_, row),) = rows(store, sms_scheduler).items()
    assert NOW == row.calldate
    assert UUID.fullmatch(id_)
    assert now_about(row.created)
    assert (None, None, None, None, "?", None) == (row.agent, row.source, row.details, row.address, row.zone, row.parts)


def test_ids_are_random_uuids(sqlite_store: Store) -> None:
    """On SQLite an id is 36 characters, dashed, lower case, of version 4 (RFC 9562), and never the same."""
    sqlite_store.transact_here(
        lambda c: c.exec_driver_sql(
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 2000)"
            " INSERT INTO sms_spool (campaign, destination, data) SELECT 'c', '1', 'x' FROM r"
        )
    )

    ids = [id_ for (id_,) in select(sqlite_store, "SELECT id FROM sms_spool")]
    assert all(UUID.fullmatch(id_) for id_ in ids)
    assert 2000 == len(set(ids))


def test_an_id_may_be_given(store: Store) -> None:
    """Another system may choose the id, and the message keeps it; the same one is refused a second time."""
    id_ = "01935f1e-8c4b-7d0a-9e52-3f6a7b8c9d0e"
    insert(store, "sms_spool", SPOOL | {"id": id_})

    assert id_ == take(store).messages[0][0].id
    with pytest.raises(REFUSED):
        insert(store, "sms_spool", SPOOL | {"id": id_})


# -- refused by the database -------------------------------------------------------------------------------------------


def is_sqlite(store: Store) -> bool:
    return store.dialect == "sqlite"


@pytest.mark.parametrize(
    "nonsense",
    [
        {"priority": 0},
        {"priority": -1},
        {"priority": 10_000},
        {"priority": "urgent"},
        {"priority": None},
        {"state": "waiting"},
        {"state": None},
        {"campaign": None},
        {"destination": None},
        {"data": None},
        {"details": "{broken"},
        {"details": ""},
        {"due_at": "soon"},
        {"due_at": None},
        {"due_since": "2026-02-31 00:00:00"},
        {"queued_at": "whenever"},
        {"id": "17"},
        {"id": None},
        {"attempts": None},
        {"zone": None},
    ],
    ids=str,
)
def test_a_nonsensical_spool_row_is_refused(store: Store, nonsense: dict[str, Any]) -> None:
    """What no message can be is refused at the door, where its author learns of it."""
    with pytest.raises(REFUSED):
        insert(store, "sms_spool", SPOOL | nonsense)

    assert {} == rows(store, sms_spool)


@pytest.mark.parametrize(
    "calldate",
    [
        "nonsense", "", "2026-02-31 10:00:00", "2026-13-01 10:00:00", "2026-06-10 25:00:00", "2026-06-10 10:60:00",
        "1969-12-31 23:59:59", "10000-01-01 00:00:00", "infinity", "-infinity", None,
    ],
)  # fmt: skip
@pytest.mark.parametrize("table", ["sms_scheduler", "sms_spool"])
def test_a_date_that_is_none_is_refused(store: Store, table: str, calldate: str | None) -> None:
    """A calldate that no clock shows, or that Python cannot hold, is refused; a spool row may have none."""
    values = (SCHEDULER if table == "sms_scheduler" else SPOOL) | {"calldate": calldate}
    if table == "sms_spool" and calldate is None:
        insert(store, table, values)
        return
    with pytest.raises(REFUSED):
        insert(store, table, values)


@pytest.mark.parametrize("calldate", [EARLIEST, TOO_LATE - timedelta(microseconds=1)], ids=str)
def test_what_the_door_lets_in_the_tables_hold(store: Store, calldate: datetime) -> None:
    """The first and the last instant that a message may be scheduled for are no trouble to either database."""
    assert calldate == storable(calldate)
    store.transact_here(schedule, [message(calldate=calldate)])

    assert [calldate] == [row.calldate for row in rows(store, sms_scheduler).values()]


@pytest.mark.parametrize(
    "calldate",
    [
        "2026-06-10T15:00:00", "2026-06-10 15:00", "2026-06-10", "2026-06-10 15:00:00Z", "2026-06-10 15:00:00+00:00",
        "2026-06-10 15:00:00.", "2026-06-10 15:00:00.1234567", "2026-06-10 15:00:00.12x", " 2026-06-10 15:00:00",
        "2026-6-10 15:00:00", "2026-06-10 24:00:00", "now", "2026-06-10 15:00:00 ", "2026-06-10 15:00:60",
        1781103600, 1781103600.5, 2461202.125, b"2026-06-10 15:00:00",
    ],
    ids=repr,
)  # fmt: skip
def test_one_spelling_is_taken_on_sqlite(sqlite_store: Store, calldate: Any) -> None:
    """Instants compare as text there, so any other spelling than the contract's is refused."""
    with pytest.raises(REFUSED):
        insert(sqlite_store, "sms_scheduler", SCHEDULER | {"calldate": calldate})


@pytest.mark.parametrize("fraction", ["", ".5", ".25", ".123", ".123456"])
def test_fractions_are_taken_on_sqlite(sqlite_store: Store, fraction: str) -> None:
    """With or without a fraction of up to six digits a calldate is read and promoted at its instant."""
    insert(sqlite_store, "sms_scheduler", SCHEDULER | {"calldate": f"2026-06-10 15:00:00{fraction}"})

    due = NOW.replace(microsecond=int(float("0" + fraction) * 1_000_000)) if fraction else NOW
    (row,) = rows(sqlite_store, sms_scheduler).values()
    assert due == row.calldate
    minute = NOW + timedelta(minutes=1)
    moved = sqlite_store.transact_here(promote, until=minute, now=NOW, zones={"Ventas": UTC}, most=9)
    assert {"Ventas": 1} == moved
    assert [("queued" if due == NOW else "deferred",)] == select(sqlite_store, "SELECT state FROM sms_spool")


@pytest.mark.parametrize(
    "calldate", ["2026-06-10 15:00:00+00", "2026-06-10T15:00:00Z", "2026-06-10 12:00:00-03", "2026-06-10 15:00:00.0Z"]
)
def test_postgresql_reads_any_spelling(postgres_store: Store, calldate: str) -> None:
    """There an instant is an instant, however it was written."""
    insert(postgres_store, "sms_scheduler", SCHEDULER | {"calldate": calldate})

    assert [NOW] == [row.calldate for row in rows(postgres_store, sms_scheduler).values()]


@pytest.mark.parametrize("column", ["id", "campaign", "destination", "data", "agent", "source"])
@pytest.mark.parametrize("table", ["sms_scheduler", "sms_spool"])
def test_blobs_are_refused_on_sqlite(sqlite_store: Store, table: str, column: str) -> None:
    """Its columns take anything, so a check keeps bytes out of those that hold text."""
    with pytest.raises(REFUSED):
        insert(sqlite_store, table, (SCHEDULER if table == "sms_scheduler" else SPOOL) | {column: b"0123456789abcdef"})


@pytest.mark.parametrize(
    "id_",
    [
        "01935F1E-8C4B-7D0A-9E52-3F6A7B8C9D0E",
        "01935f1e8c4b7d0a9e523f6a7b8c9d0e",
        "{01935f1e-8c4b-7d0a-9e52-3f6a7b8c9d0e}",
        "01935f1e-8c4b-7d0a-9e52-3f6a7b8c9d0g",
    ],
)
@pytest.mark.parametrize("table", ["sms_scheduler", "sms_spool"])
def test_one_spelling_of_an_id_is_taken_on_sqlite(sqlite_store: Store, table: str, id_: str) -> None:
    """Ids compare as text there, so any other spelling than dashed and lower case is refused."""
    with pytest.raises(REFUSED):
        insert(sqlite_store, table, (SCHEDULER if table == "sms_scheduler" else SPOOL) | {"id": id_})


# -- what gets in all the same -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["campaign", "destination", "data", "agent", "source", "base", "details"])
def test_latin_1_does_not_stop_a_claim(sqlite_store: Store, column: str) -> None:
    """A system that writes Latin-1 bytes as SQLite's text spoils its own message at most."""
    odd = b'{"a": "\xf1"}' if column == "details" else b"a\xf1o"
    with closing(sqlite3.connect(str(sqlite_store._engine.url.database))) as connection, connection:
        values: dict[str, Any] = {"campaign": "Ventas", "destination": "099123456", "data": "odd", column: odd}
        marks = ", ".join("CAST(? AS TEXT)" for _ in values)
        connection.execute(f"INSERT INTO sms_spool ({', '.join(values)}) VALUES ({marks})", list(values.values()))
    insert(sqlite_store, "sms_spool", SPOOL | {"data": "good"})

    claimed = take(sqlite_store)

    gone = {"data": ["good", "a�o"], "destination": ["good"], "campaign": ["good"]}.get(column, ["good", "odd"])
    assert gone == texts(claimed)
    assert ({Status.FAILED: 1} if column == "destination" else {}) == claimed.ended


def test_latin_1_does_not_stop_a_promotion(sqlite_store: Store) -> None:
    """Nor does it stop what is scheduled."""
    with closing(sqlite3.connect(str(sqlite_store._engine.url.database))) as connection, connection:
        for values in (b"Venta\xf1", b"1", b"odd"), (b"Ventas", b"1", b"a\xf1o"):
            connection.execute(
                "INSERT INTO sms_scheduler (calldate, campaign, destination, data) VALUES ('2026-06-10 15:00:00',"
                " CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT))",
                values,
            )

    moved = sqlite_store.transact_here(
        promote, until=NOW + timedelta(minutes=1), now=NOW, zones={"Ventas": UTC}, most=9
    )
    assert {"Ventas": 1} == moved


def test_details_as_bytes_do_not_stop_a_claim(sqlite_store: Store) -> None:
    """JSON that came as a blob is read if SQLite takes it."""
    try:
        insert(sqlite_store, "sms_spool", SPOOL | {"data": "odd", "details": b'{"subject": "s"}'})
    except sqlite3.IntegrityError:
        pass
    insert(sqlite_store, "sms_spool", SPOOL | {"data": "good"})

    assert "good" in texts(take(sqlite_store))


@pytest.mark.parametrize("name", ["Ventas->", "ñandú 😀", "a'b\"c", "100%", ":x", "x" * 3000, " "])
def test_any_name_is_a_campaign(store: Store, name: str) -> None:
    """Campaigns are called as they are called in the tables, whatever that is."""
    insert(store, "sms_spool", SPOOL | {"campaign": name[:2000]})

    assert ["hola"] == texts(take(store, campaign(name[:2000])))


@pytest.mark.parametrize(
    "text", ['it\'s "quoted" \\ %s :name {x}', "line\nbreak\r\n", "😀" * 40, "  spaces  ", "א\u200f"]
)
def test_any_text_comes_out_as_it_went_in(store: Store, text: str) -> None:
    """No character of a message means anything to the database."""
    insert(store, "sms_spool", SPOOL | {"data": text})

    assert [text] == texts(take(store))
