"""Lists as single parameters: arrays on PostgreSQL, JSON on SQLite.

Long `IN` lists end at 65,535 parameters, and `IN (SELECT … LIMIT n)` turned into a scan of the spool; an array
compared with ANY is neither.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy.engine import Connection

__all__ = ["Given", "any_of", "bind_list", "bind_rows", "given_rows", "rows_of"]


def any_of(connection: Connection, column: str, parameter: str, pg_type: str) -> str:
    """Return the SQL condition that `column` is in the list bound as `parameter` (see bind_list)."""
    if connection.dialect.name == "postgresql":
        return f"{column} = ANY(CAST(:{parameter} AS {pg_type}[]))"
    return f"{column} IN (SELECT value FROM json_each(:{parameter}))"


def bind_list(connection: Connection, values: Sequence[Any]) -> Any:
    """Return a list as the value to bind for `any_of`."""
    return list(values) if connection.dialect.name == "postgresql" else _json(list(values))


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
    return {f"{alias}_rows": _json(rows)}


@dataclass(frozen=True, slots=True)
class Given:
    """Values for rows of sms_spool (aliased `s`), by seq: put `matches` into WHERE and name `columns`.

    `source` is a FROM item of its own on SQLite; on PostgreSQL it is empty.
    """

    source: str
    matches: str
    columns: Mapping[str, str]
    bound: Mapping[str, Any]


def given_rows(connection: Connection, rows: Sequence[Sequence[Any]], **pg_types: str) -> Given:
    """Return rows of (seq, *values) as values for the spool's rows; no seq may come twice. Instants must be text.

    On PostgreSQL they are looked up in a JSON object and not joined: with the statistics of a minute ago the planner
    takes states for rare that are common by now, and joins by scanning the spool.
    """
    if connection.dialect.name == "sqlite":
        picked = ", ".join(f"json_extract(value, '$[{index}]') AS {name}" for index, name in enumerate(pg_types, 1))
        return Given(
            source=f"(SELECT json_extract(value, '$[0]') AS seq, {picked} FROM json_each(:given)) AS o",
            matches="s.seq = o.seq",
            columns={name: f"o.{name}" for name in pg_types},
            bound={"given": _json(rows)},
        )
    own = "(CAST(:given AS jsonb) -> CAST(s.seq AS text))"
    return Given(
        source="",
        matches="s.seq = ANY(CAST(:given_seqs AS bigint[]))",
        columns={name: f"CAST({own} ->> {index} AS {type_})" for index, (name, type_) in enumerate(pg_types.items())},
        bound={
            "given": _json({str(seq): values for seq, *values in rows}),
            "given_seqs": [row[0] for row in rows],
        },
    )


def _json(values: Any) -> str:
    try:
        return orjson.dumps(values, option=orjson.OPT_PASSTHROUGH_DATETIME).decode()
    except TypeError:  # halves of characters, which the standard library spells
        return json.dumps(values)
