"""A mail server on a free port of this machine, whose every answer a test decides: aiosmtpd, scripted per verb."""

import asyncio
import contextlib
import re
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

__all__ = ["DROP", "HANG", "Received", "SmtpServer"]

#: Not an answer: never say anything; or cut the connection.
HANG = "hang"
DROP = "drop"

Answer = str | list[str] | Callable[[str], str | None]

MESSAGE_ID = re.compile(rb"^Message-ID: <([^@>]+)@", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A mail that the server took, whether or not it could say so."""

    sender: str
    recipients: tuple[str, ...]
    options: tuple[str, ...]
    content: bytes

    @property
    def id(self) -> str:
        found = MESSAGE_ID.search(self.content)
        assert found is not None
        return found[1].decode()


class SmtpServer:
    """The server. `says` maps connect, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, dot and others to what it does there.

    An answer that is a list is given once each, in order; one that is a function is asked, with the verb's argument.
    Afterwards, and where it returns None, the verb is answered as usual.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        implicit: bool = False,
        password: str = "secret",
        pipelining: bool = False,
        **options: Any,
    ) -> None:
        self.says: dict[str, Answer] = {}
        self.mails: list[Received] = []
        self.commands: Counter[str] = Counter()
        self.logins: list[tuple[bytes, bytes]] = []
        self.opened = 0
        self.most_at_once = 0
        #: The most mails to each domain whose content was under way at the same time.
        self.most_to: Counter[str] = Counter()
        self._to: Counter[str] = Counter()
        self.port = 0
        self.slow_s = 0.0
        self._tls = tls
        self._implicit = implicit
        self._pipelining = pipelining
        self._password = password.encode()
        self._options = options
        self._server: asyncio.Server | None = None
        self._sessions: set[_Spoken] = set()
        self._reached = asyncio.Event()

    async def __aenter__(self) -> "SmtpServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def connections(self) -> int:
        """How many are connected now."""
        return len(self._sessions)

    @property
    def unread(self) -> int:
        """How many bytes have come that nobody has read."""
        return sum(len(session._reader._buffer) for session in self._sessions)  # type: ignore[attr-defined]

    async def start(self) -> None:
        """Listen, at the same port as before."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            tls = self._tls if self._implicit else None
            self._server = await loop.create_server(lambda: _Spoken(self), "127.0.0.1", self.port, ssl=tls)
            self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Be gone: nobody listens, and whoever was connected is cut off."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.cut()
        await self.wait_until(lambda: not self._sessions)

    def cut(self) -> None:
        """Cut off whoever is connected."""
        for session in list(self._sessions):
            session.cut()

    def push(self, line: str) -> None:
        """Say something to everybody without having been asked."""
        for session in self._sessions:
            session._writer.write(f"{line}\r\n".encode())

    async def reached(self) -> None:
        """Return once a verb with an answer of the script's has come."""
        async with asyncio.timeout(20):
            await self._reached.wait()
        self._reached.clear()

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        """Return once it holds."""
        async with asyncio.timeout(20):
            while not holds():
                await asyncio.sleep(0.002)

    async def handle_EHLO(  # noqa: N802
        self, _server: SMTP, session: Session, _envelope: Envelope, name: str, responses: list[str]
    ) -> list[str]:
        session.host_name = name
        return [responses[0], "250-PIPELINING", *responses[1:]] if self._pipelining else responses

    async def handle_DATA(self, server: "_Spoken", _session: Session, envelope: Envelope) -> str:  # noqa: N802
        answer = self._next("dot")
        assert isinstance(envelope.content, bytes)
        assert envelope.mail_from is not None
        if answer is None or answer[0] not in "45":
            self.mails.append(
                Received(
                    sender=envelope.mail_from,
                    recipients=tuple(envelope.rcpt_tos),
                    options=tuple(envelope.mail_options),
                    content=envelope.content,
                )
            )
        if answer in {HANG, DROP}:
            await server.do(answer)
        if answer is not None:
            return answer
        name = f"Q{len(self.mails)}"
        domain = envelope.rcpt_tos[0].rpartition("@")[2]
        self._to[domain] += 1
        self.most_to[domain] = max(self.most_to[domain], self._to[domain])
        await asyncio.sleep(self.slow_s)
        self._to[domain] -= 1
        return f"250 2.0.0 Ok: queued as {name}"

    def _next(self, verb: str, argument: str = "") -> str | None:
        self.commands[verb] += 1
        answer = self.says.get(verb)
        if callable(answer):
            answer = answer(argument)
        if isinstance(answer, list):
            answer = answer.pop(0) if answer else None
        if answer is not None:
            self._reached.set()
        return answer

    def _authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _by: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == self._password, handled=False)


class _Spoken(SMTP):
    """One connection."""

    def __init__(self, peer: SmtpServer) -> None:
        self._peer = peer
        options: dict[str, Any] = {
            "hostname": "mail.example.org", "enable_SMTPUTF8": True, "auth_require_tls": False,
            "tls_context": None if peer._implicit else peer._tls,
        }  # fmt: skip
        super().__init__(
            peer, loop=asyncio.get_running_loop(), authenticator=peer._authenticate, **options | peer._options
        )
        for verb, method in list(self._smtp_methods.items()):
            self._smtp_methods[verb] = self._scripted(verb, method)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self not in self._peer._sessions:
            self._peer._sessions.add(self)
            self._peer.opened += 1
            self._peer.most_at_once = max(self._peer.most_at_once, len(self._peer._sessions))
        super().connection_made(transport)
        assert self._handler_coroutine is not None
        self._handler_coroutine.add_done_callback(lambda _: self._end())

    def connection_lost(self, error: Exception | None) -> None:
        self._peer._sessions.discard(self)
        with contextlib.suppress(AttributeError):
            super().connection_lost(error)

    def _end(self) -> None:
        # aiosmtpd leaves a connection open whose handling ended early, or whose handshake failed.
        for transport in (self.transport, self._original_transport):
            if transport is not None:
                transport.close()
        if self._original_transport is not None:
            self._peer._sessions.discard(self)

    def cut(self) -> None:
        for transport in (self._original_transport, self.transport):
            if transport is not None:
                transport.abort()  # type: ignore[attr-defined]
        if self._handler_coroutine is not None:
            self._handler_coroutine.cancel()

    async def do(self, answer: str) -> None:
        """Do what the script says."""
        if answer == HANG:
            await asyncio.Event().wait()
        elif answer == DROP:
            self.cut()
            await asyncio.Event().wait()
        else:
            await self.push(answer)
        if answer.startswith("354"):
            # Whatever comes now is content, and nobody reads it.
            await asyncio.Event().wait()

    async def push(self, status: Any) -> None:
        await super().push(status)
        if str(status).startswith("421") and self.transport is not None:
            self.transport.close()

    async def _handle_client(self) -> None:
        answer = None if self._tls_protocol else self._peer._next("connect")
        if answer is not None:
            await self.do(answer)
            await asyncio.Event().wait()
        await super()._handle_client()

    def _scripted(self, verb: str, method: Callable[[str], Coroutine[Any, Any, None]]) -> Callable[[str], Any]:
        name = "EHLO" if verb == "HELO" else verb

        async def answer(argument: str) -> None:
            scripted = self._peer._next(name, argument or "")
            if scripted is None:
                await method(argument)
            else:
                await self.do(scripted)

        return answer
