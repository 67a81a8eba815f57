"""Migrations: any database comes to this version's tables, once, whoever brings it there."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from dialerd.model.errors import DatabaseGone, Refused
from dialerd.store import Store
from dialerd.store.migrate import _config, at_head, migrate
from dialerd.store.tables import metadata
from tests.postgres import PostgresServer
from tests.store.conftest import execute, select

ROOT = Path(__file__).parents[2]

#: Migrates each database named on a line of its input, and says whether there was something to do.
MIGRATOR = """
import sys
from dialerd.store import Store
from dialerd.store.migrate import migrate
print("ready", flush=True)
for url in sys.stdin:
    store = Store(url.strip(), threads=1)
    print(store.transact_here(migrate), flush=True)
    store.close()
"""


@pytest.fixture
def fresh(bare_database_url: str) -> Iterator[Store]:
    """A store on a database without any table."""
    with closing(Store(bare_database_url, threads=2)) as store:
        yield store


def tables(store: Store) -> set[str]:
    return set(store.transact_here(lambda connection: inspect(connection).get_table_names()))


def with_alembic(store: Store, do: Callable[[object], None]) -> None:
    """Run one of alembic's commands on the store's database."""

    def run(connection: Connection) -> None:
        config = _config()
        config.attributes["connection"] = connection
        do(config)

    store.transact_here(run)


def shape(store: Store) -> list[tuple[str, ...]]:
    """Return the definition of everything in the database, as the database itself tells it."""
    if store.dialect == "sqlite":
        statement = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'alembic%' AND name NOT LIKE 'sqlite_%'"
    else:
        statement = (
            "SELECT table_name || '.' || column_name, concat_ws(' ', data_type, column_default, is_nullable)"
            " FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE 'alembic%'"
            " UNION ALL SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)"
            " FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conname NOT LIKE 'alembic%'"
            " UNION ALL SELECT indexname, indexdef FROM pg_indexes"
            " WHERE schemaname = 'public' AND indexname NOT LIKE 'alembic%'"
        )
    return sorted((name, *_pieces(sql or "")) for name, sql in select(store, statement))


def _pieces(sql: str) -> list[str]:
    """Return a definition cut at its outermost commas, in order: SQLite puts an added column behind the checks."""
    head, _, body = " ".join(sql.split()).partition("(")
    pieces, depth = [""], 0
    for letter in body.removesuffix(")"):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            pieces.append("")
        else:
            pieces[-1] += letter
    return [head, *sorted(piece.strip() for piece in pieces)]


def test_a_fresh_database_comes_to_this_version(fresh: Store) -> None:
    """An empty database gets every table, and is then at this version."""
    assert not fresh.transact_here(at_head)
    assert fresh.transact_here(migrate)

    assert fresh.transact_here(at_head)
    assert metadata.tables.keys() | {"alembic_version"} == tables(fresh)
    assert [(1,)] == select(fresh, "SELECT one FROM promotion")


def test_a_second_time_changes_nothing(fresh: Store) -> None:
    """At this version there is nothing to do."""
    fresh.transact_here(migrate)
    before = shape(fresh)

    assert not fresh.transact_here(migrate)
    assert before == shape(fresh)


@pytest.mark.filterwarnings("ignore:.*expression-based index")  # the blacklist's; the next test looks at it
def test_the_tables_are_what_the_code_believes(fresh: Store) -> None:
    """Alembic finds no difference between the migrated database and the code's tables."""
    fresh.transact_here(migrate)

    assert [] == fresh.transact_here(
        lambda connection: compare_metadata(MigrationContext.configure(connection), metadata)
    )


def test_checks_and_indexes_are_what_the_code_believes(fresh: Store, tmp_path: Path, postgres: PostgresServer) -> None:
    """Made from the code's tables, a database has the very same columns, defaults, checks and partial indexes."""
    fresh.transact_here(migrate)
    url = f"sqlite:///{tmp_path}/made.db" if fresh.dialect == "sqlite" else postgres.create_database("made")
    with closing(Store(url)) as made:
        made.transact_here(metadata.create_all)
        assert shape(made) == shape(fresh)
    if fresh.dialect == "postgresql":
        postgres.drop_database("made")


def test_down_and_up_again(fresh: Store) -> None:
    """Taken back, nothing of ours is left; brought up again, all is as it was."""
    fresh.transact_here(migrate)
    before = shape(fresh)
    with_alembic(fresh, lambda config: command.downgrade(config, "base"))
    assert {"alembic_version"} == tables(fresh)

    assert fresh.transact_here(migrate)
    assert before == shape(fresh)


