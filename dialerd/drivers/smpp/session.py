"""One connection to an SMSC: bound, with a window of requests under way, timers, and what the SMSC asks of us.

What becomes of a request that gets no answer:

    it was still here when the session ended, not a single octet of it was written      Lost, not written
    no answer within response_timeout_s, or the session ended before                    Lost, written

A request without an answer makes the session doubtful: it takes nothing more until an enquire_link that was sent after
it has been answered, and ends if that is not. Sequence numbers rise to 2**31 - 1 before one is used again (5.1.4), so
that a late answer cannot be taken for that of another request; whoever asked may still take it (Lost.late). What
shows that the peer and we do not agree any more (an impossible length, an answer of another kind, a generic_nack for
nothing) ends the session.
"""

import asyncio
import ssl
from typing import Protocol, cast

from dialerd.drivers.smpp.outbox import Outbox
from dialerd.drivers.smpp.pdu import (
    ALERT_NOTIFICATION,
    BIND_RECEIVER,
    BIND_TRANSCEIVER,
    BIND_TRANSMITTER,
    DATA_SM,
    DELIVER_SM,
    ENQUIRE_LINK,
    GENERIC_NACK,
    RESPONSE,
    UNBIND,
    BadPdu,
    Bind,
    Framer,
    Pdu,
    pack,
)
from dialerd.drivers.smpp.pending import Lost, Pending
from dialerd.drivers.smpp.statuses import INVALID_COMMAND, INVALID_LENGTH, OK, spelt
from dialerd.drivers.smpp.trouble import NoBind, reason_of

__all__ = ["Owner", "Session"]

BINDS = {BIND_RECEIVER, BIND_TRANSMITTER, BIND_TRANSCEIVER}

#: The most answers that wait for a peer that does not read; another one ends the session.
MOST_WAITING = 10_000

#: How long an SMSC may take to say goodbye, or to answer what is under way once it has said goodbye.
GOODBYE_S = 2.0


class Owner(Protocol):
    """Who uses a session, and is told what happens on it; called in the event loop, must not wait."""

    def came(self, session: "Session", pdu: Pdu) -> None:
        """Take a deliver_sm or data_sm; `session.answer` is to be called for it."""

    def began(self, session: "Session") -> None:
        """Use it: it is bound. Called once, before anything else."""

    def freed(self, session: "Session") -> None:
        """Use the session: it has room in its window again."""

    def ended(self, session: "Session", reason: str) -> None:
        """Use it no more. Called once, and only for a session that was bound."""


