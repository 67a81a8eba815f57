"""What goes out over one connection: PDUs, written together, and never more than the peer reads.

What is too much for the connection stays here, and is certain not to have gone.
"""

import asyncio
from collections.abc import Callable

__all__ = ["Outbox"]

#: So many octets are given to the connection at once.
PIECE = 0x10000


class Outbox:
    """PDUs that wait for the end of this turn of the loop, or until the peer reads on; of more than `most`, `full()`.

    `transport` is where they go; None: there is no connection yet, or none any more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, most: int, full: Callable[[], None]) -> None:
        self._loop = loop
        self._most = most
        self._full = full
        self._waiting: list[bytes] = []
        #: For each the number of the request that it is, 0 for answers.
        self._numbers: list[int] = []
        self._flushing = False
        self._closed = False
        self.transport: asyncio.Transport | None = None
        #: Whether the peer does not read what it has been given already.
        self.paused = False

    def put(self, octets: bytes, number: int = 0) -> None:
        """Have a PDU written, together with what else comes in this turn of the loop."""
        if self._closed:
            return
        self._waiting.append(octets)
        self._numbers.append(number)
        if len(self._waiting) > self._most:
            self._full()
        elif not self._flushing:
            self._flushing = True
            self._loop.call_soon(self.flush)

    def holds(self, number: int) -> bool:
        """Tell whether not an octet of this request has gone."""
        return number in self._numbers

    def flush(self) -> None:
        """Write as much as the connection takes."""
        self._flushing = False
        while self._waiting and not self.paused and self.transport is not None:
            number = size = 0
            for octets in self._waiting:
                number += 1
                size += len(octets)
                if size >= PIECE:
                    break
            piece = b"".join(self._waiting[:number])
            del self._waiting[:number]
            del self._numbers[:number]
            self.transport.write(piece)

    def close(self) -> frozenset[int]:
        """Write nothing more; return the requests of which not an octet has gone."""
        held = frozenset(self._numbers)
        self._closed = True
        self._waiting.clear()
        self._numbers.clear()
        return held
