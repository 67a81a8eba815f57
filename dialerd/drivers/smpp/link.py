"""Keeps one bind: opens a session, waits for its end, and opens the next, with waits that grow while it fails."""

import asyncio
import random
import ssl

from dialerd import log
from dialerd.drivers.smpp.pdu import BIND_RECEIVER, BIND_TRANSCEIVER, BIND_TRANSMITTER, Bind
from dialerd.drivers.smpp.session import Owner, Session
from dialerd.drivers.smpp.trouble import NoBind
from dialerd.settings import SmppProvider

__all__ = ["Link"]

logger = log.get(__name__)

#: The first wait after a failure, and after a session that ended at once; each next one is twice as long, up to the
#: longest. Each is cut by a random part of up to a half, so that what fell together does not come back together.
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0

WORDS = {BIND_TRANSCEIVER: "transceiver", BIND_TRANSMITTER: "transmitter", BIND_RECEIVER: "receiver"}


class Link:
    """One bind of one kind (`command`), kept by `keep` from its call on.

    `session` is the one that is bound; None: there is none, and `error` says why.
    """

    def __init__(self, provider: SmppProvider, command: int, tls: ssl.SSLContext | None, owner: Owner) -> None:
        self._provider = provider
        self._command = command
        self._tls = tls
        self._owner = owner
        self._hurry = asyncio.Event()
        self._tried: asyncio.Future[None] | None = None
        self._said: str | None = None
        self._stopped = False
        self.session: Session | None = None
        self.error = "not bound yet"

    def stop(self) -> None:
        """Take the session's end for what was wanted; `keep` is to be cancelled."""
        self._stopped = True

    def try_now(self) -> "asyncio.Future[None]":
        """Do not wait any longer; the future is done when there is a session, or the next try has failed.

        It belongs to all who wait: wait for it with asyncio.wait, which does not cancel it.
        """
        if self._tried is None or self._tried.done():
            self._tried = asyncio.get_running_loop().create_future()
            if self.session is not None and self.session.bound:
                self._tried.set_result(None)
            else:
                self._hurry.set()
        return self._tried

    async def keep(self) -> None:
        """Keep it bound, until cancelled."""
        while True:
            try:
                await self._keep()
            except Exception:  # a bug must not end the bind for good
                logger.exception("driver_failed", provider=self._provider.name)
                await asyncio.sleep(LONGEST_WAIT_S)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        wait_s = FIRST_WAIT_S
        while True:
            began = loop.time()
            session = await self._open()
            self._hurry.clear()  # Who came meanwhile has had that try.
            if session is not None:
                await session.gone()
                self.session = None
                self.error = session.reason
                self._say(session.reason)
            if loop.time() - began > LONGEST_WAIT_S:
                wait_s = FIRST_WAIT_S
            await self._wait(wait_s * (1 - random.random() / 2))  # noqa: S311  # spreads, guards no secret
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    async def _open(self) -> Session | None:
        provider = self._provider
        session = Session(
            self._owner,
            window=provider.window,
            response_timeout_s=provider.response_timeout_s,
            enquire_link_s=provider.enquire_link_s,
        )
        account = Bind(provider.system_id, provider.password.get_secret_value(), provider.system_type)
        try:
            await session.bind(provider.host, provider.port, self._tls, self._command, account)
        except NoBind as trouble:
            self.error = str(trouble)
            self._say(self.error)
        else:
            # It may have ended within the same segment: then gone() returns at once.
            self.session = session
            self._said = None
            logger.info("smpp_bound", provider=provider.name, bind=WORDS[self._command])
        finally:
            if self._tried is not None and not self._tried.done():
                self._tried.set_result(None)
        return self.session

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            pass

    def _say(self, reason: str) -> None:
        """Tell once why there is no session, and again when the reason changes."""
        if reason != self._said and not self._stopped:
            self._said = reason
            logger.warning("smpp_unbound", provider=self._provider.name, bind=WORDS[self._command], reason=reason)
