"""Bounces: recorded with the message they are of, and counted by address."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from dialerd.model.bounce import Bounce, BounceKind
from dialerd.model.receipt import Delivery, Receipt, ReceiptIds
from dialerd.store.columns import Instant, MessageId
from dialerd.store.deliveries import Said
from dialerd.store.deliveries import record as record_deliveries
from dialerd.store.known import Told
from dialerd.store.matching import match

__all__ = ["Recorded", "is_waiting", "record"]

#: What a bounce says of its message's delivery; of one that is still tried, nothing yet.
DELIVERY = {
    BounceKind.HARD: Delivery.UNDELIVERED,
    BounceKind.FAILED: Delivery.UNDELIVERED,
    BounceKind.DELIVERED: Delivery.DELIVERED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Of whose mail a bounce was: `address` is canonical, `hard` the number of mails to it that bounced hard so far."""

    campaign: str
    address: str
    hard: int


def record(connection: Connection, bounce: Bounce, *, now: datetime) -> Recorded | None:
    """Record a bounce and what it means for its message; None if there is no such message in sms_repo.

    What comes back has been sent: that ends the doubt whether it was, and it is not sent again. A delivery is never
    moved back. The same bounce again changes nothing.
    """
    row = _ended(connection, bounce.message_id)
    if row is None and _was_taken(connection, bounce.message_id, now):
        row = _ended(connection, bounce.message_id)
    if row is None:
        return None
    if bounce.kind is not BounceKind.DELIVERED:
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
    if (delivery := DELIVERY.get(bounce.kind)) is not None:
        error = f"bounced: {bounce.status or ''} {bounce.text}".strip() if delivery is Delivery.UNDELIVERED else None
        said = Said(message=bounce.message_id, part=None, delivery=delivery, at=now, error=error)
        record_deliveries(connection, [said])
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


def _ended(connection: Connection, message_id: str) -> Any:
    """Return campaign and address of a message in sms_repo, None if it is not there."""
    return connection.execute(
        text(
            "SELECT campaign, coalesce(address, lower(destination)) AS address FROM sms_repo WHERE id = :id"
        ).bindparams(bindparam("id", message_id, type_=MessageId))
    ).one_or_none()


def _was_taken(connection: Connection, message_id: str, now: datetime) -> bool:
    """End the doubt whether a message was sent; tell whether there was one."""
    through = connection.execute(
        text("SELECT provider FROM sms_spool WHERE id = :id AND provider IS NOT NULL").bindparams(
            bindparam("id", message_id, type_=MessageId)
        )
    ).scalar()
    if through is None:
        return False
    # What became of it is told afterwards: to send once more what a server has given up helps nobody.
    receipt = Receipt(provider=through, own_id=message_id, delivery=None)
    return bool(match(connection, [Told(receipt=receipt, reading=ReceiptIds.SAME)], now))
