"""Requests under way on one session: each has a sequence number of its own, and so long for its answer."""

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

from dialerd.drivers.smpp.pdu import RESPONSE, Pdu

__all__ = ["Lost", "Pending", "Request"]

#: Sequence numbers go from 1 to this (5.1.4).
LAST_SEQUENCE = 0x7FFFFFFF

#: The answers to so many requests are taken though they come late.
MOST_LATE = 1000


class Lost(NamedTuple):
    """There is no answer; `written`: the request may have reached the SMSC.

    `late` is there when none has come in time: it has the answer if one comes, or None once none will.
    """

    reason: str
    written: bool
    late: "asyncio.Future[Pdu | None] | None" = None


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
        #: Those that had no answer in time: the kind of an answer to each, and where it goes.
        self._late: dict[int, tuple[int, asyncio.Future[Pdu | None]]] = {}

    def __len__(self) -> int:
        return len(self._requests)

    @property
    def is_awaited(self) -> bool:
        """Tell whether somebody still waits for the answer to one of them."""
        return any(not request.answer.done() for request in self._requests.values())

    def add(self, command: int) -> "tuple[int, asyncio.Future[Pdu | Lost]]":
        """Return a number that no request under way has, and what will be the answer."""
        sequence = self._last
        while True:
            sequence = 1 if sequence >= LAST_SEQUENCE else sequence + 1
            if sequence not in self._requests and sequence not in self._late:
                break
        self._last = sequence
        answer: asyncio.Future[Pdu | Lost] = self._loop.create_future()
        self._requests[sequence] = Request(command, answer, self._loop.time() + self._timeout_s)
        return sequence, answer

    def take(self, sequence: int) -> Request | None:
        """Return a request that is under way no more, None if there is none of that number."""
        return self._requests.pop(sequence, None)

    def give_up(self, sequence: int, reason: str) -> None:
        """End a request that has had its time; its place is free, and a late answer goes where `Lost` says."""
        request = self._requests.pop(sequence)
        late: asyncio.Future[Pdu | None] = self._loop.create_future()
        self._late[sequence] = request.command | RESPONSE, late
        if len(self._late) > MOST_LATE:
            self._end_late(next(iter(self._late)), None)
        request.end(Lost(reason, written=True, late=late))

    def answered_late(self, pdu: Pdu) -> bool:
        """Take an answer that may have come late; False if it is none."""
        command, _ = self._late.get(pdu.sequence, (None, None))
        if pdu.command != command:
            return False
        self._end_late(pdu.sequence, pdu)
        return True

    def _end_late(self, sequence: int, pdu: Pdu | None) -> None:
        _, late = self._late.pop(sequence)
        if not late.done():
            late.set_result(pdu)

    def overdue(self, now: float) -> Iterator[tuple[int, Request]]:
        """Yield those whose time is over, each once the one before has been given up or has ended the session."""
        while self._requests:
            sequence, request = next(iter(self._requests.items()))
            if request.until > now:
                return
            yield sequence, request

    def clear(self) -> dict[int, Request]:
        """Return what was under way; from now on nothing is, and no answer will come."""
        for sequence in list(self._late):
            self._end_late(sequence, None)
        requests, self._requests = self._requests, {}
        return requests
