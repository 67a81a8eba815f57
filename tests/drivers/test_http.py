"""The HTTP driver on the network: what is certain, what is a doubt, and what nobody may read."""

import asyncio
import contextlib
import logging
import re
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from dialerd.drivers import Driver, build, http_again, http_sessions
from dialerd.drivers.http import Http
from dialerd.drivers.http_sessions import LARGEST_ANSWER, WITHIN_S
from dialerd.model.campaign import Campaign, OnDoubt, RetryPolicy
from dialerd.model.errors import Unavailable
from dialerd.model.message import Channel, State
from dialerd.model.outcome import Deferred, InDoubt, Outcome, Sent, Throttled, Unreachable
from dialerd.model.retry import verdict
from dialerd.settings import Answer, HttpAuth, HttpProvider, Method, Probe, ProviderId, Scheme
from dialerd.settings.sources import Hidden
from tests.drivers.conformance import DriverConformance, Kind, Peer, an_sms
from tests.fakes.gateway import DROP, HANG, Asked, Gateway, answer

CAMPAIGNS = {"Ventas->": Campaign(name="Ventas->", channel=Channel.SMS, provider="gw", region="UY")}
SECRET = "correct horse; ñandú"

Make = Callable[..., Http]


def provider(gateway: Gateway, **keys: Any) -> HttpProvider:
    fields = {"name": "gw", "url": f"{gateway.url}/send", "timeout_s": 20.0, "id": ProviderId(body=r"id=(\S+)")}
    fields["query"] = {"to": "${phone}", "text": "${message}", "ref": "{id}", "from": "${source}"}
    return HttpProvider(**fields | keys)


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with Gateway() as gateway:
        yield gateway


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    drivers: list[Http] = []

    def build_one(gateway: Gateway, **keys: Any) -> Http:
        drivers.append(Http(provider(gateway, **keys), CAMPAIGNS))
        return drivers[-1]

    yield build_one
    for driver in drivers:
        await driver.close()


# -- the list ------------------------------------------------------------------------------------------------------


class HttpPeer:
    """The gateway, and a driver that asks it; towards one that hangs it is impatient."""

    SAYS: ClassVar[dict[Kind, bytes]] = {
        Kind.ACCEPTED: answer("OK id=77"),
        Kind.DEFERRED: answer("try again later", 500),
        Kind.REJECTED: answer("invalid number", 400),
        Kind.THROTTLED: answer("", 429),
        Kind.HANGING: HANG,
        Kind.SLOW: HANG,
        Kind.ANSWER_LOST: DROP,
        Kind.NONSENSE: b"certainly\r\n\r\n",
    }

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._refused: set[str] = set()
        self.keys: dict[str, Any] = {"permanent": Answer(status=frozenset({400}), body="invalid number")}
        self.driver: Driver = build(provider(gateway, **self.keys), CAMPAIGNS)

    async def script(self, kind: Kind) -> None:
        says = self.SAYS.get(kind, answer())
        # What is refused is asked as well, but not taken.
        self._refused |= {asked.query["ref"] for asked in self.gateway.asked if not self._takes}
        self._takes = kind not in {Kind.DEFERRED, Kind.REJECTED, Kind.THROTTLED}
        self.gateway.says = says
        if kind is Kind.HANGING:
            self.driver = Http(provider(self.gateway, timeout_s=0.3, **self.keys), CAMPAIGNS)
        if kind in {Kind.UNREACHABLE, Kind.DOWN}:
            await self.gateway.stop()
        else:
            await self.gateway.start()

    _takes = True

    async def reached(self) -> None:
        await self.gateway.reached()

    def accepted(self) -> Collection[str]:
        asked = [asked.query["ref"] for asked in self.gateway.asked] if self._takes else []
        return [ref for ref in asked if ref not in self._refused]


