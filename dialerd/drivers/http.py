"""The HTTP driver: one request for one SMS, as the provider's table says; no code for any provider.

What is asked is made in http_request.py, what is answered judged in http_answer.py; here is what the network does:

    all `connections` busy for longer than timeout_s                                        Throttled
    no such host, refused, TLS or its certificate failed, no connection within timeout_s    Unreachable
    one connection after the other ends, or brings an answer, before anything was asked     Unreachable
    no answer within timeout_s of that, connection lost, nonsense, an answer cut off        InDoubt

A connection that is used again can be closed by the gateway in the very moment we write. Nothing tells then whether
the request was read, so it is a doubt as well, whatever the method: here a GET sends an SMS too, and is never repeated
by the client on its own. To make that rare, nothing is written where the end has come already, and idle connections
are soon not used again (http_sessions.IDLE_S): servers close theirs after 2 s (gunicorn), 5 s (Apache, Node, uvicorn)
or more, and one that closes earlier says `Connection: close`. For gateways that close a moment after each answer and
do not say so there is `keep_alive = false`; where more are lost than restarts could explain, we do so unasked.
"""

import asyncio
import os
import re
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientPayloadError,
    ClientResponse,
    ClientResponseError,
    ConnectionTimeoutError,
    InvalidURL,
    ServerTimeoutError,
)
from yarl import URL

from dialerd.drivers.http_again import Dropped, Stale, hear
from dialerd.drivers.http_answer import PROXY, Judge, Reply, decoded
from dialerd.drivers.http_request import Requests
from dialerd.drivers.http_sessions import LARGEST_ANSWER, Sessions
from dialerd.drivers.line import Line
from dialerd.drivers.tls import verifying
from dialerd.model.campaign import Campaign
from dialerd.model.errors import Refused, Unavailable
from dialerd.model.message import Message
from dialerd.model.outcome import Failed, Outcome, Throttled, Unreachable
from dialerd.settings import HttpProvider, Probe

__all__ = ["Http"]

#: How much later than the driver itself the dialer stops waiting.
LATE_S = 3.0

#: A probe that is answered so finds a proxy whose gateway is away.
AWAY = PROXY | {503}

#: So many connections may end one after the other before anything is written; then the gateway is not reached.
TRIES = 5

CHARSET = re.compile(r";\s*charset\s*=[\s\"']*([^\s\"';,]+)", re.IGNORECASE | re.ASCII)


class _Lost(Exception):
    """The request may have been read, and there is no answer to it."""


class _Silent(_Lost):
    """No answer came in time."""


class _Ended(_Lost):
    """The connection was lost before an answer."""


class _NoConnection(Exception):
    """Nothing was sent, and why."""