def test_a_newer_database_is_refused(fresh: Store) -> None:
    """A database made by a newer dialerd is left alone, and the refusal says what to do."""
    fresh.transact_here(migrate)
    execute(fresh, "UPDATE alembic_version SET version_num = '9999'")
    before = shape(fresh)

    for asked in (migrate, at_head):
        with pytest.raises(Refused, match=r"made by a newer dialerd \(its version is 9999\): upgrade this one"):
            fresh.transact_here(asked)
    assert (before, [("9999",)]) == (shape(fresh), select(fresh, "SELECT version_num FROM alembic_version"))


def test_a_failed_migration_leaves_nothing(fresh: Store) -> None:
    """Where a table of ours cannot be made, none is: the next attempt begins at the beginning."""
    execute(fresh, "CREATE TABLE pause (theirs integer)")
    with pytest.raises(DBAPIError):
        fresh.transact_here(migrate)
    assert {"pause"} == tables(fresh)

    execute(fresh, "DROP TABLE pause")
    assert fresh.transact_here(migrate)


def test_a_database_shared_with_others_is_migrated(fresh: Store) -> None:
    """Tables of other systems stay as they are."""
    execute(fresh, "CREATE TABLE theirs (n integer)", "INSERT INTO theirs VALUES (1)")

    assert fresh.transact_here(migrate)
    assert [(1,)] == select(fresh, "SELECT n FROM theirs")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_at_once_migrate_once(kind: str, tmp_path: Path, postgres: PostgresServer) -> None:
    """Of two processes that open an empty database at once each finds it migrated, and one has done it."""
    count = 8 if kind == "sqlite" else 3
    urls = [
        f"sqlite:///{tmp_path}/{number}/new.db" if kind == "sqlite" else postgres.create_database(f"race_{number}")
        for number in range(count)
    ]
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATOR], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for _ in range(2)
    ]
    try:
        assert ["ready\n"] * 2 == [racer.stdout.readline() for racer in racers if racer.stdout]
        for url in urls:
            for racer in racers:
                assert racer.stdin is not None
                racer.stdin.write(f"{url}\n")
                racer.stdin.flush()
            said = [racer.stdout.readline().strip() for racer in racers if racer.stdout]
            assert ["False", "True"] == sorted(said)
    finally:
        for racer in racers:
            racer.communicate(timeout=60)
    if kind == "postgresql":
        for number in range(count):
            postgres.drop_database(f"race_{number}")


def test_a_long_migration_is_waited_for(bare_postgres_url: str) -> None:
    """On PostgreSQL no limit of ours on statements and locks ends a migration, or the wait for another one's."""

    def migrate_in_haste(connection: Connection) -> bool:
        connection.execute(text("SET statement_timeout = '100ms'; SET lock_timeout = '100ms'"))
        return migrate(connection)

    with (
        closing(Store(bare_postgres_url)) as first,
        closing(Store(bare_postgres_url)) as second,
        ThreadPoolExecutor(1) as pool,
    ):

        def migrate_slowly(connection: Connection) -> bool:
            done = migrate(connection)
            waiting = pool.submit(second.transact_here, migrate_in_haste)
            # By the server's clock, and longer than either limit.
            connection.execute(text("SELECT pg_sleep(0.5)"))
            assert not waiting.done()
            others.append(waiting)
            return done

        others: list[Future[bool]] = []
        assert first.transact_here(migrate_slowly)
        assert not others[0].result(60)


def test_a_user_without_rights_is_told_so(postgres: PostgresServer, bare_postgres_url: str) -> None:
    """Whoever may not make tables, or use them, learns in a line what the server does not let him do."""
    with closing(Store(bare_postgres_url)) as owner:
        execute(owner, "CREATE ROLE stranger LOGIN")
        stranger = Store(bare_postgres_url.replace("postgres@", "stranger@"))
        try:
            with pytest.raises(DatabaseGone, match=r"does not let us: permission denied for schema public; its user"):
                stranger.transact_here(migrate)
            owner.transact_here(migrate)
            with pytest.raises(DatabaseGone, match=r"does not let us: permission denied for table alembic_version"):
                stranger.transact_here(at_head)
        finally:
            stranger.close()
            execute(owner, "DROP ROLE stranger")


def test_the_folder_may_be_called_anything(tmp_path: Path) -> None:
    """A database in a new folder with spaces and percent signs is made like any other."""
    with closing(Store(f"sqlite:///{tmp_path}/100% ours/de él/dialerd.db")) as store:
        assert store.transact_here(migrate)
        store.transact_here(lambda connection: connection.execute(text("SELECT 1 FROM sms_spool")))
