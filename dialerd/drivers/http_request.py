"""What a gateway is asked for one message: an http provider's templates, filled in, each value encoded for its place.

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
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit
from xml.sax.saxutils import escape as xml_escape

from dialerd.examine import number_for
from dialerd.model.campaign import Campaign, UnicodeRule
from dialerd.model.errors import BadText
from dialerd.model.message import Message
from dialerd.model.placeholder import OF_MESSAGE, Placeholder, parse, placeholders
from dialerd.model.text import Coding, encode, transliterate
from dialerd.settings import HttpProvider, Method, Scheme
from dialerd.settings.sources import Hidden

__all__ = ["Request", "Requests"]

#: Placeholders that tell how a text is coded.
CODED = frozenset({"coding", "hex"})

FORM = "application/x-www-form-urlencoded"

#: What may stand in the plain part of a URL; everything else, spaces and letters beyond ASCII, is percent-encoded.
URL_SAFE = "%:/?#[]@!$&'()*+,;=-._~"

PLAIN = re.compile(r"[A-Za-z0-9_.~-]*", re.ASCII)
#: How each octet is spelled within a value.
PERCENT = tuple(quote(bytes((octet,)), safe="") for octet in range(256))

UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]+")

#: A dial string: `(0.3)` is 0, 1, 2, 3 in turn, `0,2,5` these three. Longer numbers are sender ids.
DIAL_STRING = re.compile(r"\((\d{1,2})\.(\d{1,2})\)|(\d{1,2}(?:,\d{1,2})*)")


@dataclass(slots=True)  # as Message
class Request:
    """What goes to the gateway; `private` is what the answer must not repeat in our errors.

    `named` is how the request calls the message, where the gateway calls it so too.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    private: tuple[str, ...] = field(repr=False)
    named: str | None = None


#: Returns a text with its placeholders filled in; None: a value is missing, and what the text is for is left out.
Fill = Callable[[Mapping[str, str]], str | None]


class Requests:
    """Makes the requests of one provider. It has a memory only for ports, which are used in turn."""

    def __init__(self, provider: HttpProvider, campaigns: Mapping[str, Campaign]) -> None:
        self._provider = provider
        self._campaigns = campaigns
        self._turns: dict[str, int] = {}
        carries = provider.form is not None or provider.json is not None or provider.body is not None
        self.method = provider.method or (Method.POST if carries else Method.GET)
        url, login = _without_login(provider.url or "")
        #: Where the gateway is: scheme, host and port.
        self.origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        percent = _percent_in(provider.charset)
        self._url = _filler(_quoted(url, provider.charset), percent, must=True)
        self._query = _compiled_fields(provider.query, percent)
        self._form = _compiled_fields(provider.form, percent)
        self._json = _compiled_json(provider.json) if provider.json is not None else None
        given = {name.lower(): value for name, value in provider.headers.items()}
        kind = given.get("content-type") or _kind_of(provider)
        self._body = _compiled(provider.body, _encoder(kind, percent), must=True) if provider.body is not None else None
        self._headers = [(name, _compiled(text, _header)) for name, text in provider.headers.items()]
        self._fixed = {"Content-Type": kind} if kind and "content-type" not in given else {}
        if authorization := _authorization(provider, login):
            self._fixed["Authorization"] = authorization
        if provider.idempotency_key is not None:
            self._headers.append((provider.idempotency_key, _compiled("${id}", _header)))
        self._named = _compiled(provider.id.given, _plain) if provider.id is not None and provider.id.given else None
        self._needs = frozenset(
            found.name
            for part in (provider.url, provider.query, provider.form, provider.json, provider.body, provider.headers)
            for found in placeholders(part)
        )
        self._secrets = _secrets(provider, login)

    def of(self, message: Message) -> Request:
        """Return what to ask for a message.

        Raises BadAddress or BadText (both Refused) when the provider does not accept the number, or the text cannot
        be sent.
        """
        values = self._values(message)
        url = self._url(values) or ""
        if query := _members(self._query, values):
            url += ("&" if "?" in url else "?") + query
        headers = dict(self._fixed)
        for name, fill in self._headers:
            if (text := fill(values)) is not None:
                headers[name] = text
        private = (values["phone"], message.destination, message.address, message.data, values["message"])
        named = self._named(values) if self._named is not None else None
        return Request(self.method, url, headers, self._content(values), (*private, *self._secrets), named)

    def _content(self, values: Mapping[str, str]) -> bytes | None:
        if self._provider.form is not None:
            return _members(self._form, values).encode()
        if self._json is not None:
            filled = self._json(values)
            return json.dumps({} if filled is _MISSING else filled).encode()
        if self._body is not None:
            return _octets(self._body(values) or "", self._provider.charset)
        return None

    def _values(self, message: Message) -> dict[str, str]:
        campaign = self._campaigns.get(message.campaign)
        rule = campaign.unicode if campaign is not None else UnicodeRule.AUTO
        text = transliterate(message.data) if rule is UnicodeRule.TRANSLITERATE else message.data
        region = campaign.region if campaign is not None else None
        codings = self._provider.coding
        values = dict(self._provider.parameters)
        values |= {
            "phone": number_for(self._provider, message.channel, message.destination, message.address, region),
            "message": text,
            "id": message.id,
            "source": message.source or "",
            "campaign": message.campaign,
            "agent": message.agent or "",
            "base": message.base or "",
            "parts": str(message.parts),
            "seq": str(message.seq),
        }
        # The rest is costly, or needless: a plain text can be sent by any rule.
        if self._needs & CODED or not text or not text.isascii() or not text.isprintable():
            encoded = encode(message.data, rule)
            values["coding"] = codings.gsm7 if encoded.coding is Coding.GSM7 else codings.ucs2
            values["hex"] = b"".join(encoded.parts).hex()
        if "port" in self._needs:
            values["port"] = self._port(message)
        return values

    def _port(self, message: Message) -> str:
        """Return the next port of the message's, its campaign's or the provider's dial string, "" without one."""
        for dial_string in (message.source, self._provider.parameters.get("ports")):
            found = DIAL_STRING.fullmatch(dial_string or "")
            if dial_string and found:
                if found[3]:
                    ports = found[3].split(",")
                else:
                    first, last = sorted((int(found[1]), int(found[2])))
                    ports = [str(port) for port in range(first, last + 1)]
                turn = self._turns.get(dial_string, 0)
                self._turns[dial_string] = turn + 1
                return ports[turn % len(ports)]
        return ""


