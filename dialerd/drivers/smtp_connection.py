"""One connection to a mail server, for one mail after the other."""

import re
import ssl

from dialerd.drivers.smtp_opening import opened
from dialerd.drivers.smtp_replies import CLOSING, Lost, Replies, Reply
from dialerd.settings import SmtpProvider

__all__ = ["BAD_SEQUENCE", "FINAL_DOT", "QUIT_S", "SEND_CONTENT", "Connection", "Stale"]

#: The answer to the final dot may take so many times `timeout_s`. RFC 5321, section 4.5.3.2.6, gives it longest of all,
#: ten minutes: the server delivers before it answers, and who gives up before may send a mail twice (RFC 1047).
FINAL_DOT = 10

#: How long a server may take to say goodbye.
QUIT_S = 2.0

BAD_SEQUENCE = 503
SEND_CONTENT = 354

#: A content of more bytes is sent without its end, which follows: another packet is the lesser cost.
LARGE = 100_000

BARE_LINE_END = re.compile(rb"\r(?!\n)|(?<!\r)\n")


class Stale(Lost):
    """The connection was lost before the server has answered to anything of the mail."""


class Connection:
    """One connection, open or not, for one mail at a time: its `envelope`, then `put` the content until it is `taken`.

    It is as good as before after a refusal; after anything else, see `in_step`.
    """

    def __init__(self, provider: SmtpProvider, tls: ssl.SSLContext | None) -> None:
        self._provider = provider
        self._tls = tls
        self._replies: Replies | None = None
        self._extensions: frozenset[str] = frozenset()
        #: How many mails were begun since it was opened.
        self.mails = 0
        self._mail_under_way = False
        self._agrees = True

    @property
    def is_open(self) -> bool:
        """Tell whether it is open, as far as one can know without asking the server."""
        return self._replies is not None and self._replies.is_open

    @property
    def in_step(self) -> bool:
        """Tell whether server and we agree on where we are, so that the next command gets its own answer."""
        return self._agrees and self._replies is not None and self._replies.in_step

    def offers(self, extension: str) -> bool:
        """Tell whether the server named this extension when it was greeted."""
        return extension in self._extensions

    async def open(self) -> None:
        """Connect anew, encrypt and log in, all within one `timeout_s`.

        Raises:
            NoConnection: something of that was refused, or took too long.
        """
        self.drop()
        client = await opened(self._provider, self._tls)
        assert client.transport is not None
        self._replies = Replies(client.transport)
        self._extensions = frozenset(client.esmtp_extensions)

    async def envelope(self, sender: str, recipient: str, options: list[str]) -> tuple[str, Reply]:
        """Say from whom to whom a mail goes; return the command that was refused, or else DATA, and its answer.

        Where the server takes commands ahead (PIPELINING, RFC 2920) all go together: one round trip instead of three.

        Raises:
            Stale: there was no answer to MAIL.
            Lost: there was one, and none to a later command.
        """
        commands = {
            "MAIL": " ".join([f"MAIL FROM:<{sender}>", *options]),
            "RCPT": f"RCPT TO:<{recipient}>",
            "DATA": "DATA",
        }
        self.mails += 1
        is_ahead = self.offers("pipelining")
        name = "RSET" if self._mail_under_way else "MAIL"
        try:
            if name == "RSET":
                await self._reset()
            if is_ahead:
                self._ask(*commands.values())
            self._mail_under_way = True
            for name, command in commands.items():
                if not is_ahead:
                    self._ask(command)
                reply = await self._hear(name)
                if not reply.is_ok:
                    break
        except Lost as lost:
            raise lost if name in {"RCPT", "DATA"} else Stale(str(lost)) from None
        if name == "DATA":
            # A yes would be nonsense too: the server may be waiting for who knows what.
            self._agrees = (self._agrees and not reply.is_ok) or reply.code == SEND_CONTENT
        elif is_ahead and self._agrees:
            await self._pass_over(["RCPT", "DATA"] if name == "MAIL" else ["DATA"])
        return name, reply

    def put(self, content: bytes) -> None:
        """Send a mail's content and the final dot.

        Raises:
            Lost: nothing of it was sent, or not the final dot.
        """
        if not self.in_step:
            raise Lost("connection lost before the content")
        assert self._replies is not None
        content = _on_the_wire(content)
        end = b".\r\n" if content.endswith(b"\r\n") else b"\r\n.\r\n"
        if len(content) > LARGE:
            # Not copied to be put together with its end.
            self._replies.ask(content, 0)
            content = b""
        self._replies.ask(content + end)

    async def taken(self) -> Reply:
        """Return the answer to the final dot.

        Raises:
            Lost: there was none.
        """
        reply = await self._hear("the final dot", FINAL_DOT * self._provider.timeout_s)
        self._mail_under_way = not reply.is_ok
        return reply

    async def is_there(self) -> Reply:
        """Return the answer to NOOP.

        Raises:
            Lost: there was none.
        """
        self._ask("NOOP")
        return await self._hear("NOOP")

    def leave(self) -> None:
        """Say goodbye and close, without waiting for the server's."""
        if self._replies is not None:
            self._replies.say_goodbye()
        self._forget()

    async def quit(self) -> None:
        """Say goodbye and close, once the server has said it too or is too slow for it."""
        try:
            self._ask("QUIT")
            await self._hear("QUIT", QUIT_S)
        except Lost:
            pass
        finally:
            self.drop()

    def drop(self) -> None:
        """Close at once: what was not yet sent stays unsent, and what comes late is never read."""
        if self._replies is not None:
            self._replies.give_up()
        self._forget()

    def _forget(self) -> None:
        self._replies, self._extensions = None, frozenset()
        self.mails, self._mail_under_way, self._agrees = 0, False, True

    async def _reset(self) -> None:
        self._ask("RSET")
        reply = await self._hear("RSET")
        if not reply.is_ok:
            raise Lost(f"RSET: {reply}")

    async def _pass_over(self, commands: list[str]) -> None:
        """Hear the answers to what was sent ahead of a refusal: that nothing was under way (503), mostly."""
        try:
            for command in commands:
                reply = await self._hear(command)
                # After 354 it waits for a content, and even an empty one might count as a mail.
                self._agrees = 400 <= reply.code <= 599 and reply.code != CLOSING
        except Lost:
            pass

    def _ask(self, *commands: str) -> None:
        if self._replies is None:
            raise Lost("not connected")
        self._replies.ask("".join([f"{command}\r\n" for command in commands]).encode(), len(commands))

    async def _hear(self, to: str, limit_s: float | None = None) -> Reply:
        assert self._replies is not None
        reply = await self._replies.next(limit_s or self._provider.timeout_s, to)
        # After 503 server and we disagree about what was said before; 354 is for the content only.
        self._agrees = (reply.is_ok or 400 <= reply.code <= 599) and reply.code not in {CLOSING, BAD_SEQUENCE}
        return reply


def _on_the_wire(content: bytes) -> bytes:
    """Return a content with more dots where a line begins with one (RFC 5321, section 4.5.2).

    Lines end in CR LF: a lone CR or LF before a dot could end the mail early for some servers.
    """
    # Counting is ten times as fast as looking, and mostly says that there is nothing to find.
    if not content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n"):
        content = BARE_LINE_END.sub(b"\r\n", content)
    if content.startswith(b"."):
        content = b"." + content
    return content.replace(b"\r\n.", b"\r\n..")
