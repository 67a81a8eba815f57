"""Keeps aiohttp from asking where it would be in vain, and from asking again what may have been heard."""

import asyncio
from contextvars import ContextVar

from aiohttp import (
    ClientConnectionError,
    ClientConnectorError,
    ClientHandlerType,
    ClientRequest,
    ClientResponse,
    ConnectionTimeoutError,
    ServerTimeoutError,
)
from aiohttp.connector import Connection

__all__ = ["Asked", "Dropped", "Stale", "hear", "in_use_since", "never_again"]


class Stale(Exception):
    """An idle connection that is of no use any more; nothing was written."""


#: Since when the connection has been in use that this task asked on last, in seconds of the loop's clock; None: it was
#: new.
in_use_since: ContextVar[float | None] = ContextVar("in_use_since", default=None)


class Asked(ClientRequest):
    """A request that is not written where it would be lost, or where an answer stands already, to another one."""

    async def send(self, conn: Connection) -> ClientResponse:
        """Write the request.

        Raises:
            Stale: nothing was written; whoever called closes the connection.
        """
        if conn.protocol is None or conn.protocol.should_close:
            raise Stale
        since: float | None = getattr(conn.protocol, "in_use_since", None)
        in_use_since.set(since)
        if since is None:
            conn.protocol.in_use_since = asyncio.get_running_loop().time()  # type: ignore[attr-defined]  # ours
        return await super().send(conn)


async def hear() -> None:
    """Let the event loop hear what connections have said: behind the last answer may stand the end.

    To ask the system about the one connection that is to be used costs far more, for it lets other threads go first.
    """
    # One turn asks the system, and on asyncio's own loop the next one reads.
    for _ in range(2):
        await asyncio.sleep(0)


class Dropped(Exception):
    """A connection was lost before any answer; not a ClientError, so that aiohttp does not ask again."""


async def never_again(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Keep aiohttp from repeating a GET, which it takes for idempotent (RFC 9110, 9.2.2): ours send an SMS."""
    try:
        return await handler(request)
    except (ConnectionTimeoutError, ClientConnectorError):
        raise
    except ClientConnectionError as error:
        if isinstance(error, ServerTimeoutError):
            raise
        raise Dropped(type(error).__name__) from None
