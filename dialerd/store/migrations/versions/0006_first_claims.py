"""When a message's first attempt was claimed: the date of a mail."""

from alembic import op
from sqlalchemy import Column

from dialerd.store.columns import Instant

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. What was tried before keeps the date it had, which is queued_at."""
    op.add_column("sms_spool", Column("first_claimed_at", Instant))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("sms_spool", "first_claimed_at")