class Session(asyncio.Protocol):
    """A session, from the connection on. `window` is the most requests without an answer."""

    def __init__(self, owner: Owner, *, window: int, response_timeout_s: float, enquire_link_s: float) -> None:
        self._owner = owner
        self._window = window
        self._response_timeout_s = response_timeout_s
        self._enquire_link_s = enquire_link_s
        self._loop = asyncio.get_running_loop()
        self._framer = Framer()
        self._outbox = Outbox(
            self._loop, most=window + MOST_WAITING, full=lambda: self._close("the SMSC does not read our answers")
        )
        self._pending = Pending(self._loop, timeout_s=response_timeout_s)
        self._heard_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._enquiry: asyncio.Future[Pdu | Lost] | None = None
        self._doubtful = False
        self._leaving = False
        #: The SMSC's own unbind, to be answered when all is quiet, or at the latest at this time.
        self._goodbye: tuple[int, float] | None = None
        self._ended: str | None = None
        self._quiet = asyncio.Event()
        self._gone = asyncio.Event()
        self.bound = False
        #: Whether messages may be sent over it.
        self.sends = False

    # -- from the outside ------------------------------------------------------------------------------------------

    async def bind(self, host: str, port: int, tls: ssl.SSLContext | None, command: int, account: Bind) -> None:
        """Connect and bind with this command, all within one response_timeout_s.

        Raises:
            NoBind: something of that was refused, or took too long.
        """
        self.sends = command != BIND_RECEIVER
        try:
            request = account.pack()
            async with asyncio.timeout(self._response_timeout_s):
                await self._loop.create_connection(lambda: self, host, port, ssl=tls)
                answer = await self.request(command, request)
        except TimeoutError:
            what = "connection" if tls is None else "TLS connection"
            missing = what if self._outbox.transport is None else "answer to the bind"
            self.abort(f"no {missing}")
            raise NoBind(f"{host}:{port}: no {missing} within {self._response_timeout_s:g} s") from None
        except (OSError, ValueError) as error:  # among the latter BadPdu, and host names that IDNA cannot spell
            self.abort(reason_of(error))
            raise NoBind(f"{host}:{port}: {reason_of(error)}") from error
        except asyncio.CancelledError:
            self.abort("cancelled")
            raise
        if isinstance(answer, Lost):
            raise NoBind(f"{host}:{port}: {answer.reason}")
        if not self.bound:
            self.abort("not bound")
            raise NoBind(f"{host}:{port}: {f'bind: {spelt(answer.status)}' if answer.status else self.reason}")

    @property
    def free(self) -> int:
        """How many requests may be made now."""
        if self._doubtful or self._leaving or not self.bound:
            return 0
        return self._window - len(self._pending)

    @property
    def leaving(self) -> bool:
        """Whether it takes nothing more."""
        return self._leaving

    @property
    def reason(self) -> str:
        """Why it has ended."""
        return self._ended or "the session is open"

    def request(self, command: int, body: bytes = b"") -> "asyncio.Future[Pdu | Lost]":
        """Make a request; the future gets its answer, whatever its status, or Lost. It never gets an exception.

        Whoever stops waiting for it leaves it under way: its place in the window is taken until it is answered.
        """
        if self._ended is not None:
            refused: asyncio.Future[Pdu | Lost] = self._loop.create_future()
            refused.set_result(Lost(self._ended, written=False))
            return refused
        sequence, answer = self._pending.add(command)
        self._outbox.put(pack(command, sequence, body), sequence)
        return answer

    def answer(self, pdu: Pdu, status: int = OK) -> None:
        """Answer a deliver_sm or data_sm; their answers carry an empty message_id (4.6.2)."""
        self._outbox.put(pack(pdu.command | RESPONSE, pdu.sequence, b"\0", status))

    async def enquire(self) -> Lost | None:
        """Ask whether the SMSC is there; None: it is. One that does not answer ends the session."""
        answer = await asyncio.shield(self._enquire())
        return answer if isinstance(answer, Lost) else None

    def leave(self) -> None:
        """Take nothing more."""
        self._leaving = True
        self._look_quiet()

    async def unbind(self, reason: str = "closed") -> None:
        """Say goodbye and close: what somebody waits for gets its answer before, or its response_timeout_s."""
        self.leave()
        try:
            async with asyncio.timeout(self._response_timeout_s + GOODBYE_S):
                await self._quiet.wait()
            if self._ended is None:
                async with asyncio.timeout(min(self._response_timeout_s, GOODBYE_S)):
                    await self.request(UNBIND)
        except TimeoutError:
            pass
        finally:
            self.abort(reason)

    def abort(self, reason: str) -> None:
        """Close at once. What was written may have arrived; what was not stays here for good."""
        if self._outbox.transport is not None:
            self._outbox.transport.abort()
        self._end(reason)

    async def gone(self) -> None:
        """Return when it has ended."""
        await self._gone.wait()

    # -- asyncio's side ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # uvloop's are transports without being asyncio's.
        self._outbox.transport = cast(asyncio.Transport, transport)
        if self._ended is not None:
            self._outbox.transport.abort()
            return
        self._heard_at = self._loop.time()
        self._tick()

    def data_received(self, data: bytes) -> None:
        """Take what the SMSC sent."""
        self._heard_at = self._loop.time()
        try:
            for pdu in self._framer.feed(data):
                if self._ended is not None:
                    return
                self._take(pdu)
        except BadPdu as error:
            # Directly: requests that wait here are not for somebody who talks like that.
            if self._outbox.transport is not None:
                self._outbox.transport.write(pack(GENERIC_NACK, 0, status=INVALID_LENGTH))
            self._close(f"the SMSC sent no SMPP: {error}")

    def eof_received(self) -> None:
        """End: a PDU that is not whole yet will not come any more."""

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._end("connection lost" if exc is None else f"connection lost: {reason_of(exc)}")

    def pause_writing(self) -> None:
        """Keep what comes here: the peer does not read."""
        self._outbox.paused = True

    def resume_writing(self) -> None:
        """Write on."""
        self._outbox.paused = False
        self._outbox.flush()

    # -- PDUs --------------------------------------------------------------------------------------------------------

    def _take(self, pdu: Pdu) -> None:
        command = pdu.command
        if command & RESPONSE:
            self._take_answer(pdu)
        elif command in {DELIVER_SM, DATA_SM} and self.bound:
            self._owner.came(self, pdu)
        elif command == ENQUIRE_LINK:
            self._outbox.put(pack(ENQUIRE_LINK | RESPONSE, pdu.sequence))
        elif command == UNBIND:
            self._goodbye = pdu.sequence, self._loop.time() + GOODBYE_S
            self.leave()
        elif command != ALERT_NOTIFICATION:
            self._outbox.put(pack(GENERIC_NACK, pdu.sequence, status=INVALID_COMMAND))

    def _take_answer(self, pdu: Pdu) -> None:
        request = self._pending.take(pdu.sequence)
        if request is None:
            if not self._pending.answered_late(pdu) and pdu.command == GENERIC_NACK:
                self._close(f"the SMSC is out of step: generic_nack {spelt(pdu.status)}")
            return
        if pdu.command != request.command | RESPONSE and pdu.command != GENERIC_NACK:
            reason = f"the SMSC is out of step: 0x{pdu.command:08X} answers 0x{request.command:08X}"
            self._close(reason)
            request.end(Lost(reason, written=True))
            return
        if request.command in BINDS and pdu.status == OK and pdu.command != GENERIC_NACK:
            # Before anything that comes behind this answer in the same segment.
            self.bound = True
            self._owner.began(self)
        # To an enquiry anything is an answer: somebody is there.
        is_no_answer = pdu.command == GENERIC_NACK and pdu.status == OK and request.command != ENQUIRE_LINK
        request.end(Lost("generic_nack without an error", written=True) if is_no_answer else pdu)
        if self._leaving:
            self._look_quiet()
        elif not self._doubtful:
            self._owner.freed(self)

    def _look_quiet(self) -> None:
        if not self._pending.is_awaited:
            self._quiet.set()
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        """Answer the SMSC's unbind, if there is one, and close."""
        if self._goodbye is not None and self._ended is None:
            self._outbox.put(pack(UNBIND | RESPONSE, self._goodbye[0]))
            self._outbox.flush()
            self._close("the SMSC has unbound")

    # -- time ----------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Look at what is overdue, and whether the SMSC has been silent for too long."""
        if self._ended is not None:
            return
        now = self._loop.time()
        tick_s = min(max(min(self._response_timeout_s, self._enquire_link_s) / 10, 0.005), 1.0)
        if now - self._heard_at >= self._enquire_link_s and self.bound:
            self._enquire()
        self._end_overdue(now)
        if self._goodbye is not None and self._goodbye[1] <= now:
            self._say_goodbye()
        if self._ended is None:
            self._timer = self._loop.call_later(tick_s, self._tick)

    def _end_overdue(self, now: float) -> None:
        for sequence, request in self._pending.overdue(now):
            if request.command == ENQUIRE_LINK:
                self._close(f"no answer to enquire_link within {self._response_timeout_s:g} s")
                return
            if self._outbox.holds(sequence):
                self._close(f"the SMSC has read nothing for {self._response_timeout_s:g} s")
                return
            self._pending.give_up(sequence, f"no answer within {self._response_timeout_s:g} s")
            if self._leaving:
                self._look_quiet()
            else:
                self._doubt()

    def _doubt(self) -> None:
        """Take nothing more until the SMSC has shown that it is there."""
        if not self._doubtful:
            self._doubtful = True
            self._enquiry = None
            self._enquire().add_done_callback(self._doubted)

    def _doubted(self, answer: "asyncio.Future[Pdu | Lost]") -> None:
        if isinstance(answer.result(), Pdu):
            self._doubtful = False
            self._owner.freed(self)

    def _enquire(self) -> "asyncio.Future[Pdu | Lost]":
        if self._enquiry is None or self._enquiry.done():
            self._enquiry = self.request(ENQUIRE_LINK)
        return self._enquiry

    # -- the end -------------------------------------------------------------------------------------------------------

    def _close(self, reason: str) -> None:
        """Close; what has been given to the connection is still sent, if the peer reads."""
        transport = self._outbox.transport
        if transport is not None:
            transport.abort() if self._outbox.paused else transport.close()
        self._end(reason)

    def _end(self, reason: str) -> None:
        if self._ended is not None:
            return
        self._ended = reason
        if self._timer is not None:
            self._timer.cancel()
        unwritten = self._outbox.close()
        for sequence, request in self._pending.clear().items():
            request.end(Lost(reason, written=sequence not in unwritten))
        self._quiet.set()
        self._gone.set()
        if self.bound:
            self.bound = False
            self._owner.ended(self, reason)
