"""The tables [providers.NAME] of dialerd.toml: one kind for each driver."""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SecretStr
from pydantic.dataclasses import dataclass

from dialerd.model.message import Channel, NumberFormat
from dialerd.model.placeholder import OF_MESSAGE, placeholders
from dialerd.model.receipt import ReceiptIds
from dialerd.settings.callbacks import InboundFields, ReceiptFields, Signature
from dialerd.settings.gateway import (
    Answer,
    Charset,
    Codings,
    HeaderName,
    HttpAuth,
    HttpUrl,
    JsonBody,
    Method,
    Probe,
    ProviderId,
)
from dialerd.settings.sources import Hidden
from dialerd.settings.tables import STRICT, Clash
from dialerd.settings.values import (
    Certificates,
    Flag,
    Folder,
    FreeText,
    Line,
    MaybeEmptySecret,
    Name,
    Pattern,
    PerSecond,
    Secret,
    Text,
    number,
    one_of,
    whole,
)

__all__ = [
    "PROVIDERS",
    "Alphabet",
    "Bind",
    "DiscardProvider",
    "FileProvider",
    "HttpKeys",
    "HttpProvider",
    "LongSms",
    "NumberFormat",
    "Provider",
    "ReceiptIds",
    "Security",
    "SmppProvider",
    "SmtpProvider",
    "Tls",
    "template_clashes",
]


class Bind(StrEnum):
    """How a session is bound to an SMSC; with two binds, one sends and one receives."""

    TRANSCEIVER = "transceiver"
    BOTH = "transmitter+receiver"
    TRANSMITTER = "transmitter"


class Tls(StrEnum):
    """Whether an SMPP connection is encrypted."""

    NONE = "none"
    TLS = "tls"


class Alphabet(StrEnum):
    """What an SMSC takes for its default alphabet (data_coding 0); the words are Python's for those that are none."""

    GSM7 = "gsm7"
    LATIN_1 = "latin-1"
    ASCII = "ascii"


class LongSms(StrEnum):
    """How a long text is sent: parts with a UDH, parts with the sar_* fields, or whole as message_payload."""

    UDH = "udh"
    SAR = "sar"
    PAYLOAD = "payload"


