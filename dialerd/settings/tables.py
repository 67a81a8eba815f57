"""What a table of the configuration may hold: every table is a frozen pydantic dataclass, and checked in two steps.

First its references are resolved, then its values are checked, all of them. What the repr of a table does not show
(`repr=False`) no problem shows either, and neither what came by reference.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, TypeVar, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from dialerd.settings.problems import Loc, Report
from dialerd.settings.sources import UNRESOLVED, SourceError, Sources, is_reference
from dialerd.settings.values import nearest

__all__ = ["STRICT", "Clash", "check", "keys", "nested", "resolve", "unknown_key"]

#: Of every table: a key that it does not know is an error.
STRICT = ConfigDict(extra="forbid")

#: What two keys of a table have against each other: the key to name ("" for the table) and what was expected.
#: A table with a method `clashes(given)` is asked for them, whatever else is wrong with it.
Clash = tuple[str, str]

#: Deeper than any JSON that a gateway wants, and far from where Python's recursion ends.
DEEPEST = 32

T = TypeVar("T")


def keys(table: type) -> dict[str, FieldInfo]:
    """Return the keys that a table has in a file. A field that is excluded is set by us."""
    fields: dict[str, FieldInfo] = getattr(table, "__pydantic_fields__", {})
    return {info.alias or name: info for name, info in fields.items() if not info.exclude}


def nested(info: FieldInfo | None) -> type | None:
    """Return the table that the value of a key is, None if it is none: `dict` if it may have any keys."""
    return _table_in(info.annotation) if info is not None else None


def _table_in(annotation: object) -> type | None:
    if get_origin(annotation) is dict:
        return dict
    if hasattr(annotation, "__pydantic_fields__"):
        return annotation if isinstance(annotation, type) else None
    return next((found for part in get_args(annotation) if (found := _table_in(part))), None)


def resolve(raw: object, table: type, loc: Loc, sources: Sources, report: Report) -> Any:
    """Return `raw` with the values of its references in their place, UNRESOLVED where one led nowhere.

    Where a table belongs, `{ file = "…" }` is that table, not a reference.
    """
    return _resolved(raw, table, loc, sources, report)


def _resolved(value: object, table: type | None, loc: Loc, sources: Sources, report: Report) -> object:
    if len(loc) > DEEPEST:
        report.add(loc[:3], f"nested more than {DEEPEST} deep")
        return UNRESOLVED
    if isinstance(value, list):
        return [_resolved(entry, None, (*loc, index), sources, report) for index, entry in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if table is None and is_reference(value):
        try:
            return sources.fetch(value)
        except SourceError as error:
            report.add(loc, str(error))
            return UNRESOLVED
    known = keys(table) if table is not None else {}
    return {key: _resolved(entry, nested(known.get(key)), (*loc, key), sources, report) for key, entry in value.items()}


def check(table: type[T], raw: object, loc: Loc, report: Report) -> T | None:
    """Return the table that `raw` describes; None, and all that is wrong in the report, if it describes none."""
    if not isinstance(raw, dict):
        report.wrong(loc, "a table", raw)
        return None
    for where, text in _clashes(table, raw, loc):
        report.add(where, text)
    of: type = table
    try:
        checked: T = _adapter(of).validate_python(raw)
    except ValidationError as error:
        # In the order of the file; what is missing comes last.
        places: dict[int | str, int] = {key: place for place, key in enumerate(raw)}
        errors = error.errors(include_url=False)
        for found in sorted(errors, key=lambda each: places.get(each["loc"][0] if each["loc"] else "", len(places))):
            _explain(table, loc, found, report)
        return None
    return checked


@cache
def _adapter(table: type) -> TypeAdapter[Any]:
    return TypeAdapter(table)


def _clashes(table: type, raw: Mapping[str, Any], loc: Loc) -> Iterator[tuple[Loc, str]]:
    clashes = getattr(table, "clashes", None)
    for key, text in clashes(raw) if clashes is not None else ():
        yield (*loc, key) if key else loc, text
    for key, value in raw.items():
        inner = nested(keys(table).get(key))
        if inner is not None and isinstance(value, dict):
            yield from _clashes(inner, value, (*loc, key))


def _explain(table: type, loc: Loc, found: Mapping[str, Any], report: Report) -> None:
    """Note one of pydantic's errors in our words."""
    inside: Loc = found["loc"]
    if inside and inside[-1] == "[key]":  # pydantic's word for a key of a free table that is wrong itself
        inside = inside[:-1]
    at = (*loc, *inside)
    holder, hidden = _holder(table, inside)
    got = found["input"]
    match found["type"]:
        case "expected":
            report.wrong(at, found["ctx"]["what"], got, detail=found["ctx"]["detail"], hidden=hidden)
        case "missing":
            report.add(at, "expected this key: it has no default")
        case "unexpected_keyword_argument":
            unknown_key(holder, at, got, report, hidden=hidden)
        case "dataclass_type" | "dict_type":
            report.wrong(at, "a table", got, hidden=hidden)
        case "tuple_type" | "list_type":
            report.wrong(at, "an array", got, hidden=hidden)
        case _:
            report.wrong(at, "another value", got, detail=found["msg"], hidden=hidden)


def unknown_key(table: type | None, loc: Loc, got: object, report: Report, *, hidden: bool = False) -> None:
    """Note a key that a table does not have.

    Where the table has secrets the value may be one: it is shown only if the key is surely another one misspelt.
    """
    known = keys(table) if table is not None else {}
    secrets = {key for key, info in known.items() if not info.repr}
    meant = nearest(str(loc[-1]), known, likeness=0.75)
    report.unknown(loc, known, got, hidden=hidden or (bool(secrets) and (meant is None or meant in secrets)))


def _holder(table: type, inside: Loc) -> tuple[type | None, bool]:
    """Return the table that holds the key at `inside`, and whether the value there is to be hidden."""
    holder: type | None = table
    hidden = False
    for depth, key in enumerate(inside):
        info = keys(holder).get(str(key)) if holder is not None else None
        hidden = hidden or (info is not None and not info.repr)
        if depth < len(inside) - 1:
            holder = nested(info)
    return holder, hidden
