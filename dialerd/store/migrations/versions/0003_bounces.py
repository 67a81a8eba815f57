"""What mail servers wrote back of our mails."""

from alembic import op
from sqlalchemy import CheckConstraint, Column, Index, Text, UniqueConstraint

from dialerd.store.columns import Instant, MessageId, RisingInteger, now

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "bounce",
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


def downgrade() -> None:
    """Drop it."""
    op.drop_table("bounce")
