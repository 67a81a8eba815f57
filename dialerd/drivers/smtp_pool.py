"""The connections to one mail server: opened when needed, encrypted, logged in, used again, closed when idle."""

import asyncio
import os
import re
import socket
import ssl
from base64 import b64encode
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Self, cast

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPHeloError,
    SMTPResponse,
    SMTPResponseException,
)

from dialerd.settings import Security, SmtpProvider

__all__ = ["Busy", "Connection", "Lost", "NoConnection", "Pool", "Reply"]

#: A connection that nobody used for so long is closed; servers themselves wait for minutes (RFC 5321, 4.5.3.2.7).
IDLE_S = 60.0

#: How long a server may take to say goodbye.
QUIT_S = 2.0

#: Of an answer, so much is told.
LONGEST = 400

CLOSING = 421
BAD_SEQUENCE = 503

#: Answers to AUTH that speak of the mechanism and not of the password (RFC 4954, section 6): another one may do.
#: After 535 nothing else is tried: servers lock accounts for several wrong logins.
OTHER_MECHANISM = frozenset({500, 501, 502, 503, 504, 534, 538})

HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
LINE_END = re.compile(rb"\r\n|\r|\n")
LEADING_DOT = re.compile(rb"^\.", re.MULTILINE)
UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


class Busy(Exception):
    """No connection came free in time."""


class NoConnection(Exception):
    """The server cannot be spoken to, and why; `code` is its own, if it gave one. Nothing of a mail went there."""

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


class Lost(Exception):
    """The answer to a command did not come, and never will: the connection is out of step, or gone."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered; `code` is -1 for what is no answer."""

    code: int
    text: str

    @classmethod
    def of(cls, code: int, message: str) -> Self:
        """Return an answer on one line, in characters that can be stored."""
        text = message.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return cls(code, UNPRINTABLE.sub(" ", text).strip()[:LONGEST])

    @property
    def is_ok(self) -> bool:
        """Tell whether it is a yes."""
        return 200 <= self.code <= 299

    def __str__(self) -> str:
        return f"{self.code} {self.text}".strip() if self.code >= 0 else f"no SMTP reply ({self.text})"


