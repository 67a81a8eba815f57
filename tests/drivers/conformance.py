"""The list that every driver passes: what it may say, for each way in which a provider can behave.

A driver's tests derive from DriverConformance, name the `kinds` of behaviour that its provider can show, and give a
`peer` fixture: the provider (a scripted server, a file) with the driver that speaks to it.
"""

import asyncio
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, ClassVar, Protocol, TypeVar

import pytest

from dialerd.drivers import Driver
from dialerd.model.errors import Unavailable
from dialerd.model.message import Channel, Message, new_id
from dialerd.model.outcome import Deferred, Failed, InDoubt, Outcome, Sent, Throttled, Unreachable

__all__ = ["DriverConformance", "Kind", "Peer", "an_email", "an_sms"]


class Kind(Enum):
    """How a provider can behave towards whoever speaks to it next."""

    ACCEPTED = auto()
    DEFERRED = auto()
    REJECTED = auto()
    THROTTLED = auto()
    #: Nothing of the message reaches it: refused connection, no bind, DNS, a full disk.
    UNREACHABLE = auto()
    #: It takes the message and never answers.
    HANGING = auto()
    #: It has the whole message, and the connection is lost before its answer.
    ANSWER_LOST = auto()
    #: It answers what is no answer.
    NONSENSE = auto()
    #: It answers so late that the dialer's drain comes first.
    SLOW = auto()
    #: It can be reached, or cannot, for a probe.
    UP = auto()
    DOWN = auto()


class Peer(Protocol):
    """A provider under the test's control. For HANGING, the driver's limit should be a fraction of a second."""

    @property
    def driver(self) -> Driver:
        """The driver that speaks to it."""

    async def script(self, kind: Kind) -> None:
        """Behave like this from now on."""

    async def reached(self) -> None:
        """Return once an attempt is under way (SLOW, HANGING)."""

    def accepted(self) -> Collection[str]:
        """Return the ids of what the provider has taken, whether or not it could say so."""


def an_sms(**changes: Any) -> Message:
    """Return a claimed SMS, with fields of one's own."""
    fields: dict[str, Any] = {
        "id": new_id(), "seq": 1, "campaign": "Ventas->", "channel": Channel.SMS, "destination": "59899000001",
        "address": "59899000001", "data": "Hola ñandú; ¿qué tal?", "priority": 9999, "base": "base.csv",
        "calldate": None, "agent": None, "source": "59899000000", "details": {},
        "queued_at": datetime(2026, 3, 1, 12, tzinfo=UTC), "attempt": 1, "parts": 1,
    }  # fmt: skip
    return Message(**fields | changes)


def an_email(**changes: Any) -> Message:
    """Return a claimed e-mail, with fields of one's own."""
    to = "juan@example.org"
    return an_sms(**{"campaign": "Correo", "channel": Channel.EMAIL, "destination": to, "address": to} | changes)


Check = TypeVar("Check", bound=Callable[..., Any])


def needs(*kinds: Kind) -> Callable[[Check], Check]:
    """Mark a check as being for providers that can behave like this."""

    def mark(check: Check) -> Check:
        check.needs = frozenset(kinds)  # type: ignore[attr-defined]
        return check

    return mark


