"""An http provider's templates: what fills them in, each value encoded for its place.

    url, query      percent-encoded (RFC 3986), a space as %20
    form            application/x-www-form-urlencoded
    json            JSON strings; a string that is nothing but `${name:int}` becomes a number
    body            as its Content-Type says, or else as it begins: XML is escaped for <, JSON for { and [, plain
                    text for anything else
    headers         without control characters, in UTF-8

`charset` is that of url, query, form and body; JSON is ASCII with escapes.

A member of query, form, json or headers that uses a value which is not there (no source, a parameter left empty) is
left out, and so is a table or an array within json that has become empty by that. In url and body it is empty.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape as xml_escape

from dialerd.model.errors import BadText
from dialerd.model.placeholder import Placeholder, parse

__all__ = [
    "FORM",
    "encoder_for",
    "fields_filler",
    "header_line",
    "json_filler",
    "octets",
    "plain",
    "text_filler",
    "url_filler",
]

FORM = "application/x-www-form-urlencoded"

#: What may stand in the plain part of a URL; everything else, spaces and letters beyond ASCII, is percent-encoded.
URL_SAFE = "%:/?#[]@!$&'()*+,;=-._~"

PLAIN = re.compile(r"[A-Za-z0-9_.~-]*", re.ASCII)
#: How each octet is spelled within a value.
PERCENT = tuple(quote(bytes((octet,)), safe="") for octet in range(256))

UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]+")

#: Returns a text with its placeholders filled in; None: a value is missing, and what the text is for is left out.
Fill = Callable[[Mapping[str, str]], str | None]


def text_filler(text: str, encode: Callable[[str], str], *, must: bool = False) -> Fill:
    """Return what fills a text in; one that `must` be complete has nothing where a value is missing."""
    return _filler(parse(text), encode, must=must)


def url_filler(url: str, charset: str) -> Fill:
    """Return what fills a URL in; what stands around the placeholders is encoded where it is not yet."""
    pieces = (quote(p, safe=URL_SAFE + "{}", encoding=charset) if isinstance(p, str) else p for p in parse(url))
    return _filler(tuple(pieces), _percent_in(charset), must=True)


def fields_filler(fields: Mapping[str, str] | None, charset: str) -> Callable[[Mapping[str, str]], str]:
    """Return what makes a query or a form; here what stands around the placeholders is encoded as well."""
    encode = _percent_in(charset)
    members = [
        (encode(name), _filler(tuple(encode(p) if isinstance(p, str) else p for p in parse(text)), encode))
        for name, text in (fields or {}).items()
    ]

    def joined(values: Mapping[str, str]) -> str:
        filled = [f"{name}={value}" for name, fill in members if (value := fill(values)) is not None]
        return "&".join(filled)

    return joined


def _filler(pieces: tuple[str | Placeholder, ...], encode: Callable[[str], str], *, must: bool = False) -> Fill:
    def fill(values: Mapping[str, str]) -> str | None:
        text = ""
        for piece in pieces:
            if isinstance(piece, str):
                text += piece
                continue
            value = values[piece.name]
            if not value and not must and piece.name != "message":
                return None
            text += encode(value) if piece.then is None else encode(piece.then) if value else ""
        return text

    def fill_one(values: Mapping[str, str]) -> str | None:
        value = values[name]
        return encode(value) if value or is_needed else None

    match pieces:
        case (Placeholder(name, then=None),):
            is_needed = must or name == "message"
            return fill_one  # most are no more than a value
    return fill


def _percent_in(charset: str) -> Callable[[str], str]:
    def percent(value: str) -> str:
        # Most values are ids and numbers, and need no look at each octet.
        return value if PLAIN.fullmatch(value) else "".join(map(PERCENT.__getitem__, octets(value, charset)))

    return percent


def octets(text: str, charset: str) -> bytes:
    """Return a text in the gateway's charset; BadText if that cannot spell it."""
    try:
        return text.encode(charset)
    except UnicodeEncodeError as error:
        letter = error.object[error.start]
        raise BadText(f"the gateway's charset {charset} cannot spell U+{ord(letter):04X}", "bad text") from None


def plain(value: str) -> str:
    """Return a value as it stands."""
    return value


def header_line(value: str) -> str:
    """Return a value as a header can hold it, on one line."""
    return UNPRINTABLE.sub(" ", value).strip()


def _json_string(value: str) -> str:
    return json.dumps(value)[1:-1]


def _xml(value: str) -> str:
    # What XML 1.0 cannot hold is dropped; quotes are escaped for attributes.
    kept = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "", value)
    return xml_escape(kept, {'"': "&quot;", "'": "&apos;"})


def encoder_for(kind: str | None, charset: str) -> Callable[[str], str]:
    """Return what encodes values for a body of this Content-Type."""
    kind = (kind or "").partition(";")[0].strip().lower()
    if kind == FORM:
        return _percent_in(charset)
    if kind.endswith(("/json", "+json")):
        return _json_string
    return _xml if kind.endswith(("/xml", "+xml")) else plain


class _Missing:
    """Stands where a member of JSON is left out."""


_MISSING = _Missing()


def json_filler(value: object) -> Callable[[Mapping[str, str]], Any]:
    """Return what makes the JSON of a message; an empty table where nothing is left of it."""
    fill = _json_filler(value)

    def whole(values: Mapping[str, str]) -> Any:
        return {} if (made := fill(values)) is _MISSING else made

    return whole


def _json_filler(value: object) -> Callable[[Mapping[str, str]], Any]:
    if isinstance(value, str):
        fill = text_filler(value, plain)
        match parse(value):
            case (Placeholder(is_int=True),):
                return lambda values: _number(fill(values))
        return lambda values: _MISSING if (text := fill(values)) is None else text
    if isinstance(value, dict):
        members = [(name, _json_filler(entry)) for name, entry in value.items()]

        def table(values: Mapping[str, str]) -> Any:
            filled = {name: made for name, make in members if (made := make(values)) is not _MISSING}
            return filled if filled or not members else _MISSING

        return table
    if isinstance(value, list):
        entries = [_json_filler(entry) for entry in value]

        def array(values: Mapping[str, str]) -> Any:
            filled = [made for make in entries if (made := make(values)) is not _MISSING]
            return filled if filled or not entries else _MISSING

        return array
    return lambda _values: value


def _number(text: str | None) -> Any:
    if text is None:
        return _MISSING
    return int(text) if re.fullmatch(r"-?\d{1,18}", text, re.ASCII) else text
