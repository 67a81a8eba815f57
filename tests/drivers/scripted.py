"""A provider whose every answer a test decides, in memory: the dialer's peer, and the conformance list's own proof."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Never

from dialerd.drivers.base import Inbox
from dialerd.model.errors import Unavailable
from dialerd.model.message import Message
from dialerd.model.outcome import Outcome, Sent, Unreachable

__all__ = ["Script", "ScriptedDriver", "ScriptedListener", "hang", "in_turn", "when"]

#: What comes of a message: the outcome, or something to wait for that ends in it, or an exception.
Script = Callable[[Message], Outcome | Awaitable[Outcome]]


def always_sent(_message: Message) -> Outcome:
    """Take everything."""
    return Sent()


def in_turn(*outcomes: Outcome) -> Script:
    """Answer each message's n-th attempt with the n-th outcome, and all later ones with the last."""
    asked: Counter[str] = Counter()

    def answer(message: Message) -> Outcome:
        asked[message.id] += 1
        return outcomes[min(asked[message.id], len(outcomes)) - 1]

    return answer


def when(event: asyncio.Event, outcome: Outcome | None = None) -> Script:
    """Answer only once `event` is set."""

    async def answer(_message: Message) -> Outcome:
        await event.wait()
        return outcome or Sent()

    return answer


async def hang(_message: Message) -> Never:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


class ScriptedDriver:
    """A Driver that answers by a script, which may be exchanged at any time, and remembers all that it was asked.

    `started` holds every attempt in order, `sent` those answered Sent, `cancelled` those that were given up on.
    `down` is why the provider cannot be reached, for `probe`; what `send` says is the script's business.
    """

    def __init__(
        self, script: Script = always_sent, *, attempt_limit_s: float | None = None, down: str | None = None
    ) -> None:
        self.script = script
        self.attempt_limit_s = attempt_limit_s
        self.down = down
        self.started: list[Message] = []
        self.sent: list[Message] = []
        self.cancelled: list[Message] = []
        self.answers: list[tuple[Message, Outcome]] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.probes = 0
        self.closed = False
        self._changed = asyncio.Event()

    async def send(self, message: Message) -> Outcome:
        """Answer as the script says."""
        if self.closed:
            return Unreachable("the driver is closed")
        self.started.append(message)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self._tell()
        try:
            answer = self.script(message)
            outcome = await answer if isawaitable(answer) else answer
        except asyncio.CancelledError:
            self.cancelled.append(message)
            raise
        finally:
            self.in_flight -= 1
            self._tell()
        self.answers.append((message, outcome))
        if isinstance(outcome, Sent):
            self.sent.append(message)
        self._tell()
        return outcome

    async def probe(self) -> None:
        """Say whether the provider is up."""
        self.probes += 1
        self._tell()
        if self.down is not None:
            raise Unavailable(self.down)

    async def close(self) -> None:
        """Take nothing more."""
        self.closed = True
        self._tell()

    async def wait_started(self, number: int) -> None:
        """Return once so many attempts have begun."""
        await self.wait_until(lambda: len(self.started) >= number, f"{number} attempts")

    async def wait_sent(self, number: int) -> None:
        """Return once so many attempts have been answered Sent."""
        await self.wait_until(lambda: len(self.sent) >= number, f"{number} sent")

    async def wait_probed(self, number: int) -> None:
        """Return once the provider has been probed so many times."""
        await self.wait_until(lambda: self.probes >= number, f"{number} probes")

    async def wait_until(self, holds: Callable[[], bool], what: str, *, within_s: float = 30) -> None:
        """Return once `holds()`; asked again after everything that happens here."""
        try:
            async with asyncio.timeout(within_s):
                while not holds():
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"no {what} within {within_s} s: {self!r}") from None

    def __repr__(self) -> str:
        """Return what has happened so far."""
        return (
            f"ScriptedDriver({len(self.started)} started, {len(self.sent)} sent, {len(self.cancelled)} cancelled, "
            f"{self.in_flight} in flight, {self.probes} probes)"
        )

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class ScriptedListener(ScriptedDriver):
    """A scripted driver whose provider also speaks to us: what it says goes into `inbox` while it listens.

    `heard` is what has happened to its listening, in order: began, ended (by a failure, or cut off), closed.
    """

    def __init__(self, script: Script = always_sent, *, failures: int = 0) -> None:
        super().__init__(script)
        self.heard: list[str] = []
        self.inbox: Inbox | None = None
        self._failures = failures

    async def listen(self, inbox: Inbox) -> None:
        """Listen until cancelled, or fail so many times first."""
        self.heard.append("began")
        self.inbox = inbox
        self._tell()
        try:
            if self._failures:
                self._failures -= 1
                raise RuntimeError("a bug")
            await asyncio.Event().wait()
        finally:
            self.inbox = None
            self.heard.append("ended")
            self._tell()

    async def close(self) -> None:
        """Take nothing more."""
        self.heard.append("closed")
        await super().close()

    async def wait_listening(self, times: int = 1) -> Inbox:
        """Return where it puts what it is told, once it has begun to listen for so many times."""
        await self.wait_until(lambda: self.heard.count("began") >= times and self.inbox is not None, "listening")
        assert self.inbox is not None
        return self.inbox
