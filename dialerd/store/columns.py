"""Column types and expressions that mean the same on SQLite and PostgreSQL."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Integer,
    String,
    Text,
    TypeDecorator,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ColumnElement
from sqlalchemy.types import TypeEngine

__all__ = [
    "JSON_DETAILS",
    "Instant",
    "MessageId",
    "RisingInteger",
    "as_instant",
    "id_check",
    "instant_check",
    "instant_text",
    "json_check",
    "new_id",
    "now",
    "text_check",
]

RisingInteger = BigInteger().with_variant(Integer, "sqlite")
JSON_DETAILS = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class MessageId(TypeDecorator[str]):
    """A UUID as its dashed text: `uuid` on PostgreSQL, 36 characters on SQLite."""

    impl = String(36)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the native type where there is one."""
        return dialect.type_descriptor(Uuid(as_uuid=False) if dialect.name == "postgresql" else String(36))


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime: `timestamptz` on PostgreSQL, `YYYY-MM-DD HH:MM:SS[.ffffff]` in UTC on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the native type where there is one."""
        return dialect.type_descriptor(DateTime(timezone=True) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse naive values: nobody could say later which clock they meant."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r} for an instant")
        return value if dialect.name == "postgresql" else instant_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return aware UTC on both databases."""
        if value is None or dialect.name == "postgresql":
            return value  # type: ignore[no-any-return]  # the session's time zone is UTC
        return as_instant(value)


def as_instant(value: datetime | str | None) -> datetime | None:
    """Return an instant as read without its column's type: hot paths convert only what they look at."""
    return _instant_of(value) if isinstance(value, str) else value


@lru_cache(maxsize=1024)
def _instant_of(text: str) -> datetime:
    # The lines of a base came in at one instant, and a claim reads thousands of them.
    return datetime.fromisoformat(text + "+00:00")


def instant_text(value: datetime) -> str:
    """Return an aware datetime as the text in which SQLite stores it."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")


class now(ColumnElement[datetime]):  # noqa: N801  # reads as the SQL function it is
    """The server's clock as a column default."""

    inherit_cache = True


@compiles(now, "postgresql")
def _now_postgresql(_element: now, _compiler: SQLCompiler, **_kw: Any) -> str:
    return "clock_timestamp()"


@compiles(now, "sqlite")
def _now_sqlite(_element: now, _compiler: SQLCompiler, **_kw: Any) -> str:
    return "(strftime('%Y-%m-%d %H:%M:%f', 'now'))"


class new_id(ColumnElement[str]):  # noqa: N801  # reads as the SQL function it is
    """A random UUID (version 4) as a column default, for rows that others insert."""

    inherit_cache = True


@compiles(new_id, "postgresql")
def _new_id_postgresql(_element: new_id, _compiler: SQLCompiler, **_kw: Any) -> str:
    return "gen_random_uuid()"


@compiles(new_id, "sqlite")
def _new_id_sqlite(_element: new_id, _compiler: SQLCompiler, **_kw: Any) -> str:
    return (
        "(lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' || "
        "substr('89AB', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))))"
    )


def instant_check(column: str, dialect: str) -> CheckConstraint:
    """Return the check that keeps nonsense out of an instant's column, where other systems insert too.

    PostgreSQL's own type accepts `infinity` and years that no Python datetime can hold; SQLite's text accepts anything.
    """
    if dialect == "postgresql":
        rule = f"{column} >= '1970-01-01Z' AND {column} < '9999-01-01Z'"
    else:
        # Any modifier makes SQLite work the date out: without one it repeats 31 February as it came.
        rule = (
            f"{column} IS NULL OR (length({column}) >= 19"
            f" AND datetime(substr({column}, 1, 19), '+0 days') IS substr({column}, 1, 19)"
            f" AND {column} >= '1970' AND (length({column}) = 19 OR (substr({column}, 20) GLOB '.[0-9]*'"
            f" AND substr({column}, 21) NOT GLOB '*[^0-9]*' AND length({column}) <= 26)))"
        )
    return CheckConstraint(text(rule), name=f"{column}_instant").ddl_if(dialect=dialect)


def id_check() -> CheckConstraint:
    """Return the check that keeps ids in the one spelling by which SQLite's text finds them; PostgreSQL's type does."""
    rule = "typeof(id) = 'text' AND id GLOB '????????-????-????-????-????????????' AND id NOT GLOB '*[^0-9a-f-]*'"
    return CheckConstraint(text(rule), name="id_text").ddl_if(dialect="sqlite")


def text_check(*columns: str) -> list[CheckConstraint]:
    """Return the checks that keep blobs out of SQLite's text columns, which take anything."""
    return [
        CheckConstraint(text(f"typeof({column}) IN ('text', 'null')"), name=f"{column}_text").ddl_if(dialect="sqlite")
        for column in columns
    ]


def json_check(column: str) -> CheckConstraint:
    """Return the check that keeps broken JSON out of SQLite's columns; PostgreSQL's own type does."""
    return CheckConstraint(text(f"{column} IS NULL OR json_valid({column})"), name=f"{column}_json").ddl_if(
        dialect="sqlite"
    )