class Security(StrEnum):
    """How a mail server is spoken to: in clear, encrypted after STARTTLS, or encrypted from the start."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


Port = Annotated[int, whole(1, 65535)]
Seconds = Annotated[float, number(most=3600)]
Octet = Annotated[int, whole(0, 255)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class BaseProvider:
    """What every provider has; `name` is that of its table. `channels` is what its driver can deliver."""

    channels: ClassVar[frozenset[Channel]]

    name: Name = Field(exclude=True)
    per_second: PerSecond | None = None
    max_in_flight: Annotated[int, whole(1, 10_000)] = 50
    number_format: Annotated[NumberFormat, one_of(NumberFormat)] = NumberFormat.PLUS
    accept: Pattern | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class FileProvider(BaseProvider):
    """Appends what it is given to a file. `load` has made `path` absolute; an answer takes `latency_ms`."""

    channels: ClassVar[frozenset[Channel]] = frozenset(Channel)

    driver: Literal["file"] = "file"
    path: Folder
    latency_ms: Annotated[float, number(least=0, most=3_600_000)] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class DiscardProvider(BaseProvider):
    """Accepts everything and writes nothing; an answer takes `latency_ms`."""

    channels: ClassVar[frozenset[Channel]] = frozenset(Channel)

    driver: Literal["discard"] = "discard"
    latency_ms: Annotated[float, number(least=0, most=3_600_000)] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SmppProvider(BaseProvider):
    """An SMSC that speaks SMPP 3.4. A type of number or numbering plan of None follows from the address.

    `ca` has the certificates, in PEM, by one of which the SMSC's must be signed; None: those that the host trusts.
    """

    channels: ClassVar[frozenset[Channel]] = frozenset({Channel.SMS})

    driver: Literal["smpp"] = "smpp"
    host: Name
    port: Port = 2775
    system_id: Name
    password: MaybeEmptySecret = Field(default=SecretStr(""), repr=False)
    bind: Annotated[Bind, one_of(Bind)] = Bind.TRANSCEIVER
    system_type: Line = ""
    window: Annotated[int, whole(1, 10_000)] = 20
    binds: Annotated[int, whole(1, 100)] = 1
    tls: Annotated[Tls, one_of(Tls)] = Tls.NONE
    ca: Certificates | None = Field(default=None, repr=False)
    response_timeout_s: Seconds = 10.0
    enquire_link_s: Seconds = 30.0
    source_ton: Octet | None = None
    source_npi: Octet | None = None
    dest_ton: Octet | None = None
    dest_npi: Octet | None = None
    alphabet: Annotated[Alphabet, one_of(Alphabet)] = Alphabet.GSM7
    long: Annotated[LongSms, one_of(LongSms)] = LongSms.UDH
    receipts: Flag = True
    receipt_ids: Annotated[ReceiptIds, one_of(ReceiptIds)] = ReceiptIds.AUTO

    @staticmethod
    def clashes(given: Mapping[str, Any]) -> Iterator[Clash]:
        """Yield what the keys have against each other."""
        if "ca" in given and given.get("tls", Tls.NONE) == Tls.NONE:
            yield "ca", 'expected tls = "tls" beside it: nothing is encrypted without'


#: The keys of an http provider in which placeholders stand.
TEMPLATES = ("url", "query", "form", "json", "body", "headers")


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class HttpKeys(BaseProvider):
    """What a gateway is asked, and how its answers are read.

    None means: `method` GET, or POST if there is something to carry; `connections` as many as `max_in_flight`; `each`:
    the answer has one verdict, not one for each part in an array; `success` any 2xx; `throttled` 429 and 503;
    `unavailable` 401 and 407; nothing is `permanent`; the answer names no
    id; `idempotency_key`: the gateway knows none.

    `receipt` and `inbound` are what it calls back, `signature` is how it signs that; None: it does not.
    """

    channels: ClassVar[frozenset[Channel]] = frozenset({Channel.SMS})

    driver: Literal["http"] = "http"
    method: Annotated[Method, one_of(Method)] | None = None
    url: HttpUrl | None = Field(default=None, repr=False)
    query: dict[str, FreeText] | None = Field(default=None, repr=False)
    form: dict[str, FreeText] | None = Field(default=None, repr=False)
    json: JsonBody | None = Field(default=None, repr=False)
    body: Text | None = Field(default=None, repr=False)
    headers: dict[HeaderName, Line] = Field(default_factory=dict, repr=False)
    auth: HttpAuth | None = Field(default=None, repr=False)
    charset: Charset = "utf-8"
    coding: Codings = Field(default_factory=Codings)
    timeout_s: Seconds = 10.0
    connections: Annotated[int, whole(1, 10_000)] | None = None
    keep_alive: Flag = True
    each: Name | None = None
    success: Answer | None = None
    id: ProviderId | None = None
    permanent: Answer | None = None
    throttled: Answer | None = None
    unavailable: Answer | None = None
    idempotency_key: HeaderName | None = None
    probe: Annotated[Probe, one_of(Probe)] = Probe.HEAD
    receipt: ReceiptFields | None = None
    inbound: InboundFields | None = None
    signature: Signature | None = Field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class HttpProvider(HttpKeys):
    """A gateway that is spoken to over HTTP. `load` has filled in what its preset says, and `filled` tells what."""

    preset: Name | None = None
    ca: Certificates | None = Field(default=None, repr=False)
    parameters: dict[str, FreeText] = Field(default_factory=dict, repr=False)
    filled: dict[str, Any] = Field(default_factory=dict, exclude=True, repr=False)

    @staticmethod
    def clashes(given: Mapping[str, Any]) -> Iterator[Clash]:
        """Yield what the keys have against each other."""
        if "url" not in given and "preset" not in given:
            yield "url", "expected this key: only a preset makes it needless"
        parameters = given.get("parameters")
        yield from template_clashes(given, parameters if isinstance(parameters, dict) else {})


def _host(url: str) -> str:
    """Return scheme and host of a URL; a preset's may begin with a parameter, which stands for both."""
    found = re.match(r"https?://(?:\$\{[^{}]*\}|\{id\}|[^/?#])*", url)
    return found[0] if found else ""


