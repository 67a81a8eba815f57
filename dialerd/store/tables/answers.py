"""What comes back: parts and their receipts, bounces, SMS to us, and who wants nothing more."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from dialerd.store.columns import (
    Instant,
    MessageId,
    RisingInteger,
    new_id,
    now,
)
from dialerd.store.tables.base import NAMED, TAIL, instants, metadata, partial

__all__ = ["blacklist", "bounce", "inbound_part", "parked_receipt", "sms_inbound", "sms_part"]

# The parts of long SMS that a provider names one by one, each with its receipt. Kept for as long as receipts come.
sms_part = Table(
    "sms_part",
    metadata,
    Column("message", MessageId, nullable=False),
    Column("part", SmallInteger, nullable=False),
    Column("provider", Text, nullable=False),
    Column("provider_id", Text),
    Column("address", Text, nullable=False),
    Column("delivery", Text),
    Column("delivered_at", Instant),
    Column("taken_at", Instant, nullable=False),
    PrimaryKeyConstraint("message", "part"),
    CheckConstraint("delivery IN ('delivered', 'undelivered', 'read')", name="delivery"),
    Index("ix_sms_part_named", "provider", text(NAMED), text(TAIL), "taken_at", **partial("provider_id IS NOT NULL")),
    Index("ix_sms_part_taken_at", "taken_at"),
)

# Receipts that fit no message yet, or several: looked at again when an id becomes known, and at look_at.
parked_receipt = Table(
    "parked_receipt",
    metadata,
    Column("seq", RisingInteger, primary_key=True, autoincrement=True),
    # Of all it says: the same receipt is parked once.
    Column("fingerprint", Text, nullable=False),
    Column("provider", Text, nullable=False),
    # How the provider's ids are to be read (ReceiptIds).
    Column("reading", Text, nullable=False),
    Column("provider_id", Text),
    Column("own_id", MessageId),
    Column("delivery", Text),
    Column("address", Text),
    Column("at", Instant),
    Column("error", Text),
    Column("received", Instant, nullable=False),
    Column("looks", SmallInteger, nullable=False, server_default="0"),
    Column("look_at", Instant, nullable=False),
    UniqueConstraint("fingerprint"),
    Index("ix_parked_receipt_named", "provider", text(NAMED), **partial("provider_id IS NOT NULL")),
    Index("ix_parked_receipt_own_id", "own_id", **partial("own_id IS NOT NULL")),
    Index("ix_parked_receipt_look_at", "look_at"),
    Index("ix_parked_receipt_received", "received"),
)

blacklist = Table(
    "blacklist",
    metadata,
    Column("id", RisingInteger, primary_key=True, autoincrement=True),
    Column("channel", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("campaign", Text),
    Column("reason", Text),
    Column("created", Instant, nullable=False, server_default=now()),
    Column("expires", Instant),
    CheckConstraint("channel IN ('sms', 'email')", name="channel"),
    *instants("expires"),
    Index("uq_blacklist_entry", "channel", "value", text("coalesce(campaign, '')"), unique=True),
)

# What mail servers wrote back of our mails; of each message and kind the first one.
bounce = Table(
    "bounce",
    metadata,
    Column("id", RisingInteger, primary_key=True, autoincrement=True),
    Column("message", MessageId, nullable=False),
    Column("campaign", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("status", Text),
    Column("text", Text, nullable=False),
    Column("received", Instant, nullable=False, server_default=now()),
    CheckConstraint("kind IN ('hard', 'failed', 'soft')", name="kind"),
    UniqueConstraint("message", "kind"),
    Index("ix_bounce_address", "address"),
)

sms_inbound = Table(
    "sms_inbound",
    metadata,
    Column("id", MessageId, primary_key=True, server_default=new_id()),
    Column("phone", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("received", Instant, nullable=False, server_default=now()),
    Column("provider", Text),
    Column("campaign", Text),
    # The number it was sent to, and the provider's name for it.
    Column("recipient", Text),
    Column("provider_id", Text),
    # Of all it says, and about when: what a provider repeats is stored once.
    Column("fingerprint", Text),
    Index("uq_sms_inbound_fingerprint", "fingerprint", unique=True),
    Index("ix_sms_inbound_received", "received", "id"),
)

# Parts of long inbound SMS, until all are there, and for a day after, so that a repeated part is known.
inbound_part = Table(
    "inbound_part",
    metadata,
    Column("whole", Text, nullable=False),
    Column("part", SmallInteger, nullable=False),
    Column("parts", SmallInteger, nullable=False),
    Column("provider", Text, nullable=False),
    Column("phone", Text, nullable=False),
    Column("recipient", Text),
    Column("message", Text, nullable=False),
    Column("provider_id", Text),
    Column("received", Instant, nullable=False),
    Column("joined", Boolean, nullable=False, server_default=text("false")),
    PrimaryKeyConstraint("whole", "part"),
    Index("ix_inbound_part_received", "received"),
    Index("ix_inbound_part_open", "whole", **partial("NOT joined")),
)
