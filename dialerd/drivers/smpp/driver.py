"""The SMPP driver: hands messages to an SMSC over one or several binds, and takes what it delivers.

What becomes of a message (the SMSC's error codes: statuses.py):

    no bind, and none to be had; or the session ended before anything was written      Unreachable
    no room in the windows in time                                                     Throttled
    written, but no answer in time, or an answer that is none                          InDoubt, told when it comes late
    of a long one, some parts taken and others not                                     Partly, also when it is cut off

Of a long message the first part goes alone: what is refused anyway (the number, the pace) is refused before anything
was taken. Then the others go together.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dialerd import log
from dialerd.drivers.base import Inbox, NothingSent
from dialerd.drivers.smpp.attempt import Answer, Attempt, Awaited, read_answer
from dialerd.drivers.smpp.deliveries import read_delivery
from dialerd.drivers.smpp.link import Link
from dialerd.drivers.smpp.pdu import (
    BIND_RECEIVER,
    BIND_TRANSCEIVER,
    BIND_TRANSMITTER,
    DATA_SM,
    SUBMIT_SM,
    BadPdu,
    Pdu,
    ShortMessage,
    read_data_sm,
)
from dialerd.drivers.smpp.pending import Lost
from dialerd.drivers.smpp.session import GOODBYE_S, Session
from dialerd.drivers.smpp.sessions import Sessions
from dialerd.drivers.smpp.statuses import INVALID_LENGTH, OK, TRY_LATER, Kind, kind_of, spelt
from dialerd.drivers.smpp.submissions import Submission, submissions
from dialerd.drivers.tls import verifying
from dialerd.model.campaign import Campaign
from dialerd.model.errors import DatabaseGone, Refused, Unavailable
from dialerd.model.message import Message
from dialerd.model.outcome import Failed, InDoubt, Outcome, Sent, Throttled, Unreachable
from dialerd.model.receipt import Receipt
from dialerd.settings import Bind, SmppProvider, Tls

__all__ = ["Smpp"]

logger = log.get(__name__)

COMMANDS: Mapping[Bind, Sequence[int]] = {
    Bind.TRANSCEIVER: [BIND_TRANSCEIVER],
    Bind.BOTH: [BIND_TRANSMITTER, BIND_RECEIVER],
    Bind.TRANSMITTER: [BIND_TRANSMITTER],
}

#: So many deliveries are worked on at once; for more the SMSC is asked to deliver them again later.
MOST_DELIVERIES = 1000

#: Room is waited for longer than for an answer: a session that is full because its SMSC hangs has ended by then.
ROOM_PER_ANSWER = 1.25
ROOM_S = 0.5

#: What came late while the database was away is told again after so long.
TELL_AGAIN_S = 5.0

#: The longest attempt: no room in a session that ends, a bind, room for the first part, its answer, room for the
#: others, their answers.
ROOMS = ANSWERS = 3

#: How much later than the driver itself the dialer stops waiting.
LATE_S = GOODBYE_S + 3.0


class Smpp:
    """An SMSC. It is bound when first used, or listened to, and then kept bound until closed."""

    def __init__(self, provider: SmppProvider, campaigns: Mapping[str, Campaign]) -> None:
        self._provider = provider
        self._campaigns = campaigns
        room_s = ROOM_PER_ANSWER * provider.response_timeout_s + ROOM_S
        self.attempt_limit_s: float | None = ROOMS * room_s + ANSWERS * provider.response_timeout_s + LATE_S
        self._links: list[Link] = []
        self._sessions = Sessions(room_s)
        self._keepers: set[asyncio.Task[None]] = set()
        self._inbox: Inbox | None = None
        self._deliveries: set[asyncio.Task[None]] = set()
        self._partings: set[asyncio.Task[None]] = set()
        #: Who waits for answers that did not come in time.
        self._awaiting: set[asyncio.Task[None]] = set()
        self._closed = asyncio.Event()

    # -- sending -------------------------------------------------------------------------------------------------------

    async def send(self, message: Message) -> Outcome:
        """Hand one message over."""
        if self._closed.is_set():
            return Unreachable("the driver is closed")
        self._start()
        try:
            todo = submissions(message, self._provider, self._campaigns.get(message.campaign))
        except Refused as refused:
            return Failed(str(refused))
        if len(todo) == 1 and not message.accepted:
            answer = await self._submit(todo[0])
            if answer is None or isinstance(answer, str):
                return Sent(answer, (answer,))
            attempt = Attempt(message, todo)
            attempt.take(todo[0].part, answer)
        else:
            attempt = await self._send_parts(message, todo)
        if attempt.is_awaited:
            self._begin(self._awaiting, self._await_answers(attempt))
        return attempt.outcome

    async def _send_parts(self, message: Message, todo: Sequence[Submission]) -> Attempt:
        attempt = Attempt(message, todo)
        if not message.accepted:
            first, *todo = todo
            attempt.take(first.part, await self._submit(first))
            if attempt.is_refused:
                return attempt
        try:
            await asyncio.gather(*(self._submit_of(attempt, submission) for submission in todo))
        except asyncio.CancelledError:
            pass  # The SMSC has some of it: each part has told how far it had come.
        return attempt

    async def _submit_of(self, attempt: Attempt, submission: Submission) -> None:
        """Hand one part of a message over that the SMSC has others of; cut off, it tells how far it had come."""
        answer: Answer
        try:
            answer = await self._submit(submission)
        except NothingSent:
            answer = Unreachable("cut off before it was sent")
        except asyncio.CancelledError:
            answer = InDoubt("cut off before it was answered")
        attempt.take(submission.part, answer)

    async def _submit(self, submission: Submission) -> Answer:
        """Hand one part over, and return what the SMSC says to it. Cancelled without a session: NothingSent."""
        try:
            session = await self._session()
        except asyncio.CancelledError as error:
            raise NothingSent from error
        if not isinstance(session, Session):
            return session
        answer = await session.request(SUBMIT_SM, submission.body)
        if isinstance(answer, Lost):
            if answer.late is not None:
                return Awaited(answer.reason, answer.late)
            return InDoubt(answer.reason) if answer.written else Unreachable(answer.reason)
        if answer.status != OK and kind_of(answer.status) is Kind.SESSION:
            self._part_from(session, spelt(answer.status))
        return read_answer(answer)

    async def _await_answers(self, attempt: Attempt) -> None:
        """Tell the outcome of what has been called a doubt, should the SMSC answer after all."""
        told = not await attempt.answered_late()
        while not told and self._inbox is not None:
            try:
                await self._inbox.late(self._provider.name, attempt.message, attempt.outcome)
                told = True
            except DatabaseGone:
                await asyncio.sleep(TELL_AGAIN_S)
            except Exception:  # a bug there: it stays the doubt that stands in the database
                logger.exception("driver_failed", provider=self._provider.name)
                told = True

    def _begin(self, tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _session(self) -> Session | Throttled | Unreachable:
        """Return a session with room in its window; who came first gets the first that is free."""
        session = self._sessions.take()
        if session is not None:
            return session
        is_last_try = False
        while not self._closed.is_set():
            if self._sessions.bound:
                found = await self._sessions.wait()
                if found is not None:
                    return found
            if is_last_try or not await self._try_binding():
                return Unreachable(self._why_not())
            is_last_try = True
        return Unreachable("the driver is closed")

    # -- binds ---------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Begin to keep the binds, if nobody has yet."""
        if self._links or self._closed.is_set():
            return
        self._loop = asyncio.get_running_loop()
        provider = self._provider
        tls = verifying(provider.ca) if provider.tls is Tls.TLS else None
        for command in COMMANDS[provider.bind]:
            self._links += [Link(provider, command, tls, self) for _ in range(provider.binds)]
        self._senders = self._links[: provider.binds]
        self._keepers = {self._loop.create_task(link.keep()) for link in self._links}

    async def _try_binding(self) -> bool:
        """Return whether one of the senders is bound; False when all have tried in vain."""
        tries = {link.try_now() for link in self._senders}
        while tries and not self._sessions.bound and not self._closed.is_set():
            _, tries = await asyncio.wait(tries, return_when=asyncio.FIRST_COMPLETED)
        return bool(self._sessions.bound)

    def _why_not(self) -> str:
        return self._senders[0].error

    def _part_from(self, session: Session, reason: str) -> None:
        """Let a session go that the SMSC takes for something else than we do: a fresh one is bound."""
        if session.leaving:
            return
        session.leave()
        self._begin(self._partings, session.unbind(reason))

    async def probe(self) -> None:
        """Return when there is a bind to send over, and the SMSC answers on it.

        While nobody listens (`dialerd check`), the binds that receive are asked for too: sending needs them not.
        """
        if self._closed.is_set():
            raise Unavailable("the driver is closed")
        self._start()
        reason: str | None = None
        try:
            async with asyncio.timeout(2 * self._provider.response_timeout_s):
                if not self._sessions.bound:
                    await self._try_binding()
                for session in list(self._sessions.bound):
                    lost = await session.enquire()
                    if lost is None:
                        return await self._probe_receivers()
                    reason = lost.reason
        except TimeoutError:
            raise Unavailable(f"no answer within {2 * self._provider.response_timeout_s:g} s") from None
        raise Unavailable(reason or self._why_not())

    async def _probe_receivers(self) -> None:
        receivers = self._links[len(self._senders) :] if self._inbox is None else []
        if receivers:
            await asyncio.wait({receiver.try_now() for receiver in receivers})
        for receiver in receivers:
            if receiver.session is None:
                raise Unavailable(f"receiver: {receiver.error}")

    async def close(self) -> None:
        """Let what is under way end, unbind and close; what was not written yet is not."""
        if self._closed.is_set():
            return
        self._closed.set()
        for link in self._links:
            link.stop()
        sessions = [link.session for link in self._links if link.session is not None]
        for session in sessions:
            session.leave()
        self._sessions.close()
        if self._deliveries:
            await asyncio.wait(self._deliveries, timeout=self._provider.response_timeout_s)
        await asyncio.gather(*(session.unbind() for session in sessions))
        tasks = [*self._keepers, *self._deliveries, *self._partings, *self._awaiting]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # -- what sessions tell --------------------------------------------------------------------------------------------

    def began(self, session: Session) -> None:
        """Let those who wait use it."""
        if session.sends:
            self._sessions.add(session)

    def freed(self, session: Session) -> None:  # noqa: ARG002  # all of them are looked at
        """Let those who wait use the room that a session has."""
        self._sessions.call()

    def ended(self, session: Session, reason: str) -> None:  # noqa: ARG002  # the link tells it
        """Let all who wait see whether there is still a session."""
        if session.sends:
            self._sessions.remove(session)

    def came(self, session: Session, pdu: Pdu) -> None:
        """Take a delivery; it is answered when it stands in the database."""
        inbox = self._inbox
        if inbox is None or len(self._deliveries) >= MOST_DELIVERIES:
            session.answer(pdu, TRY_LATER)
            return
        self._begin(self._deliveries, self._take(session, pdu, inbox))

    async def _take(self, session: Session, pdu: Pdu, inbox: Inbox) -> None:
        try:
            message = read_data_sm(pdu.body) if pdu.command == DATA_SM else ShortMessage.read(pdu.body)
        except BadPdu as error:
            logger.warning("smpp_delivery_unreadable", provider=self._provider.name, error=str(error))
            session.answer(pdu, INVALID_LENGTH)
            return
        delivery = read_delivery(message, self._provider, now=datetime.now(UTC))
        status = OK
        try:
            if isinstance(delivery, Receipt):
                await inbox.receipt(delivery)
            else:
                await inbox.inbound(delivery)
        except DatabaseGone:
            status = TRY_LATER
        except Exception:  # a bug there must not lose what the SMSC can deliver again
            logger.exception("driver_failed", provider=self._provider.name)
            status = TRY_LATER
        session.answer(pdu, status)

    async def listen(self, inbox: Inbox) -> None:
        """Keep bound and hand on what the SMSC delivers, until cancelled or closed."""
        self._inbox = inbox
        self._start()
        try:
            await self._closed.wait()
        finally:
            self._inbox = None
