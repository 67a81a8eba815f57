"""Receipts, inbound SMS, the parts of long SMS, and who alone may send a message again."""

from typing import Any

from alembic import op
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import Integer

from dialerd.store.columns import Instant, MessageId, RisingInteger

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NAMED = "ltrim(lower(provider_id), '0')"
TAIL = "substr(address, length(address) - 7)"
QUEUE = ("campaign", "zone", "priority", "seq")
SPOOL = ("provider", "bound", "taken", "reference", "answers")
INBOUND = ("recipient", "provider_id", "fingerprint")


def _partial(condition: str) -> dict[str, Any]:
    return {"postgresql_where": text(condition), "sqlite_where": text(condition)}


def upgrade() -> None:
    """Add them; what is queued may be sent by any provider of its campaign."""
    for column in (
        Column("provider", Text),
        Column("bound", Text, nullable=False, server_default=""),
        Column("taken", SmallInteger, nullable=False, server_default="0"),
        Column("reference", Integer),
        Column("answers", MessageId),
    ):
        op.add_column("sms_spool", column)
    op.drop_index("ix_sms_spool_queue", "sms_spool")
    op.create_index(
        "ix_sms_spool_queue",
        "sms_spool",
        ["campaign", "zone", "bound", "priority", "seq"],
        **_partial("state = 'queued'"),
    )
    op.create_index("ix_sms_spool_doubt", "sms_spool", ["provider", text(TAIL)], **_partial("state = 'in_doubt'"))
    op.create_index(
        "ix_sms_repo_named",
        "sms_repo",
        ["provider", text(NAMED), text(TAIL), "seq"],
        **_partial("provider_id IS NOT NULL"),
    )
    op.create_index(
        "ix_sms_repo_address",
        "sms_repo",
        [text(TAIL), "seq"],
        **_partial("status = 'sent' AND address NOT LIKE '%@%'"),
    )
    for column in (Column("recipient", Text), Column("provider_id", Text), Column("fingerprint", Text)):
        op.add_column("sms_inbound", column)
    op.create_index("uq_sms_inbound_fingerprint", "sms_inbound", ["fingerprint"], unique=True)
    op.create_table(
        "sms_part",
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
    )
    op.create_index(
        "ix_sms_part_named",
        "sms_part",
        ["provider", text(NAMED), text(TAIL), "taken_at"],
        **_partial("provider_id IS NOT NULL"),
    )
    op.create_index("ix_sms_part_taken_at", "sms_part", ["taken_at"])
    op.create_table(
        "parked_receipt",
        Column("seq", RisingInteger, primary_key=True, autoincrement=True),
        Column("fingerprint", Text, nullable=False),
        Column("provider", Text, nullable=False),
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
    )
    op.create_index(
        "ix_parked_receipt_named", "parked_receipt", ["provider", text(NAMED)], **_partial("provider_id IS NOT NULL")
    )
    op.create_index("ix_parked_receipt_own_id", "parked_receipt", ["own_id"], **_partial("own_id IS NOT NULL"))
    op.create_index("ix_parked_receipt_look_at", "parked_receipt", ["look_at"])
    op.create_index("ix_parked_receipt_received", "parked_receipt", ["received"])
    op.create_table(
        "inbound_part",
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
    )
    op.create_index("ix_inbound_part_received", "inbound_part", ["received"])
    op.create_index("ix_inbound_part_open", "inbound_part", ["whole"], **_partial("NOT joined"))
    if op.get_bind().dialect.name == "postgresql":
        # A receipt changes its row once or twice: with room for it on the same page no index has to know.
        op.execute("ALTER TABLE sms_repo SET (fillfactor = 90)")


def downgrade() -> None:
    """Take them away again, with all receipts that were not matched yet."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE sms_repo RESET (fillfactor)")
    for table in ("inbound_part", "parked_receipt", "sms_part"):
        op.drop_table(table)
    op.drop_index("uq_sms_inbound_fingerprint", "sms_inbound")
    for name in INBOUND:
        op.drop_column("sms_inbound", name)
    for table, names in (
        ("sms_repo", ("ix_sms_repo_named", "ix_sms_repo_address")),
        ("sms_spool", ("ix_sms_spool_queue", "ix_sms_spool_doubt")),
    ):
        for name in names:
            op.drop_index(name, table)
    for name in SPOOL:
        op.drop_column("sms_spool", name)
    op.create_index("ix_sms_spool_queue", "sms_spool", list(QUEUE), **_partial("state = 'queued'"))
