"""The connections to one gateway: aiohttp opens them, and they are used again where the gateway lets them."""

import asyncio
import ssl
from collections import deque

from aiohttp import ClientSession, ClientTimeout, DigestAuthMiddleware, DummyCookieJar, TCPConnector

from dialerd import log
from dialerd.drivers.http_again import Asked, in_use_since, never_again
from dialerd.settings import HttpProvider, Method, Scheme

__all__ = ["LARGEST_ANSWER", "Sessions"]

logger = log.get(__name__)

#: Of an answer so much is read; the ids and words that we look for stand in its first lines.
LARGEST_ANSWER = 64 * 1024

IDLE_S = 1.5

#: A gateway that starts anew loses each connection that was open, once. One that within so many seconds loses so many,
#: each opened after the one before was lost, closes them after its answers, without saying so.
WITHIN_S = 60.0
MOST_LOST = 3


class Sessions:
    """Opens sessions of at most `most` connections, for requests of one `method`.

    `keeps_alive` tells whether connections are used again.
    """

    def __init__(self, provider: HttpProvider, *, method: Method, most: int, tls: ssl.SSLContext | None) -> None:
        self._provider = provider
        self._method = method
        self._most = most
        self._tls = tls
        self.keeps_alive = provider.keep_alive
        self._current: ClientSession | None = None
        #: Those that still have requests under way, it may be.
        self._retired: list[ClientSession] = []
        self._lost: deque[float] = deque(maxlen=MOST_LOST)

    @property
    def current(self) -> ClientSession:
        """The session for the next request; it belongs to the loop that runs."""
        if self._current is None:
            self._current = self._opened()
        return self._current

    def lost_one(self) -> bool:
        """Take note that the connection was lost on which this task asked; False: not for having been kept."""
        since = in_use_since.get()
        if not self.keeps_alive or since is None:
            return False
        if self._lost and since <= self._lost[-1]:
            return True
        now = asyncio.get_running_loop().time()
        self._lost.append(now)
        if len(self._lost) == MOST_LOST and now - self._lost[0] <= WITHIN_S:
            logger.warning(
                "connections_not_kept",
                provider=self._provider.name,
                hint="the gateway closes connections after its answers without saying so: set keep_alive = false",
            )
            self.keeps_alive = False
            if self._current is not None:
                self._retired.append(self._current)
                self._current = None
        return True

    async def close(self) -> None:
        """Close all connections."""
        sessions = [*self._retired, *([self._current] if self._current is not None else [])]
        self._retired, self._current = [], None
        for session in sessions:
            await session.close()

    def _opened(self) -> ClientSession:
        provider = self._provider
        # aiohttp repeats no POST.
        middlewares = [] if self._method is Method.POST else [never_again]
        if provider.auth is not None and provider.auth.scheme is Scheme.DIGEST:
            password = provider.auth.password.get_secret_value() if provider.auth.password is not None else ""
            middlewares.insert(0, DigestAuthMiddleware(provider.auth.user or "", password))
        return ClientSession(
            connector=TCPConnector(
                limit=self._most,
                **({"keepalive_timeout": IDLE_S} if self.keeps_alive else {"force_close": True}),
                ttl_dns_cache=60,
                ssl=self._tls or True,
            ),
            # Some carry a page of policies in a header.
            max_line_size=LARGEST_ANSWER,
            max_field_size=LARGEST_ANSWER,
            timeout=ClientTimeout(total=None, connect=provider.timeout_s, sock_read=provider.timeout_s),
            cookie_jar=DummyCookieJar(),
            headers={
                "User-Agent": "dialerd",
                "Accept-Encoding": "identity",
                **({} if self.keeps_alive else {"Connection": "close"}),
            },
            middlewares=middlewares,
            request_class=Asked,
            trust_env=False,
        )
