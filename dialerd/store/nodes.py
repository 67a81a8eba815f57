"""The processes that send: their signs of life, and the rescue of what a dead one held."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, text
from sqlalchemy.engine import Connection

from dialerd.model.retry import Verdict
from dialerd.store.settle import Settlement, settle
from dialerd.store.tables import node as node_table

__all__ = ["Incarnation", "beat", "enlist", "incarnations", "leave", "orphans", "rescue", "touch"]

#: The incarnation given to rows that stand as `sending` and name nobody.
NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incarnation:
    """One process of a node. `home` is its host and state folder; `beat` rises while it lives."""

    incarnation: str
    node: str
    home: str
    pid: int
    lease_s: float
    beat: int = 0
    started: datetime | None = None
    beat_at: datetime | None = None
    providers: Mapping[str, Any] | None = None


def enlist(connection: Connection, who: Incarnation) -> None:
    """Make an incarnation known, before its first claim."""
    connection.execute(
        insert(node_table).values(
            incarnation=who.incarnation, node=who.node, home=who.home, pid=who.pid, lease_s=who.lease_s
        )
    )


def beat(connection: Connection, incarnation: str, providers: Mapping[str, Any]) -> bool:
    """Give a sign of life and tell how the providers are; False if somebody has declared this incarnation dead."""
    clock = "clock_timestamp()" if connection.dialect.name == "postgresql" else "strftime('%Y-%m-%d %H:%M:%f', 'now')"
    statement = text(
        f"UPDATE node SET beat = beat + 1, beat_at = {clock}, providers = :providers WHERE incarnation = :incarnation"
    ).bindparams(bindparam("providers", type_=node_table.c.providers.type))
    return connection.execute(statement, {"incarnation": incarnation, "providers": dict(providers)}).rowcount == 1


def touch(connection: Connection, incarnation: str) -> None:
    """Write what changes nothing, to see whether the database takes it; who holds the row is not waited for long."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL lock_timeout = '3s'"))
    connection.execute(text("UPDATE node SET pid = pid WHERE incarnation = :incarnation"), {"incarnation": incarnation})


def leave(connection: Connection, incarnation: str) -> None:
    """Strike out an incarnation that has settled all it held."""
    connection.execute(delete(node_table).where(node_table.c.incarnation == incarnation))


def incarnations(connection: Connection) -> list[Incarnation]:
    """Return everybody who has enlisted and was neither struck out nor rescued."""
    return [Incarnation(**row._mapping) for row in connection.execute(select(node_table).order_by("started"))]


def orphans(connection: Connection) -> list[str]:
    """Return the incarnations that nobody knows (any more) but that hold messages."""
    connection.execute(
        text("UPDATE sms_spool SET incarnation = :nobody WHERE state = 'sending' AND incarnation IS NULL"),
        {"nobody": NOBODY},
    )
    statement = text(
        "SELECT DISTINCT s.incarnation FROM sms_spool s WHERE s.state = 'sending'"
        " AND NOT EXISTS (SELECT 1 FROM node n WHERE n.incarnation = s.incarnation)"
    )
    return list(connection.execute(statement).scalars())


def rescue(
    connection: Connection,
    incarnation: str,
    *,
    doubt: Callable[[str, int], Verdict],
    now: datetime,
    seen_beat: int | None = None,
) -> int | None:
    """Declare an incarnation dead and end its attempts as `doubt(campaign, attempt)` says; return how many.

    None if its beat is no longer `seen_beat`: it lives.
    """
    statement = delete(node_table).where(node_table.c.incarnation == incarnation)
    if seen_beat is not None and connection.execute(statement.where(node_table.c.beat == seen_beat)).rowcount == 0:
        return None
    connection.execute(statement)
    lock = " FOR UPDATE" if connection.dialect.name == "postgresql" else ""
    held = connection.execute(
        text(
            "SELECT seq, campaign, attempts FROM sms_spool WHERE state = 'sending' AND incarnation = :incarnation"
            f" ORDER BY seq{lock}"
        ),
        {"incarnation": incarnation},
    ).all()
    settlements = [
        Settlement(seq=seq, attempt=attempt, incarnation=incarnation, provider=None, verdict=doubt(campaign, attempt))
        for seq, campaign, attempt in held
    ]
    return settle(connection, settlements, now=now)
