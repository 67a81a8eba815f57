"""Users of the API, their tokens and failed logins; doubts by age."""

from alembic import op
from sqlalchemy import Column, PrimaryKeyConstraint, Text, UniqueConstraint, text

from dialerd.store.columns import Instant, RisingInteger, now

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_user",
        Column("name", Text, primary_key=True),
        Column("password", Text, nullable=False),
        Column("created", Instant, nullable=False, server_default=now()),
    )
    op.create_table(
        "api_token",
        Column("digest", Text, primary_key=True),
        Column("user", Text, nullable=False),
        Column("name", Text),
        Column("created", Instant, nullable=False, server_default=now()),
        Column("expires", Instant),
        UniqueConstraint("user", "name", name="uq_api_token_user_name"),
    )
    op.create_index("ix_api_token_expires", "api_token", ["expires"])
    op.create_table(
        "api_failed_login",
        Column("seq", RisingInteger, primary_key=True, autoincrement=True),
        Column("user", Text, nullable=False),
        Column("address", Text, nullable=False),
        Column("at", Instant, nullable=False, server_default=now()),
    )
    op.create_index("ix_api_failed_login_user", "api_failed_login", ["user", "at"])
    op.create_index("ix_api_failed_login_address", "api_failed_login", ["address", "at"])
    op.create_table(
        "api_call",
        Column("user", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("digest", Text, nullable=False),
        Column("answer", Text, nullable=False),
        Column("created", Instant, nullable=False, server_default=now()),
        PrimaryKeyConstraint("user", "key", name="pk_api_call"),
    )
    op.create_index("ix_api_call_created", "api_call", ["created"])
    doubts = text("state = 'in_doubt'")
    op.create_index(
        "ix_sms_spool_doubts", "sms_spool", ["claimed_at", "campaign"], postgresql_where=doubts, sqlite_where=doubts
    )


def downgrade() -> None:
    op.drop_index("ix_sms_spool_doubts", "sms_spool")
    for table in ("api_call", "api_failed_login", "api_token", "api_user"):
        op.drop_table(table)
