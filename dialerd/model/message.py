"""One SMS or one e-mail to one destination, and the words for where it stands."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

__all__ = ["BULK", "URGENT", "Channel", "Message", "NumberFormat", "State", "Status", "new_id"]

#: Priority of what was scheduled or sent by hand, and of a base that names none (1 goes first, 9999 last).
URGENT = 1
BULK = 9999


class Channel(StrEnum):
    """The two kinds of message."""

    SMS = "sms"
    EMAIL = "email"


class NumberFormat(StrEnum):
    """How a provider wants numbers: +59899123456, 59899123456, 099123456, or as they came."""

    PLUS = "plus"
    E164 = "e164"
    NATIONAL = "national"
    AS_IS = "as_is"


class State(StrEnum):
    """Where a message of sms_spool stands."""

    QUEUED = "queued"
    DEFERRED = "deferred"
    HELD = "held"
    SENDING = "sending"
    IN_DOUBT = "in_doubt"


class Status(StrEnum):
    """How a message of sms_repo ended."""

    SENT = "sent"
    FAILED = "failed"
    EXPIRED = "expired"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"


@dataclass(slots=True, kw_only=True)  # nobody changes one; to be frozen costs a third of all that claiming it does
class Message:
    """A claimed message: what a driver needs to send it and the dialer to settle it.

    `attempt` counts from 1 and is the one under way. `parts` is the number of SMS parts, 1 for an e-mail. Of a long
    SMS `accepted` has the parts (from 1) that the provider took at earlier attempts, with its names for them, under the
    concatenation `reference`. After `expires_at` nobody wants it any more; None: always. `first_claimed_at` is when its
    first attempt that counted was claimed, the same at all later ones; None: nobody knows any more.
    """

    id: str
    seq: int
    campaign: str
    channel: Channel
    destination: str
    address: str
    data: str
    priority: int
    base: str | None
    calldate: datetime | None
    agent: str | None
    source: str | None
    details: Mapping[str, Any]
    queued_at: datetime
    attempt: int
    parts: int
    reference: int | None = None
    accepted: Mapping[int, str | None] = field(default_factory=dict)
    expires_at: datetime | None = None
    first_claimed_at: datetime | None = None

    @property
    def cost(self) -> int:
        """What an attempt costs of a provider's pace: the parts that it has not taken yet, 1 at least."""
        return max(self.parts - len(self.accepted), 1)


#: Ids whose random bits are drawn at once: asking the kernel for each took longer than the rest of it.
CHANCES = 400
_chances: list[str] = []
# Of two processes that one became, each draws its own.
os.register_at_fork(after_in_child=_chances.clear)


#: The two bits before the last 62 are 10, the variant of RFC 9562: what a digit drawn by chance becomes there.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def _drawn() -> list[str]:
    """Return what follows the time in as many ids: version, variant, and 74 bits of chance."""
    drawn = os.urandom(10 * CHANCES).hex()
    return [
        f"7{drawn[n : n + 3]}-{_VARIANT[drawn[n + 3]]}{drawn[n + 4 : n + 7]}-{drawn[n + 7 : n + 19]}"
        for n in range(0, len(drawn), 20)
    ]


def new_id() -> str:
    """Return a fresh message id: a UUID of version 7 (RFC 9562, section 5.7), dashed, lower case.

    Its first 48 bits are the time in milliseconds, so that the ids of one hour stand side by side in an index
    and inserting into a large sms_repo touches few of its pages.
    """
    try:
        chance = _chances.pop()
    except IndexError:
        # Another thread may take what this one has drawn for the others, but not its own.
        chance, *others = _drawn()
        _chances.extend(others)
    now = f"{time.time_ns() // 1_000_000:012x}"
    return f"{now[:8]}-{now[8:]}-{chance}"
