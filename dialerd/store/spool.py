"""What comes into sms_spool and what becomes of it while it waits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, text
from sqlalchemy.engine import Connection

from dialerd.model.message import State, Status
from dialerd.store.arrays import any_of, bind_list
from dialerd.store.columns import Instant
from dialerd.store.settle import Ending, finish_waiting
from dialerd.store.tables import sms_spool

__all__ = [
    "NewMessage",
    "count_by_bound",
    "count_queued",
    "expire",
    "newest_seq",
    "next_ripe",
    "oldest_waiting",
    "ripen",
    "submit",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A message that has passed intake. `due_since` None: it waits for a release and is not due before."""

    id: str
    campaign: str
    destination: str
    data: str
    priority: int
    base: str | None = None
    calldate: datetime | None = None
    agent: str | None = None
    source: str | None = None
    details: Mapping[str, Any] | None = None
    state: State = State.QUEUED
    due_at: datetime
    due_since: datetime | None
    queued_at: datetime
    address: str
    zone: str
    parts: int


COLUMNS = tuple(NewMessage.__dataclass_fields__)


def submit(connection: Connection, messages: Sequence[NewMessage]) -> None:
    """Put messages into the spool, first in first out in the given order."""
    if messages:
        connection.execute(insert(sms_spool), [{name: getattr(m, name) for name in COLUMNS} for m in messages])


def ripen(connection: Connection, *, now: datetime, most: int) -> int:
    """Queue the deferred messages whose time has come, oldest first; return how many."""
    skip = " FOR UPDATE SKIP LOCKED" if connection.dialect.name == "postgresql" else ""
    due = connection.execute(
        text(
            f"SELECT seq FROM sms_spool WHERE state = 'deferred' AND due_at <= :now ORDER BY due_at LIMIT :most{skip}"
        ).bindparams(bindparam("now", type_=Instant)),
        {"now": now, "most": most},
    )
    seqs = list(due.scalars())
    if seqs:
        connection.execute(
            text(f"UPDATE sms_spool SET state = 'queued' WHERE {any_of(connection, 'seq', 'seqs', 'bigint')}"),
            {"seqs": bind_list(connection, seqs)},
        )
    return len(seqs)


def next_ripe(connection: Connection) -> datetime | None:
    """Return when the next deferred message is due."""
    statement = text("SELECT due_at FROM sms_spool WHERE state = 'deferred' ORDER BY due_at LIMIT 1")
    due_at: datetime | None = connection.execute(statement.columns(due_at=Instant)).scalar()
    return due_at


def oldest_waiting(connection: Connection) -> dict[str, datetime]:
    """Return since when the oldest waiting message of each campaign has been due."""
    # Two probes of the index for each campaign that has any, however many wait in it.
    waiting = "state IN ('queued', 'deferred')"
    statement = text(
        "WITH RECURSIVE head(campaign) AS ("
        f" SELECT min(campaign) FROM sms_spool WHERE {waiting}"
        " UNION ALL"
        f" SELECT (SELECT min(n.campaign) FROM sms_spool n WHERE {waiting} AND n.campaign > head.campaign)"
        " FROM head WHERE head.campaign IS NOT NULL)"
        " SELECT campaign, (SELECT min(s.due_since) FROM sms_spool s"
        f" WHERE {waiting} AND s.campaign = head.campaign) AS due_since"
        " FROM head WHERE campaign IS NOT NULL"
    ).columns(due_since=Instant)
    return {campaign: due_since for campaign, due_since in connection.execute(statement) if due_since is not None}


def expire(
    connection: Connection, campaign: str, *, due_before: datetime, reason: str, now: datetime, most: int
) -> int:
    """Move waiting messages of a campaign that have been due since before `due_before` to sms_repo; return how many."""
    skip = " FOR UPDATE SKIP LOCKED" if connection.dialect.name == "postgresql" else ""
    statement = text(
        "SELECT seq FROM sms_spool WHERE state IN ('queued', 'deferred') AND campaign = :campaign"
        f" AND due_since < :due_before ORDER BY due_since LIMIT :most{skip}"
    ).bindparams(bindparam("due_before", type_=Instant))
    seqs = connection.execute(statement, {"campaign": campaign, "due_before": due_before, "most": most}).scalars()
    return finish_waiting(connection, [Ending(seq, Status.EXPIRED, reason) for seq in seqs], now=now)


def newest_seq(connection: Connection) -> int:
    """Return the seq of the newest message in the spool, 0 if it is empty."""
    return connection.execute(text("SELECT max(seq) FROM sms_spool")).scalar() or 0


def count_queued(connection: Connection, *, campaigns: Sequence[str], up_to_seq: int) -> int:
    """Return how many messages of these campaigns are queued, up to a seq."""
    known = any_of(connection, "campaign", "campaigns", "text")
    statement = text(f"SELECT count(*) FROM sms_spool WHERE state = 'queued' AND seq <= :up_to_seq AND {known}")
    found = connection.execute(statement, {"up_to_seq": up_to_seq, "campaigns": bind_list(connection, campaigns)})
    return found.scalar() or 0


def count_by_bound(connection: Connection, *, campaigns: Sequence[str], up_to_seq: int) -> dict[tuple[str, str], int]:
    """Return how many messages of these campaigns are queued, up to a seq, by campaign and `bound` (see lanes.Lane)."""
    known = any_of(connection, "campaign", "campaigns", "text")
    statement = text(
        "SELECT campaign, bound, count(*) FROM sms_spool WHERE state = 'queued' AND seq <= :up_to_seq"
        f" AND {known} GROUP BY campaign, bound"
    )
    found = connection.execute(statement, {"up_to_seq": up_to_seq, "campaigns": bind_list(connection, campaigns)})
    return {(campaign, bound): count for campaign, bound, count in found}
