"""The store: transactions on worker threads, and what becomes of them when the database is in trouble."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaiting
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from dialerd.model.errors import DatabaseGone
from dialerd.store import MOST_RUNS, Store, engine
from dialerd.store.pause import pause_campaign, paused
from dialerd.store.spool import submit
from tests.postgres import PostgresServer
from tests.store.conftest import another, execute, message, put, select
from tests.store.filled import NOW

PATIENCE_S = 60


def pause(connection: Connection, name: str = "a") -> None:
    pause_campaign(connection, name, reason=None, now=NOW)


def path_of(store: Store) -> Path:
    return Path(str(store._engine.url.database))


def count_up(connection: Connection) -> int:
    """Add one to a number in two steps, as code does that decides in between; return what it has become."""
    lock = " FOR UPDATE" if connection.dialect.name == "postgresql" else ""
    found = connection.execute(text(f"SELECT next_at FROM pace WHERE name = 'n'{lock}")).scalar_one()
    connection.execute(text("UPDATE pace SET next_at = :n WHERE name = 'n'"), {"n": found + 1})
    return int(found + 1)


@pytest.fixture
def counter(store: Store) -> Store:
    """A store that holds a number, 0."""
    execute(store, "INSERT INTO pace (kind, name, next_at) VALUES ('campaign', 'n', 0)")
    return store


# -- transactions ------------------------------------------------------------------------------------------------------


async def test_functions_run_beside_the_loop(store: Store) -> None:
    """A function gets a connection and its arguments, runs on a worker thread, and its result comes back."""

    def function(connection: Connection, one: int, *, two: int) -> tuple[int, str]:
        return connection.execute(text("SELECT 1")).scalar_one() + one + two, threading.current_thread().name

    for result, thread in (await store.transact(function, 2, two=3), await store.read(function, 2, two=3)):
        assert 6 == result
        assert thread.startswith("store")


async def test_what_a_transaction_wrote_stands(store: Store) -> None:
    """Returned from, a transaction is committed; what only reads leaves nothing."""
    await store.transact(pause)
    with closing(another(store)) as other:
        assert {"a"} == (await other.read(paused)).keys()


async def test_a_function_that_raises_leaves_nothing(store: Store) -> None:
    """Whatever a function raises passes as it is, and nothing of its transaction stands."""

    def failing(connection: Connection) -> None:
        pause(connection)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await store.transact(failing)

    assert {} == await store.read(paused)
    await store.transact(pause)


async def test_readers_do_not_wait_for_a_writer(store: Store) -> None:
    """While one writes, others read what stood before."""
    written, go_on = threading.Event(), threading.Event()

    def writing(connection: Connection) -> None:
        pause(connection)
        written.set()
        assert go_on.wait(PATIENCE_S)

    writer = asyncio.ensure_future(store.transact(writing))
    assert await asyncio.to_thread(written.wait, PATIENCE_S)
    try:
        assert {} == await store.read(paused)
    finally:
        go_on.set()
    await writer
    assert {"a"} == (await store.read(paused)).keys()


def test_concurrent_changes_lose_nothing(counter: Store) -> None:
    """Eighty changes by several threads of two processes' stores: eighty of eighty stand."""
    with closing(another(counter)) as other, ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda n: (counter, other)[n % 2].transact_here(count_up), range(80)))

    assert list(range(1, 81)) == sorted(done)
    assert [(80.0,)] == select(counter, "SELECT next_at FROM pace")


def test_a_session_speaks_utc(postgres_store: Store) -> None:
    """Whatever the server's own zone is, instants are of UTC, and no session waits for ever."""
    shown = [select(postgres_store, f"SHOW {name}")[0][0] for name in ("timezone", "statement_timeout", "lock_timeout")]

    assert ["UTC", "1min", "30s"] == shown


def test_a_commit_on_sqlite_is_on_disk(sqlite_store: Store) -> None:
    """A commit survives a power cut, in write-ahead mode."""
    assert [("wal",)] == select(sqlite_store, "PRAGMA journal_mode")
    assert [(2,)] == select(sqlite_store, "PRAGMA synchronous")


# -- run again ---------------------------------------------------------------------------------------------------------


