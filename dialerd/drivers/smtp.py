"""The SMTP driver: one e-mail to one recipient at a time, over a few connections that are used again.

What a mail server's answers mean (RFC 5321, section 4.2; RFC 3463):

    no connection, TLS or login; a greeting or login refused; lost before MAIL was answered    Unreachable
    530 (log in first) to MAIL, RCPT or DATA                                                   Unreachable
    421 before RCPT, and no connection of the pool free in time                                Throttled
    no room for a mail with files in time                                                      Postponed
    421 to RCPT, to DATA or to the content, which may speak of the recipient's domain          as Domains says
    4xx, also as an enhanced status 4.x.x of a 5xx                                             Deferred
    503, which speaks of what was said before                                                  Deferred
    lost, or nonsense, after MAIL was answered and before the content went                     Deferred
    5xx to MAIL, RCPT, DATA or the content                                                     Failed
    lost, or nonsense, after the content went                                                  InDoubt

A connection that was in use before may have been closed by the server meanwhile: when it is lost, or says 421, before
MAIL is answered, nothing of the mail can have gone, and it is tried once more on a fresh one.
"""

import asyncio
import re
from collections.abc import Mapping

from dialerd.drivers.base import NothingSent
from dialerd.drivers.smtp_connection import BAD_SEQUENCE, FINAL_DOT, QUIT_S, SEND_CONTENT, Connection, Stale
from dialerd.drivers.smtp_gate import PATIENCE_S, Gate
from dialerd.drivers.smtp_opening import NoConnection
from dialerd.drivers.smtp_pool import Busy, Pool
from dialerd.drivers.smtp_replies import CLOSING, Lost, Reply
from dialerd.mail.composer import Composer
from dialerd.model.campaign import Campaign
from dialerd.model.domains import Turn
from dialerd.model.errors import Unavailable
from dialerd.model.mail import Mail
from dialerd.model.message import Message
from dialerd.model.outcome import Deferred, Failed, InDoubt, Outcome, Postponed, Sent, Throttled, Unreachable
from dialerd.settings import SmtpProvider

__all__ = ["Smtp"]

#: The longest attempt: there is room for files; a connection comes free, and once more after a wait for room at the
#: domain; RSET, MAIL is lost, a fresh connection, MAIL, RCPT, DATA; then the final dot.
STEPS = 9 + FINAL_DOT

#: How much later than the driver itself the dialer stops waiting.
LATE_S = QUIT_S + PATIENCE_S + 3.0

#: A name for the mail, as Postfix, Exim, Exchange, sendmail and OpenSMTPD give it.
QUEUE_IDS = (
    re.compile(r"\bqueued (?:mail )?as ([^\s,;)]+)", re.IGNORECASE),
    re.compile(r"(?:^|\s)id=([^\s,;)]+)"),
    re.compile(r"\[InternalId=(\d+)"),
    re.compile(r"^(?:2\.\d+\.\d+ )?(\S+) Message accepted for delivery", re.IGNORECASE),
)
LONGEST_ID = 100

TEMPORARY = re.compile(r"4\.\d{1,3}\.\d{1,3}\b")

#: What can stand between < and > of a command. IDNA turns some letters into these (U+FF1E, U+00A8).
ON_THE_WIRE = re.compile(r'[^\s<>"\x00-\x20\x7f]+@[^\s<>"\x00-\x20\x7f]+')


