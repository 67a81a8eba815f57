"""Paths as existing integrations write them: with a slash at the end, or with two where one belongs."""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Paths"]

SLASHES = re.compile("/{2,}")
OLD = ("/Integra/", "/IntegraChannels/")


class Paths:
    """Hands on a call of the old API under its proper path: the server that integrations were written for did so."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            path = SLASHES.sub("/", scope["path"])
            if path.startswith(OLD):
                scope["path"] = path.rstrip("/")
        await self._app(scope, receive, send)
