"""What a driver is: the one verb that hands a message to a provider, and says what came of it."""

import asyncio
from typing import Protocol, runtime_checkable

from dialerd.model.message import Message
from dialerd.model.outcome import Outcome
from dialerd.model.receipt import Inbound, Receipt

__all__ = ["Driver", "Inbox", "Listener", "NothingSent"]


class NothingSent(asyncio.CancelledError):
    """A `send` was cancelled when certainly nothing of the message had been accepted."""


class Driver(Protocol):
    """The account at one provider. All is called on one event loop; `send` many times at once."""

    @property
    def attempt_limit_s(self) -> float | None:
        """After so many seconds the dialer cancels an attempt and calls it in doubt; None: it never waits."""

    async def send(self, message: Message) -> Outcome:
        """Hand one message over, once, and return what the provider said; never raise for a message.

        All but InDoubt is said only for certain: whatever might have gone, and might not, is InDoubt. Cancelled, it
        lets CancelledError through, and what was under way counts as in doubt; unless it raises NothingSent instead,
        or returns what it knows of a message that the provider has parts of.
        """

    async def probe(self) -> None:
        """Return when the provider can be reached; nothing is sent.

        Raises:
            Unavailable: it cannot; the text says why.
        """

    async def close(self) -> None:
        """Let go of everything; a second time does nothing. A `send` after it is Unreachable."""


class Inbox(Protocol):
    """Where a driver puts what a provider tells by itself. What was put there stands in the database on return.

    Raises DatabaseGone when it does not: the provider must not be told that we have it.
    """

    async def receipt(self, receipt: Receipt) -> None:
        """Take a receipt; again and again the same one does no harm."""

    async def inbound(self, inbound: Inbound) -> None:
        """Take an SMS that somebody sent to us; again and again the same one does no harm."""

    async def late(self, provider: str, message: Message, outcome: Outcome) -> None:
        """Take the outcome of an attempt that has been called a doubt; if somebody has ended that, nothing changes."""


@runtime_checkable
class Listener(Driver, Protocol):
    """A driver whose provider also speaks to us, on connections of ours."""

    async def listen(self, inbox: Inbox) -> None:
        """Keep connected and hand on what the provider tells, until cancelled; trouble is the driver's own."""
