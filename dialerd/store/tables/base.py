"""What all tables share."""

from typing import Any

from sqlalchemy import (
    CheckConstraint,
    MetaData,
    text,
)

from dialerd.store.columns import (
    instant_check,
)

__all__ = ["NAMED", "TAIL", "instants", "metadata", "partial"]

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


def partial(condition: str) -> dict[str, Any]:
    """Return what makes an index hold only the rows of which the condition is true."""
    return {"postgresql_where": text(condition), "sqlite_where": text(condition)}


def instants(*columns: str) -> list[CheckConstraint]:
    """Return the checks of columns that hold instants, for each database its own."""
    return [instant_check(column, dialect) for column in columns for dialect in ("postgresql", "sqlite")]
