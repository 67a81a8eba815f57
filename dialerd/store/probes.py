"""One probe of an index for each of many values: a statement for each on SQLite, a lateral join on PostgreSQL.

There a join of its own choice would scan where statistics are old; see arrays.py.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import TextualSelect, text
from sqlalchemy.engine import Connection

from dialerd.store.arrays import bind_rows, rows_of

__all__ = ["each"]


def each(
    connection: Connection, query: str, pg_types: Mapping[str, str], asked: Sequence[tuple[Any, ...]],
    types: Mapping[str, Any],
) -> list[tuple[int, tuple[Any, ...]]]:  # fmt: skip
    """Run a query for each of (n, *values), whose names stand in braces in it; return its rows with their n."""
    if not asked:
        return []
    if connection.dialect.name == "sqlite":
        statement = _for_one(query, tuple(pg_types), tuple(types.items()))
        return [
            (n, tuple(row))
            for n, *values in asked
            for row in connection.execute(statement, dict(zip(pg_types, values, strict=True)))
        ]
    inner = query.format(**{name: f"a.{name}" for name in pg_types})
    given = {"n": "int", **pg_types}
    statement = text(
        f"SELECT found.*, a.n FROM {rows_of(connection, 'a', **given)} CROSS JOIN LATERAL ({inner}) AS found"
    ).columns(**types)
    rows = connection.execute(statement, bind_rows(connection, "a", list(given), asked))
    return [(n, tuple(row)) for *row, n in rows]


@cache
def _for_one(query: str, names: tuple[str, ...], types: tuple[tuple[str, Any], ...]) -> TextualSelect:
    return text(query.format(**{name: f":{name}" for name in names})).columns(**dict(types))
