"""Who may call the API, and what was answered."""

from sqlalchemy import (
    Column,
    Index,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

from dialerd.store.columns import (
    Instant,
    RisingInteger,
    now,
)
from dialerd.store.tables.base import metadata

__all__ = ["api_call", "api_failed_login", "api_token", "api_user"]

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
