"""The replies of a mail server, each in its turn: what RFC 5321 calls a dialogue, several commands ahead if need be.

aiosmtplib opens connections for us, but keeps one reply at most: of commands sent together (RFC 2920) it loses all
answers but the first. What comes unasked is no reply to anything: after it the connection is not used again.
"""

import asyncio
import re
from collections import deque
from dataclasses import dataclass
from typing import cast

__all__ = ["CLOSING", "Lost", "Replies", "Reply"]

#: Of an answer, so much is told.
LONGEST = 400

#: A server that says more than this without an end says nothing.
MOST_BYTES = 65_536

CLOSING = 421

LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


class Lost(Exception):
    """The answer to a command did not come, and never will: the connection is out of step, or gone."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered, line by line; `code` is -1 for what is no answer."""

    code: int
    lines: str

    @property
    def is_ok(self) -> bool:
        """Tell whether it is a yes."""
        return 200 <= self.code <= 299

    @property
    def text(self) -> str:
        """What it says on one line, in characters that can be stored."""
        text = self.lines.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return UNPRINTABLE.sub(" ", text).strip()[:LONGEST]

    def __str__(self) -> str:
        return f"{self.code} {self.text}".strip() if self.code >= 0 else f"no SMTP reply ({self.text})"


class Replies(asyncio.Protocol):
    """One connection's replies; it takes the transport over, on which nothing may be under way."""

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._lines: list[str] = []
        self._come: deque[Reply] = deque()
        #: How many replies the server still owes us.
        self._owed = 0
        self._waiter: asyncio.Future[None] | None = None
        self._give_up_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._in_step = True
        self._is_lost = False
        self._transport.set_protocol(self)

    @property
    def is_open(self) -> bool:
        """Tell whether it can go on: not closed, as far as one can know, and every reply belonged to a command."""
        return self._in_step and not self._transport.is_closing()

    @property
    def in_step(self) -> bool:
        """Tell whether every command has its reply, so that the next reply is the next command's."""
        return self.is_open and not self._owed and not self._come

    def ask(self, commands: bytes, replies: int = 1) -> None:
        """Send commands that will have so many replies.

        Raises:
            Lost: nothing of it was sent.
        """
        if not self.is_open:
            raise Lost("connection lost")
        self._owed += replies
        self._transport.write(commands)

    async def next(self, limit_s: float, to: str) -> Reply:
        """Return the next reply, which is the one to `to`.

        Raises:
            Lost: there was none within `limit_s` seconds.
        """
        if not self._come:
            if not self.is_open:
                raise Lost(f"connection lost, no answer to {to}")
            self._waiter = self._loop.create_future()
            self._set_timer(limit_s)
            try:
                await self._waiter
            finally:
                self._waiter = None
            if not self._come:
                self._in_step = False
                is_lost = self._is_lost
                raise Lost(
                    f"connection lost, no answer to {to}" if is_lost else f"no answer to {to} within {limit_s:g} s"
                )
        return self._come.popleft()

    def give_up(self) -> None:
        """Close at once: what was not yet sent stays unsent, and what comes late is never read."""
        self._end()
        # A mere close() would first send what is still waiting, and that may end in a final dot.
        self._transport.abort()

    def say_goodbye(self) -> None:
        """Close without waiting for the server's answer."""
        if self.is_open:
            self._transport.write(b"QUIT\r\n")
        self._end()
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Take what the server says; whole lines make replies (RFC 5321, section 4.2.1)."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line.rstrip(b"\r"))
        if len(self._rest) + sum(map(len, self._lines)) > MOST_BYTES:
            self._rest, self._lines = b"", []
            self._add(Reply(-1, "an endless answer"))
            self._in_step = False

    def connection_lost(self, _error: Exception | None) -> None:
        """Nothing more will come."""
        self._in_step, self._is_lost = False, True
        self._wake()

    def _end(self) -> None:
        self._in_step = False
        if self._timer is not None:
            self._timer.cancel()

    def _take(self, line: bytes) -> None:
        found = LINE.fullmatch(line)
        text = (found[3] or b"" if found else line).decode("utf-8", "replace")
        if found and found[2] == b"-":
            self._lines.append(text)
            return
        whole, self._lines = "\n".join([*self._lines, text]), []
        self._add(Reply(int(found[1]) if found else -1, whole))

    def _add(self, reply: Reply) -> None:
        if not self._owed:
            self._in_step = False
            return
        self._owed -= 1
        self._come.append(reply)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _set_timer(self, limit_s: float) -> None:
        """Have somebody look when the wait is too long; a timer that rings early is set anew, not one for each wait."""
        self._give_up_at = self._loop.time() + limit_s
        if self._timer is not None and self._timer.when() > self._give_up_at:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(self._give_up_at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self._loop.time() < self._give_up_at:
            self._timer = self._loop.call_at(self._give_up_at, self._ring)
        else:
            self._wake()
