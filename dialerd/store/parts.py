"""The parts of long SMS that a provider has taken, each with its name for it: sms_part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from dialerd.store.arrays import any_of, bind_list
from dialerd.store.columns import Instant, MessageId

__all__ = ["TakenParts", "accepted_parts", "forget_parts", "keep_parts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenParts:
    """What `provider` has taken of one message for `address`: its names for the parts, by their numbers (from 1)."""

    message: str
    provider: str
    address: str
    parts: Mapping[int, str | None]


def keep_parts(connection: Connection, taken: Sequence[TakenParts], *, now: datetime) -> None:
    """Write down which parts were taken; a part that is taken again has its new name from now on."""
    statement = text(
        "INSERT INTO sms_part (message, part, provider, provider_id, address, taken_at)"
        " VALUES (:message, :part, :provider, :provider_id, :address, :now)"
        " ON CONFLICT (message, part) DO UPDATE SET provider = excluded.provider,"
        " provider_id = coalesce(excluded.provider_id, sms_part.provider_id), taken_at = excluded.taken_at,"
        " delivery = CASE WHEN excluded.provider_id IS NULL OR excluded.provider_id = sms_part.provider_id"
        " THEN sms_part.delivery END"
    ).bindparams(bindparam("now", type_=Instant), bindparam("message", type_=MessageId))
    rows = [
        {
            "message": one.message,
            "part": part,
            "provider": one.provider,
            "provider_id": provider_id,
            "address": one.address,
            "now": now,
        }
        for one in taken
        for part, provider_id in one.parts.items()
    ]
    if rows:
        connection.execute(statement, rows)


def accepted_parts(connection: Connection, messages: Sequence[str]) -> dict[str, dict[int, str | None]]:
    """Return for each message (by id) the parts that were taken, with the provider's names for them."""
    statement = text(
        f"SELECT message, part, provider_id FROM sms_part WHERE {any_of(connection, 'message', 'messages', 'uuid')}"
        " ORDER BY part"
    ).columns(message=MessageId)
    accepted: dict[str, dict[int, str | None]] = {}
    for message, part, provider_id in connection.execute(statement, {"messages": bind_list(connection, messages)}):
        accepted.setdefault(message, {})[part] = provider_id
    return accepted


def forget_parts(connection: Connection, *, before: datetime, now: datetime, most: int) -> int:
    """Forget parts that were taken so long ago that no receipt comes any more; return how many were looked at.

    Those of a message that still waits in the spool count as taken now.
    """
    oldest = text(
        "SELECT message, part, EXISTS (SELECT 1 FROM sms_spool s WHERE s.id = o.message) AS needed FROM"
        " (SELECT message, part FROM sms_part WHERE taken_at < :before ORDER BY taken_at LIMIT :most) AS o"
    ).bindparams(bindparam("before", type_=Instant))
    rows = connection.execute(oldest.columns(message=MessageId), {"before": before, "most": most}).all()
    this = "WHERE message = :message AND part = :part"
    for statement, needed in (
        (f"DELETE FROM sms_part {this}", False),
        (f"UPDATE sms_part SET taken_at = :now {this}", True),
    ):
        some = [{"message": row.message, "part": row.part, "now": now} for row in rows if bool(row.needed) is needed]
        if some:
            typed = text(statement).bindparams(bindparam("message", type_=MessageId))
            connection.execute(typed.bindparams(bindparam("now", type_=Instant)) if needed else typed, some)
    return len(rows)
