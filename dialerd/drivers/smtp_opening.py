"""Opens connections to a mail server with aiosmtplib: greeted, encrypted and logged in, or refused with a reason."""

import asyncio
import os
import re
import socket
import ssl
from base64 import b64encode
from functools import lru_cache

from aiosmtplib import SMTP, SMTPAuthenticationError, SMTPException, SMTPHeloError, SMTPResponseException

from dialerd.drivers.smtp_replies import Reply
from dialerd.settings import Security, SmtpProvider

__all__ = ["NoConnection", "opened"]

#: Answers to AUTH that speak of the mechanism and not of the password (RFC 4954, section 6): another one may do.
#: After 535 nothing else is tried: servers lock accounts for several wrong logins.
OTHER_MECHANISM = frozenset({500, 501, 502, 503, 504, 534, 538})

HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


class NoConnection(Exception):
    """The server cannot be spoken to, and why; `code` is its own, if it gave one. Nothing of a mail went there."""

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


async def opened(provider: SmtpProvider, tls: ssl.SSLContext | None) -> SMTP:
    """Return a connected client, encrypted and logged in, all within one `timeout_s`.

    Raises:
        NoConnection: something of that was refused, or took too long.
    """
    opening = _Opening(provider, tls)
    try:
        # Limits are ours and not the library's: its wait_for can swallow a cancellation in Python 3.11.
        async with asyncio.timeout(provider.timeout_s):
            await opening.run()
    except BaseException as error:
        opening.client.close()
        match error:
            case TimeoutError():
                raise opening.trouble(f"no answer within {provider.timeout_s:g} s") from error
            case SMTPException() | OSError() | ValueError():
                cause = error if isinstance(error, SMTPResponseException) else error.__cause__ or error
                raise opening.trouble(_reason(cause), getattr(error, "code", None)) from None
        raise
    return opening.client


class _Opening:
    """A connection on its way."""

    def __init__(self, provider: SmtpProvider, tls: ssl.SSLContext | None) -> None:
        self._provider = provider
        self._is_encrypted = tls is not None
        self._step = "connecting"
        self.client = SMTP(
            hostname=provider.host,
            port=provider.port,
            timeout=None,
            use_tls=provider.security is Security.TLS,
            start_tls=False,
            tls_context=tls,
        )

    async def run(self) -> None:
        provider, client = self._provider, self.client
        await client.connect(local_hostname=await asyncio.to_thread(_own_name))
        await self._greet()
        if provider.security is Security.STARTTLS:
            self._step = "STARTTLS"
            if not client.supports_extension("starttls"):
                raise self.trouble("the server does not offer it")
            await client.starttls()
            await self._greet()
        if provider.username is not None and provider.password is not None:
            self._step = "login"
            await self._login(provider.username, provider.password.get_secret_value())
        if not client.is_connected:
            raise self.trouble("connection lost")

    def trouble(self, reason: str, code: int | None = None) -> NoConnection:
        return NoConnection(f"{self._provider.host}:{self._provider.port}: {self._step}: {reason}", code)

    async def _greet(self) -> None:
        self._step = "EHLO"
        try:
            await self.client.ehlo()
        except SMTPHeloError:
            if not self.client.is_connected:
                raise
            await self.client.helo()

    async def _login(self, username: str, password: str) -> None:
        client = self.client
        known = {"plain": client.auth_plain, "login": client.auth_login, "cram-md5": client.auth_crammd5}
        if not self._is_encrypted:
            # Nobody shall read it along, if that can be had.
            known = {"cram-md5": client.auth_crammd5} | known
        offered = [log_in for name, log_in in known.items() if name in client.server_auth_methods]
        if not offered:
            raise self.trouble("the server offers none that we know")
        for log_in in offered:
            try:
                await log_in(username, password)
                return
            except SMTPAuthenticationError as error:
                if log_in is not offered[-1] and error.code in OTHER_MECHANISM and client.is_connected:
                    continue
                reply = Reply(error.code, _without(username, password, error.message))
                raise self.trouble(str(reply), error.code) from None


@lru_cache(maxsize=1)
def _own_name() -> str:
    """Return the name by which we greet; it may ask DNS."""
    name = socket.getfqdn()
    return name if HOST.fullmatch(name) else "localhost"


def _reason(error: BaseException) -> str:
    match error:
        case SMTPResponseException(code=code, message=message):
            return str(Reply(code, message))
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
