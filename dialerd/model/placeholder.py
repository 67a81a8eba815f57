"""Placeholders in what a gateway is asked.

`${phone}` stands for a value, `${port:int}` for a number in JSON, `${callback:+yes}` for "yes" where callback has a
value, `{id}` for `${id}`, and `$${` for a plain `${`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

__all__ = ["OF_MESSAGE", "OPTIONAL", "Placeholder", "parse", "placeholders", "substitute"]

#: What can be told of each message.
OF_MESSAGE = (
    "phone", "message", "id", "source", "port", "campaign", "agent", "base", "parts", "seq", "coding", "hex",
)  # fmt: skip

#: What a message may lack.
OPTIONAL = frozenset({"source", "port", "agent", "base"})

#: Gateways' own documents write {id} without the dollar sign; other braces are JSON's.
_FOUND = re.compile(
    r"\$(?P<plain>\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<int>:int)|:\+(?P<then>[^{}]*))?\}|(?P<id>\{id\})"
)


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Stands for a value; with `is_int` for a number in JSON, with `then` for that where there is a value."""

    name: str
    is_int: bool = False
    then: str | None = None

    def __str__(self) -> str:
        return f"${{{self.name}{':int' if self.is_int else ''}{'' if self.then is None else ':+' + self.then}}}"


def parse(text: str) -> tuple[str | Placeholder, ...]:
    """Return the pieces of a text in their order; no two strings stand side by side, and none is empty."""
    pieces: list[str | Placeholder] = []
    plain, at = "", 0
    for found in _FOUND.finditer(text):
        plain += text[at : found.start()]
        at = found.end()
        if found["plain"]:
            plain += "${"
            continue
        if plain:
            pieces.append(plain)
        plain = ""
        pieces.append(Placeholder(found["name"] or "id", is_int=found["int"] is not None, then=found["then"]))
    plain += text[at:]
    return (*pieces, plain) if plain else tuple(pieces)


def placeholders(value: object) -> Iterator[Placeholder]:
    """Yield the placeholders in a string, or in the strings of tables and arrays."""
    if isinstance(value, str):
        yield from (piece for piece in parse(value) if isinstance(piece, Placeholder))
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from placeholders(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from placeholders(entry)


def substitute(text: str, values: Mapping[str, str]) -> str:
    """Return the text with those plain placeholders that have a value replaced by it as it stands."""

    def value(found: re.Match[str]) -> str:
        return found[0] if found["int"] or found["then"] is not None else values.get(found["name"] or "", found[0])

    return _FOUND.sub(value, text)