def _compiled(text: str, encode: Callable[[str], str], *, must: bool = False) -> Fill:
    return _filler(parse(text), encode, must=must)


def _compiled_fields(fields: Mapping[str, str] | None, encode: Callable[[str], str]) -> list[tuple[str, Fill]]:
    """Return names and values of a query or a form; here what stands around the placeholders is encoded as well."""
    return [
        (encode(name), _filler(tuple(encode(p) if isinstance(p, str) else p for p in parse(text)), encode))
        for name, text in (fields or {}).items()
    ]


def _quoted(url: str, charset: str) -> tuple[str | Placeholder, ...]:
    """Return the pieces of a URL, with what stands around the placeholders encoded where it is not yet."""
    return tuple(quote(p, safe=URL_SAFE + "{}", encoding=charset) if isinstance(p, str) else p for p in parse(url))


def _filler(pieces: tuple[str | Placeholder, ...], encode: Callable[[str], str], *, must: bool = False) -> Fill:
    """Return what fills a text of these pieces in; one that `must` be complete has nothing where a value is missing."""

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


def _members(members: list[tuple[str, Fill]], values: Mapping[str, str]) -> str:
    return "&".join([f"{name}={value}" for name, fill in members if (value := fill(values)) is not None])


def _percent_in(charset: str) -> Callable[[str], str]:
    def percent(value: str) -> str:
        # Most values are ids and numbers, and need no look at each octet.
        return value if PLAIN.fullmatch(value) else "".join(map(PERCENT.__getitem__, _octets(value, charset)))

    return percent


def _octets(text: str, charset: str) -> bytes:
    """Return a text in the gateway's charset; BadText if that cannot spell it."""
    try:
        return text.encode(charset)
    except UnicodeEncodeError as error:
        letter = error.object[error.start]
        raise BadText(f"the gateway's charset {charset} cannot spell U+{ord(letter):04X}", "bad text") from None


def _plain(value: str) -> str:
    return value


def _header(value: str) -> str:
    return UNPRINTABLE.sub(" ", value).strip()


def _json_string(value: str) -> str:
    return json.dumps(value)[1:-1]


def _xml(value: str) -> str:
    # What XML 1.0 cannot hold is dropped; quotes are escaped for attributes.
    kept = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "", value)
    return xml_escape(kept, {'"': "&quot;", "'": "&apos;"})


