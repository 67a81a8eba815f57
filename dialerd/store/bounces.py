"""Bounces: recorded with the message they are of, and counted by address."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from dialerd.model.bounce import Bounce, BounceKind
from dialerd.store.columns import Instant, MessageId

__all__ = ["Recorded", "is_waiting", "record"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Of whose mail a bounce was: `address` is canonical, `hard` the number of mails to it that bounced hard so far."""

    campaign: str
    address: str
    hard: int


def record(connection: Connection, bounce: Bounce, *, now: datetime) -> Recorded | None:
    """Record a bounce and what it means for its message; None if there is no such message in sms_repo.

    A message that is known to have been delivered, or not to, stays so. The same bounce again changes nothing.
    """
    row = connection.execute(
        text(
            "SELECT campaign, coalesce(address, lower(destination)) AS address FROM sms_repo WHERE id = :id"
        ).bindparams(bindparam("id", bounce.message_id, type_=MessageId))
    ).one_or_none()
    if row is None:
        return None
    if bounce.kind is BounceKind.DELIVERED:
        _set_delivery(connection, bounce, "delivered", None, now)
    else:
        connection.execute(
            text(
                "INSERT INTO bounce (message, campaign, address, kind, status, text, received)"
                " VALUES (:message, :campaign, :address, :kind, :status, :text, :now)"
                " ON CONFLICT (message, kind) DO NOTHING"
            ).bindparams(bindparam("message", type_=MessageId), bindparam("now", type_=Instant)),
            {
                "message": bounce.message_id,
                "campaign": row.campaign,
                "address": row.address,
                "kind": bounce.kind,
                "status": bounce.status,
                "text": bounce.text,
                "now": now,
            },
        )
    if bounce.kind in {BounceKind.HARD, BounceKind.FAILED}:
        _set_delivery(connection, bounce, "undelivered", f"bounced: {bounce.status or ''} {bounce.text}".strip(), now)
    hard = connection.execute(
        text("SELECT count(*) FROM bounce WHERE address = :address AND kind = 'hard'"), {"address": row.address}
    ).scalar_one()
    return Recorded(campaign=row.campaign, address=row.address, hard=hard)


def is_waiting(connection: Connection, message_id: str) -> bool:
    """Tell whether a message stands in the spool: a bounce can be faster than the record of its sending."""
    found = connection.execute(
        text("SELECT 1 FROM sms_spool WHERE id = :id").bindparams(bindparam("id", message_id, type_=MessageId))
    )
    return found.first() is not None


def _set_delivery(connection: Connection, bounce: Bounce, delivery: str, error: str | None, now: datetime) -> None:
    connection.execute(
        text(
            "UPDATE sms_repo SET delivery = :delivery, delivered_at = :now, error = coalesce(:error, error)"
            " WHERE id = :id AND delivery IS NULL"
        ).bindparams(bindparam("id", type_=MessageId), bindparam("now", type_=Instant)),
        {"delivery": delivery, "error": error, "id": bounce.message_id, "now": now},
    )
