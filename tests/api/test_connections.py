"""What a connection may cost: those who send slowly, nothing, or without end are let go, and the others are served."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
from starlette.types import Message, Receive, Scope, Send

from dialerd.api import connections, limits
from tests.api.conftest import MakeSite, Site

SEND = b"POST /Integra/resources/SMS/SendSMSv2 HTTP/1.1\r\nHost: a\r\n"
HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
WAIT_S = 30


@asynccontextmanager
async def connected(site: Site) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await asyncio.wait([asyncio.ensure_future(writer.wait_closed())])


async def told(reader: StreamReader) -> bytes:
    """Return all that came until the other side closed; it resets the connection of who goes on to send."""
    came = b""
    async with asyncio.timeout(WAIT_S):
        with suppress(ConnectionResetError):
            while some := await reader.read(65536):
                came += some
    return came


async def is_well(reader: StreamReader, writer: StreamWriter) -> None:
    writer.write(HEALTHZ)
    async with asyncio.timeout(WAIT_S):
        assert b"200 OK" in await reader.readuntil(b'{"status":"ok"}')


async def drip(site: Site, head: bytes, drop: bytes, every_s: float = 0.02) -> bytes:
    """Send a head and then drops without end; return what is answered."""
    async with connected(site) as (reader, writer):
        writer.write(head)
        answer = asyncio.create_task(told(reader))
        while not answer.done():
            writer.write(drop)
            await asyncio.wait([answer], timeout=every_s)
        return answer.result()


async def test_a_head_that_does_not_come(site_with: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head has HEAD_S to be whole, the first of a connection and each later one; silence is no head either."""
    monkeypatch.setattr(connections, "HEAD_S", 0.3)
    async with site_with() as site, connected(site) as (silent, _), connected(site) as (reader, writer):
        await is_well(reader, writer)
        writer.write(HEALTHZ[:20])

        assert (await drip(site, SEND, b"X: a\r\n")).startswith(b"HTTP/1.1 408 ")
        assert (await told(silent)).startswith(b"HTTP/1.1 408 ")
        assert (await told(reader)).startswith(b"HTTP/1.1 408 ")


async def test_a_head_without_end(site_with: MakeSite) -> None:
    """A head of more than 64 KiB is a 431, and none of it is kept."""
    async with site_with() as site:
        assert (await drip(site, SEND, b"X: " + b"a" * 4000 + b"\r\n", 0.001)).startswith(b"HTTP/1.1 431 ")


async def test_a_large_body_after_a_small_head(site_with: MakeSite) -> None:
    """A head and a body that come in one piece, and a body in many, are no large head."""
    async with site_with() as site:
        headers = await site.headers()
        form = {"destination": "098344484", "message": "Hola", "campaign": "Ventas->", "more": "a" * 200_000}
        for _ in range(3):
            assert (200, "OK", None) == await site.post("/Integra/resources/SMS/SendSMS", form, headers=headers)
        async with connected(site) as (reader, writer):
            one = b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"a" * 100_000
            for _ in range(3):
                writer.write(one)
                async with asyncio.timeout(WAIT_S):
                    assert b"404" in await reader.readuntil(b'Not Found"}')


async def test_a_body_in_drops(site_with: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that comes octet by octet is a 408, though it never stops coming."""
    monkeypatch.setattr(limits, "SILENT_S", 0.2)
    async with site_with() as site:
        headers = b"".join(f"{name}: {value}\r\n".encode() for name, value in (await site.headers()).items())
        head = SEND + headers + b"Content-Length: 1000\r\n\r\n"
        assert (await drip(site, head, b"a")).startswith(b"HTTP/1.1 408 ")


async def test_a_body_after_the_answer(site_with: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who goes on to send what was answered already, a body without a token, is let go after a while."""
    monkeypatch.setattr(connections, "LINGER_S", 0.2)
    async with site_with() as site:
        answer = await drip(site, b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", b"a")
        assert answer.startswith(b"HTTP/1.1 404 ")


async def test_too_many(site_with: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """One caller more than the process has files for is told 503 at once; those who are in are served."""
    monkeypatch.setattr(connections, "most_connections", lambda: 3)
    async with site_with() as site, AsyncExitStack() as stack:
        inside = [await stack.enter_async_context(connected(site)) for _ in range(3)]
        for one in inside:
            await is_well(*one)
        async with connected(site) as (outside, _):
            assert (await told(outside)).startswith(b"HTTP/1.1 503 ")

        await is_well(*inside[0])


async def test_an_answer_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a request is whole its caller may be silent for as long as the answer takes."""
    monkeypatch.setattr(limits, "SILENT_S", 0.01)
    messages = [{"type": "http.request", "body": b"", "more_body": False}]
    came_later: list[object] = []

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop()

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        # As a streamed answer does while it goes out.
        waiting = asyncio.ensure_future(receive())
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        came_later.extend(done)
        waiting.cancel()

    async def send(_message: Message) -> None: ...

    async def knows(_scope: Scope) -> bool:
        return False

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    await limits.Limits(app, most_bytes=lambda *_: 1000, knows=knows)(scope, receive, send)
    assert not came_later
