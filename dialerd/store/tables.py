"""The tables that the outside may rely on, and the few of our own beside them.

Everything that other systems need not give has a default in the database. `address`, `zone` and `parts` are what
dialerd computes at intake; rows that others insert come without (`address` null) and get them when first touched.
`zone` is ZONE_NOT_ASKED until a campaign with recipient_hours asks, then the zones the recipient may be in.

Receipts and inbound SMS find messages by what providers say of them: an id in some spelling (NAMED) and an address in
some spelling (TAIL). Both are expressions that an index holds, spelt alike here and in the statements.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
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
    instant_check,
    json_check,
    new_id,
    now,
    text_check,
)

__all__ = [
    "NAMED",
    "TAIL",
    "api_call",
    "api_failed_login",
    "api_token",
    "api_user",
    "blacklist",
    "inbound_part",
    "metadata",
    "node",
    "pace",
    "parked_receipt",
    "pause",
    "promotion",
    "sms_inbound",
    "sms_part",
    "sms_repo",
    "sms_scheduler",
    "sms_spool",
    "upload",
    "upload_error",
    "upload_line",
]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: A provider's id without what its spellings differ in: case, and zeros in front.
NAMED = "ltrim(lower(provider_id), '0')"
#: The last eight characters of an address: the same in 099123456, 59899123456 and +598 99 123 456's digits.
TAIL = "substr(address, length(address) - 7)"

STATES = "'queued', 'deferred', 'held', 'sending', 'in_doubt'"
STATUSES = "'sent', 'failed', 'expired', 'blocked', 'cancelled'"


def _partial(condition: str) -> dict[str, Any]:
    return {"postgresql_where": text(condition), "sqlite_where": text(condition)}


def _instants(*columns: str) -> list[CheckConstraint]:
    return [instant_check(column, dialect) for column in columns for dialect in ("postgresql", "sqlite")]


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
    *_instants("calldate"),
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
    *_instants("calldate", "due_at", "due_since", "queued_at"),
    *text_check("campaign", "destination", "data", "base", "agent", "source"),
    id_check(),
    json_check("details"),
    UniqueConstraint("id"),
    # The claim: the head of each campaign's queue, by the zones of its recipients, and by who alone may send it.
    Index("ix_sms_spool_queue", "campaign", "zone", "bound", "priority", "seq", **_partial("state = 'queued'")),
    Index("ix_sms_spool_ripe", "due_at", **_partial("state = 'deferred'")),
    # Expiry, and the oldest due of a campaign.
    Index("ix_sms_spool_waiting", "campaign", "due_since", **_partial("state IN ('queued', 'deferred')")),
    Index("ix_sms_spool_sending", "incarnation", **_partial("state = 'sending'")),
    Index("ix_sms_spool_aside", "campaign", "seq", **_partial("state IN ('held', 'in_doubt')")),
    # Doubts that a receipt may end.
    Index("ix_sms_spool_doubt", "provider", text(TAIL), **_partial("state = 'in_doubt'")),
    Index("ix_sms_spool_doubts", "claimed_at", "campaign", **_partial("state = 'in_doubt'")),
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
    Index("ix_sms_repo_named", "provider", text(NAMED), text(TAIL), "seq", **_partial("provider_id IS NOT NULL")),
    # What was last sent to a telephone number.
    Index("ix_sms_repo_address", text(TAIL), "seq", **_partial("status = 'sent' AND address NOT LIKE '%@%'")),
)

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
    Index("ix_sms_part_named", "provider", text(NAMED), text(TAIL), "taken_at", **_partial("provider_id IS NOT NULL")),
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
    Index("ix_parked_receipt_named", "provider", text(NAMED), **_partial("provider_id IS NOT NULL")),
    Index("ix_parked_receipt_own_id", "own_id", **_partial("own_id IS NOT NULL")),
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
    *_instants("expires"),
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
    Index("ix_inbound_part_open", "whole", **_partial("NOT joined")),
)

upload = Table(
    "upload",
    metadata,
    Column("id", MessageId, primary_key=True, server_default=new_id()),
    Column("filename", Text, nullable=False),
    Column("base", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="loading"),
    Column("accepted", Integer, nullable=False, server_default="0"),
    Column("rejected", Integer, nullable=False, server_default="0"),
    Column("created", Instant, nullable=False, server_default=now()),
    Column("finished", Instant),
    Column("digest", Text, nullable=False, server_default=""),
    # True once every staged line stands in the spool.
    Column("moved", Boolean, nullable=False, server_default=text("false")),
    # When the loading process last showed a sign of life.
    Column("touched", Instant, nullable=False, server_default=now()),
    # Why it failed, or which upload had brought in the same file; neither: its process died.
    Column("error", Text),
    Column("same_as", MessageId),
    # The last seq of sms_spool and of sms_repo before it was loaded: its messages come behind.
    Column("after_seq", BigInteger, nullable=False, server_default="0"),
    Column("after_repo_seq", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("state IN ('loading', 'loaded', 'failed')", name="state"),
    Index("ix_upload_digest", "digest", "base"),
)

upload_error = Table(
    "upload_error",
    metadata,
    Column("upload", MessageId, nullable=False),
    Column("line", RisingInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("text", Text, nullable=False),
    PrimaryKeyConstraint("upload", "line"),
)

# Where the accepted lines of an upload wait until the whole file has been read.
upload_line = Table(
    "upload_line",
    metadata,
    Column("upload", MessageId, nullable=False),
    Column("line", RisingInteger, nullable=False),
    Column("id", MessageId, nullable=False),
    Column("campaign", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("source", Text),
    Column("details", JSON_DETAILS),
    Column("state", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("zone", Text, nullable=False),
    Column("parts", Integer, nullable=False),
    PrimaryKeyConstraint("upload", "line"),
    sqlite_with_rowid=False,
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

# Who may use the API; `password` is an argon2 hash.
api_user = Table(
    "api_user",
    metadata,
    Column("name", Text, primary_key=True),
    Column("password", Text, nullable=False),
    Column("created", Instant, nullable=False, server_default=now()),
)

# What a caller shows for it: only digests, so that a copy of the database opens nothing. `name`: a machine's key.
api_token = Table(
    "api_token",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("user", Text, nullable=False),
    Column("name", Text),
    Column("created", Instant, nullable=False, server_default=now()),
    Column("expires", Instant),
    UniqueConstraint("user", "name"),
    Index("ix_api_token_expires", "expires"),
)

# Where all nodes see them: wrong passwords of late.
api_failed_login = Table(
    "api_failed_login",
    metadata,
    Column("seq", RisingInteger, primary_key=True, autoincrement=True),
    Column("user", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("at", Instant, nullable=False, server_default=now()),
    Index("ix_api_failed_login_user", "user", "at"),
    Index("ix_api_failed_login_address", "address", "at"),
)

# Calls with an Idempotency-Key, and what they were answered: made again, they are answered the same.
api_call = Table(
    "api_call",
    metadata,
    Column("user", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("created", Instant, nullable=False, server_default=now()),
    PrimaryKeyConstraint("user", "key"),
    Index("ix_api_call_created", "created"),
)
