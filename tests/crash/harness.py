"""dialerd as its operator has it, in a folder of the test's own: a configuration, a database, processes, a provider."""

import json
import shutil
import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import text
from sqlalchemy.pool import NullPool

from dialerd.store import Store
from dialerd.store.migrate import migrate
from tests.crash.processes import PATIENCE_S, Ended, Process
from tests.postgres import PostgresServer

__all__ = ["CAMPAIGN", "Databases", "Site"]

CAMPAIGN = "ventas"

#: No two databases of one server have the same name.
numbers = count(1)


class Databases:
    """Makes empty databases of this version, each a copy of one that was migrated."""

    def __init__(self, folder: Path, server: Callable[[], PostgresServer]) -> None:
        self._folder = folder
        self._server = server
        self._template: Path | None = None
        self._copied: PostgresServer | None = None

    def make(self, kind: str, folder: Path) -> str:
        """Return the URL of a new database, `sqlite` or `postgresql`; the SQLite file lies in `folder`."""
        if kind == "sqlite":
            if self._template is None:
                self._template = self._folder / "template.db"
                self._migrate(f"sqlite:///{self._template}")
            shutil.copy(self._template, folder / "dialerd.db")
            return f"sqlite:///{folder}/dialerd.db"
        server = self._server()
        if self._copied is not server:
            self._source = f"site_{next(numbers)}"
            self._migrate(server.create_database(self._source))
            self._copied = server
        return server.create_database(f"site_{next(numbers)}", template=self._source)

    def drop(self, url: str) -> None:
        """Delete a PostgreSQL database."""
        if url.startswith("postgresql"):
            self._server().drop_database(url.rpartition("/")[2])

    def _migrate(self, url: str) -> None:
        store = Store(url)
        store.transact_here(migrate)
        store.close()


