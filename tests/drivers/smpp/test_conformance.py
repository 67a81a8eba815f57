"""The conformance list for the SMPP driver, against a scripted SMSC."""

from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from dialerd.drivers.smpp import Smpp
from dialerd.model.message import Message
from tests.drivers.conformance import DriverConformance, Kind, Peer, an_sms
from tests.drivers.smpp.conftest import make_provider
from tests.fakes.smsc import CUT, SILENCE, Smsc

SCRIPTS: dict[Kind, Any] = {
    Kind.DEFERRED: 0x08,
    Kind.REJECTED: 0x0B,
    Kind.THROTTLED: 0x58,
    Kind.HANGING: SILENCE,
    Kind.SLOW: SILENCE,
    Kind.ANSWER_LOST: CUT,
    Kind.NONSENSE: b"HTTP/1.1 400 Bad Request\r\n\r\n",
}


def own_words(**changes: Any) -> Message:
    """Return an SMS whose text is its id, by which the SMSC knows it."""
    message = an_sms(**changes)
    return message if "data" in changes else replace(message, data=message.id)


class SmscPeer:
    """The scripted SMSC, and the driver that speaks to it."""

    def __init__(self, smsc: Smsc) -> None:
        self.smsc = smsc
        self.driver = Smpp(make_provider(smsc, response_timeout_s=0.8), {})

    async def script(self, kind: Kind) -> None:
        if kind in {Kind.UNREACHABLE, Kind.DOWN}:
            await self.smsc.stop()
        else:
            await self.smsc.start()
        self.smsc.answers_enquiries = kind is not Kind.HANGING
        self.smsc.policy = (lambda _message: SCRIPTS[kind]) if kind in SCRIPTS else self.smsc.take_all

    async def reached(self) -> None:
        await self.smsc.until(lambda: self.smsc.unanswered)

    def accepted(self) -> Collection[str]:
        return [message.text.decode() for message in self.smsc.accepted]


class TestSmpp(DriverConformance):
    """An SMSC can behave in every way, so the whole list runs."""

    kinds: ClassVar[frozenset[Kind]] = frozenset(Kind)
    message: ClassVar[Callable[..., Message]] = staticmethod(own_words)

    @pytest.fixture
    async def peer(self, smsc: Smsc) -> AsyncIterator[Peer]:
        peer = SmscPeer(smsc)
        yield peer
        await peer.driver.close()
