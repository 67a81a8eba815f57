"""What a request may cost: the size of its body, and the time it takes to come in."""

import asyncio
import json
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dialerd.model.errors import Unavailable

__all__ = ["Limits"]

#: A caller that sends nothing of its body for so long has gone, or wants to hold a connection.
SILENT_S = 30.0
#: As does one that sends fewer octets a second than this, once it has had as much time again.
SLOWEST_BYTES_S = 500
#: Of a caller without a live token so many octets are taken: a body is held in memory.
MOST_OF_STRANGERS = 1_000_000
#: Of a body that is too large so many bytes are taken and thrown away, for so many seconds.
MOST_DRAINED = 16_000_000
DRAINED_S = 5.0


class Limits:
    """Answers 413 to a body of more than `most_bytes(method, path)`, and 408 to one that does not come.

    A long body is a 401 unless `knows` the caller.
    """

    def __init__(
        self, app: ASGIApp, *, most_bytes: Callable[[str, str], int], knows: Callable[[Scope], Awaitable[bool]]
    ) -> None:
        self._app = app
        self._knows = knows
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = asyncio.get_running_loop().time()
        is_known = is_whole = False
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
            nonlocal came, is_known, is_whole
            if answered or is_whole:
                # What comes now is that the caller goes away, at whatever time.
                return await receive()
            try:
                spent_s = asyncio.get_running_loop().time() - began
                patience_s = 2 * SILENT_S + came / SLOWEST_BYTES_S - spent_s
                async with asyncio.timeout(min(SILENT_S, patience_s)):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the request did not come in time", headers={"Connection": "close"}) from None
            came += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if came > most:
                if message.get("more_body"):
                    await _drain(receive)
                raise HTTPException(413, f"the request is larger than {most} bytes")
            if came > MOST_OF_STRANGERS and not is_known:
                is_known = await self._is_known(scope)
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

    async def _is_known(self, scope: Scope) -> bool:
        try:
            if await self._knows(scope):
                return True
        except Unavailable:
            raise HTTPException(503, "the server cannot do this now: try again") from None
        raise HTTPException(401, "a request of this size needs a live token")


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
