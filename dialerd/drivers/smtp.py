"""The SMTP driver: one e-mail to one recipient at a time, over a few connections that are used again.

What a mail server's answers mean (RFC 5321, section 4.2; RFC 3463):

    no connection, TLS or login; a greeting or login refused; lost before MAIL was answered    Unreachable
    530 (log in first) to MAIL, RCPT or DATA                                                   Unreachable
    421 anywhere, and no connection of the pool free in time                                   Throttled
    4xx, also as an enhanced status 4.x.x of a 5xx                                             Deferred
    5xx to MAIL, which speaks of the sender or the account and not of this mail (but 552 does) Deferred
    lost, or nonsense, after MAIL was answered and before the content went                     Deferred
    5xx to RCPT, to DATA or to the content                                                     Failed
    lost, or nonsense, after the content went                                                  InDoubt

A connection that was in use before may have been closed by the server meanwhile: when it is lost, or says 421, before
MAIL is answered, nothing of the mail can have gone, and it is tried once more on a fresh one.
"""

import re
from collections.abc import Mapping

from dialerd.drivers.smtp_pool import CLOSING, QUIT_S, Busy, Connection, Lost, NoConnection, Pool, Reply
from dialerd.mail.composer import Composer
from dialerd.model.campaign import Campaign
from dialerd.model.errors import Unavailable
from dialerd.model.mail import Mail
from dialerd.model.message import Message
from dialerd.model.outcome import Deferred, Failed, InDoubt, Outcome, Sent, Throttled, Unreachable
from dialerd.settings import SmtpProvider

__all__ = ["Smtp"]

#: The longest attempt: a connection comes free, RSET, MAIL is lost, a fresh one, MAIL, RCPT, DATA, the final dot.
STEPS = 8

#: How much later than the driver itself the dialer stops waiting.
LATE_S = QUIT_S + 3.0

SEND_CONTENT = 354
BAD_SEQUENCE = 503

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
        self.attempt_limit_s: float | None = STEPS * provider.timeout_s + LATE_S

    async def send(self, message: Message) -> Outcome:
        """Hand one mail over."""
        mail = await self._composer.compose(message)
        if not isinstance(mail, Mail):
            return mail
        for address in (mail.sender, mail.recipient):
            if not ON_THE_WIRE.fullmatch(address):
                return Failed(f"not an address that a mail server would take: {address!r}")
        try:
            async with self._pool.connection() as connection:
                return await _hand_over(connection, mail)
        except Busy as busy:
            return Throttled(str(busy))
        except NoConnection as trouble:
            return Throttled(str(trouble)) if trouble.code == CLOSING else Unreachable(str(trouble))

    async def probe(self) -> None:
        """Return when a fresh connection can be had, login and all, and the server answers on it."""
        try:
            async with self._pool.connection() as connection:
                await connection.quit()
                await connection.open()
                reply = await connection.say("NOOP")
        except (Busy, NoConnection, Lost) as trouble:
            raise Unavailable(str(trouble)) from trouble
        if not reply.is_ok:
            raise Unavailable(f"NOOP: {reply}")

    async def close(self) -> None:
        """Say goodbye on every connection."""
        await self._pool.close()


async def _hand_over(connection: Connection, mail: Mail) -> Outcome:
    begun = await _begin(connection, mail)
    if not isinstance(begun, Reply):
        return begun
    if not begun.is_ok:
        return _refused("MAIL", begun)
    try:
        reply = await connection.say("RCPT", f"TO:<{mail.recipient}>")
        if not reply.is_ok:
            return _refused("RCPT", reply)
        reply = await connection.say("DATA")
        if reply.code != SEND_CONTENT:
            # A yes would be nonsense too: the server may be waiting for who knows what.
            connection.in_step = connection.in_step and not reply.is_ok
            return _refused("DATA", reply)
        connection.put(mail.content)
    except Lost as lost:
        return Deferred(str(lost))
    try:
        reply = await connection.taken()
    except Lost as lost:
        return InDoubt(str(lost))
    if reply.is_ok:
        return Sent(_queue_id(reply.text))
    return _refused("content", reply) if 400 <= reply.code <= 599 else InDoubt(f"content: {reply}")


async def _begin(connection: Connection, mail: Mail) -> Reply | Outcome:
    """Return the answer to MAIL, from a fresh connection if the one at hand turned out to be dead."""
    while True:
        is_used = connection.is_open
        if not is_used:
            await connection.open()
        options = _options(connection, mail)
        if options is None:
            return Failed("the address has letters beyond ASCII, and the mail server does not take such (SMTPUTF8)")
        try:
            reply = await connection.begin(mail.sender, options)
        except Lost as lost:
            if not is_used:
                return Unreachable(str(lost))
        else:
            if not is_used or reply.code != CLOSING:
                return reply
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
        case 552 if not TEMPORARY.match(reply.text):
            return Failed(text)
        case code if 500 <= code <= 599 and code != BAD_SEQUENCE and command != "MAIL":
            return Deferred(text) if TEMPORARY.match(reply.text) else Failed(text)
    return Deferred(text)


def _queue_id(text: str) -> str | None:
    for pattern in QUEUE_IDS:
        if found := pattern.search(text):
            return found[1][:LONGEST_ID]
    return text[:LONGEST_ID] or None
