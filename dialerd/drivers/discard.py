"""The discard driver: accepts everything and writes nothing, for dry runs and load tests."""

import asyncio
from collections.abc import Mapping

from dialerd.model.campaign import Campaign
from dialerd.model.message import Message
from dialerd.model.outcome import Outcome, Sent, Unreachable
from dialerd.settings import DiscardProvider

__all__ = ["Discard"]

SENT = Sent()

#: How much later than it said an answer may come before the dialer stops waiting.
LATE_S = 5.0


class Discard:
    """A provider that takes whatever it is given; its answer takes `latency_ms`."""

    def __init__(self, provider: DiscardProvider, campaigns: Mapping[str, Campaign]) -> None:  # noqa: ARG002  # as all
        self._latency_s = provider.latency_ms / 1000
        self.attempt_limit_s = self._latency_s + LATE_S if self._latency_s else None
        self._closed = False

    async def send(self, message: Message) -> Outcome:  # noqa: ARG002  # whatever it says
        """Take the message for sent."""
        if self._closed:
            return Unreachable("the driver is closed")
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        return SENT

    async def probe(self) -> None:
        """It is always there."""

    async def close(self) -> None:
        """Take nothing more."""
        self._closed = True