class TestConformance(DriverConformance):
    """As every driver."""

    kinds: ClassVar[frozenset[Kind]] = frozenset(Kind)

    @pytest.fixture
    async def peer(self, gateway: Gateway) -> AsyncIterator[Peer]:
        peer = HttpPeer(gateway)
        first = peer.driver
        yield peer
        await first.close()
        await peer.driver.close()


# -- connections -----------------------------------------------------------------------------------------------------


async def test_connections_are_used_again(gateway: Gateway, make: Make) -> None:
    """One message after the other goes over one connection; at once there are never more than max_in_flight."""
    driver = make(gateway, max_in_flight=3)
    for _ in range(5):
        assert await driver.send(an_sms()) == Sent()
    assert gateway.connections == 1

    assert set(await asyncio.gather(*(driver.send(an_sms()) for _ in range(20)))) == {Sent()}
    assert gateway.connections <= 3


async def test_fewer_connections_than_messages(gateway: Gateway, make: Make) -> None:
    """`connections` may be fewer than max_in_flight: the others wait in line, and are throttled if that is too long."""
    driver = make(gateway, connections=2, max_in_flight=50)
    assert set(await asyncio.gather(*(driver.send(an_sms()) for _ in range(20)))) == {Sent()}
    assert gateway.connections <= 2

    impatient = make(gateway, connections=1, timeout_s=0.2)
    impatient._free = 0
    assert await impatient.send(an_sms()) == Throttled("all 1 connections were busy for too long")
    assert len(gateway.asked) == 20


@pytest.mark.parametrize("method", [Method.GET, Method.POST, Method.PUT])
async def test_lost_on_a_used_connection(gateway: Gateway, make: Make, method: Method) -> None:
    """A warm connection that is closed instead of an answer is a doubt, and nothing is asked twice: a GET sends too."""
    driver = make(gateway, method=method)
    await driver.send(an_sms())
    gateway.says = DROP

    assert isinstance(await driver.send(an_sms()), InDoubt)
    assert (len(gateway.asked), gateway.connections) == (2, 1)


async def test_idle_connection_that_was_closed(gateway: Gateway, make: Make) -> None:
    """A connection that the gateway has closed meanwhile is not used: the next message goes over a fresh one."""
    driver = make(gateway)
    await driver.send(an_sms())
    gateway.close_connections()
    pooled = driver._sessions.current.connector
    while any(entry[0].is_connected() for entries in pooled._conns.values() for entry in entries):  # type: ignore[union-attr]
        await asyncio.sleep(0)

    assert await driver.send(an_sms()) == Sent()
    assert gateway.connections == 2


async def test_answered_unasked(gateway: Gateway, make: Make) -> None:
    """What a gateway says on an idle connection is never taken for the answer to the next message."""
    gateway.says = answer("OK id=1")
    driver = make(gateway, max_in_flight=1)
    assert await driver.send(an_sms()) == Sent("1")
    assert driver._sessions.current.connector is not None
    ((idle, _),) = next(iter(driver._sessions.current.connector._conns.values()))
    came = asyncio.Event()
    receive, idle.data_received = idle.data_received, lambda data: (receive(data), came.set())  # type: ignore[method-assign]
    gateway.say(answer("OK id=2"))
    await came.wait()

    gateway.says = answer("OK id=3")
    assert await driver.send(an_sms()) == Sent("3")
    assert (len(gateway.asked), gateway.connections) == (2, 2)