class Smtp:
    """A mail server. A mail has the same bytes at every attempt, so that a server can tell that it has it."""

    def __init__(self, provider: SmtpProvider, campaigns: Mapping[str, Campaign]) -> None:
        self._composer = Composer(campaigns)
        self._pool = Pool(provider)
        most = min(provider.connections_per_domain or provider.connections, provider.connections)
        self._gate = Gate(most, waiting=provider.connections)
        #: Mails with files are large: no more of them are in memory than are under way or wait at a gate.
        self._large = asyncio.Semaphore(2 * provider.connections)
        self._timeout_s = provider.timeout_s
        self.attempt_limit_s: float | None = STEPS * provider.timeout_s + LATE_S

    async def send(self, message: Message) -> Outcome:
        """Hand one mail over."""
        if not message.details.get("attachments"):
            return await self._send(message)
        with NOTHING_SENT:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._large.acquire()
            except TimeoutError:
                return Postponed("too many mails with attachments were under way for too long", self._timeout_s)
        try:
            return await self._send(message)
        finally:
            self._large.release()

    async def _send(self, message: Message) -> Outcome:
        with NOTHING_SENT:
            mail = await self._composer.compose(message)
        if not isinstance(mail, Mail):
            return mail
        for address in (mail.sender, mail.recipient):
            if not ON_THE_WIRE.fullmatch(address):
                return Failed(f"not an address that a mail server would take: {address!r}")
        try:
            return await self._in_turn(mail, message.priority)
        except Busy as busy:
            return Throttled(str(busy))
        except NoConnection as trouble:
            return Throttled(str(trouble)) if trouble.code == CLOSING else Unreachable(str(trouble))

    async def _in_turn(self, mail: Mail, priority: int) -> Outcome:
        """Hand a mail over, or not now when its recipient's domain has enough of them."""
        domain = mail.recipient.rpartition("@")[2].lower()
        until = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            with NOTHING_SENT:
                connection = await self._pool.take()
            try:
                turn = self._gate.enter(domain)
                if turn is not None:
                    return await self._with(connection, mail, turn)
            finally:
                self._pool.give_back(connection)
            with NOTHING_SENT:
                has_room = await self._gate.room(domain, until)
            if not has_room:
                return self._gate.postpone(domain, priority)

    async def _with(self, connection: Connection, mail: Mail, turn: Turn) -> Outcome:
        heard: Outcome | None = None
        try:
            command, outcome = await _hand_over(connection, mail)
            # Before RCPT nobody has spoken of the domain.
            heard = None if command == "MAIL" else outcome
        finally:
            heard = self._gate.leave(turn, heard)
        return heard or outcome

    async def probe(self) -> None:
        """Return when a fresh connection can be had, login and all, and the server answers on it."""
        try:
            connection = await self._pool.take()
            try:
                await connection.quit()
                await connection.open()
                reply = await connection.is_there()
            finally:
                self._pool.give_back(connection)
        except (Busy, NoConnection, Lost) as trouble:
            raise Unavailable(str(trouble)) from trouble
        if not reply.is_ok:
            raise Unavailable(f"NOOP: {reply}")

    async def close(self) -> None:
        """Say goodbye on every connection."""
        await self._pool.close()


class _NothingSent:
    """Says of what is cancelled within it that no server can have taken the mail: its content has not gone."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, asyncio.CancelledError):
            raise NothingSent from error


NOTHING_SENT = _NothingSent()


async def _hand_over(connection: Connection, mail: Mail) -> tuple[str, Outcome]:
    """Return what came of it, and at which command."""
    command = "MAIL"
    try:
        with NOTHING_SENT:
            begun = await _begin(connection, mail)
        if not isinstance(begun, tuple):
            return command, begun
        command, reply = begun
        if reply.code != SEND_CONTENT:
            return command, _refused(command, reply)
        connection.put(mail.content)
    except Stale as lost:
        return "MAIL", Unreachable(str(lost))
    except Lost as lost:
        return "RCPT", Deferred(str(lost))
    try:
        reply = await connection.taken()
    except Lost as lost:
        return "content", InDoubt(str(lost))
    if reply.is_ok:
        return "content", Sent(_queue_id(reply.text))
    is_no = 400 <= reply.code <= 599
    return "content", _refused("content", reply) if is_no else InDoubt(f"content: {reply}")


async def _begin(connection: Connection, mail: Mail) -> tuple[str, Reply] | Outcome:
    """Return the answer to the envelope, from a fresh connection if the one at hand turned out to be dead."""
    while True:
        is_used = connection.is_open
        if not is_used:
            await connection.open()
        options = _options(connection, mail)
        if options is None:
            return Failed("the address has letters beyond ASCII, and the mail server does not take such (SMTPUTF8)")
        try:
            command, reply = await connection.envelope(mail.sender, mail.recipient, options)
            if not (is_used and command == "MAIL" and reply.code == CLOSING):
                return command, reply
        except Stale:
            if not is_used:
                raise
        connection.drop()


def _options(connection: Connection, mail: Mail) -> list[str] | None:
    """Return what MAIL says of the mail; None: the server cannot take such a mail."""
    options = [f"SIZE={len(mail.content)}"] if connection.offers("size") else []
    if not mail.needs_smtputf8:
        return options
    if not connection.offers("smtputf8"):
        return None
    return [*options, "SMTPUTF8", *(["BODY=8BITMIME"] if connection.offers("8bitmime") else [])]


def _refused(command: str, reply: Reply) -> Outcome:
    text = f"{command}: {reply}"
    match reply.code:
        case 421:
            return Throttled(text)
        case 530 if command != "content":
            return Unreachable(text)
        case code if 500 <= code <= 599 and code != BAD_SEQUENCE and not TEMPORARY.match(reply.text):
            return Failed(text)
    return Deferred(text)


def _queue_id(text: str) -> str | None:
    for pattern in QUEUE_IDS:
        if found := pattern.search(text):
            return found[1][:LONGEST_ID]
    return text[:LONGEST_ID] or None
