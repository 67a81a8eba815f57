"""The tables [providers.NAME] of dialerd.toml: one kind for each driver."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SecretStr
from pydantic.dataclasses import dataclass

from dialerd.model.message import Channel
from dialerd.settings.gateway import Answer, HeaderName, HttpAuth, HttpUrl, JsonBody, Method, ProviderId
from dialerd.settings.tables import STRICT, Clash
from dialerd.settings.values import (
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
    "Bind",
    "DiscardProvider",
    "FileProvider",
    "HttpProvider",
    "LongSms",
    "NumberFormat",
    "Provider",
    "ReceiptIds",
    "Security",
    "SmppProvider",
    "SmtpProvider",
    "Tls",
]


class NumberFormat(StrEnum):
    """How a provider wants numbers: +59899123456, 59899123456, 099123456, or as they came."""

    PLUS = "plus"
    E164 = "e164"
    NATIONAL = "national"
    AS_IS = "as_is"


class Bind(StrEnum):
    """How a session is bound to an SMSC; with two binds, one sends and one receives."""

    TRANSCEIVER = "transceiver"
    BOTH = "transmitter+receiver"
    TRANSMITTER = "transmitter"


class Tls(StrEnum):
    """Whether an SMPP connection is encrypted."""

    NONE = "none"
    TLS = "tls"


class LongSms(StrEnum):
    """How a long text is sent: parts with a UDH, parts with the sar_* fields, or whole as message_payload."""

    UDH = "udh"
    SAR = "sar"
    PAYLOAD = "payload"


class ReceiptIds(StrEnum):
    """How an SMSC spells the id of a message: first in its answer, then in the receipt."""

    AUTO = "auto"
    SAME = "same"
    HEX_DEC = "hex-dec"
    DEC_HEX = "dec-hex"


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
    """An SMSC that speaks SMPP 3.4. A type of number or numbering plan of None follows from the address."""

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
    response_timeout_s: Seconds = 10.0
    enquire_link_s: Seconds = 30.0
    source_ton: Octet | None = None
    source_npi: Octet | None = None
    dest_ton: Octet | None = None
    dest_npi: Octet | None = None
    long: Annotated[LongSms, one_of(LongSms)] = LongSms.UDH
    receipts: Flag = True
    receipt_ids: Annotated[ReceiptIds, one_of(ReceiptIds)] = ReceiptIds.AUTO


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class HttpProvider(BaseProvider):
    """A gateway that is spoken to over HTTP.

    With `preset`, what is None here comes from that preset. Without, None means: `method` GET, or POST if there is
    something to carry; `success` any 2xx; `throttled` 429; nothing is `permanent`; the answer names no id.
    """

    channels: ClassVar[frozenset[Channel]] = frozenset({Channel.SMS})

    driver: Literal["http"] = "http"
    preset: Name | None = None
    method: Annotated[Method, one_of(Method)] | None = None
    url: HttpUrl | None = Field(default=None, repr=False)
    query: dict[str, FreeText] | None = Field(default=None, repr=False)
    form: dict[str, FreeText] | None = Field(default=None, repr=False)
    json: JsonBody | None = Field(default=None, repr=False)
    body: Text | None = Field(default=None, repr=False)
    headers: dict[HeaderName, Line] = Field(default_factory=dict, repr=False)
    auth: HttpAuth | None = Field(default=None, repr=False)
    timeout_s: Seconds = 10.0
    success: Answer | None = None
    id: ProviderId | None = None
    permanent: Answer | None = None
    throttled: Answer | None = None

    @staticmethod
    def clashes(given: Mapping[str, Any]) -> Iterator[Clash]:
        """Yield what the keys have against each other."""
        if "url" not in given and "preset" not in given:
            yield "url", "expected this key: only a preset makes it needless"
        carried = [key for key in ("form", "json", "body") if key in given]
        if len(carried) > 1:
            yield carried[1], f"expected only one of form, json and body: there is {carried[0]} already"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SmtpProvider(BaseProvider):
    """A mail server that takes our e-mails; `connections_per_domain` of None means all `connections`."""

    channels: ClassVar[frozenset[Channel]] = frozenset({Channel.EMAIL})

    driver: Literal["smtp"] = "smtp"
    host: Name
    port: Port = 587
    security: Annotated[Security, one_of(Security)] = Security.STARTTLS
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


Provider = FileProvider | DiscardProvider | SmppProvider | HttpProvider | SmtpProvider

#: The table of each driver.
PROVIDERS: Mapping[str, type[Provider]] = {
    "file": FileProvider,
    "discard": DiscardProvider,
    "smpp": SmppProvider,
    "http": HttpProvider,
    "smtp": SmtpProvider,
}
