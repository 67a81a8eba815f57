"""Keeps aiohttp from asking where it would be in vain, and from asking again what may have been heard."""

import asyncio
import select

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

__all__ = ["Asked", "Dropped", "Stale", "never_again"]

#: What poll(2) says of a connection whose other side writes no more; where it has no word for that, one that is lost.
ENDING = getattr(select, "POLLRDHUP", 0)


class Stale(Exception):
    """An idle connection that is of no use any more; nothing was written."""


class Asked(ClientRequest):
    """A request that is not written where it would be lost, or where an answer stands already, to another one."""

    async def send(self, conn: Connection) -> ClientResponse:
        """Write the request.

        Raises:
            Stale: nothing was written; whoever called closes the connection.
        """
        if conn.protocol is None or conn.protocol.should_close or _is_ending(conn.transport):
            raise Stale
        return await super().send(conn)


def _is_ending(transport: asyncio.Transport | None) -> bool:
    """Tell whether the other side has closed its half, of which the event loop may not have heard yet."""
    connected = transport.get_extra_info("socket") if transport is not None else None
    if connected is None or connected.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(connected.fileno(), ENDING)
    return bool(poll.poll(0))


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
