"""A message's places, and what decides when it goes: what other systems need not give has a default in the database."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from dialerd.examine import ZONE_NOT_ASKED
from dialerd.store.columns import (
    JSON_DETAILS,
    Instant,
    MessageId,
    RisingInteger,
    id_check,
    json_check,
    new_id,
    now,
    text_check,
)
from dialerd.store.tables.base import NAMED, STATES, STATUSES, TAIL, instants, metadata, partial

__all__ = ["node", "pace", "pause", "promotion", "sms_repo", "sms_scheduler", "sms_spool"]

sms_scheduler = Table(
    "sms_scheduler",
    metadata,
    Column("id", MessageId, primary_key=True, server_default=new_id()),
    Column("calldate", Instant, nullable=False),
    Column("campaign", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("agent", Text),
    Column("source", Text),
    Column("details", JSON_DETAILS),
    Column("created", Instant, nullable=False, server_default=now()),
    Column("address", Text),
    Column("zone", Text, nullable=False, server_default=ZONE_NOT_ASKED),
    Column("parts", Integer),
    *instants("calldate"),
    *text_check("campaign", "destination", "data", "agent", "source"),
    id_check(),
    json_check("details"),
    Index("ix_sms_scheduler_due", "campaign", "calldate", "created", "id"),
)

sms_spool = Table(
    "sms_spool",
    metadata,
    Column("seq", RisingInteger, primary_key=True, autoincrement=True),
    Column("id", MessageId, nullable=False, server_default=new_id()),
    Column("campaign", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False, server_default="9999"),
    Column("base", Text),
    Column("calldate", Instant),
    Column("agent", Text),
    Column("source", Text),
    Column("details", JSON_DETAILS),
    Column("state", Text, nullable=False, server_default="queued"),
    # Not before this instant; a deferred row ripens to queued then.
    Column("due_at", Instant, nullable=False, server_default=now()),
    # Since when it could have gone, for expires_s; null while a base waits for its release.
    Column("due_since", Instant, server_default=now()),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("node", Text),
    Column("incarnation", Text),
    Column("claimed_at", Instant),
    # Of the first attempt that counted, once that is over: it dates a mail, whose bytes stay the same at every attempt.
    Column("first_claimed_at", Instant),
    Column("queued_at", Instant, nullable=False, server_default=now()),
    Column("last_error", Text),
    Column("address", Text),
    Column("zone", Text, nullable=False, server_default=ZONE_NOT_ASKED),
    Column("parts", Integer),
    # Through whom the last attempt went; `bound`: only they may make the next, since they may have (some of) it, or
    # those who may not, since they do not accept its number (lanes.py).
    Column("provider", Text),
    Column("bound", Text, nullable=False, server_default=""),
    # Of a long SMS: how many parts the provider has taken (sms_part names them), under which reference.
    Column("taken", SmallInteger, nullable=False, server_default="0"),
    Column("reference", Integer),
    # The SMS in sms_inbound to which this is the confirmation: the opt-out that it confirms does not block it.
    Column("answers", MessageId),
    CheckConstraint("priority BETWEEN 1 AND 9999", name="priority"),
    CheckConstraint(f"state IN ({STATES})", name="state"),
    *instants("calldate", "due_at", "due_since", "queued_at"),
    *text_check("campaign", "destination", "data", "base", "agent", "source"),
    id_check(),
    json_check("details"),
    UniqueConstraint("id"),
    # The claim: the head of each campaign's queue, by the zones of its recipients, and by who alone may send it.
    Index("ix_sms_spool_queue", "campaign", "zone", "bound", "priority", "seq", **partial("state = 'queued'")),
    Index("ix_sms_spool_ripe", "due_at", **partial("state = 'deferred'")),
    # Expiry, and the oldest due of a campaign.
    Index("ix_sms_spool_waiting", "campaign", "due_since", **partial("state IN ('queued', 'deferred')")),
    Index("ix_sms_spool_sending", "incarnation", **partial("state = 'sending'")),
    Index("ix_sms_spool_aside", "campaign", "seq", **partial("state IN ('held', 'in_doubt')")),
    # Doubts that a receipt may end.
    Index("ix_sms_spool_doubt", "provider", text(TAIL), **partial("state = 'in_doubt'")),
    Index("ix_sms_spool_doubts", "claimed_at", "campaign", **partial("state = 'in_doubt'")),
    # A seq is never given twice, so that a late outcome cannot meet another message.
    sqlite_autoincrement=True,
)

sms_repo = Table(
    "sms_repo",
    metadata,
    Column("seq", RisingInteger, primary_key=True, autoincrement=True),
    Column("id", MessageId, nullable=False, server_default=new_id()),
    Column("campaign", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("base", Text),
    Column("calldate", Instant),
    Column("agent", Text),
    Column("source", Text),
    Column("details", JSON_DETAILS),
    Column("status", Text, nullable=False),
    Column("dateprocessed", Instant, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("provider", Text),
    Column("provider_id", Text),
    Column("parts", Integer),
    Column("error", Text),
    Column("delivery", Text),
    Column("delivered_at", Instant),
    Column("queued_at", Instant),
    Column("address", Text),
    CheckConstraint(f"status IN ({STATUSES})", name="status"),
    CheckConstraint("delivery IN ('delivered', 'undelivered', 'read')", name="delivery"),
    UniqueConstraint("id"),
    Index("ix_sms_repo_processed", "campaign", "dateprocessed", "status"),
    Index("ix_sms_repo_named", "provider", text(NAMED), text(TAIL), "seq", **partial("provider_id IS NOT NULL")),
    # What was last sent to a telephone number.
    Index("ix_sms_repo_address", text(TAIL), "seq", **partial("status = 'sent' AND address NOT LIKE '%@%'")),
)

# How far promotion has come: one row.
promotion = Table(
    "promotion",
    metadata,
    Column("one", SmallInteger, primary_key=True, autoincrement=False),
    Column("promoted_until", Instant, nullable=False),
    CheckConstraint("one = 1", name="one"),
)

# A campaign paused by an operator.
pause = Table(
    "pause",
    metadata,
    Column("campaign", Text, primary_key=True),
    Column("reason", Text),
    Column("since", Instant, nullable=False, server_default=now()),
)

# The next free instant of a provider's or a campaign's pace, in seconds of the database's clock since 1970.
pace = Table(
    "pace",
    metadata,
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("next_at", Float(53), nullable=False),
    PrimaryKeyConstraint("kind", "name"),
)

# The processes that claim messages. `beat` rises while the process lives; others watch it stand still.
node = Table(
    "node",
    metadata,
    Column("incarnation", Text, primary_key=True),
    Column("node", Text, nullable=False),
    # Host and state folder: only who stands on the same ground can judge by the lock file.
    Column("home", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started", Instant, nullable=False, server_default=now()),
    Column("beat", RisingInteger, nullable=False, server_default="0"),
    Column("beat_at", Instant, nullable=False, server_default=now()),
    Column("lease_s", Float, nullable=False),
    Column("providers", JSON_DETAILS),
)