class Connection:
    """One connection, open or not, for one mail at a time."""

    def __init__(self, provider: SmtpProvider, tls: ssl.SSLContext | None) -> None:
        self._provider = provider
        self._tls = tls
        self._client: SMTP | None = None
        self._step = ""
        self._timer: asyncio.TimerHandle | None = None
        #: How many mails were begun since it was opened.
        self.mails = 0
        #: Whether server and we agree on where we are, so that the next command gets its own answer.
        self.in_step = False
        self._mail_under_way = False

    @property
    def is_open(self) -> bool:
        """Tell whether it is open, as far as one can know without asking the server."""
        return self._client is not None and self._client.is_connected

    def offers(self, extension: str) -> bool:
        """Tell whether the server named this extension when it was greeted."""
        return self._client is not None and self._client.supports_extension(extension)

    async def open(self) -> None:
        """Connect anew, encrypt and log in, all within one `timeout_s`.

        Raises:
            NoConnection: something of that was refused, or took too long.
        """
        self.drop()
        self.mails, self._mail_under_way = 0, False
        provider = self._provider
        try:
            # Limits are ours and not the library's: its wait_for can swallow a cancellation in Python 3.11.
            async with asyncio.timeout(provider.timeout_s):
                await self._open()
        except TimeoutError as error:
            raise self._trouble(f"no answer within {provider.timeout_s:g} s") from error
        except (SMTPException, OSError, ValueError) as error:
            cause = error if isinstance(error, SMTPResponseException) else error.__cause__ or error
            raise self._trouble(_reason(cause), getattr(error, "code", None)) from None
        finally:
            if not self.in_step:
                self.drop()

    async def begin(self, sender: str, options: list[str]) -> Reply:
        """Say from whom the next mail comes; until this is answered nothing of it has gone.

        Raises:
            Lost: there was no answer.
        """
        if self._mail_under_way:
            reply = await self.say("RSET")
            if not reply.is_ok:
                raise Lost(f"RSET: {reply}")
        self.mails += 1
        self._mail_under_way = True
        return await self.say("MAIL", f"FROM:<{sender}>", *options)

    async def say(self, *words: str) -> Reply:
        """Give a command and return its answer.

        Raises:
            Lost: there was none.
        """
        self.in_step = False
        assert self._client is not None
        command = self._client.execute_command(*(word.encode() for word in words))
        reply = await self._answered(command, words[0])
        if words[0] == "RSET":
            self._mail_under_way = not reply.is_ok
        return reply

    def put(self, content: bytes) -> None:
        """Send a mail's content and the final dot.

        Raises:
            Lost: nothing of it was sent.
        """
        self.in_step = False
        protocol = self._client.protocol if self._client is not None else None
        if protocol is None or not protocol.is_connected:
            raise Lost("connection lost before the content")
        protocol.write(LEADING_DOT.sub(b"..", _lines(content)) + b".\r\n")

    async def taken(self) -> Reply:
        """Return the answer to the final dot.

        Raises:
            Lost: there was none.
        """
        assert self._client is not None
        protocol = self._client.protocol
        if protocol is None:
            raise Lost("connection lost after the final dot")
        reply = await self._answered(protocol.read_response(), "the final dot")
        self._mail_under_way = not reply.is_ok
        return reply

    def rest(self) -> None:
        """Stay open, unused, for a while."""
        self._timer = asyncio.get_running_loop().call_later(IDLE_S, self.leave)

    def wake(self) -> None:
        """Be used again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def leave(self) -> None:
        """Say goodbye and close, without waiting for the server's."""
        self.wake()
        client, self._client = self._client, None
        if client is not None and client.is_connected and client.protocol is not None:
            client.protocol.write(b"QUIT\r\n")
            client.close()

    async def quit(self) -> None:
        """Say goodbye and close, once the server has said it too or is too slow for it."""
        self.wake()
        try:
            if self._client is not None and self.is_open:
                async with asyncio.timeout(QUIT_S):
                    await self._client.quit()
        except (OSError, SMTPException):
            pass
        finally:
            self.drop()

    def drop(self) -> None:
        """Close at once: what was not yet sent stays unsent, and what comes late is never read."""
        self.wake()
        self.in_step = False
        client, self._client = self._client, None
        if client is not None:
            if client.transport is not None:
                # A mere close() would first send what is still waiting, and that may end in a final dot.
                cast(asyncio.WriteTransport, client.transport).abort()
            client.close()

    async def _open(self) -> None:
        provider, self._step = self._provider, "connecting"
        self._client = client = SMTP(
            hostname=provider.host,
            port=provider.port,
            local_hostname=await asyncio.to_thread(_own_name),
            timeout=None,
            use_tls=provider.security is Security.TLS,
            start_tls=False,
            tls_context=self._tls,
        )
        await client.connect()
        await self._greet(client)
        if provider.security is Security.STARTTLS:
            self._step = "STARTTLS"
            if not client.supports_extension("starttls"):
                raise self._trouble("the server does not offer it")
            await client.starttls()
            await self._greet(client)
        if provider.username is not None and provider.password is not None:
            self._step = "login"
            await self._login(client, provider.username, provider.password.get_secret_value())
        self.in_step = True

    async def _greet(self, client: SMTP) -> None:
        self._step = "EHLO"
        try:
            await client.ehlo()
        except SMTPHeloError:
            if not client.is_connected:
                raise
            await client.helo()

    async def _login(self, client: SMTP, username: str, password: str) -> None:
        known = {"plain": client.auth_plain, "login": client.auth_login, "cram-md5": client.auth_crammd5}
        if self._tls is None:
            # Nobody shall read it along, if that can be had.
            known = {"cram-md5": client.auth_crammd5} | known
        offered = [log_in for name, log_in in known.items() if name in client.server_auth_methods]
        if not offered:
            raise self._trouble("the server offers none that we know")
        for log_in in offered:
            try:
                await log_in(username, password)
                return
            except SMTPAuthenticationError as error:
                if log_in is not offered[-1] and error.code in OTHER_MECHANISM and client.is_connected:
                    continue
                reply = Reply.of(error.code, _without(username, password, error.message))
                raise self._trouble(str(reply), error.code) from None

    async def _answered(self, answer: Awaitable[SMTPResponse], to: str) -> Reply:
        try:
            async with asyncio.timeout(self._provider.timeout_s):
                reply = Reply.of(*await answer)
        except TimeoutError as error:
            raise Lost(f"no answer to {to} within {self._provider.timeout_s:g} s") from error
        except SMTPResponseException as error:
            reply = Reply.of(-1, error.message)
        except OSError as error:
            raise Lost(f"connection lost, no answer to {to}") from error
        # After 503 server and we disagree about what was said before; 354 is for the content only.
        self.in_step = (reply.is_ok or 400 <= reply.code <= 599) and reply.code not in {CLOSING, BAD_SEQUENCE}
        return reply

    def _trouble(self, reason: str, code: int | None = None) -> NoConnection:
        return NoConnection(f"{self._provider.host}:{self._provider.port}: {self._step}: {reason}", code)