class DriverConformance:
    """The list. `message` may be overridden, for drivers that send mails."""

    kinds: ClassVar[frozenset[Kind]]
    message: ClassVar[Callable[..., Message]] = staticmethod(an_sms)

    def __init_subclass__(cls) -> None:
        """Leave out what the provider cannot do, so that nothing is reported as skipped."""
        for name, check in vars(DriverConformance).items():
            if not getattr(check, "needs", frozenset()) <= cls.kinds:
                setattr(cls, name, None)

    @pytest.fixture
    def peer(self) -> Any:
        """The provider, with the driver that speaks to it; what it opened is closed afterwards."""
        raise NotImplementedError("the driver's tests give their own")

    @needs(Kind.ACCEPTED)
    async def test_accepted(self, peer: Peer) -> None:
        """What the provider took is sent, and it has it once."""
        await peer.script(Kind.ACCEPTED)
        message = self.message()

        assert isinstance(await peer.driver.send(message), Sent)
        assert list(peer.accepted()) == [message.id]

    @needs(Kind.DEFERRED)
    async def test_deferred(self, peer: Peer) -> None:
        """A refusal for now is deferred, with the provider's own words."""
        await peer.script(Kind.DEFERRED)
        outcome = await peer.driver.send(self.message())

        assert isinstance(outcome, Deferred)
        assert outcome.error

    @needs(Kind.REJECTED)
    async def test_rejected(self, peer: Peer) -> None:
        """A refusal for good has failed, with the provider's own words."""
        await peer.script(Kind.REJECTED)
        outcome = await peer.driver.send(self.message())

        assert isinstance(outcome, Failed)
        assert outcome.error

    @needs(Kind.THROTTLED)
    async def test_throttled(self, peer: Peer) -> None:
        """Too fast is neither a refusal nor a doubt: nothing was taken."""
        await peer.script(Kind.THROTTLED)

        assert isinstance(await peer.driver.send(self.message()), Throttled)
        assert not peer.accepted()

    @needs(Kind.UNREACHABLE)
    async def test_unreachable(self, peer: Peer) -> None:
        """What certainly never reached the provider is told as such, and says why."""
        await peer.script(Kind.UNREACHABLE)
        outcome = await peer.driver.send(self.message())

        assert isinstance(outcome, Unreachable)
        assert outcome.error
        assert not peer.accepted()

    @needs(Kind.UNREACHABLE, Kind.ACCEPTED)
    async def test_back_after_outage(self, peer: Peer) -> None:
        """After an outage the same driver sends again."""
        await peer.script(Kind.UNREACHABLE)
        await peer.driver.send(self.message())
        await peer.script(Kind.ACCEPTED)
        message = self.message()

        assert isinstance(await peer.driver.send(message), Sent)
        assert list(peer.accepted()) == [message.id]

    @needs(Kind.HANGING, Kind.ACCEPTED)
    async def test_hanging(self, peer: Peer) -> None:
        """A provider that never answers leaves a doubt, by the driver's limit or the dialer's; the next one is sent."""
        await peer.script(Kind.HANGING)
        limit_s = peer.driver.attempt_limit_s
        assert limit_s is not None, "it waits for a peer, so it has a limit"

        assert isinstance(await _as_the_dialer(peer.driver, self.message(), limit_s), InDoubt)
        await peer.script(Kind.ACCEPTED)
        assert isinstance(await peer.driver.send(self.message()), Sent)

    @needs(Kind.ANSWER_LOST, Kind.ACCEPTED)
    async def test_answer_lost(self, peer: Peer) -> None:
        """Handed over without an answer is in doubt, never deferred or unreachable; the next one is sent."""
        await peer.script(Kind.ANSWER_LOST)

        assert isinstance(await peer.driver.send(self.message()), InDoubt)
        await peer.script(Kind.ACCEPTED)
        assert isinstance(await peer.driver.send(self.message()), Sent)

    @needs(Kind.NONSENSE)
    async def test_nonsense(self, peer: Peer) -> None:
        """An answer that is none is an outcome too, and never Sent."""
        await peer.script(Kind.NONSENSE)

        assert isinstance(await peer.driver.send(self.message()), InDoubt | Deferred | Failed)

    @needs(Kind.SLOW, Kind.ACCEPTED)
    async def test_cancelled(self, peer: Peer) -> None:
        """Cancelled by a drain it ends at once, without calling sent what it cannot know; the next one is sent."""
        await peer.script(Kind.SLOW)
        attempt = asyncio.ensure_future(peer.driver.send(self.message()))
        await peer.reached()
        attempt.cancel()
        done, _ = await asyncio.wait([attempt], timeout=5)

        assert done
        assert attempt.cancelled() or isinstance(attempt.result(), InDoubt)
        await peer.script(Kind.ACCEPTED)
        assert isinstance(await peer.driver.send(self.message()), Sent)

    @needs(Kind.ACCEPTED)
    async def test_many_at_once(self, peer: Peer) -> None:
        """Many attempts at once are each answered for themselves."""
        await peer.script(Kind.ACCEPTED)
        messages = [self.message() for _ in range(100)]
        outcomes = await asyncio.gather(*(peer.driver.send(message) for message in messages))

        assert {type(outcome) for outcome in outcomes} == {Sent}
        assert sorted(peer.accepted()) == sorted(message.id for message in messages)

    @needs(Kind.ACCEPTED)
    async def test_any_text(self, peer: Peer) -> None:
        """Whatever a text holds, there is an outcome and no exception."""
        await peer.script(Kind.ACCEPTED)
        for data in ("", "\0", "\r\n.\r\n", "😀" * 200, "half \ud800", "a" * 20_000):
            assert isinstance(await peer.driver.send(self.message(data=data)), Outcome)

    @needs(Kind.UP)
    async def test_probe_up(self, peer: Peer) -> None:
        """A provider that can be reached passes its probe, and nothing is sent by it."""
        await peer.script(Kind.UP)
        await peer.driver.probe()

        assert not peer.accepted()

    @needs(Kind.DOWN)
    async def test_probe_down(self, peer: Peer) -> None:
        """A provider that cannot be reached is Unavailable, with a reason."""
        await peer.script(Kind.DOWN)

        with pytest.raises(Unavailable, match=r"\w"):
            await peer.driver.probe()

    @needs(Kind.UP, Kind.DOWN)
    async def test_probe_sees_recovery(self, peer: Peer) -> None:
        """The circuit breaker's probe notices that the provider is back."""
        await peer.script(Kind.DOWN)
        with pytest.raises(Unavailable):
            await peer.driver.probe()
        await peer.script(Kind.UP)

        await peer.driver.probe()

    @needs(Kind.ACCEPTED)
    async def test_close(self, peer: Peer) -> None:
        """Closed, even twice, used or not, a driver sends nothing more and says so."""
        await peer.script(Kind.ACCEPTED)
        await peer.driver.close()
        await peer.driver.close()

        assert isinstance(await peer.driver.send(self.message()), Unreachable)
        assert not peer.accepted()


async def _as_the_dialer(driver: Driver, message: Message, limit_s: float) -> Outcome:
    """Send as the dialer does: what it has to cancel is in doubt."""
    try:
        return await asyncio.wait_for(driver.send(message), limit_s)
    except TimeoutError:
        return InDoubt("no answer in time")
