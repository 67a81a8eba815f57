"""What waits costs nothing: statements use indexes, and touch as much of a large backlog as of a small one."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Connection

from dialerd.model.calendar import parse_schedule
from dialerd.model.inbound import InboundRules
from dialerd.model.message import State, Status, new_id
from dialerd.model.receipt import Delivery, Inbound, Receipt, ReceiptIds
from dialerd.model.retry import Verdict
from dialerd.store import Store
from dialerd.store.claim import claim
from dialerd.store.inbound import Door, forget_inbound_parts, join_late
from dialerd.store.inbound import store as store_inbound
from dialerd.store.lanes import Lane, candidates, lanes
from dialerd.store.messages import scheduled_page
from dialerd.store.migrate import migrate
from dialerd.store.nodes import orphans, rescue
from dialerd.store.parts import forget_parts
from dialerd.store.receipts import Told, expire_parked, look_again, receive, settled
from dialerd.store.received import InboundFilters, Place, inbound_page
from dialerd.store.scheduler import promote, promoted_until
from dialerd.store.settle import Settlement, give_back, settle
from dialerd.store.spool import expire, newest_seq, next_ripe, ripen
from tests.postgres import PostgresServer
from tests.store.conftest import campaign, execute, fill, order, select
from tests.store.filled import NOW

LARGE, SMALL = 30_000, 1_000
MOST, FEW = 50, 10
NOW_TEXT, SOON_TEXT, RECIPIENT = "'2026-06-10 15:00:00'", "'2026-06-11 15:00:00'", "59899123456"
SOON, LONG_AGO = NOW + timedelta(days=1), NOW - timedelta(days=1)

#: An id in the middle of those that come by chance, and from when on SMS that came in are looked for.
MIDDLE, SINCE = "80000000-0000-4000-8000-000000000000", InboundFilters(since=LONG_AGO)

#: The tables that grow, by the names and aliases that the statements give them.
GROWING = {"sms_spool", "sms_scheduler", "sms_repo", "blacklist", "s"} | {
    "sms_part", "p", "parked_receipt", "sms_inbound", "inbound_part",
}  # fmt: skip

Recorded = list[tuple[str, Any]]


def load(store: Store, n: int) -> None:
    """Fill the tables with n standing rows of every kind that must not matter, and a hundred that do."""
    part = n // 6
    fill(store, part, state="deferred", due_at=SOON, due_since=SOON)
    fill(store, part, state="held")
    fill(store, part, state="in_doubt", incarnation="dead")
    fill(store, part, campaign="Closed", data="x", priority=1)
    fill(store, part, zone="Asia/Tokyo", priority=1, due_since=NOW)
    fill(store, part, priority=9999, due_since=NOW)
    fill(store, part, table="sms_scheduler", calldate=SOON)
    fill(store, part, table="sms_scheduler", calldate=LONG_AGO, campaign="Unknown")
    fill(store, part, table="sms_scheduler", calldate=LONG_AGO)
    # All of one provider, id and recipient: no receipt could be matched at a worse place.
    named = {"provider": "p", "provider_id": "0", "address": RECIPIENT}
    fill(store, n, table="sms_repo", priority=9999, status="sent", dateprocessed=NOW, attempts=1, **named)
    fill(store, 100, priority=5, due_since=NOW, address="1", zone="Europe/Madrid")
    fill(store, 100, state="deferred", due_at=LONG_AGO, due_since=NOW)
    fill(store, 100, state="sending", incarnation="me", attempts=1)
    fill(store, 100, state="held", campaign="Old")
    fill(store, 100, campaign="Old", due_since=LONG_AGO, priority=7)
    execute(
        store,
        "INSERT INTO blacklist (channel, value) SELECT 'sms', seq FROM sms_repo",
        "UPDATE sms_spool SET address = -seq WHERE address = '1'",
        "INSERT INTO sms_part (message, part, provider, provider_id, address, taken_at)"
        f" SELECT id, 1, 'p', '00', address, {NOW_TEXT} FROM sms_repo WHERE seq % 4 = 0",
        "INSERT INTO parked_receipt (fingerprint, provider, reading, provider_id, delivery, received, look_at)"
        f" SELECT seq, 'p', 'auto', 'zz', 'delivered', {NOW_TEXT}, {SOON_TEXT} FROM sms_repo WHERE seq % 4 = 0",
        "UPDATE parked_receipt SET look_at = '2026-06-09 15:00:00', received = '2026-06-01 15:00:00', provider_id = seq"
        f" WHERE seq <= {MOST}",
        "INSERT INTO sms_inbound (phone, message, received, fingerprint)"
        f" SELECT '1', 'x', {NOW_TEXT}, seq FROM sms_repo WHERE seq % 4 = 0",
        "INSERT INTO inbound_part (whole, part, parts, provider, phone, message, received, joined)"
        f" SELECT seq, 1, 2, 'p', '1', 'x', {NOW_TEXT}, true FROM sms_repo WHERE seq % 4 = 0",
    )
    for table in ("sms_spool", "sms_scheduler", "sms_repo", "blacklist", "sms_part", "parked_receipt", "sms_inbound"):
        if store.dialect == "postgresql":
            execute(store, f"ALTER TABLE {table} SET (autovacuum_enabled = off)")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Store]]:
    """Open the database with so many standing rows, with statistics or as it was loaded; one for the whole module."""
    opened: dict[tuple[int, bool], Store] = {}

    def store_with(n: int, *, analyzed: bool) -> Store:
        if (n, analyzed) not in opened:
            name = f"plans_{n}_{analyzed}".lower()
            if request.param == "sqlite":
                url = f"sqlite:///{tmp_path_factory.mktemp('plans')}/{name}.db"
            else:
                server: PostgresServer = request.getfixturevalue("postgres")
                url = server.create_database(name)
            opened[n, analyzed] = store = Store(url, threads=1)
            store.transact_here(migrate)
            load(store, n)
            if analyzed:
                execute(store, "ANALYZE")
        return opened[n, analyzed]

    yield store_with
    for store in opened.values():
        store.close()


def due_lane(connection: Connection) -> Any:
    asked = [(Lane("Ventas", "Europe/Madrid", 5), MOST), (Lane("Ventas", "?", 9999), MOST)]
    return candidates(connection, asked, up_to_seq=None)


def claim_some(connection: Connection) -> Any:
    minding = campaign(recipient_hours=parse_schedule(["mon-sun;08:00-21:00"]), interval_s=0.001, expires_s=86_000)
    asked = order(
        minding, campaign("Old", expires_s=60), permits=MOST, provider_interval_s=0.001,
        awake=lambda campaign, zone: zone == "Europe/Madrid",
    )  # fmt: skip
    claimed = claim(connection, asked)
    assert claimed.messages
    return claimed


def settle_some(connection: Connection) -> int:
    verdicts = [
        Verdict(status=Status.SENT),
        Verdict(state=State.DEFERRED, due_at=SOON),
        Verdict(state=State.IN_DOUBT),
        Verdict(state=State.QUEUED, spent=0),
    ]
    seqs = connection.exec_driver_sql("SELECT min(seq) FROM sms_spool WHERE incarnation = 'me' AND state = 'sending'")
    first = seqs.scalar_one()
    return settle(
        connection,
        [
            Settlement(seq=first + n, attempt=1, incarnation="me", provider="p", verdict=verdicts[n % 4])
            for n in range(MOST)
        ],
        now=NOW,
    )


def promote_some(connection: Connection) -> int:
    return sum(promote(connection, until=NOW, now=NOW, zones={"Ventas": UTC}, most=MOST).values())


DOUBT = Verdict(state=State.IN_DOUBT)


def receive_some(connection: Connection) -> int:
    """Take receipts with unknown, ambiguous and nobody's ids, with and without their recipient."""
    some = [
        Told(
            receipt=Receipt(
                provider="p", provider_id=("0" if n % 2 else f"nobody {n}"), delivery=Delivery.DELIVERED,
                address=f"598991{n:05}" if n % 5 == 0 else RECIPIENT if n % 3 else None, error=str(n),
            ),
            reading=ReceiptIds.AUTO,
        )
        for n in range(MOST)
    ]  # fmt: skip
    return receive(connection, some, now=NOW).matched