class Pool:
    """At most `connections` connections, each for `mails_per_connection` mails; who comes first is served first."""

    def __init__(self, provider: SmtpProvider) -> None:
        self._provider = provider
        tls = None if provider.security is Security.NONE else ssl.create_default_context()
        #: The last one used at the right: the others go idle.
        self._free = deque(Connection(provider, tls) for _ in range(provider.connections))
        self._slots = asyncio.Semaphore(provider.connections)
        self._closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection, open or not; it is kept if it is in step when it comes back.

        Raises:
            Busy: none came free within `timeout_s`.
            NoConnection: the pool is closed.
        """
        try:
            async with asyncio.timeout(self._provider.timeout_s):
                await self._slots.acquire()
        except TimeoutError as error:
            raise Busy(f"all {self._provider.connections} connections were busy for too long") from error
        connection = self._free.pop()
        try:
            if self._closed:
                raise NoConnection("the driver is closed")
            connection.wake()
            if connection.mails >= self._provider.mails_per_connection:
                await connection.quit()
            yield connection
        finally:
            self._take_back(connection)

    async def close(self) -> None:
        """Say goodbye on all connections that are not in use; the others follow when they come back."""
        self._closed = True
        await asyncio.gather(*(connection.quit() for connection in self._free if connection.is_open))

    def _take_back(self, connection: Connection) -> None:
        if self._closed and connection.in_step:
            connection.leave()
        if connection.in_step and connection.is_open:
            connection.rest()
            self._free.append(connection)
        else:
            connection.drop()
            self._free.appendleft(connection)
        self._slots.release()


@lru_cache(maxsize=1)
def _own_name() -> str:
    """Return the name by which we greet; it may ask DNS."""
    name = socket.getfqdn()
    return name if HOST.fullmatch(name) else "localhost"


def _lines(content: bytes) -> bytes:
    """Return whole lines that end in CR LF: a lone CR or LF before a dot could end the mail early for some servers."""
    content = LINE_END.sub(b"\r\n", content)
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def _reason(error: BaseException) -> str:
    match error:
        case SMTPResponseException(code=code, message=message):
            return str(Reply.of(code, message))
        case ssl.SSLCertVerificationError():
            return f"certificate refused: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {error.reason or error}"
        case socket.gaierror():
            return f"no such host: {error.strerror}"
        case OSError(errno=int(errno)):
            return os.strerror(errno)
    return str(error) or type(error).__name__


def _without(username: str, password: str, text: str) -> str:
    """Return what a server said of a login, without the password that it may have repeated."""
    pair = f"\0{username}\0{password}"
    for secret in (b64encode(pair.encode()).decode(), b64encode(password.encode()).decode(), password):
        text = text.replace(secret, "…")
    return text