def test_deadlocks_are_run_again(postgres_store: Store) -> None:
    """Of two transactions that wait for each other the database ends one, and it runs again by itself."""
    execute(postgres_store, "INSERT INTO pace VALUES ('campaign', 'x', 0), ('campaign', 'y', 0)")
    both, runs = threading.Barrier(2), []

    def cross(connection: Connection, first: str, second: str) -> None:
        runs.append(first)
        connection.execute(text("SET LOCAL deadlock_timeout = '20ms'"))
        add = text("UPDATE pace SET next_at = next_at + 1 WHERE name = :name")
        connection.execute(add, {"name": first})
        if runs.count(first) == 1:
            both.wait(PATIENCE_S)
        connection.execute(add, {"name": second})

    with ThreadPoolExecutor(2) as threads:
        for one in [threads.submit(postgres_store.transact_here, cross, *names) for names in ("xy", "yx")]:
            one.result(PATIENCE_S)

    assert [(2.0,)] == select(postgres_store, "SELECT DISTINCT next_at FROM pace")
    assert 3 <= len(runs)


def test_serialization_failures_are_run_again(postgres_store: Store) -> None:
    """A transaction that the database could not serialize runs again by itself."""
    execute(postgres_store, "INSERT INTO pace VALUES ('campaign', 'n', 0)")
    both, runs = threading.Barrier(2), []

    def add(connection: Connection) -> None:
        runs.append(1)
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"))
        found = connection.execute(text("SELECT next_at FROM pace")).scalar_one()
        if len(runs) <= 2:
            both.wait(PATIENCE_S)
        connection.execute(text("UPDATE pace SET next_at = :n"), {"n": found + 1})

    with ThreadPoolExecutor(2) as threads:
        for one in [threads.submit(postgres_store.transact_here, add) for _ in range(2)]:
            one.result(PATIENCE_S)

    assert [(2.0,)] == select(postgres_store, "SELECT next_at FROM pace")
    assert 3 <= len(runs)


def raising(connection: Connection, sqlstate: str) -> None:
    connection.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'because' USING ERRCODE = '{sqlstate}'; END $$"))


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_nothing_runs_again_for_ever(postgres_store: Store, sqlstate: str) -> None:
    """After a few runs in vain the database is as good as gone."""
    runs = []

    def conflicting(connection: Connection) -> None:
        runs.append(1)
        raising(connection, sqlstate)

    with pytest.raises(DatabaseGone, match=f"gave up after {MOST_RUNS} deadlocks: because"):
        postgres_store.transact_here(conflicting)
    assert MOST_RUNS == len(runs)
    with pytest.raises(DatabaseGone, match="because"):
        asyncio.run(postgres_store.read(raising, sqlstate))


# -- whose fault it is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sqlstate", "is_gone"),
    [
        ("08006", True),
        ("25006", True),
        ("53100", True),
        ("53300", True),
        ("55P03", True),
        ("57014", True),
        ("57P01", True),
        ("57P03", True),
        ("58030", True),
        ("22001", False),
        ("23505", False),
        ("42601", False),
        ("42P01", False),
    ],
)
def test_the_servers_troubles_are_told_from_ours(postgres_store: Store, sqlstate: str, is_gone: bool) -> None:
    """Errors of the server mean that it is gone, errors of a statement pass as they are."""
    with pytest.raises(DatabaseGone if is_gone else DBAPIError, match="because"):
        postgres_store.transact_here(raising, sqlstate)


def test_a_statement_that_takes_too_long_is_trouble(postgres_store: Store) -> None:
    """A query that the server cancels for its time means that it does not answer."""

    def slow(connection: Connection) -> None:
        connection.execute(text("SET LOCAL statement_timeout = '10ms'"))
        connection.execute(text("SELECT pg_sleep(30)"))

    with pytest.raises(DatabaseGone, match="statement timeout"):
        postgres_store.transact_here(slow)