def take_in_some(connection: Connection) -> int:
    some = [Inbound(provider="p", phone=RECIPIENT, message=f"STOP {n}", received=NOW) for n in range(MOST)]
    parts = [replace(one, reference=n, part=2, parts=2) for n, one in enumerate(some)]
    at = Door(rules=InboundRules(), campaigns={}, canonical=lambda phone, _campaign: phone, reply=lambda *_: None)
    return store_inbound(connection, [*some, *parts], at, now=NOW).stored


def apply_early(connection: Connection) -> int:
    """Look for the receipts of messages that the provider has just named."""
    ids = [new_id() for _ in range(MOST)]
    return settled(connection, answered=[("p", f"q{n}") for n in range(MOST)], messages=ids, now=NOW)


#: What is done, and how many rows it takes.
WALK: dict[str, tuple[Callable[[Connection], Any], Any]] = {
    "lanes": (lambda c: len(lanes(c)), 5),
    "candidates": (lambda c: sum(map(len, due_lane(c))), 2 * MOST),
    "claim": (lambda c: len(claim_some(c).messages), MOST),
    "settle": (settle_some, MOST),
    "give_back": (lambda c: give_back(c, incarnation="me", except_seqs=[1, 2, 3]), 100),
    "rescue": (lambda c: rescue(c, "me", doubt=lambda campaign, attempt: DOUBT, now=NOW), 100),
    "orphans": (orphans, ["me"]),
    "ripen": (lambda c: ripen(c, now=NOW, most=MOST), MOST),
    "next_ripe": (next_ripe, LONG_AGO),
    "expire": (lambda c: expire(c, "Old", due_before=NOW, reason="x", now=NOW, most=MOST), MOST),
    "expire nothing": (lambda c: expire(c, "Ventas", due_before=LONG_AGO, reason="x", now=NOW, most=MOST), 0),
    "promote": (promote_some, MOST),
    "promoted_until": (lambda c: promoted_until(c).year, 1970),
    "receive": (receive_some, 0),
    "receive early": (apply_early, 0),
    "look_again": (lambda c: look_again(c, now=NOW, most=FEW), (FEW, 0)),
    "expire_parked": (lambda c: expire_parked(c, before=LONG_AGO, most=FEW), FEW),
    "forget_parts": (lambda c: forget_parts(c, before=SOON, now=SOON, most=FEW), FEW),
    "inbound": (take_in_some, MOST),
    "join_late": (lambda c: join_late(c, None, now=NOW, most=MOST).stored, 0),  # type: ignore[arg-type]
    "forget_inbound_parts": (lambda c: forget_inbound_parts(c, now=NOW + timedelta(days=2), most=FEW), FEW),
    "newest_seq": (lambda c: newest_seq(c) > 0, True),
    "scheduled_page": (lambda c: len(scheduled_page(c, campaign=None, after=MIDDLE, most=FEW)[0]), FEW),
    "inbound_page": (lambda c: len(inbound_page(c, SINCE, after=Place(NOW, MIDDLE), most=FEW)[0]), FEW),
}


