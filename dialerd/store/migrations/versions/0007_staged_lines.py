"""Staged lines in their order only: which of them a base has twice is found out before they are staged."""

from alembic import op
from sqlalchemy import Column, Integer, LargeBinary, PrimaryKeyConstraint, SmallInteger, Text, UniqueConstraint
from sqlalchemy.schema import SchemaItem

from dialerd.store.columns import JSON_DETAILS, MessageId, RisingInteger

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

CARRIED = "upload, line, id, campaign, destination, data, priority, source, details, state, address, zone, parts"
ONE_OF_EACH = "uq_upload_line_upload_fingerprint"


def upgrade() -> None:
    """Drop the fingerprints and their index."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_column("upload_line", "fingerprint")
    else:
        _rebuild(without_rowid=True)


def downgrade() -> None:
    """Take them back; of what is staged now, each line counts as another."""
    if op.get_bind().dialect.name == "postgresql":
        op.add_column("upload_line", Column("fingerprint", LargeBinary))
        op.execute("UPDATE upload_line SET fingerprint = decode(md5(line::text), 'hex')")
        op.alter_column("upload_line", "fingerprint", nullable=False)
        op.create_unique_constraint(ONE_OF_EACH, "upload_line", ["upload", "fingerprint"])
    else:
        fingerprint = Column("fingerprint", LargeBinary, nullable=False)
        _rebuild(
            fingerprint, UniqueConstraint("upload", "fingerprint", name=ONE_OF_EACH), fingerprint="CAST(line AS BLOB)"
        )


def _rebuild(*more: SchemaItem, without_rowid: bool = False, **values: str) -> None:
    """Make the table anew with what stands in it, as SQLite needs it; `more` columns have the `values`."""
    op.rename_table("upload_line", "upload_line_before")
    op.create_table(
        "upload_line",
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
        PrimaryKeyConstraint("upload", "line", name="pk_upload_line"),
        *more,
        sqlite_with_rowid=not without_rowid,
    )
    into, of = ", ".join([CARRIED, *values]), ", ".join([CARRIED, *values.values()])
    op.execute(f"INSERT INTO upload_line ({into}) SELECT {of} FROM upload_line_before")
    op.drop_table("upload_line_before")