def test_no_free_connection_is_trouble(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every connection is taken, the wait ends."""
    monkeypatch.setattr(store._engine.pool, "_timeout", 0.01)
    with closing_all(store._engine.connect() for _ in range(10)), pytest.raises(DatabaseGone, match="became free"):
        asyncio.run(store.read(paused))


@contextmanager
def closing_all(connections: Iterator[Connection]) -> Iterator[None]:
    opened = list(connections)
    try:
        yield
    finally:
        for connection in opened:
            connection.close()


SECRETS = ("59899000111", "kiss me", "099 000 111")


def row(**given: Any) -> Any:
    return message(address=SECRETS[0], data=SECRETS[1], destination=SECRETS[2], details={"to": SECRETS[0]}, **given)


def twice(connection: Connection) -> None:
    one = row()
    submit(connection, [one, one])


MISTAKES: list[Callable[[Connection], Any]] = [
    twice,
    lambda connection: submit(connection, [row(priority=0)]),
    lambda connection: submit(connection, [row(priority=0), row()]),
    lambda connection: submit(connection, [row(parts=10**30)]),
    lambda connection: connection.execute(text("SELECT :a FROM nowhere"), {"a": SECRETS[0]}),
    lambda connection: connection.execute(
        text("INSERT INTO sms_repo (destination, data) VALUES (:a, :b)"), {"a": SECRETS[0], "b": SECRETS[1]}
    ),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=range(len(MISTAKES)))
def test_errors_name_nobody(store: Store, mistake: Callable[[Connection], Any]) -> None:
    """However wrong a statement is, no number and no text of a person shows in its error or the traceback."""
    with pytest.raises((DBAPIError, OverflowError)) as caught:
        store.transact_here(mistake)

    told = "".join(traceback.format_exception(caught.value))
    assert [] == [secret for secret in SECRETS if secret in told]


def test_errors_hold_no_password() -> None:
    """The password of the database's URL is in no error."""
    url = "postgresql+psycopg://dialerd:s3cret@127.0.0.1:1/dialerd"
    with closing(Store(url)) as store, pytest.raises(DatabaseGone) as caught:
        store.transact_here(paused)

    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


# -- PostgreSQL goes away ----------------------------------------------------------------------------------------------


def test_the_pool_heals_after_its_sessions_ended(postgres_store: Store) -> None:
    """When the server has ended every session, the next transactions get new ones, unnoticed."""
    together = threading.Barrier(4)

    def open_one(connection: Connection) -> int:
        together.wait(PATIENCE_S)
        return connection.execute(text("SELECT pg_backend_pid()")).scalar_one()

    with ThreadPoolExecutor(4) as threads:
        before = {one.result() for one in [threads.submit(postgres_store.transact_here, open_one) for _ in range(4)]}
        with closing(another(postgres_store)) as other:
            ended = select(
                other, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
            )  # fmt: skip
        after = {one.result() for one in [threads.submit(postgres_store.transact_here, open_one) for _ in range(4)]}

    assert len(ended) >= len(before) == 4
    assert set() == before & after


def test_a_session_that_ends_under_way_leaves_nothing(postgres_store: Store) -> None:
    """When the server ends the session in the middle of a transaction, nothing of it stands, and the next one goes."""

    def interrupted(connection: Connection) -> None:
        pause(connection)
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with closing(another(postgres_store)) as other:
            select(other, f"SELECT pg_terminate_backend({pid}, 5000)")
        paused(connection)

    with pytest.raises(DatabaseGone):
        postgres_store.transact_here(interrupted)

    assert {} == postgres_store.transact_here(paused)


def test_a_restart_in_between_is_not_noticed(postgres: PostgresServer, postgres_store: Store) -> None:
    """A server that went and came back while nobody asked it anything costs no transaction."""

    async def pause_twice() -> None:
        await asyncio.gather(postgres_store.transact(pause, "a"), postgres_store.transact(pause, "b"))

    asyncio.run(pause_twice())
    postgres.stop()
    postgres.start()

    assert {"a", "b"} == asyncio.run(postgres_store.read(paused)).keys()
    asyncio.run(pause_twice())


def test_the_pool_heals_after_a_restart(postgres: PostgresServer, postgres_store: Store) -> None:
    """While the server is down the database is gone, for writers and readers; once it is back all is as it was."""
    postgres_store.transact_here(pause)
    postgres.stop()
    try:
        with pytest.raises(DatabaseGone, match="does not answer"):
            postgres_store.transact_here(paused)
        with pytest.raises(DatabaseGone, match="does not answer"):
            asyncio.run(postgres_store.read(paused))
    finally:
        postgres.start()

    assert {"a"} == postgres_store.transact_here(paused).keys()
    assert {"a"} == asyncio.run(postgres_store.read(paused)).keys()


def test_a_database_that_is_not_there_is_gone(postgres: PostgresServer) -> None:
    """A database that does not exist may come: it is no error of a statement."""
    with closing(Store(postgres.url("nowhere"))) as store, pytest.raises(DatabaseGone, match="does not exist"):
        store.transact_here(paused)


# -- SQLite in trouble -------------------------------------------------------------------------------------------------


@contextmanager
def locked(store: Store) -> Iterator[sqlite3.Connection]:
    """Hold the file's write lock, as another process would."""
    with closing(sqlite3.connect(path_of(store), isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def test_a_writer_waits_for_another_process(sqlite_store: Store) -> None:
    """While another process writes, a transaction waits for it, and then goes on."""
    with ThreadPoolExecutor(1) as threads:
        with locked(sqlite_store) as other:
            waiting = threads.submit(sqlite_store.transact_here, pause)
            with pytest.raises(StillWaiting):
                waiting.result(timeout=0.2)
            other.execute("COMMIT")
        waiting.result(PATIENCE_S)

    assert {"a"} == sqlite_store.transact_here(paused).keys()


def test_a_wait_that_is_too_long_is_trouble(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that never ends its transaction is trouble to the others, and no more once it has."""
    monkeypatch.setattr(engine, "BUSY_S", 0.05)
    with closing(another(sqlite_store)) as impatient:
        with locked(sqlite_store), pytest.raises(DatabaseGone, match="locked"):
            impatient.transact_here(pause)
        impatient.transact_here(pause)


def test_a_full_disk_is_trouble(sqlite_store: Store) -> None:
    """Where the file cannot grow the database is gone, nothing of the transaction stands, and space heals it."""
    put(sqlite_store, "before")
    limits = iter([1, 2**30])

    @event.listens_for(sqlite_store._engine, "checkout")
    def limit(connection: sqlite3.Connection, *_: Any) -> None:
        connection.execute(f"PRAGMA max_page_count = {next(limits, 2**30)}")

    with pytest.raises(DatabaseGone, match="full"):
        put(sqlite_store, *["x" * 100_000] * 5)

    assert [("before",)] == select(sqlite_store, "SELECT data FROM sms_spool")
    put(sqlite_store, "after")


WRITER = """
import os, sys
from dialerd.model.errors import DatabaseGone
from dialerd.store import Store
from dialerd.store.pause import pause_campaign, paused
from datetime import UTC, datetime
store = Store(sys.argv[1])
if os.geteuid() == 0:
    os.setuid(65534)
try:
    store.transact_here(pause_campaign, "a", reason=None, now=datetime.now(UTC))
except DatabaseGone as error:
    print("gone:", error)
"""


def test_a_file_that_cannot_be_written_is_trouble(sqlite_template: Path) -> None:
    """A read-only file, or folder, means that the database is gone: who owns it can change that."""
    with TemporaryDirectory(dir="/tmp") as folder:
        copy = Path(folder) / "dialerd.db"
        copy.write_bytes(sqlite_template.read_bytes())
        copy.chmod(0o444)
        Path(folder).chmod(0o555)
        said = subprocess.run(
            [sys.executable, "-c", WRITER, f"sqlite:///{copy}"],
            check=False, capture_output=True, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        Path(folder).chmod(0o755)

    assert "" == said.stderr
    assert said.stdout.startswith("gone: the database does not answer: ")


@pytest.mark.parametrize("damage", ["no database", "broken pages"])
def test_a_damaged_file_is_trouble(sqlite_template: Path, tmp_path: Path, damage: str) -> None:
    """A file that is no database, or a broken one, means that the database is gone."""
    whole = sqlite_template.read_bytes()
    path = tmp_path / "damaged.db"
    path.write_bytes(
        b"this is no database" * 100 if damage == "no database" else whole[:4096] + os.urandom(len(whole) - 4096)
    )

    with closing(Store(f"sqlite:///{path}")) as store:
        with pytest.raises(DatabaseGone, match="not a database|malformed"):
            store.transact_here(paused)
        with pytest.raises(DatabaseGone, match="not a database|malformed"):
            asyncio.run(store.read(paused))


def test_a_folder_that_cannot_be_made_is_trouble(tmp_path: Path) -> None:
    """Where a file stands in the way of the folder, it is named."""
    (tmp_path / "file").touch()

    with pytest.raises(DatabaseGone, match=r"cannot make the folder .*/file/folder for the database"):
        Store(f"sqlite:///{tmp_path}/file/folder/dialerd.db")
