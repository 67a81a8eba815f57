"""The files campaigns/*.toml: their tables, and the campaign that comes of one."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import Field, PlainValidator
from pydantic.dataclasses import dataclass

from dialerd.model.calendar import Dates
from dialerd.model.campaign import (
    Bases,
    Campaign,
    EmailPart,
    OnDoubt,
    OptOut,
    RetryPolicy,
    TemplateSource,
    UnicodeRule,
)
from dialerd.model.message import Channel
from dialerd.model.placeholders import Missing
from dialerd.settings.tables import STRICT, Clash
from dialerd.settings.values import (
    Day,
    Flag,
    Line,
    Mailbox,
    Name,
    PerSecond,
    Region,
    SigningSecret,
    TimeWindow,
    Zone,
    bare,
    expected,
    is_template,
    number,
    one_of,
    whole,
    word,
)

__all__ = ["CampaignTable", "campaign_of"]

#: Seconds that may be added to any date we will see.
LONGEST_S = 1_000_000_000

#: Of one campaign: those behind the first are for when it is away.
MOST_PROVIDERS = 8

Seconds = Annotated[float, number(most=LONGEST_S)]


def _providers(value: object) -> tuple[str, ...]:
    what = "the name of a provider, or an array of up to 8 names, each once, the first first"
    names = value if isinstance(value, list) else [value]
    if not 1 <= len(names) <= MOST_PROVIDERS or len({str(name) for name in names}) < len(names):
        raise expected(what)
    if not all(isinstance(name, str) for name in names):
        raise expected(what)
    return tuple(word(1, 200)(name) for name in names)


def _template(value: object) -> str:
    name = word(1, 200)(value)
    if not is_template(name):
        raise expected("the name of a file in templates/, without its .html or .txt")
    return name


#: RFC 5322, section 2.2.
FIELD = re.compile(r"[!-9;-~]{1,76}")
#: Header fields that a mail has once, and from us.
OURS = re.compile(
    r"from|to|cc|bcc|reply-to|subject|date|message-id|sender|return-path|mime-version|content-.*|auto-submitted"
    r"|list-unsubscribe(-post)?|received|resent-.*|dkim-signature",
    re.IGNORECASE,
)


def _header(value: object) -> str:
    name = word(1, 200)(value)
    if not FIELD.fullmatch(name) or OURS.fullmatch(name):
        raise expected("the name of a header that mails do not have anyway, such as X-Campaign")
    return name


def _link(value: object) -> str:
    link = word(1, 400)(value)
    if not link.isascii() or not re.fullmatch(r"https://[^\s/?#<>\"@]+(?:[/?][^\s#<>\"]*)?", link):
        # RFC 8058, section 3.1: one click works over HTTPS only.
        raise expected("a link such as https://example.com/unsubscribe, in ASCII and without a #")
    return link


def _return_path(value: object) -> str:
    address = bare(value)
    # The id of the message and a + are put in: RFC 5321, section 4.5.3.1.1, allows 64 octets before the @.
    if len(address.rpartition("@")[0].encode()) > 64 - 37:
        raise expected("an address with at most 27 characters before the @-sign: the message's id is added to them")
    return address


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class DatesTable:
    """On which days: both ends included, each may be absent."""

    start: Day | None = None
    end: Day | None = None
    excluded: tuple[Day, ...] = Field(default=(), alias="except")

    @staticmethod
    def clashes(given: Mapping[str, Any]) -> Iterator[Clash]:
        """Yield what the keys have against each other."""
        start, end = given.get("start"), given.get("end")
        if type(start) is date and type(end) is date and start > end:
            yield "end", f"expected a day not before start, {start} (got {end})"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RetryTable:
    """How often and how far apart a message is tried."""

    attempts: Annotated[int, whole(1, 100)] = 5
    first_s: Seconds = 60.0
    factor: Annotated[float, number(least=1, most=100)] = 2.0
    max_s: Seconds = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class EmailTable:
    """What every e-mail of a campaign has."""

    sender: Mailbox = Field(alias="from")
    reply_to: tuple[Mailbox, ...] = ()
    subject: Line = ""
    headers: dict[Annotated[str, PlainValidator(_header)], Line] = Field(default_factory=dict)
    template: Annotated[str, PlainValidator(_template)] | None = None
    attachments: Name | None = None
    max_attachments_mb: Annotated[float, number(most=100)] = 10.0
    unsubscribe: Annotated[str, PlainValidator(_link)] | None = None
    unsubscribe_from: Annotated[OptOut, one_of(OptOut)] = OptOut.CAMPAIGN
    secret: SigningSecret | None = Field(default=None, repr=False)
    return_path: Annotated[str, PlainValidator(_return_path)] | None = None
    bounces_to_blacklist: Annotated[int, whole(1, 1000)] = 3

    @staticmethod
    def clashes(given: Mapping[str, Any]) -> Iterator[Clash]:
        """Yield what the keys have against each other."""
        if "unsubscribe" in given and "secret" not in given:
            yield "secret", "expected this key beside unsubscribe: it signs the links"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class CampaignTable:
    """One campaign as it is written."""

    name: Name
    channel: Annotated[Channel, one_of(Channel)]
    enabled: Flag = True
    provider: Annotated[tuple[str, ...], PlainValidator(_providers)]
    timezone: Zone = "UTC"
    source: Name | None = None
    schedule: tuple[TimeWindow, ...] | None = None
    dates: DatesTable = Field(default_factory=DatesTable)
    per_second: PerSecond | None = None
    between_ms: Annotated[float, number(least=0, most=LONGEST_S)] | None = None
    max_in_flight: Annotated[int, whole(1, 10_000)] | None = None
    expires_s: Seconds | None = None
    on_doubt: Annotated[OnDoubt, one_of(OnDoubt)] | None = None
    bases: Annotated[Bases, one_of(Bases)] = Bases.ACTIVE
    retry: RetryTable = Field(default_factory=RetryTable)
    recipient_hours: tuple[TimeWindow, ...] | None = None
    region: Region | None = None
    unicode: Annotated[UnicodeRule, one_of(UnicodeRule)] = UnicodeRule.AUTO
    max_parts: Annotated[int, whole(1, 255)] = 6
    missing: Annotated[Missing, one_of(Missing)] = Missing.ERROR
    email: EmailTable | None = None

    @staticmethod
    def clashes(given: Mapping[str, Any]) -> Iterator[Clash]:
        """Yield what the keys have against each other."""
        if given.get("channel") == Channel.EMAIL and "email" not in given:
            yield "email", 'expected this table, at least with from: channel = "email"'
        if given.get("channel") == Channel.SMS and "email" in given:
            yield "email", 'expected no such table: channel = "sms"'
        for key in ("schedule", "recipient_hours"):
            if given.get(key) == []:
                yield key, "expected at least one window: without the key there is no such rule"


def campaign_of(table: CampaignTable, folder: Path, templates: Mapping[str, TemplateSource]) -> Campaign:
    """Return the campaign; a relative path of its attachments begins at `folder`, its mails have these templates."""
    return Campaign(
        name=table.name,
        channel=table.channel,
        provider=table.provider[0],
        fallbacks=table.provider[1:],
        enabled=table.enabled,
        timezone=table.timezone,
        zone=UTC if table.timezone == "UTC" else ZoneInfo(table.timezone),
        source=table.source,
        schedule=table.schedule,
        dates=Dates(table.dates.start, table.dates.end, frozenset(table.dates.excluded)),
        interval_s=_interval_s(table.per_second, table.between_ms),
        max_in_flight=table.max_in_flight,
        expires_s=table.expires_s,
        on_doubt=table.on_doubt or (OnDoubt.HOLD if table.channel is Channel.SMS else OnDoubt.RESEND),
        bases=table.bases,
        retry=RetryPolicy(
            attempts=table.retry.attempts,
            first_s=table.retry.first_s,
            factor=table.retry.factor,
            max_s=table.retry.max_s,
        ),
        recipient_hours=table.recipient_hours,
        region=table.region,
        unicode=table.unicode,
        max_parts=table.max_parts,
        missing=table.missing,
        email=_email(table.email, folder, templates),
    )


def _interval_s(per_second: float | None, between_ms: float | None) -> float | None:
    """Return the least time between two messages by the slower of both, None without any."""
    return max(1 / per_second if per_second else 0.0, (between_ms or 0.0) / 1000) or None


def _email(table: EmailTable | None, folder: Path, templates: Mapping[str, TemplateSource]) -> EmailPart | None:
    if table is None:
        return None
    attachments = table.attachments
    return EmailPart(
        sender=table.sender,
        reply_to=table.reply_to,
        subject=table.subject,
        headers=table.headers,
        template=table.template,
        templates=templates,
        # The type is kept: what came by reference stays hidden.
        attachments=attachments and type(attachments)(folder / attachments),
        max_attachments_mb=table.max_attachments_mb,
        unsubscribe=table.unsubscribe,
        unsubscribe_from=table.unsubscribe_from,
        secret=table.secret.get_secret_value() if table.secret is not None else None,
        return_path=table.return_path,
        bounces_to_blacklist=table.bounces_to_blacklist,
    )