def template_clashes(given: Mapping[str, Any], parameters: Mapping[str, Any]) -> Iterator[Clash]:
    """Yield what is wrong with the templates of a request: several bodies, or placeholders that stand for nothing."""
    carried = [key for key in ("form", "json", "body") if key in given]
    if len(carried) > 1:
        yield carried[1], f"expected only one of form, json and body: there is {carried[0]} already"
    for name in parameters:
        if name in OF_MESSAGE:
            yield "parameters", f"expected other names than those that stand for parts of a message: {name}"
    for key in TEMPLATES:
        for found in placeholders(given.get(key)):
            shown = "a placeholder" if isinstance(given[key], Hidden) else str(found)
            if found.name not in OF_MESSAGE and found.name not in parameters:
                known = ", ".join([*OF_MESSAGE, *parameters])
                yield key, f"{shown} stands for nothing: expected one of {known}, or $${{…}} for a plain ${{…}}"
            elif key == "url" and isinstance(given["url"], str) and str(found) in _host(given["url"]):
                yield key, f"{shown}: a message cannot say which host is asked"
            elif found.is_int and key != "json":
                yield key, f"{shown}: only in json a value can be a number"
    yield from _not_in_charset(given, parameters)


def _not_in_charset(given: Mapping[str, Any], parameters: Mapping[str, Any]) -> Iterator[Clash]:
    """Yield what of a request the gateway's charset cannot spell; without the letters, which may be a password's."""
    charset = given.get("charset", "utf-8")
    coded = {key: given[key] for key in ("url", "query", "form", "body") if key in given}
    used = {found.name for found in placeholders(coded)}
    for key, value in {**coded, "parameters": {name: parameters[name] for name in parameters if name in used}}.items():
        for name, text in value.items() if isinstance(value, Mapping) else (("", value),):
            try:
                f"{name}{text}".encode(charset)
            except UnicodeEncodeError:
                where = f"{key}.{name}" if name.isascii() and name else key
                yield key, f"expected only letters of the charset {charset}, in which {where} is sent"
            except (LookupError, TypeError, ValueError):  # which is told where the charset is checked
                return


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SmtpProvider(BaseProvider):
    """A mail server that takes our e-mails; `connections_per_domain` of None means all `connections`."""

    channels: ClassVar[frozenset[Channel]] = frozenset({Channel.EMAIL})

    driver: Literal["smtp"] = "smtp"
    host: Name
    port: Port = 587
    security: Annotated[Security, one_of(Security)] = Security.STARTTLS
    ca: Certificates | None = Field(default=None, repr=False)
    username: Name | None = None
    password: Secret | None = Field(default=None, repr=False)
    connections: Annotated[int, whole(1, 1000)] = 10
    connections_per_domain: Annotated[int, whole(1, 1000)] | None = None
    mails_per_connection: Annotated[int, whole(1, 1_000_000)] = 100
    timeout_s: Seconds = 30.0

    @staticmethod
    def clashes(given: Mapping[str, Any]) -> Iterator[Clash]:
        """Yield what the keys have against each other."""
        if ("username" in given) != ("password" in given):
            missing = "password" if "username" in given else "username"
            yield missing, "expected this key: username and password go together"
        if "ca" in given and given.get("security") == Security.NONE:
            yield "ca", "expected another security than none beside it: nothing is encrypted without"


Provider = FileProvider | DiscardProvider | SmppProvider | HttpProvider | SmtpProvider

#: The table of each driver.
PROVIDERS: Mapping[str, type[Provider]] = {
    "file": FileProvider,
    "discard": DiscardProvider,
    "smpp": SmppProvider,
    "http": HttpProvider,
    "smtp": SmtpProvider,
}
