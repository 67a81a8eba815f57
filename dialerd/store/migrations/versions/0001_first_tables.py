"""The tables of the first version."""

from typing import Any

from alembic import op
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Float,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)

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

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ZONE_NOT_ASKED = "?"
STATES = "'queued', 'deferred', 'held', 'sending', 'in_doubt'"
STATUSES = "'sent', 'failed', 'expired', 'blocked', 'cancelled'"
TABLES = (
    "sms_scheduler",
    "sms_spool",
    "sms_repo",
    "blacklist",
    "sms_inbound",
    "upload",
    "upload_error",
    "upload_line",
    "promotion",
    "pause",
    "pace",
    "node",
)


def _partial(condition: str) -> dict[str, Any]:
    return {"postgresql_where": text(condition), "sqlite_where": text(condition)}


def _instants(*columns: str) -> list[CheckConstraint]:
    return [instant_check(column, dialect) for column in columns for dialect in ("postgresql", "sqlite")]


def upgrade() -> None:
    """Make them, and tell PostgreSQL that the spool's rows come and go."""
    op.create_table(
        "sms_scheduler",
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
    )
    op.create_index("ix_sms_scheduler_due", "sms_scheduler", ["campaign", "calldate", "created", "id"])
    op.create_table(
        "sms_spool",
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
        Column("due_at", Instant, nullable=False, server_default=now()),
        Column("due_since", Instant, server_default=now()),
        Column("attempts", Integer, nullable=False, server_default="0"),
        Column("node", Text),
        Column("incarnation", Text),
        Column("claimed_at", Instant),
        Column("queued_at", Instant, nullable=False, server_default=now()),
        Column("last_error", Text),
        Column("address", Text),
        Column("zone", Text, nullable=False, server_default=ZONE_NOT_ASKED),
        Column("parts", Integer),
        CheckConstraint("priority BETWEEN 1 AND 9999", name="priority"),
        CheckConstraint(f"state IN ({STATES})", name="state"),
        *_instants("calldate", "due_at", "due_since", "queued_at"),
        *text_check("campaign", "destination", "data", "base", "agent", "source"),
        id_check(),
        json_check("details"),
        UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_sms_spool_queue", "sms_spool", ["campaign", "zone", "priority", "seq"], **_partial("state = 'queued'")
    )
    op.create_index("ix_sms_spool_ripe", "sms_spool", ["due_at"], **_partial("state = 'deferred'"))
    op.create_index(
        "ix_sms_spool_waiting", "sms_spool", ["campaign", "due_since"], **_partial("state IN ('queued', 'deferred')")
    )
    op.create_index("ix_sms_spool_sending", "sms_spool", ["incarnation"], **_partial("state = 'sending'"))
    op.create_index("ix_sms_spool_aside", "sms_spool", ["campaign", "seq"], **_partial("state IN ('held', 'in_doubt')"))
    op.create_table(
        "sms_repo",
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
    )
    op.create_index("ix_sms_repo_processed", "sms_repo", ["campaign", "dateprocessed", "status"])
    op.create_table(
        "blacklist",
        Column("id", RisingInteger, primary_key=True, autoincrement=True),
        Column("channel", Text, nullable=False),
        Column("value", Text, nullable=False),
        Column("campaign", Text),
        Column("reason", Text),
        Column("created", Instant, nullable=False, server_default=now()),
        Column("expires", Instant),
        CheckConstraint("channel IN ('sms', 'email')", name="channel"),
        *_instants("expires"),
    )
    op.create_index(
        "uq_blacklist_entry", "blacklist", ["channel", "value", text("coalesce(campaign, '')")], unique=True
    )
    op.create_table(
        "sms_inbound",
        Column("id", MessageId, primary_key=True, server_default=new_id()),
        Column("phone", Text, nullable=False),
        Column("message", Text, nullable=False),
        Column("received", Instant, nullable=False, server_default=now()),
        Column("provider", Text),
        Column("campaign", Text),
    )
    op.create_table(
        "upload",
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
        Column("moved", Boolean, nullable=False, server_default=text("false")),
        Column("touched", Instant, nullable=False, server_default=now()),
        CheckConstraint("state IN ('loading', 'loaded', 'failed')", name="state"),
    )
    op.create_index("ix_upload_digest", "upload", ["digest", "base"])
    op.create_table(
        "upload_error",
        Column("upload", MessageId, nullable=False),
        Column("line", RisingInteger, nullable=False),
        Column("reason", Text, nullable=False),
        Column("text", Text, nullable=False),
        PrimaryKeyConstraint("upload", "line"),
    )
    op.create_table(
        "upload_line",
        Column("upload", MessageId, nullable=False),
        Column("line", RisingInteger, nullable=False),
        Column("fingerprint", LargeBinary, nullable=False),
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
        UniqueConstraint("upload", "fingerprint"),
    )
    op.create_table(
        "promotion",
        Column("one", SmallInteger, primary_key=True, autoincrement=False),
        Column("promoted_until", Instant, nullable=False),
        CheckConstraint("one = 1", name="one"),
    )
    op.create_table(
        "pause",
        Column("campaign", Text, primary_key=True),
        Column("reason", Text),
        Column("since", Instant, nullable=False, server_default=now()),
    )
    op.create_table(
        "pace",
        Column("kind", Text, nullable=False),
        Column("name", Text, nullable=False),
        Column("next_at", Float(53), nullable=False),
        PrimaryKeyConstraint("kind", "name"),
    )
    op.create_table(
        "node",
        Column("incarnation", Text, primary_key=True),
        Column("node", Text, nullable=False),
        Column("home", Text, nullable=False),
        Column("pid", Integer, nullable=False),
        Column("started", Instant, nullable=False, server_default=now()),
        Column("beat", RisingInteger, nullable=False, server_default="0"),
        Column("beat_at", Instant, nullable=False, server_default=now()),
        Column("lease_s", Float, nullable=False),
        Column("providers", JSON_DETAILS),
    )
    op.execute("INSERT INTO promotion (one, promoted_until) VALUES (1, '1970-01-01 00:00:00')")
    if op.get_bind().dialect.name == "postgresql":
        # A queue's rows die young: clean up after ten thousand of them, not after a fifth of a large backlog.
        for table in ("sms_spool", "sms_scheduler", "upload_line"):
            op.execute(
                f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 10000,"
                " autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.02)"
            )


def downgrade() -> None:
    """Drop them, with everything in them."""
    for table in reversed(TABLES):
        op.drop_table(table)
