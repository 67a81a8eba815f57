"""A gateway on loopback that answers over HTTP as a test tells it to, and keeps what it was asked."""

import asyncio
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

__all__ = ["DROP", "HANG", "Asked", "Gateway", "answer"]

#: Take the request and never answer; take it and close the connection.
HANG = b"(hang)"
DROP = b"(drop)"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came; header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True, strict_parsing=True))

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True))

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def answer(body: object = "OK", status: int = 200, **headers: str) -> bytes:
    """Return an answer as it goes over the wire; what is no text is sent as JSON. `_` in header names is a dash."""
    content = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever it says", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


#: What is answered to a request.
Says = Callable[[Asked], bytes]


@dataclass
class Gateway:
    """`says` is the answer to everything but a HEAD, or finds it for each request."""

    says: bytes | Says = field(default_factory=answer)
    head: bytes = field(default_factory=lambda: b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
    tls: ssl.SSLContext | None = None
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    heads: int = 0
    connections: int = 0

    async def __aenter__(self) -> Self:
        self._came = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, again on the same port."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
            self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            self.close_connections()
            await server.wait_closed()

    def close_connections(self) -> None:
        """Close what is open, as a server does with idle connections."""
        for writer in list(self._open):
            writer.transport.abort()

    def say(self, unasked: bytes) -> None:
        """Say something on every connection that is open, though nothing was asked there."""
        for writer in self._open:
            writer.write(unasked)

    async def reached(self, number: int = 1) -> None:
        """Return once so many requests have come."""
        async with asyncio.timeout(20), self._came:
            await self._came.wait_for(lambda: len(self.asked) >= number)

    async def probed(self, number: int = 1) -> None:
        """Return once so many HEADs have come."""
        async with asyncio.timeout(60), self._came:
            await self._came.wait_for(lambda: self.heads >= number)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if method == "HEAD":
            said = self.head
            async with self._came:
                self.heads += 1
                self._came.notify_all()
        else:
            asked = Asked(method, target, {k: v.encode("latin-1").decode() for k, v in headers.items()}, body)
            said = self.says(asked) if callable(self.says) else self.says
            async with self._came:
                self.asked.append(asked)
                self._came.notify_all()
        if said == HANG:
            await reader.read()
            return False
        if said == DROP:
            return False
        writer.write(said)
        await writer.drain()
        return said.startswith(b"HTTP/1.1 ") and b"\r\nConnection: close" not in said
