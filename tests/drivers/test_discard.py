"""The discard driver: everything is sent, nothing is kept."""

import asyncio
from collections.abc import Collection
from typing import ClassVar

import pytest

from dialerd.drivers import build
from dialerd.drivers.discard import Discard
from dialerd.model.message import Message
from dialerd.model.outcome import Outcome, Sent
from dialerd.settings import DiscardProvider
from tests.drivers.conformance import DriverConformance, Kind, Peer, an_email, an_sms


class Watched(Discard):
    """Remembers what it has thrown away."""

    def __init__(self) -> None:
        super().__init__(DiscardProvider(name="null"), {})
        self.taken: list[str] = []

    async def send(self, message: Message) -> Outcome:
        outcome = await super().send(message)
        if isinstance(outcome, Sent):
            self.taken.append(message.id)
        return outcome


class DiscardPeer:
    """Nothing can go wrong with it; it can only be slow."""

    def __init__(self) -> None:
        self.driver = Watched()

    async def script(self, kind: Kind) -> None:
        self.driver._latency_s = 3600.0 if kind is Kind.SLOW else 0.0

    async def reached(self) -> None:
        await asyncio.sleep(0)

    def accepted(self) -> Collection[str]:
        return self.driver.taken


class TestDiscard(DriverConformance):
    """The list, as far as a provider that refuses nothing can be put to it."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({Kind.ACCEPTED, Kind.SLOW, Kind.UP})

    @pytest.fixture
    async def peer(self) -> Peer:
        return DiscardPeer()


async def test_takes_both_channels() -> None:
    """SMS and e-mails alike are sent at once."""
    driver = build(DiscardProvider(name="null"), {})

    assert await driver.send(an_sms()) == Sent()
    assert await driver.send(an_email()) == Sent()
    assert driver.attempt_limit_s is None


async def test_latency() -> None:
    """With a latency the answer takes so long, and the dialer's limit leaves room for it."""
    driver = build(DiscardProvider(name="null", latency_ms=20), {})
    started = asyncio.get_running_loop().time()

    assert await driver.send(an_sms()) == Sent()
    assert asyncio.get_running_loop().time() - started >= 0.02
    assert driver.attempt_limit_s is not None
    assert driver.attempt_limit_s > 1
