"""What is sent, when and how fast: one campaign file, read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from enum import StrEnum

from dialerd.model.calendar import Dates, Schedule
from dialerd.model.message import Channel
from dialerd.model.placeholders import Missing

__all__ = [
    "Bases",
    "Campaign",
    "EmailPart",
    "OnDoubt",
    "OptOut",
    "RetryPolicy",
    "TemplateSource",
    "UnicodeRule",
]


class OnDoubt(StrEnum):
    """What becomes of a message that may have gone."""

    HOLD = "hold"
    RESEND = "resend"


class Bases(StrEnum):
    """Whether a loaded base may go at once, or waits for `spool release --base`."""

    ACTIVE = "active"
    HELD = "held"


class UnicodeRule(StrEnum):
    """How a text that GSM 03.38 cannot spell is treated."""

    AUTO = "auto"
    GSM7 = "gsm7"
    TRANSLITERATE = "transliterate"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how far apart a deferred message is tried: first_s * factor**(n-1) seconds, at most max_s."""

    attempts: int = 5
    first_s: float = 60.0
    factor: float = 2.0
    max_s: float = 3600.0


class OptOut(StrEnum):
    """What somebody leaves who unsubscribes: this campaign, or all of them."""

    CAMPAIGN = "campaign"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSource:
    """A template as it stands in its files, NAME.html and NAME.txt; None for one that is not there."""

    name: str
    html: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailPart:
    """The [email] table of a campaign: `sender` is its key `from`, an RFC 5322 mailbox.

    `templates` are all that there are, by name: a message may ask for another than its campaign's. `secret` signs the
    links to unsubscribe. `return_path` is the address under which bounces are told apart by message (VERP); a
    recipient whose mails bounced hard so often as `bounces_to_blacklist` says is written to no more.
    """

    sender: str
    reply_to: tuple[str, ...] = ()
    subject: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    template: str | None = None
    templates: Mapping[str, TemplateSource] = field(default_factory=dict, repr=False)
    attachments: str | None = None
    max_attachments_mb: float = 10.0
    unsubscribe: str | None = None
    unsubscribe_from: OptOut = OptOut.CAMPAIGN
    secret: str | None = field(default=None, repr=False)
    return_path: str | None = None
    bounces_to_blacklist: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """One campaign; the field names are the keys of its file (see config/campaigns).

    `provider` is the one it sends through, `fallbacks` those that do so while all before them are away.
    `schedule` and `recipient_hours` are None where no rule was given. `interval_s` is the least time between two
    messages in seconds, the slower of `per_second` and `between_ms`, None for no limit. `max_in_flight` is None
    where only the provider's limit counts. `zone` is the campaign's time zone, `timezone` its IANA name.
    """

    name: str
    channel: Channel
    provider: str
    fallbacks: tuple[str, ...] = ()
    enabled: bool = True
    timezone: str = "UTC"
    zone: tzinfo = UTC
    source: str | None = None
    schedule: Schedule | None = None
    dates: Dates = field(default_factory=Dates)
    interval_s: float | None = None
    max_in_flight: int | None = None
    expires_s: float | None = None
    on_doubt: OnDoubt = OnDoubt.HOLD
    bases: Bases = Bases.ACTIVE
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    recipient_hours: Schedule | None = None
    region: str | None = None
    unicode: UnicodeRule = UnicodeRule.AUTO
    max_parts: int = 6
    missing: Missing = Missing.ERROR
    email: EmailPart | None = None

    @property
    def providers(self) -> tuple[str, ...]:
        """All that it may send through, in their order."""
        return (self.provider, *self.fallbacks)