def _kind_of(provider: HttpProvider) -> str | None:
    if provider.form is not None:
        return FORM
    if provider.json is not None:
        return "application/json"
    if provider.body is None:
        return None
    begin = provider.body.lstrip()[:1]
    kinds = {"<": f"application/xml; charset={provider.charset}", "{": "application/json", "[": "application/json"}
    return kinds.get(begin, f"text/plain; charset={provider.charset}")


def _encoder(kind: str | None, percent: Callable[[str], str]) -> Callable[[str], str]:
    kind = (kind or "").partition(";")[0].strip().lower()
    if kind == FORM:
        return percent
    if kind.endswith(("/json", "+json")):
        return _json_string
    return _xml if kind.endswith(("/xml", "+xml")) else _plain


class _Missing:
    """Stands where a member of JSON is left out."""


_MISSING = _Missing()


def _compiled_json(value: object) -> Callable[[Mapping[str, str]], Any]:
    """Return what makes the JSON of a message, _MISSING where nothing is left of it."""
    if isinstance(value, str):
        fill = _compiled(value, _plain)
        match parse(value):
            case (Placeholder(is_int=True),):
                return lambda values: _number(fill(values))
        return lambda values: _MISSING if (text := fill(values)) is None else text
    if isinstance(value, dict):
        members = [(name, _compiled_json(entry)) for name, entry in value.items()]

        def table(values: Mapping[str, str]) -> Any:
            filled = {name: made for name, make in members if (made := make(values)) is not _MISSING}
            return filled if filled or not members else _MISSING

        return table
    if isinstance(value, list):
        entries = [_compiled_json(entry) for entry in value]

        def array(values: Mapping[str, str]) -> Any:
            filled = [made for make in entries if (made := make(values)) is not _MISSING]
            return filled if filled or not entries else _MISSING

        return array
    return lambda _values: value


def _number(text: str | None) -> Any:
    if text is None:
        return _MISSING
    return int(text) if re.fullmatch(r"-?\d{1,18}", text, re.ASCII) else text


def _without_login(url: str) -> tuple[str, tuple[str, str] | None]:
    """Return a URL without fragment and without user and password, its host in ASCII (RFC 3490), and these two."""
    parts = urlsplit(url)
    login = None
    host = parts.netloc.rpartition("@")[2]
    if not host.isascii():
        host = host.encode("idna").decode()
    if parts.username is not None:
        login = (parts.username, parts.password or "")
    return parts._replace(netloc=host, fragment="").geturl(), login


def _authorization(provider: HttpProvider, login: tuple[str, str] | None) -> str | None:
    """Return the header for Bearer (RFC 6750) or Basic (RFC 7617, in UTF-8); digests are another's work."""
    auth = provider.auth
    if auth is not None and auth.bearer is not None:
        return f"Bearer {auth.bearer.get_secret_value()}"
    if auth is not None and auth.scheme is Scheme.BASIC and auth.password is not None:
        login = (auth.user or "", auth.password.get_secret_value())
    elif auth is not None:
        return None
    return f"Basic {_basic(*login)}" if login is not None else None


def _basic(user: str, password: str) -> str:
    return b64encode(f"{user}:{password}".encode()).decode()


SECRET_WORD = re.compile(r"pas|pw|secret|key|token|auth|bearer|credential", re.IGNORECASE)


def _secrets(provider: HttpProvider, login: tuple[str, str] | None) -> tuple[str, ...]:
    """Return what no error may repeat: credentials, parameters, and what stands under a name that sounds like one."""
    found = {value for key, value in provider.parameters.items() if key not in OF_MESSAGE}
    if login is not None:
        found |= {login[1], _basic(*login)}
    if provider.auth is not None:
        for secret in (provider.auth.password, provider.auth.bearer):
            if secret is not None:
                found |= {secret.get_secret_value(), _basic(provider.auth.user or "", secret.get_secret_value())}
    _, _, url_query = (provider.url or "").partition("?")
    for part in (dict(parse_qsl(url_query)), provider.query, provider.form, provider.json, provider.headers):
        found |= set(_secret_words(part))
    return tuple(sorted((value for value in found if len(value) > 2), key=len, reverse=True))


def _secret_words(value: object, name: str = "") -> Iterator[str]:
    """Yield what stands under such a name or came by reference, and its last word: the first may be a scheme."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _secret_words(entry, key)
    elif isinstance(value, list):
        for entry in value:
            yield from _secret_words(entry, name)
    elif isinstance(value, Hidden) or (isinstance(value, str) and SECRET_WORD.search(name)):
        yield value
        yield from value.split()[-1:]
