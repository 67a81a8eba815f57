"""What providers tell us by themselves: what became of a message they took, and what people write to us."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

__all__ = ["Delivery", "Inbound", "Receipt"]


class Delivery(StrEnum):
    """What a receipt says in the end; `delivery` of sms_repo."""

    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    READ = "read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One receipt for one SMS (part) or e-mail.

    `provider_id` is the provider's own name for it, spelt as in the receipt; `own_id` is our message's id, where the
    provider echoes it. `delivery` is None while it is still on its way (ENROUTE, ACCEPTED). `address` is the recipient
    as the provider spells it. `at` is when it happened, in aware UTC, if the provider says so.
    """

    provider: str
    provider_id: str | None = None
    own_id: str | None = None
    delivery: Delivery | None
    address: str | None = None
    at: datetime | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """An SMS that somebody sent to us, or one part of it: `part` of `parts` (from 1), all with one `reference`.

    `phone` is the sender and `to` the number it was sent to, as the provider spells them. `provider_id` is the
    provider's own name for it, by which a repetition is known.
    """

    provider: str
    phone: str
    message: str
    received: datetime
    to: str | None = None
    provider_id: str | None = None
    reference: int | None = None
    part: int = 1
    parts: int = 1
