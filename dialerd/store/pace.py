"""Pace, booked where all nodes see it: the next free instant of each limited provider and campaign."""

import time
from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.engine import Connection

from dialerd.model.pace import MOST_PARTS, Gate
from dialerd.store.arrays import bind_rows, rows_of

__all__ = ["book", "gates"]


def gates(
    connection: Connection, *, provider: tuple[str, float | None], campaigns: Mapping[str, float]
) -> tuple[float, Gate | None, dict[str, Gate]]:
    """Lock the pace of a provider and of campaigns, given the seconds between two units of each (None: no limit).

    Returns the database's clock in seconds since 1970, the provider's gate (None: no limit) and the campaigns' gates.
    On PostgreSQL other nodes wait for this transaction before they read the same gates.
    """
    intervals = {("campaign", name): interval_s for name, interval_s in campaigns.items()}
    if provider[1]:
        intervals["provider", provider[0]] = provider[1]
    if not intervals:
        return time.time(), None, {}
    booked = _locked(connection, sorted(intervals))
    if len(booked) < len(intervals):
        connection.execute(
            text("INSERT INTO pace (kind, name, next_at) VALUES (:kind, :name, 0) ON CONFLICT DO NOTHING"),
            [{"kind": kind, "name": name} for kind, name in sorted(intervals.keys() - booked.keys())],
        )
        booked = _locked(connection, sorted(intervals))
    now = _clock(connection)
    opened = {
        (kind, name): Gate(interval_s, booked[kind, name]).opened(
            now, most_cost=MOST_PARTS if kind == "provider" else 1
        )
        for (kind, name), interval_s in intervals.items()
    }
    of_provider = opened.pop(("provider", provider[0]), None)
    return now, of_provider, {name: gate for (_, name), gate in opened.items()}


def book(connection: Connection, *, provider: tuple[str, Gate | None], campaigns: Mapping[str, Gate]) -> None:
    """Write how far the gates have moved on."""
    rows = [{"kind": "campaign", "name": name, "next_at": gate.next_at} for name, gate in campaigns.items()]
    if provider[1]:
        rows.append({"kind": "provider", "name": provider[0], "next_at": provider[1].next_at})
    if rows:
        connection.execute(text("UPDATE pace SET next_at = :next_at WHERE kind = :kind AND name = :name"), rows)


def _locked(connection: Connection, keys: list[tuple[str, str]]) -> dict[tuple[str, str], float]:
    # One order for all nodes, so that no two wait for each other.
    lock = " FOR UPDATE OF p" if connection.dialect.name == "postgresql" else ""
    statement = (
        f"SELECT p.kind, p.name, p.next_at FROM {rows_of(connection, 'k', kind='text', name='text')}"
        f" CROSS JOIN pace p WHERE p.kind = k.kind AND p.name = k.name ORDER BY p.kind, p.name{lock}"
    )
    rows = connection.execute(text(statement), bind_rows(connection, "k", ("kind", "name"), keys))
    return {(kind, name): next_at for kind, name, next_at in rows}


def _clock(connection: Connection) -> float:
    if connection.dialect.name == "sqlite":
        return time.time()
    seconds: float = connection.execute(text("SELECT extract(epoch FROM clock_timestamp())::float8")).scalar_one()
    return seconds