@dataclass(slots=True)
class Site:
    """A configuration with one SMS campaign on one provider, the file driver; its database; its processes.

    `options` are lines for the campaign's file, `more` are campaigns beside it, `daemon_options` lines for [daemon].
    What is set is written by write(); processes get `environment` too.
    """

    folder: Path
    url: str
    latency_ms: int = 0
    max_in_flight: int = 20
    lease_s: float = 30
    drain_s: float = 5
    options: str = ""
    more: dict[str, str] = field(default_factory=dict)
    providers: str = ""
    node: str = "one"
    daemon_options: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    config: Path = field(init=False)
    path: Path = field(init=False)
    engine: sqlalchemy.Engine = field(init=False)

    def __post_init__(self) -> None:
        self.config = self.folder / "config"
        self.path = self.folder / "outbox.jsonl"
        self.engine = sqlalchemy.create_engine(self.url, poolclass=NullPool)
        if self.url.startswith("sqlite"):
            sqlalchemy.event.listen(self.engine, "connect", _patient)
        self.write()

    def close(self) -> None:
        """End whatever runs."""
        for process in self.processes:
            process.close()
        self.processes.clear()
        self.engine.dispose()

    # -- the configuration -------------------------------------------------------------------------------------

    def write(self) -> None:
        """Write the configuration as it is set now."""
        campaigns = self.config / "campaigns"
        campaigns.mkdir(parents=True, exist_ok=True)
        (self.config / "dialerd.toml").write_text(
            f'[daemon]\nstate_dir = "{self.folder}/state"\nnode = "{self.node}"\n'
            f"lease_s = {self.lease_s}\ndrain_s = {self.drain_s}\n{self.daemon_options}"
            f'[database]\nurl = "{self.url}"\n'
            f'[providers.out]\ndriver = "file"\npath = "{self.path}"\nlatency_ms = {self.latency_ms}\n'
            f"max_in_flight = {self.max_in_flight}\n{self.providers}"
        )
        wanted = {CAMPAIGN: self.options, **self.more}
        for file in campaigns.iterdir():
            if file.stem not in wanted:
                file.unlink()
        for name, options in wanted.items():
            head = "" if "channel =" in options else 'channel = "sms"\n'
            head += "" if "provider =" in options else 'provider = "out"\n'
            (campaigns / f"{name}.toml").write_text(f'name = "{name}"\n{head}{options}\n')

    # -- processes ---------------------------------------------------------------------------------------------

    def start(self, *arguments: str, failpoint: str | None = None) -> Process:
        """Start `dialerd ARGUMENTS`."""
        return self.start_function("tests.crash.processes:command", *arguments, failpoint=failpoint)

    def start_function(self, function: str, *arguments: str, failpoint: str | None = None) -> Process:
        """Start a process that calls `module:function`."""
        environment = {"DIALERD_CONFIG": str(self.config)} | self.environment
        if failpoint:
            environment["DIALERD_FAILPOINT"] = failpoint
        process = Process(self.folder, function, arguments, environment)
        self.processes.append(process)
        return process

    def daemon(self, *arguments: str) -> Process:
        """Start `dialerd run` and wait until it says that it runs."""
        process = self.start("run", *arguments)
        process.until_event("daemon_started")
        return process

    def call(self, *arguments: str, within_s: float = PATIENCE_S) -> Ended:
        """Run `dialerd ARGUMENTS` to its end."""
        process = self.start(*arguments)
        return Ended(process.wait(within_s), process.stdout, process.stderr)

    # -- the database ------------------------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.engine.dialect.name

    def rows(self, sql: str, **given: Any) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql), given)]

    def value(self, sql: str, **given: Any) -> Any:
        """Return the one value that a query finds."""
        return self.rows(sql, **given)[0][0]

    def execute(self, sql: str, rows: Sequence[Mapping[str, Any]] | None = None) -> None:
        """Run a statement of an outside system in a transaction of its own."""
        with self.engine.begin() as connection:
            connection.execute(text(sql), rows) if rows is not None else connection.execute(text(sql))

    def fill(self, number: int, *, campaign: str = CAMPAIGN, priority: int = 9999, data: str = "hola") -> list[str]:
        """Insert messages into sms_spool as another system would; return their ids."""
        ids = [str(uuid.uuid4()) for _ in range(number)]
        self.execute(
            "INSERT INTO sms_spool (id, campaign, destination, data, priority)"
            " VALUES (:id, :campaign, :destination, :data, :priority)",
            [
                {
                    "id": id_, "campaign": campaign, "destination": f"5989{n:07}", "data": f"{data} {n}",
                    "priority": priority,
                }
                for n, id_ in enumerate(ids)
            ],
        )  # fmt: skip
        return ids

    def plan(self, number: int, *, due_in_s: float = -60, campaign: str = CAMPAIGN) -> list[str]:
        """Insert messages into sms_scheduler as another system would; return their ids."""
        ids = [str(uuid.uuid4()) for _ in range(number)]
        calldate = datetime.now(UTC) + timedelta(seconds=due_in_s)
        self.execute(
            "INSERT INTO sms_scheduler (id, calldate, campaign, destination, data)"
            " VALUES (:id, :calldate, :campaign, :destination, :data)",
            [
                {
                    "id": id_, "calldate": self.instant(calldate), "campaign": campaign, "destination": f"5989{n:07}",
                    "data": f"cita {n}",
                }
                for n, id_ in enumerate(ids)
            ],
        )  # fmt: skip
        return ids

    def instant(self, when: datetime) -> Any:
        """Return an instant as another system would write it."""
        return when if self.kind == "postgresql" else f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S}"

    def states(self) -> dict[str, int]:
        """Return how many messages stand in the spool, by state."""
        return dict(self.rows("SELECT state, count(*) FROM sms_spool GROUP BY state"))

    def places(self) -> Counter[str]:
        """Return in how many of the three tables each message stands."""
        tables = ("sms_scheduler", "sms_spool", "sms_repo")
        union = " UNION ALL ".join(f"SELECT id FROM {table}" for table in tables)
        return Counter(str(id_) for (id_,) in self.rows(union))

    def sent(self) -> set[str]:
        """Return the ids that dialerd says it has sent."""
        return {str(id_) for (id_,) in self.rows("SELECT id FROM sms_repo WHERE status = 'sent'")}

    def doubts(self) -> set[str]:
        """Return the ids that are in doubt."""
        return {str(id_) for (id_,) in self.rows("SELECT id FROM sms_spool WHERE state = 'in_doubt'")}

    def held(self, node: str | None = None) -> set[str]:
        """Return the ids that a node's, or any, process has claimed, be it dead or alive."""
        held = self.rows("SELECT id, node FROM sms_spool WHERE state = 'sending'")
        return {str(id_) for id_, by in held if node in (None, by)}

    def is_free(self) -> bool:
        """Tell whether nobody is in the middle of a transaction, and stays there."""
        if self.kind == "postgresql":
            time.sleep(0.3)
            return not self.value(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND xact_start < clock_timestamp() - interval '200 ms'"
            )
        connection = sqlite3.connect(self.engine.url.database, timeout=0.5, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
        finally:
            connection.close()
        return True

    def until_drained(self, process: Process, *, within_s: float = PATIENCE_S) -> None:
        """Wait until nothing but doubts is left to be sent."""
        waiting = "SELECT (SELECT count(*) FROM sms_spool WHERE state <> 'in_doubt') + count(*) FROM sms_scheduler"

        def drained() -> bool:
            assert process.status is None, f"ended with {process.status}: {process.name}\n{process.tail()}"
            return bool(self.value(waiting) == 0)

        try:
            process.told(drained, "the spool is drained", within_s=within_s, look_s=0.03)
        except AssertionError as error:
            raise AssertionError(f"{error}\nleft: {self.states()}") from None

    # -- the provider's side -----------------------------------------------------------------------------------

    def lines(self) -> list[dict[str, Any]]:
        """Return what the provider was given, in order."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines() if line.endswith("}")]

    def outbox(self, key: str = "id") -> Counter[str]:
        """Return how often the provider was given each message, by its id, or by another key of its lines."""
        return Counter(line[key] for line in self.lines())

    def given(self) -> int:
        """Return how many lines the provider has, without reading them."""
        return self.path.read_bytes().count(b"\n") if self.path.exists() else 0

    # -- what must hold ----------------------------------------------------------------------------------------

    def faults(self, accepted: Iterable[str], *, may_repeat: Collection[str] = ()) -> list[str]:
        """Compare what was accepted with the tables and with the provider's side; return what is wrong."""
        accepted = set(accepted)
        places, outbox, sent = self.places(), self.outbox(), self.sent()
        found = {
            "LOST": [id_ for id_ in accepted if id_ not in places],
            "LOST (called sent, but the provider never had it)": [id_ for id_ in sent if id_ not in outbox],
            "TWICE at the provider": [id_ for id_, times in outbox.items() if times > 1 and id_ not in may_repeat],
            "TWICE in the tables": [id_ for id_, times in places.items() if times > 1],
            "NOT SENT though the provider had it": outbox.keys() - sent - self.doubts() - self.held(),
            "NOBODY'S": places.keys() - accepted,
        }
        return [f"{what}: {len(ids)} of {len(accepted)}, {sorted(ids)[:3]}" for what, ids in found.items() if ids]


def _patient(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA busy_timeout = 30000")