class Undo(Exception):
    """Rolls a transaction back that has shown what it does."""


@contextmanager
def recording(store: Store) -> Iterator[Recorded]:
    """Note the statements that are executed, with their parameters."""
    statements: Recorded = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, executemany: bool) -> None:
        statements.append((statement, parameters[0] if executemany else parameters))

    event.listen(store._engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(store._engine, "before_cursor_execute", note)


def record(store: Store, step: str) -> Recorded:
    """Take a step of the walk, check that it does something, roll it back, and return what it executed."""
    function, expected = WALK[step]

    def run(connection: Connection) -> None:
        assert expected == function(connection)
        raise Undo

    with recording(store) as statements, pytest.raises(Undo):
        store.transact_here(run)
    return [(statement, parameters) for statement, parameters in statements if not statement.startswith("BEGIN")]


def explain(connection: Connection, statement: str, parameters: Any, how: str) -> Any:
    return connection.exec_driver_sql(f"EXPLAIN {how} {statement}", parameters).fetchall()


def scans(store: Store, statements: Recorded) -> list[str]:
    """Return the parts of the statements' plans that read a whole growing table."""

    def run(connection: Connection) -> list[str]:
        found: list[str] = []
        for statement, parameters in statements:
            if store.dialect == "sqlite":
                plan = [row.detail for row in explain(connection, statement, parameters, "QUERY PLAN")]
                found += [step for step in plan if _is_scan(step)]
            else:
                plan = [row[0] for row in explain(connection, statement, parameters, "")]
                found += [step for step in plan for name in GROWING if f"Seq Scan on {name} " in step]
        return found

    return store.transact_here(run)


def _is_scan(step: str) -> bool:
    words = step.split()
    return words[0] == "SCAN" and words[1] in GROWING and "INDEX" not in words


def work(store: Store, step: str) -> int:
    """Return how much a step does: SQLite's virtual machine's instructions, PostgreSQL's pages looked at."""
    function, expected = WALK[step]
    if store.dialect == "sqlite":
        done = 0

        def tick() -> None:
            nonlocal done
            done += 1

        def run(connection: Connection) -> None:
            raw: Any = connection.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            raw.set_progress_handler(tick, 10)
            try:
                assert expected == function(connection)
            finally:
                raw.set_progress_handler(None, 0)
            raise Undo

        with pytest.raises(Undo):
            store.transact_here(run)
        return 10 * done

    statements, pages = record(store, step), 0

    def analyze(connection: Connection) -> None:
        nonlocal pages
        for statement, parameters in statements:
            ((told,),) = explain(connection, statement, parameters, "(ANALYZE, BUFFERS, FORMAT JSON)")
            pages += told[0]["Plan"]["Shared Hit Blocks"] + told[0]["Plan"]["Shared Read Blocks"]
        raise Undo

    with pytest.raises(Undo):
        store.transact_here(analyze)
    return pages


@pytest.mark.parametrize("analyzed", [False, True], ids=["just loaded", "analyzed"])
@pytest.mark.parametrize("step", WALK)
def test_no_table_is_scanned(loaded: Callable[..., Store], step: str, analyzed: bool) -> None:
    """No statement reads a growing table from end to end, with statistics or before there are any."""
    store = loaded(LARGE, analyzed=analyzed)

    assert [] == scans(store, record(store, step))


@pytest.mark.parametrize("step", WALK)
def test_a_large_backlog_costs_no_more(loaded: Callable[..., Store], step: str) -> None:
    """Thirty times as many rows that wait cost a step only the depth of its indexes."""
    small, large = (work(loaded(n, analyzed=True), step) for n in (SMALL, LARGE))

    assert large <= 1.5 * small + 50


def test_the_backlog_is_one(loaded: Callable[..., Store]) -> None:
    """The tables are as large as the tests believe."""
    store = loaded(LARGE, analyzed=True)

    counts = [select(store, f"SELECT count(*) FROM {table}")[0][0] for table in ("sms_spool", "sms_repo")]
    assert [LARGE + 500, LARGE] == counts
