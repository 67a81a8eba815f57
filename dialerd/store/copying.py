"""Puts many rows into a table, as fast as a plain function of one transaction can: COPY on PostgreSQL."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import psycopg
from sqlalchemy import exc
from sqlalchemy.engine import Connection

__all__ = ["copy_rows"]

#: Rows of one statement on SQLite: it is kept compiled, and a row takes 300 bytes there.
ROWS = 100


def copy_rows(connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows of plain values (texts, numbers, None) in their order.

    Raises what SQLAlchemy raises for an INSERT.
    """
    if connection.dialect.name == "postgresql":
        _copy(connection, f"COPY {table} ({', '.join(columns)}) FROM STDIN", rows)
        return
    row = f"({', '.join('?' * len(columns))})"
    insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "
    whole = len(rows) - len(rows) % ROWS
    many = insert + ", ".join([row] * ROWS)
    for start in range(0, whole, ROWS):
        connection.exec_driver_sql(many, tuple(chain.from_iterable(rows[start : start + ROWS])))
    if whole < len(rows):
        connection.exec_driver_sql(insert + row, [tuple(values) for values in rows[whole:]])


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
