"""Requests under way on one session: each has a sequence number of its own, and so long for its answer."""

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

from dialerd.drivers.smpp.pdu import Pdu

__all__ = ["Lost", "Pending", "Request"]

#: Sequence numbers go from 1 to this (5.1.4).
LAST_SEQUENCE = 0x7FFFFFFF


class Lost(NamedTuple):
    """There is no answer and will be none; `written`: the request may have reached the SMSC."""

    reason: str
    written: bool


class Request(NamedTuple):
    """One that waits for its answer until this time of the loop's clock."""

    command: int
    answer: "asyncio.Future[Pdu | Lost]"
    until: float

    def end(self, answer: Pdu | Lost) -> None:
        """Tell whoever waits, if somebody still does."""
        if not self.answer.done():
            self.answer.set_result(answer)


class Pending:
    """Requests by sequence number, in the order in which they were made: so their time is over in that order too."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, timeout_s: float) -> None:
        self._loop = loop
        self._timeout_s = timeout_s
        self._last = 0
        self._requests: dict[int, Request] = {}

    def __len__(self) -> int:
        return len(self._requests)

    def add(self, command: int) -> "tuple[int, asyncio.Future[Pdu | Lost]]":
        """Return a number that no request under way has, and what will be the answer."""
        sequence = self._last
        while True:
            sequence = 1 if sequence >= LAST_SEQUENCE else sequence + 1
            if sequence not in self._requests:
                break
        self._last = sequence
        answer: asyncio.Future[Pdu | Lost] = self._loop.create_future()
        self._requests[sequence] = Request(command, answer, self._loop.time() + self._timeout_s)
        return sequence, answer

    def find(self, sequence: int) -> Request | None:
        """Return a request under way, None if there is none of that number."""
        return self._requests.get(sequence)

    def remove(self, sequence: int) -> None:
        """Count a request as under way no more."""
        del self._requests[sequence]

    def overdue(self, now: float) -> Iterator[tuple[int, Request]]:
        """Yield those whose time is over, each once the one before has been removed or has ended the session."""
        while self._requests:
            sequence, request = next(iter(self._requests.items()))
            if request.until > now:
                return
            yield sequence, request

    def clear(self) -> dict[int, Request]:
        """Return what was under way; from now on nothing is."""
        requests, self._requests = self._requests, {}
        return requests