async def test_closed_without_a_word(gateway: Gateway, make: Make) -> None:
    """A gateway that closes after each answer and does not say so loses no message, if it does so at once."""
    asked = 0

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        writer.write(answer("OK id=1"))
        writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
        driver = make(gateway, url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        for _ in range(3):
            assert set(await asyncio.gather(*(driver.send(an_sms()) for _ in range(20)))) == {Sent("1")}
            assert [await driver.send(an_sms()) for _ in range(5)] == [Sent("1")] * 5
    assert asked == 75


async def test_ended_before_anything_is_written(gateway: Gateway, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that ends one connection after the other at once is not reached: it has read nothing."""

    async def ended(_request: object, _connection: object) -> None:
        raise http_again.Stale

    monkeypatch.setattr(http_again.Asked, "send", ended)
    outcome = await make(gateway, method=Method.POST).send(an_sms())
    assert outcome == Unreachable(f"127.0.0.1:{gateway.port}: it ends connections, or answers, before it is asked")
    assert gateway.asked == []


async def test_answer_in_drops(gateway: Gateway, make: Make) -> None:
    """A gateway that sends its answer for ever, byte by byte, is cut off by the dialer, and the connection closed."""
    ended = asyncio.Event()

    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        with contextlib.suppress(OSError):
            while not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.transport.abort()
        ended.set()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        driver = make(gateway, url=url, timeout_s=0.1)
        assert driver.attempt_limit_s == 3.4
        # As the dialer does at that limit, but sooner.
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(driver.send(an_sms()), 0.5)
        await ended.wait()


@pytest.mark.parametrize(
    "cut", [b"HTTP/1.1", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nOK id=1"]
)
async def test_answer_cut_off(gateway: Gateway, make: Make, cut: bytes) -> None:
    """An answer that ends before its end is none."""
    gateway.says = cut
    assert isinstance(await make(gateway).send(an_sms()), InDoubt)


async def test_large_answer(gateway: Gateway, make: Make) -> None:
    """Of an answer without measure only the beginning is read; what stands there counts, whatever its headers."""
    gateway.says = answer(b"OK id=5 " + b"x" * (4 * LARGEST_ANSWER), Content_Security_Policy="x" * 30_000)
    rule = Answer(body="^OK")

    assert await make(gateway, success=rule).send(an_sms()) == Sent("5")
    assert isinstance(await make(gateway, success=Answer(body="END$")).send(an_sms()), InDoubt)


@pytest.mark.parametrize(
    ("content", "kind"),
    [("Aceptó id=7".encode("cp1252"), "text/plain"), ("Aceptó id=7".encode(), "text/plain; charset=nonsense"),
     ("Aceptó id=7".encode("utf-16"), 'text/plain; charset="utf-16"'), ("Aceptó id=7".encode(), "a/b; charset=hex"),
     ("\ufeffAceptó id=7".encode(), ""), ("Aceptó id=7".encode("latin-1"), "text/plain; charset=utf-8"),
     ("\ufeffAceptó id=7".encode(), "a/b; Charset = UTF-8"), ("\ufeffAceptó id=7".encode(), "a/b;charset=cp1252"),
     ("\ufeffAceptó id=7".encode("utf-16-le"), "a/b; charset='utf-16le'"),
     # None of these is any that a message's parser takes (RFC 2231).
     ("Aceptó id=7".encode(), "a/b; charset*=a; charset*0=b"), ("Aceptó id=7".encode(), "a/b; charset*0*=%00''x"),
     ("Aceptó id=7".encode(), f"a/b; charset*{'9' * 5000}=x"), ("Aceptó id=7".encode(), "a/b; charset=\x7fñ")],
)  # fmt: skip
async def test_charsets(gateway: Gateway, make: Make, content: bytes, kind: str) -> None:
    """An answer is read in the charset that it names, or in the likeliest, without its mark, and never fails on it."""
    gateway.says = answer(content, Content_Type=kind)
    assert await make(gateway, success=Answer(body="^Aceptó")).send(an_sms()) == Sent("7")


async def test_no_keep_alive(gateway: Gateway, make: Make) -> None:
    """A gateway that closes after each answer without saying so gets a fresh connection each time, and is told."""
    driver = make(gateway, keep_alive=False)
    for _ in range(3):
        assert await driver.send(an_sms()) == Sent()
    assert gateway.connections == 3
    assert {asked.headers["connection"] for asked in gateway.asked} == {"close"}


async def test_keep_alive_is_given_up(gateway: Gateway, make: Make, capfd: pytest.CaptureFixture[str]) -> None:
    """A gateway that closes connections used a second time costs three doubts, however many connections it may have."""
    told: dict[str | None, int] = Counter()

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        told["close" if b"Connection: close" in head else None] += 1
        writer.write(answer())
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
        driver = make(gateway, url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        came = [await driver.send(an_sms()) for _ in range(20)]

    assert [type(one) for one in came] == [Sent, InDoubt] * 3 + [Sent] * 14
    assert told == {None: 3, "close": 14}
    assert "keep_alive = false" in str(came[1])
    assert 1 == capfd.readouterr().err.count("connections_not_kept")


async def test_a_restart_costs_no_keep_alive(gateway: Gateway, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that loses all its connections at once, even twice, or new ones, or some now and then, keeps others."""
    driver = make(gateway, connections=4)

    async def send(number: int) -> set[type]:
        return {type(one) for one in await asyncio.gather(*(driver.send(an_sms()) for _ in range(number)))}

    for within_s in (WITHIN_S, WITHIN_S, 0.0, 0.0):
        monkeypatch.setattr(http_sessions, "WITHIN_S", within_s)
        assert {Sent} == await send(4)
        gateway.says = DROP
        assert {InDoubt} == await send(4)
        assert {InDoubt} == await send(4)
        await driver.probe()
        gateway.says = answer()
    assert {Sent} == await send(4)
    assert {asked.headers.get("connection") for asked in gateway.asked} == {None}


@given(garbage=st.binary(max_size=200), is_headed=st.booleans())
@settings(max_examples=60)
def test_any_answer(garbage: bytes, is_headed: bool) -> None:
    """Whatever comes over the wire, there is an outcome; it is a success only if an HTTP answer said so."""

    async def ask() -> Outcome:
        said = b"HTTP/1.1 200 OK\r\n" * is_headed + garbage
        async with Gateway(says=lambda _asked: said + b"\r\nConnection: close") as gateway:
            driver = Http(provider(gateway, timeout_s=5.0), CAMPAIGNS)
            outcome = await driver.send(an_sms())
            await driver.close()
            return outcome

    outcome = asyncio.run(ask())
    assert isinstance(outcome, InDoubt | Deferred | Sent | Throttled | Unreachable)
    if isinstance(outcome, Sent):
        assert is_headed or garbage.startswith(b"HTTP/1")


# -- who is there ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


async def test_tls(authority: trustme.CA, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates are verified: what fails there has not seen a byte of the message."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    async with Gateway(tls=tls) as gateway:
        outcome = await make(gateway).send(an_sms())
        assert isinstance(outcome, Unreachable)
        assert "certificate refused" in outcome.error
        assert not gateway.asked

        ca = authority.cert_pem.bytes().decode()
        assert await make(gateway, ca=ca).send(an_sms()) == Sent()
        await make(gateway, ca=ca, probe=Probe.CONNECT).probe()
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert await make(gateway).send(an_sms()) == Sent()
        await make(gateway, probe=Probe.CONNECT).probe()


async def test_no_tls_there(gateway: Gateway, make: Make) -> None:
    """A gateway that speaks no TLS where it should is not reached."""
    driver = make(gateway, url=gateway.url.replace("http:", "https:"), timeout_s=0.5)
    assert isinstance(await driver.send(an_sms()), Unreachable)
    with pytest.raises(Unavailable):
        await driver.probe()


async def test_no_such_host(gateway: Gateway, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that DNS does not know is not reached; it is asked for one beyond ASCII as DNS spells that."""
    asked = []

    async def unknown(host: str, *_args: object, **_named: object) -> None:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    outcome = await make(gateway, url="http://gateway.example/").send(an_sms())
    assert isinstance(outcome, Unreachable)
    assert "no such host" in outcome.error
    beyond = make(gateway, url="http://señal.example:81/")
    assert await beyond.send(an_sms()) == Unreachable(
        outcome.error.replace("gateway.example:80", "xn--seal-hqa.example:81")
    )
    with pytest.raises(Unavailable, match="no such host"):
        await beyond.probe()
    assert asked == ["gateway.example"] + ["xn--seal-hqa.example"] * 2


async def test_no_connection_in_time(gateway: Gateway, make: Make) -> None:
    """A host that does not take the connection in time is not reached: nothing was written."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        outcome = await make(gateway, url=f"http://127.0.0.1:{port}/", timeout_s=0.3).send(an_sms())
        for one in waiting:
            one.close()
    assert outcome == Unreachable(f"127.0.0.1:{port}: no connection within 0.3 s")


async def test_probe_sees_through_a_proxy(gateway: Gateway, make: Make) -> None:
    """A proxy that is up before a gateway that is away does not pass for it, nor does a gateway that is silent."""
    driver = make(gateway)
    await driver.probe()
    gateway.head = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(Unavailable, match="502"):
        await driver.probe()
    gateway.head = HANG
    with pytest.raises(Unavailable, match="no answer"):
        await make(gateway, timeout_s=0.2).probe()

    await make(gateway, probe=Probe.CONNECT).probe()
    assert (gateway.heads, gateway.asked) == (3, [])


@pytest.mark.parametrize("head", [answer("OK"), answer("", 405), b"OK\r\n\r\n", DROP])
async def test_probe_of_a_gateway_that_knows_no_head(gateway: Gateway, make: Make, head: bytes) -> None:
    """Whatever else it answers, a gateway is there: it must not stay shut for its manners."""
    gateway.head = head
    driver = make(gateway)
    await driver.probe()
    assert await driver.send(an_sms()) == Sent()


# -- who we are ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "header"),
    [({"auth": HttpAuth(user="ñ", password="p:w")}, "Basic w7E6cDp3"),
     ({"auth": HttpAuth(bearer="abc")}, "Bearer abc"),
     ({"headers": {"Authorization": "App ${key}"}, "parameters": {"key": "k"}}, "App k")],
)  # fmt: skip
async def test_authorization(gateway: Gateway, make: Make, keys: dict[str, Any], header: str) -> None:
    """Basic (in UTF-8), Bearer, or whatever stands in headers."""
    await make(gateway, **keys).send(an_sms())
    assert gateway.asked[0].headers["authorization"] == header


async def test_login_in_the_url(gateway: Gateway, make: Make) -> None:
    """User and password in a URL are shown as Basic, and are not asked for as part of the host."""
    await make(gateway, url=gateway.url.replace("//", "//us:pw@") + "/x").send(an_sms())
    assert gateway.asked[0].headers["authorization"] == "Basic dXM6cHc="
    assert gateway.asked[0].headers["host"] == f"127.0.0.1:{gateway.port}"


async def test_digest(gateway: Gateway, make: Make) -> None:
    """RFC 7616: the first request is refused with a challenge, and then no password goes over the wire."""
    challenge = 'Digest realm="gw", nonce="n0", qop="auth", algorithm=MD5'

    def says(asked: Asked) -> bytes:
        if 'username="us"' in asked.headers.get("authorization", ""):
            return answer("id=1")
        return answer("", 401, WWW_Authenticate=challenge)

    gateway.says = says
    driver = make(gateway, json={"to": "${phone}"}, auth=HttpAuth(user="us", password="pw", scheme=Scheme.DIGEST))
    assert await driver.send(an_sms()) == Sent("1")
    assert await driver.send(an_sms()) == Sent("1")
    taken = [asked for asked in gateway.asked if "authorization" in asked.headers]
    assert [asked.json for asked in taken] == [{"to": "+59899000001"}] * 2
    assert "pw" not in "".join(asked.headers["authorization"] for asked in taken)

    gateway.says = answer("", 401, WWW_Authenticate=challenge)
    assert isinstance(await driver.send(an_sms()), Unreachable)


@pytest.mark.parametrize("status", [400, 401, 429, 500, 502, 302, 200])
async def test_nobody_reads_secrets(
    gateway: Gateway, make: Make, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a gateway repeats, no error and no log tells credentials, numbers or texts."""
    message = an_sms(data="Su clave es 4711, señor")

    def says(asked: Asked) -> bytes:
        carried = [asked.headers["x-api-key"].split()[1], *asked.json["login"][0].values()]
        told = f"{carried} {asked.target} {asked.headers} {asked.query} {message.destination} {SECRET}: refused"
        return answer(told.encode(), status, Location=f"http://us:{'pw0815'}@h/x?key=pw0815")

    gateway.says = says
    caplog.set_level(logging.DEBUG)
    driver = make(
        gateway, success=Answer(body="^OK"), permanent=Answer(status=frozenset({400})), parameters={"key": "pw0815"},
        query={"to": "${phone}", "text": "${message}", "key": "${key}", "password": "literal9"},
        auth=HttpAuth(user="us", password=SECRET), url=gateway.url + "/?token=${key}&pw=in+url",
        headers={"X-Api-Key": "App literal9"}, json={"login": [{"u": Hidden("from-env"), "Password": "literal9"}]},
    )  # fmt: skip
    outcome = await driver.send(message)
    text = f"{outcome} {driver._provider} {caplog.text}"
    for private in ("pw0815", SECRET, "literal9", "from-env", "in url", "in+url", message.destination, "4711", "dXM6"):
        assert private not in text, text
    assert "pw0815" in gateway.asked[0].target


# -- again -----------------------------------------------------------------------------------------------------------


async def test_retry_after(gateway: Gateway, make: Make) -> None:
    """A wish for patience is passed on, in seconds, also where it is a date."""
    driver = make(gateway)
    gateway.says = answer("", 429, Retry_After="17")
    assert await driver.send(an_sms()) == Throttled("HTTP 429 Too Many Requests", 17)
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    gateway.says = answer("", 503, Retry_After="Sun, 06 Nov 1994 08:50:37 GMT", Date=date)
    assert await driver.send(an_sms()) == Throttled("HTTP 503 Service Unavailable", 60)
    gateway.says = answer("", 500, Retry_After="nonsense")
    assert await driver.send(an_sms()) == Deferred("HTTP 500 Internal Server Error", None)


async def test_idempotency_key(gateway: Gateway, make: Make) -> None:
    """Where the gateway knows a message again, a lost answer is no reason to wait for an operator."""
    driver = make(gateway, idempotency_key="Idempotency-Key", method=Method.POST)
    message = an_sms()
    gateway.says = DROP
    doubt = await driver.send(message)
    assert isinstance(doubt, InDoubt)
    assert doubt.resend_is_safe

    gateway.says = answer("id=1")
    assert await driver.send(message) == Sent("1")
    assert [asked.headers["idempotency-key"] for asked in gateway.asked] == [message.id] * 2
    again = verdict(
        doubt, attempt=1, policy=RetryPolicy(), on_doubt=OnDoubt.HOLD, now=datetime(2026, 3, 1, tzinfo=UTC), jitter=0
    )
    assert again.state is State.DEFERRED


async def test_redirects_are_not_followed(gateway: Gateway, make: Make) -> None:
    """A redirected request is not sent on to where nobody has configured it; the error says where it pointed."""
    gateway.says = answer("", 308, Location="https://us:pw@elsewhere.example:8443/a?k=1")
    assert await make(gateway).send(an_sms()) == Deferred(
        "HTTP 308 Permanent Redirect: redirected to https://elsewhere.example:8443, which is not followed"
    )
    gateway.says = answer("", 303, Location="/done")
    assert isinstance(await make(gateway, method=Method.POST).send(an_sms()), InDoubt)
    assert len(gateway.asked) == 2
    assert re.search(r"[?&]to=%2B59899000001&", gateway.asked[0].target)
