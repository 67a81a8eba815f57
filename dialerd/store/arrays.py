"""Lists as single parameters: arrays on PostgreSQL, JSON on SQLite.

Long `IN` lists end at 65,535 parameters, and `IN (SELECT … LIMIT n)` turned into a scan of the spool; an array
compared with ANY is neither.
"""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Connection

__all__ = ["any_of", "bind_list", "bind_rows", "rows_of"]


def any_of(connection: Connection, column: str, parameter: str, pg_type: str) -> str:
    """Return the SQL condition that `column` is in the list bound as `parameter` (see bind_list)."""
    if connection.dialect.name == "postgresql":
        return f"{column} = ANY(CAST(:{parameter} AS {pg_type}[]))"
    return f"{column} IN (SELECT value FROM json_each(:{parameter}))"


def bind_list(connection: Connection, values: Sequence[Any]) -> Any:
    """Return a list as the value to bind for `any_of`."""
    return list(values) if connection.dialect.name == "postgresql" else json.dumps(list(values))


def rows_of(connection: Connection, alias: str, **pg_types: str) -> str:
    """Return a FROM item of rows with these columns, whose values bind_rows binds: rows_of(c, "o", seq="bigint")."""
    if connection.dialect.name == "postgresql":
        arrays = ", ".join(f"CAST(:{alias}_{name} AS {pg_type}[])" for name, pg_type in pg_types.items())
        return f"unnest({arrays}) AS {alias}({', '.join(pg_types)})"
    picked = ", ".join(f"json_extract(value, '$[{index}]') AS {name}" for index, name in enumerate(pg_types))
    return f"(SELECT {picked} FROM json_each(:{alias}_rows)) AS {alias}"


def bind_rows(
    connection: Connection, alias: str, names: Sequence[str], rows: Sequence[Sequence[Any]]
) -> dict[str, Any]:
    """Return the parameters for `rows_of` with the same alias and names; instants must be text on SQLite."""
    if connection.dialect.name == "postgresql":
        columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(names)
        return {f"{alias}_{name}": list(column) for name, column in zip(names, columns, strict=True)}
    return {f"{alias}_rows": json.dumps([list(row) for row in rows])}
