"""What a gateway is asked over HTTP, and how its answers are read: the inner tables of an http provider."""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import date, time
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, PlainValidator
from pydantic.dataclasses import dataclass

from dialerd.settings.tables import STRICT, Clash
from dialerd.settings.values import Line, MaybeEmptySecret, Name, Pattern, Secret, expected, one_of, pattern, word

__all__ = [
    "Answer",
    "Charset",
    "Codings",
    "HeaderName",
    "HttpAuth",
    "HttpUrl",
    "JsonBody",
    "JsonEquals",
    "Method",
    "PresetUrl",
    "Probe",
    "ProviderId",
    "Scalars",
    "Scheme",
    "Statuses",
]


class Method(StrEnum):
    """How a gateway is asked."""

    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    DELETE = "DELETE"


class Scheme(StrEnum):
    """How user and password are shown: RFC 7617 or RFC 7616."""

    BASIC = "basic"
    DIGEST = "digest"


class Probe(StrEnum):
    """How a gateway is asked whether it is there: HEAD /, or merely a connection."""

    HEAD = "head"
    CONNECT = "connect"


def _http_url(value: object) -> str:
    what = "a URL that begins with https:// or http:// and a host"
    url = word(1, 8192)(value)
    try:
        parts = urlsplit(url)
        _port = parts.port
        (parts.hostname or "").encode("idna")  # as it is asked for in DNS
    except ValueError:
        raise expected(what) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or " " in url:
        raise expected(what)
    return url


def _preset_url(value: object) -> str:
    """Return a URL whose beginning may be left to a parameter: `${base_url}/send`."""
    url = word(1, 8192)(value)
    _http_url(re.sub(r"^\$\{\w+\}", "http://host", url))
    return url


def _statuses(value: object) -> frozenset[int]:
    if isinstance(value, frozenset):
        return value
    found: set[int] = set()
    for entry in value if isinstance(value, list) and value else [value]:
        if type(entry) is int and 100 <= entry <= 599:
            found.add(entry)
        elif isinstance(entry, str) and re.fullmatch(r"[1-5](?:xx|\d\d)", entry, re.ASCII):
            begin = int(entry.replace("xx", "00"))
            found.update(range(begin, begin + (100 if entry.endswith("xx") else 1)))
        else:
            raise expected('an HTTP status such as 404 or "2xx", or an array of them')
    return frozenset(found)


def _header(value: object) -> str:
    name = value if isinstance(value, str) else ""
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}", name):
        raise expected("the name of an HTTP header")
    return name


def _pattern_of_id(value: object) -> str:
    found = pattern(value)
    if not re.compile(found).groups:
        raise expected(r"a regular expression with a group around the id, such as id=(\S+)")
    return found


def _given(value: object) -> str:
    if value not in ("${id}", "${seq}"):
        raise expected("${id} or ${seq}")
    return str(value)


Scalar = str | int | float | bool


def _scalars(value: object) -> Scalar | tuple[Scalar, ...]:
    if isinstance(value, list | tuple) and value and all(isinstance(entry, Scalar) for entry in value):
        return tuple(value)
    if not isinstance(value, Scalar):
        raise expected("a string, a number, true or false, or an array of them")
    return value


def _json(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise expected("a table")
    odd = next(_not_json(value), None)
    if odd is not None:
        raise expected(f"what JSON can hold: {odd}")
    return value


def _not_json(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for entry in value.values():
            yield from _not_json(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _not_json(entry)
    elif isinstance(value, float) and not math.isfinite(value):
        yield "no nan and no inf"
    elif isinstance(value, date | time):
        yield "no dates and times without quotes"


def _charset(value: object) -> str:
    name = word(1, 40)(value)
    what = "a charset that spells ASCII as it is, such as utf-8 or iso-8859-1"
    plain = "".join(map(chr, range(0x20, 0x7F)))
    try:
        if plain.encode(name) != plain.encode("ascii"):
            raise expected(what)
    except (LookupError, ValueError):
        raise expected(what) from None
    return name


HttpUrl = Annotated[str, PlainValidator(_http_url)]
PresetUrl = Annotated[str, PlainValidator(_preset_url)]
Charset = Annotated[str, PlainValidator(_charset)]
Statuses = Annotated[frozenset[int], PlainValidator(_statuses)]
HeaderName = Annotated[str, PlainValidator(_header)]
#: One or several values to compare with.
Scalars = Annotated[Scalar | tuple[Scalar, ...], PlainValidator(_scalars)]
JsonBody = Annotated[dict[str, Any], PlainValidator(_json)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class JsonEquals:
    """The value at `path` (`messages.0.status`) of a JSON answer equals this, or one of these; 0 is "0"."""

    path: Name
    equals: Scalars


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Answer:
    """What an HTTP answer looks like: all that is given must hold, or else `or`. `body` is a regular expression."""

    status: Statuses | None = None
    body: Pattern | None = None
    json: JsonEquals | None = None
    other: "Answer | None" = Field(default=None, alias="or")

    @staticmethod
    def clashes(given: Mapping[str, Any]) -> Iterator[Clash]:
        """Yield what the keys have against each other."""
        if not given.keys() - {"or"}:
            yield "", "expected status, body or json"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ProviderId:
    """Where an HTTP answer names the message: a JSON path, the group of a regular expression, or a header.

    Or `given`: the gateway calls it later by what the request did.
    """

    json: Name | None = None
    body: Annotated[str, PlainValidator(_pattern_of_id)] | None = None
    header: HeaderName | None = None
    given: Annotated[str, PlainValidator(_given)] | None = None

    @staticmethod
    def clashes(given: Mapping[str, Any]) -> Iterator[Clash]:
        """Yield what the keys have against each other."""
        if len(given.keys() & {"json", "body", "header", "given"}) != 1:
            yield "", "expected one of json, body, header and given"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class HttpAuth:
    """Who we are: `user` and `password`, shown as `scheme` says, or a `bearer` token."""

    user: Name | None = None
    password: MaybeEmptySecret | None = Field(default=None, repr=False)
    bearer: Secret | None = Field(default=None, repr=False)
    scheme: Annotated[Scheme, one_of(Scheme)] = Scheme.BASIC

    @staticmethod
    def clashes(given: Mapping[str, Any]) -> Iterator[Clash]:
        """Yield what the keys have against each other."""
        if given.keys() & {"user", "password", "bearer"} not in ({"user", "password"}, {"bearer"}):
            yield "", "expected user and password, or bearer"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Codings:
    """What `${coding}` is for a text that GSM-7 can spell, and for one that needs UCS-2."""

    gsm7: Line = "gsm7"
    ucs2: Line = "ucs2"
