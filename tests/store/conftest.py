"""Databases at this version's tables, and what is put into them and asked of them."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, text

from dialerd.examine import examine
from dialerd.model.campaign import Campaign
from dialerd.model.message import BULK, Channel, Message, new_id
from dialerd.store import Store, pace
from dialerd.store.claim import claim
from dialerd.store.columns import Instant
from dialerd.store.order import Claimed, Order, Terms
from dialerd.store.spool import NewMessage, submit
from dialerd.store.tables import metadata
from tests.postgres import PostgresServer
from tests.store.filled import NOW

__all__ = [
    "ME",
    "Clock",
    "another",
    "campaign",
    "execute",
    "fill",
    "message",
    "order",
    "put",
    "select",
    "take",
    "take_all",
    "texts",
]

#: The incarnation that claims where nothing else is said.
ME = "me-1"


@pytest.fixture(scope="session")
def migrated_postgres(postgres: PostgresServer, postgres_template: str) -> str:
    """The URL of a migrated PostgreSQL database that tests wipe and use one after the other."""
    return postgres.create_database("store", postgres_template)


@pytest.fixture
def sqlite_store(sqlite_template: Path, tmp_path: Path) -> Iterator[Store]:
    """A store on an empty SQLite database at this version's tables."""
    shutil.copy(sqlite_template, tmp_path / "store.db")
    with closing(Store(f"sqlite:///{tmp_path}/store.db")) as store:
        yield store


@pytest.fixture
def postgres_store(migrated_postgres: str) -> Iterator[Store]:
    """A store on an empty PostgreSQL database at this version's tables."""
    with closing(Store(migrated_postgres)) as store:
        store.transact_here(lambda connection: connection.exec_driver_sql(WIPE))
        yield store


WIPE = "; ".join(f"DELETE FROM {name}" for name in metadata.tables if name != "promotion") + (
    "; UPDATE promotion SET promoted_until = '1970-01-01Z'"
)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Store:
    """A store on an empty database at this version's tables, on each kind in turn."""
    kind = {"sqlite": "sqlite_store", "postgresql": "postgres_store"}[request.param]
    opened: Store = request.getfixturevalue(kind)
    return opened


@dataclass(slots=True)
class Clock:
    """The database's clock, in the test's hand: seconds since 1970."""

    now_s: float = NOW.timestamp()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which pace is booked, standing still at NOW."""
    hand = Clock()
    monkeypatch.setattr(pace, "_clock", lambda connection: hand.now_s)
    return hand


def another(store: Store) -> Store:
    """Open the same database once more, as another process would; to be closed by the caller."""
    return Store(store._engine.url.render_as_string(hide_password=False))


def campaign(name: str = "Ventas", **given: Any) -> Campaign:
    """Return a campaign without any limit."""
    return Campaign(**{"name": name, "channel": Channel.SMS, "provider": "p"} | given)


def message(**given: Any) -> NewMessage:
    """Return a message that has passed intake and is due."""
    usual = {
        "id": new_id(),
        "campaign": "Ventas",
        "destination": "099 123 456",
        "data": "hola",
        "priority": BULK,
        "due_at": NOW,
        "due_since": NOW,
        "queued_at": NOW,
        "address": "59899123456",
        "zone": "?",
        "parts": 1,
    }
    return NewMessage(**usual | given)


def put(store: Store, *some: str | Mapping[str, Any], **common: Any) -> list[str]:
    """Submit messages, each given by its text or by what is special about it; return their ids."""
    messages = [message(**common | ({"data": one} if isinstance(one, str) else dict(one))) for one in some]
    store.transact_here(submit, messages)
    return [one.id for one in messages]


def fill(store: Store, n: int, *, table: str = "sms_spool", **columns: Any) -> None:
    """Insert n rows at once, as another system would."""
    values = {"campaign": "Ventas", "destination": "099123456", "data": "hola"} | columns
    rising = "generate_series(1, :n)" if store.dialect == "postgresql" else f"({RISING})"
    bound = ", ".join(f":{name}" if store.dialect == "sqlite" else f"CAST(:{name} AS {_type(name)})" for name in values)
    statement = text(f"INSERT INTO {table} ({', '.join(values)}) SELECT {bound} FROM {rising} AS n")
    instants = [bindparam(name, type_=Instant) for name in values if name in INSTANTS]
    store.transact_here(lambda c: c.execute(statement.bindparams(*instants), {"n": n} | values))


RISING = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < :n) SELECT n FROM r"
INSTANTS = {"calldate", "due_at", "due_since", "queued_at", "created", "dateprocessed"}
TYPES = {"priority": "int", "attempts": "int", "parts": "int", "details": "jsonb"}


def _type(column: str) -> str:
    return "timestamptz" if column in INSTANTS else TYPES.get(column, "text")


def order(*campaigns: Campaign | Terms, **given: Any) -> Order:
    """Return what a dialer asks for whose campaigns these are; a campaign alone has as many permits as the dialer."""
    permits = given.setdefault("permits", 50)
    terms = [one if isinstance(one, Terms) else Terms(one, permits) for one in campaigns or (campaign(),)]
    usual = {
        "provider": "p",
        "provider_interval_s": None,
        "incarnation": ME,
        "node": "n1",
        "now": NOW,
        "terms": {one.campaign.name: one for one in terms},
        "awake": lambda campaign, zone: True,
        "examine": examine,
    }
    return Order(**usual | given)


def take(store: Store, *campaigns: Campaign | Terms, **given: Any) -> Claimed:
    """Claim once."""
    return store.transact_here(claim, order(*campaigns, **given))


def take_all(store: Store, *campaigns: Campaign | Terms, **given: Any) -> list[Message]:
    """Claim until a claim ends with nothing left for it."""
    taken: list[Message] = []
    while (claimed := take(store, *campaigns, **given)).messages or claimed.ended:
        taken += [one for one, _ in claimed.messages]
    return taken


def texts(claimed: Claimed | list[Message]) -> list[str]:
    """Return the texts of what was taken, in its order."""
    messages = claimed if isinstance(claimed, list) else [one for one, _ in claimed.messages]
    return [one.data for one in messages]


def select(store: Store, statement: str, **types: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    bare = text(statement)
    return store.transact_here(lambda c: [tuple(row) for row in c.execute(bare.columns(**types) if types else bare)])


def execute(store: Store, *statements: str) -> None:
    """Execute statements, as another system would."""
    store.transact_here(lambda c: [c.execute(text(statement)) for statement in statements])