class Http:
    """A gateway. At most `connections`, or as many as may be in flight; each is used again while it is warm."""

    def __init__(self, provider: HttpProvider, campaigns: Mapping[str, Campaign]) -> None:
        self._provider = provider
        self._requests = Requests(provider, campaigns)
        self._judge = Judge(provider)
        self._origin = URL(self._requests.origin, encoded=True)
        self._tls = verifying(provider.ca) if self._origin.scheme == "https" else None
        self._closed = False
        self._most = min(provider.connections or provider.max_in_flight, provider.max_in_flight)
        self._sessions = Sessions(provider, method=self._requests.method, most=self._most, tls=self._tls)
        self._free = self._most
        self._line = Line[None](provider.timeout_s, give_back=lambda _: self._leave())
        # A place in line, a connection, the answer, and the latter once more where a digest is asked for first. It also
        # ends answers that come in drops, of which each is in time.
        self.attempt_limit_s: float | None = 4 * provider.timeout_s + LATE_S

    async def send(self, message: Message) -> Outcome:
        """Ask the gateway to send one SMS."""
        try:
            request = self._requests.of(message)
        except Refused as refused:
            return Failed(str(refused))
        if self._free:
            await hear()
        if self._free:
            self._free -= 1
        else:
            try:
                await self._line.wait()  # The loop hears meanwhile.
            except TimeoutError:
                return Throttled(f"all {self._most} connections were busy for too long")
        try:
            if self._closed:
                return Unreachable("the driver is closed")
            reply = await self._ask(request.method, request.url, request.headers, request.body)
        except _NoConnection as trouble:
            return Unreachable(str(trouble))
        except _Ended as lost:
            hint = "; if it closes connections unasked: keep_alive = false" if self._sessions.lost_one() else ""
            return self._judge.doubt(f"{lost}{hint}")
        except _Lost as lost:
            return self._judge.doubt(str(lost))
        finally:
            self._leave()
        return self._judge.outcome(reply, request, datetime.now(UTC))

    async def probe(self) -> None:
        """Return when the gateway takes connections, unless it is silent to `HEAD /` or a proxy says that it is away.

        Gateways that know no HEAD answer it with any nonsense, or close: they are there.
        """
        try:
            if self._provider.probe is Probe.CONNECT:
                await self._connect()
                return
            status = (await self._ask("HEAD", str(self._origin), {}, None)).status
        except (_NoConnection, _Silent) as trouble:
            raise Unavailable(str(trouble)) from trouble
        except _Lost:
            return
        if status in AWAY:
            raise Unavailable(f"{self._place}: HTTP {status} to HEAD /")

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        await self._sessions.close()

    @property
    def _place(self) -> str:
        return f"{self._origin.host_subcomponent}:{self._origin.port}"

    def _leave(self) -> None:
        if not self._line.serve(None):
            self._free += 1

    async def _ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        """Ask, and return the answer.

        Raises:
            _NoConnection: nothing was sent.
            _Lost: there is no answer, or not to its end; _Silent: none in time.
        """
        for _ in range(TRIES):
            try:
                return await self._ask_once(method, url, headers, body)
            except Stale:
                continue
        raise _NoConnection(f"{self._place}: it ends connections, or answers, before it is asked")

    async def _ask_once(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        """Ask on one connection; Stale if it was of no use."""
        limit_s = self._provider.timeout_s
        try:
            async with self._sessions.current.request(
                method, _parsed(url), headers=headers, data=body, allow_redirects=False
            ) as response:
                content, is_whole = await _read(response)
                charset = _charset(response.headers.get("Content-Type", ""))
                return Reply(response.status, response.headers, decoded(content, charset), is_whole)
        except (ConnectionTimeoutError, ClientConnectorError) as error:
            raise _NoConnection(f"{self._place}: {_reason(error, limit_s)}") from None
        except InvalidURL:
            raise _NoConnection(f"{self._place}: not a URL that can be asked") from None
        except (ServerTimeoutError, TimeoutError):
            raise _Silent(f"{self._place}: no answer within {limit_s:g} s") from None
        except ClientPayloadError:
            raise _Lost(f"{self._place}: an answer that was cut off, or is not in its Content-Encoding") from None
        except ClientResponseError:
            raise _Lost(
                f"{self._place}: an answer that is no HTTP, or in a Content-Encoding nobody asked for"
            ) from None
        except (Dropped, ClientError, OSError, ValueError):
            raise _Ended(f"{self._place}: connection lost, no answer") from None

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._provider.timeout_s):
                _, writer = await asyncio.open_connection(self._origin.host, self._origin.port, ssl=self._tls)
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError) as error:
            raise _NoConnection(f"{self._place}: {_reason(error, self._provider.timeout_s)}") from None


@lru_cache(maxsize=64)
def _charset(content_type: str) -> str | None:
    """Return the charset that a Content-Type names (RFC 9110, 8.3.2); there may be no such charset."""
    found = CHARSET.search(content_type)
    return found[1] if found else None


@lru_cache(maxsize=16)
def _parsed(url: str) -> URL:
    """Return a URL that is encoded already; one that is the same for all messages is parsed once."""
    return URL(url, encoded=True)


async def _read(response: ClientResponse) -> tuple[bytes, bool]:
    """Return the answer's content, and whether that is all of it; the connection of a larger one is closed."""
    content = b""
    while not response.content.at_eof():
        content += await response.content.read(LARGEST_ANSWER + 1 - len(content))
        if len(content) > LARGEST_ANSWER:
            response.close()
            return content[:LARGEST_ANSWER], False
    return content, True


def _reason(error: BaseException, limit_s: float) -> str:
    inner = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    match inner:
        case ssl.SSLCertVerificationError():
            return f"certificate refused: {inner.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {inner.reason or 'no reason given'}"
        case socket.gaierror():
            return f"no such host: {inner.strerror}"
        case TimeoutError():
            return f"no connection within {limit_s:g} s"
        case OSError(errno=int(errno)):
            return os.strerror(errno) if errno > 0 else "no such host"
    return f"no connection ({type(inner).__name__})"
