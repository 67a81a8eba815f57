"""One caller's connection: what its request's head may cost in size and in time, and how many connections there are."""

import asyncio
import resource
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dialerd import log

__all__ = ["Connection"]

logger = log.get(__name__)

#: A head of a request that is not whole after so many seconds will not be.
HEAD_S = 20.0
#: So long a caller may go on to send what was answered already.
LINGER_S = 10.0
#: More than any caller sends: the parser itself keeps a head of any size.
MOST_HEAD = 64 * 1024
#: The rest of the process's files are the database's, the providers' and the disk's.
SHARE_OF_FILES = 0.5
MOST_CONNECTIONS = 4096
#: Of what is refused for being too much, a line is logged so often.
TOLD_EVERY_S = 60.0

TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\nretry-after: 5\r\n\r\n"


def most_connections() -> int:
    """Return how many callers may be connected at once: a share of the files that this process may open."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, int(files * SHARE_OF_FILES)))


class Connection(HttpToolsProtocol):
    """Answers 408 to a head that does not come, 431 to one without end, and 503 to one caller too many.

    What a request costs once its head is there, limits.py says.
    """

    #: The loop's time at which it was last told that there are too many.
    _told_at = -TOLD_EVERY_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Between two requests, or in the head of one; so many octets of it have come.
        self._in_head = True
        self._came = 0
        self._heads = 0
        #: Requests whose heads have come, and whose answers have not gone.
        self._unanswered = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for a head."""
        super().connection_made(transport)
        if len(self.connections) > most_connections():
            self._refuse(TOO_MANY)
            self._tell_too_many()
            return
        self._deadline = self.loop.call_later(HEAD_S, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._set_deadline(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if self.transport.is_closing():
            return
        was_in_head, heads = self._in_head, self._heads
        if was_in_head and self._deadline is None:
            self._set_deadline(self.loop.call_later(HEAD_S, self._head_is_late))
        super().data_received(data)
        if was_in_head and heads == self._heads:
            self._came += len(data)
            if self._came > MOST_HEAD:
                self._refuse(TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Serve the request: its head is there."""
        self._in_head, self._came = False, 0
        self._heads += 1
        self._unanswered += 1
        self._set_deadline(None)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait for the next head: the request is there."""
        self._in_head = True
        self._set_deadline(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait a while for the rest of a request that was answered before it was whole."""
        self._unanswered -= 1
        super().on_response_complete()
        if not self._in_head and not self._unanswered and not self.transport.is_closing():
            # Closed at once, the answer would be lost to who still sends.
            self._set_deadline(self.loop.call_later(LINGER_S, self.transport.close))

    def _set_deadline(self, deadline: asyncio.TimerHandle | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = deadline

    def _head_is_late(self) -> None:
        self._deadline = None
        if self._unanswered:
            # It came while another request was served, and nothing may come between that one and its answer.
            self._deadline = self.loop.call_later(HEAD_S, self._head_is_late)
        else:
            self._refuse(TOO_SLOW)

    def _refuse(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()

    def _tell_too_many(self) -> None:
        now = self.loop.time()
        if now - Connection._told_at >= TOLD_EVERY_S:
            Connection._told_at = now
            logger.warning("callers_turned_away", connections=len(self.connections))
