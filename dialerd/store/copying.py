"""Puts many rows into a table, as fast as a plain function of one transaction can: COPY on PostgreSQL."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import psycopg
from sqlalchemy import exc
from sqlalchemy.engine import Connection

__all__ = ["copy_rows"]

#: Rows of one statement on SQLite, as many as there are first: each is kept compiled, and a row takes 300 bytes there.
#: While one runs, other threads of ours run too.
ROWS = (500, 50, 5, 1)


def copy_rows(connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows of plain values (texts, numbers, None) in their order.

    Raises what SQLAlchemy raises for an INSERT.
    """
    if connection.dialect.name == "postgresql":
        _copy(connection, f"COPY {table} ({', '.join(columns)}) FROM STDIN", rows)
        return
    row = f"({', '.join('?' * len(columns))})"
    start = 0
    for count in ROWS:
        insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * count)}"
        while len(rows) - start >= count:
            connection.exec_driver_sql(insert, tuple(chain.from_iterable(rows[start : start + count])))
            start += count


def _copy(connection: Connection, statement: str, rows: Sequence[Sequence[Any]]) -> None:
    # SQLAlchemy does not know COPY: what psycopg raises becomes here what it would have made of it.
    try:
        driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:
        raise exc.DBAPIError.instance(
            statement, None, error, psycopg.Error, hide_parameters=True, dialect=connection.dialect,
            connection_invalidated=connection.dialect.is_disconnect(error, None, None),  # type: ignore[arg-type]
        ) from error  # fmt: skip
