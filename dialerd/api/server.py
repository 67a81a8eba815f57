"""The HTTP server in the daemon's own event loop. Signals are the daemon's; requests under way may finish."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Generator

import uvicorn
from starlette.types import ASGIApp

from dialerd import log
from dialerd.api.connections import Connection
from dialerd.model.errors import Refused
from dialerd.settings import Listen

__all__ = ["Server"]

logger = log.get(__name__)

KEEP_ALIVE_S = 30
#: Connections that wait to be accepted.
BACKLOG = 2048


class Server:
    """Listens at an address; port 0 takes a free one, and `port` says which."""

    def __init__(self, app: ASGIApp, listen: Listen) -> None:
        # It warns of each caller that speaks no HTTP, and of what to install for websockets.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self._server = _Quiet(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                backlog=BACKLOG,
                timeout_graceful_shutdown=None,
            )
        )
        self._socket = _bound(listen)
        self.port: int = self._socket.getsockname()[1]

    async def run(self) -> None:
        """Serve until stopped."""
        logger.info("api_listening", port=self.port)
        await self._server.serve(sockets=[self._socket])

    async def stop(self, seconds: float) -> None:
        """Take no more requests, and give those under way so many seconds; `run` ends then."""
        self._server.config.timeout_graceful_shutdown = max(1, round(seconds))
        self._server.should_exit = True
        await asyncio.sleep(0)


class _Quiet(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals to the daemon."""
        yield


def _bound(listen: Listen) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((str(listen.host), listen.port))
        # From now on callers wait instead of being refused, also while the rest of the daemon still starts.
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise Refused(f"[api] listen = {listen}: {error.strerror or error}") from error
    return bound
