"""The parameters of the calls that existing integrations make: form fields, query, either, in UTF-8 or Latin-1."""

import codecs
import json
import re
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

from dialerd.model.errors import Refused
from dialerd.model.storable import is_storable

__all__ = ["body_of", "object_of", "octets_of", "parameters_of", "query_of"]

#: More fields than any call has; what a hostile caller sends is not taken apart without end.
MOST_FIELDS = 100
#: A comment of JSON to the end of its line, or a string, in which there is none.
COMMENT = re.compile(r'(?P<string>"(?:[^"\\]|\\.)*+"?)|//[^\n]*')
#: Charsets of one octet a character. What else Python takes for one is no charset, or slow, or raises what it likes.
CHARSETS = re.compile(r"(iso-?8859-\d{1,2}|latin-?\d{1,2}|windows-125\d|cp125\d|koi8-[ru])", re.IGNORECASE)


async def parameters_of(request: Request) -> dict[str, str]:
    """Return the parameters of a call: the body's win over the query's, the first of several of one name counts.

    Raises Refused for a body that cannot be read.
    """
    body, is_json = await _read_body(request)
    if is_json:
        _check_storable(body, "the body")
    return query_of(request) | {name: _plain(value) for name, value in body.items()}


def query_of(request: Request) -> dict[str, str]:
    """Return the parameters of a call's query."""
    return _pairs(request.url.query.encode("latin-1", "replace"), "")


def octets_of(request: Request, name: str) -> bytes:
    """Return a parameter of a call's query as it came; nothing if there is none of that name."""
    pairs = parse_qsl(request.scope["query_string"].decode("latin-1"), encoding="latin-1", max_num_fields=MOST_FIELDS)
    return next((value.encode("latin-1") for key, value in pairs if key == name), b"")


async def body_of(request: Request) -> dict[str, Any]:
    """Return the fields of a call's body, texts but where it is a JSON object.

    A body is form-encoded whatever its content type says, unless that is multipart/form-data or JSON, or it begins as
    JSON does. Raises Refused for one that cannot be read.
    """
    return (await _read_body(request))[0]


async def _read_body(request: Request) -> tuple[dict[str, Any], bool]:
    """Return the fields of a call's body, and whether it is JSON."""
    kind = Message()
    kind["content-type"] = request.headers.get("content-type", "")
    charset = str(kind.get_param("charset") or "")
    media_type = kind.get_content_type()
    if media_type == "multipart/form-data":
        found: dict[str, Any] = {}
        try:
            async with request.form(max_files=10, max_fields=MOST_FIELDS, max_part_size=1 << 30) as form:
                for name, value in form.multi_items():
                    found[name] = value if isinstance(value, str) else _text(await value.read(), charset)
        except HTTPException as error:
            if error.status_code != 400:
                raise
            raise Refused(f"the body is no multipart/form-data: {error.detail}") from error
        return found, False
    body = await request.body()
    if body.lstrip()[:1] == b"{" or (media_type == "application/json" and body.strip()):
        return _object(body, "the body", charset), True
    return _pairs(body, charset), False


def _pairs(encoded: bytes, charset: str) -> dict[str, str]:
    try:
        # Latin-1 keeps each byte as it is; what they mean is decided value by value.
        pairs = parse_qsl(
            encoded.decode("latin-1"), keep_blank_values=True, encoding="latin-1", max_num_fields=MOST_FIELDS
        )
    except ValueError as error:
        raise Refused(f"more than {MOST_FIELDS} parameters") from error
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(_text(name.encode("latin-1"), charset), _text(value.encode("latin-1"), charset))
    return found


def _text(raw: bytes, charset: str) -> str:
    """Return a value's text: UTF-8 if it is that, else in the charset it names, else Windows-1252, as browsers do."""
    for encoding in ("utf-8", charset if CHARSETS.fullmatch(charset) else "cp1252", "cp1252"):
        try:
            return raw.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return raw.decode("latin-1")


def object_of(given: bytes | str, what: str, charset: str = "") -> dict[str, Any]:
    """Return a JSON object, in UTF-8 or, as some clients send it, Latin-1; `//` comments in it are passed over.

    Raises Refused for what is none or cannot be kept, with `what` it is.
    """
    found = _object(given, what, charset)
    _check_storable(found, what)
    return found


def _check_storable(found: dict[str, Any], what: str) -> None:
    if not is_storable(found):
        raise Refused(f"{what} holds what cannot be kept: a NUL, half a character, or too many levels")


def _object(given: bytes | str, what: str, charset: str) -> dict[str, Any]:
    text = given if isinstance(given, str) else _text(given.removeprefix(codecs.BOM_UTF8), charset)
    try:
        found = json.loads(text)
    except RecursionError:
        raise Refused(f"{what} is no JSON: it has too many levels") from None
    except json.JSONDecodeError as error:
        # The original's documentation has comments in its samples, and its server took them.
        uncommented = COMMENT.sub(lambda found: found["string"] or "", text)
        if uncommented != text:
            return _object(uncommented, what, charset)
        raise Refused(f"{what} is no JSON: {error}") from error
    except ValueError:
        raise Refused(f"{what} is no JSON: a number in it is too long") from None
    if not isinstance(found, dict):
        raise Refused(f"{what} is no JSON object")
    return found


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
