"""Databases at this version's tables, and rows to fill them with."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Table, insert, select

from dialerd.model.message import new_id
from dialerd.store import Store
from dialerd.store.migrate import migrate
from dialerd.store.tables import sms_repo, sms_scheduler, sms_spool

__all__ = ["NOW", "add", "migrated", "repoed", "rows", "scheduled", "spooled"]

NOW = datetime(2026, 6, 10, 15, 0, tzinfo=UTC)


@contextmanager
def migrated(url: str) -> Iterator[Store]:
    """Open an empty database, brought to this version."""
    store = Store(url, threads=2)
    try:
        store.transact_here(migrate)
        yield store
    finally:
        store.close()


def spooled(store: Store, *some: dict[str, Any], **common: Any) -> list[str]:
    """Put messages into the spool, one for each dict, and return their ids."""
    usual = {"campaign": "Ventas", "destination": "099123456", "data": "hola", "due_at": NOW, "due_since": NOW}
    return add(store, sms_spool, *({**usual, **common, **one} for one in some or ({},)))


def scheduled(store: Store, *some: dict[str, Any], **common: Any) -> list[str]:
    """Put messages into sms_scheduler, one for each dict, and return their ids."""
    usual = {"campaign": "Ventas", "destination": "099123456", "data": "hola", "calldate": NOW + timedelta(days=1)}
    return add(store, sms_scheduler, *({**usual, **common, **one} for one in some or ({},)))


def repoed(store: Store, *some: dict[str, Any], **common: Any) -> list[str]:
    """Put results into sms_repo, one for each dict, and return their ids."""
    usual = {
        "campaign": "Ventas",
        "destination": "099123456",
        "data": "hola",
        "priority": 9999,
        "status": "sent",
        "dateprocessed": NOW,
        "attempts": 1,
    }
    return add(store, sms_repo, *({**usual, **common, **one} for one in some or ({},)))


def add(store: Store, table: Table, *some: dict[str, Any]) -> list[str]:
    """Insert rows, give each an id, and return the ids."""
    given = [{"id": new_id(), **one} for one in some]
    for one in given:
        store.transact_here(lambda connection, one=one: connection.execute(insert(table).values(**one)))
    return [one["id"] for one in given]


def rows(store: Store, table: Table) -> dict[str, Any]:
    """Return a table's rows by id."""
    return store.transact_here(lambda connection: {row.id: row for row in connection.execute(select(table))})
