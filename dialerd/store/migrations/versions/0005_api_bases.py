"""Why an upload failed, and behind which messages its own stand; inbound SMS by the time they came."""

from alembic import op
from sqlalchemy import BigInteger, Column, Text

from dialerd.store.columns import MessageId

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COLUMNS = ("error", "same_as", "after_seq", "after_repo_seq")


def upgrade() -> None:
    """Add them; of what was loaded before, nothing is known."""
    for column in (
        Column("error", Text),
        Column("same_as", MessageId),
        Column("after_seq", BigInteger, nullable=False, server_default="0"),
        Column("after_repo_seq", BigInteger, nullable=False, server_default="0"),
    ):
        op.add_column("upload", column)
    op.create_index("ix_sms_inbound_received", "sms_inbound", ["received", "id"])


def downgrade() -> None:
    """Take them away."""
    op.drop_index("ix_sms_inbound_received", "sms_inbound")
    for name in COLUMNS:
        op.drop_column("upload", name)
