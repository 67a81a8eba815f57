"""Bases on their way into the spool."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)

from dialerd.store.columns import (
    JSON_DETAILS,
    Instant,
    MessageId,
    RisingInteger,
    new_id,
    now,
)
from dialerd.store.tables.base import metadata

__all__ = ["upload", "upload_error", "upload_line"]

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
