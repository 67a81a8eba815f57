"""What is sent, when and how fast: one campaign file, read and checked."""

from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from enum import StrEnum

from dialerd.model.calendar import Dates, Schedule
from dialerd.model.message import Channel

__all__ = ["Bases", "Campaign", "EmailPart", "OnDoubt", "RetryPolicy", "UnicodeRule"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailPart:
    """The [email] table of a campaign: `sender` is its key `from`, an RFC 5322 mailbox."""

    sender: str
    reply_to: tuple[str, ...] = ()
    subject: str = ""
    template: str | None = None
    attachments: str | None = None


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
    email: EmailPart | None = None

    @property
    def providers(self) -> tuple[str, ...]:
        """All that it may send through, in their order."""
        return (self.provider, *self.fallbacks)
