"""What a request may cost: the size of its body, and the time it takes to come in."""

import asyncio
import json
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Limits"]

#: A caller that sends nothing of its body for so long has gone, or wants to hold a connection.
SILENT_S = 30.0
#: Of a body that is too large so many bytes are taken and thrown away, for so many seconds.
MOST_DRAINED = 16_000_000
DRAINED_S = 5.0


class Limits:
    """Answers 413 to a body of more than `most_bytes(method, path)`, and 408 to one that does not come."""

    def __init__(self, app: ASGIApp, *, most_bytes: Callable[[str, str], int]) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most, came, answered = self._most_bytes(scope["method"], scope["path"]), 0, False
        headers = dict(scope["headers"])
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > most:
            # Who asks first has not begun to send.
            if b"expect" not in headers:
                await _drain(receive)
            await _answer(send, 413, f"the request is larger than {most} bytes")
            return

        async def bounded() -> Message:
            nonlocal came
            if answered:
                return await receive()
            try:
                async with asyncio.timeout(SILENT_S):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the request did not come in time") from None
            came += len(message.get("body", b""))
            if came > most:
                if message.get("more_body"):
                    await _drain(receive)
                raise HTTPException(413, f"the request is larger than {most} bytes")
            return message

        async def noticed(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._app(scope, bounded, noticed)
        except Exception:
            # Logged where it was answered.
            if not answered:
                raise


async def _drain(receive: Receive) -> None:
    """Take what is still coming, within bounds: a caller that is cut off while it sends does not hear the answer."""
    came = 0
    try:
        async with asyncio.timeout(DRAINED_S):
            while came < MOST_DRAINED and (message := await receive()).get("more_body"):
                came += len(message["body"])
    except TimeoutError:
        pass


async def _answer(send: Send, status: int, detail: str) -> None:
    body = json.dumps({"type": "about:blank", "status": status, "title": detail}).encode()
    headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
