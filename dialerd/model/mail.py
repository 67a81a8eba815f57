"""One e-mail as it goes over the wire: the same bytes at every attempt, whatever the text holds."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr, parseaddr
from html import escape
from html.parser import HTMLParser
from typing import Any

from dialerd.model.campaign import EmailPart
from dialerd.model.errors import BadAddress, BadText
from dialerd.model.message import Message

__all__ = ["Mail", "compose", "filled", "looks_like_html", "text_of"]

#: 7 bit, so that no relay has to re-encode what was signed.
POLICY = SMTP.clone(cte_type="7bit")

#: RFC 5322, section 2.1.1; an encoded word has 75 at most (RFC 2047, section 2).
LINE = 76

ADDRESS = re.compile(r'[^\s@<>()\[\],;:"\\]+@[^\s@<>()\[\],;:"\\]+')
PLACEHOLDER = re.compile(r"\$\{\s*([\w.-]+)\s*\}|\{\{\s*([\w.-]+)\s*\}\}")
UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
HTML = re.compile(
    r"<(?:!doctype|html|head|body|div|span|p|br|hr|a|b|i|u|em|strong|font|center|table|ul|ol|h[1-6]|img)(?:\s[^<>]*|/)?>",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """What a mail server is given: `sender` and `recipient` are bare addresses, `mailbox` the sender as shown."""

    mailbox: str
    sender: str
    recipient: str
    subject: str
    content: bytes


def compose(message: Message, email: EmailPart) -> Mail:
    """Return the mail of one message.

    Raises:
        BadAddress: the recipient, or the campaign's sender, is no address that a mail server would take.
        BadText: subject or body ask for a variable that the message does not bring.
    """
    name, address = parseaddr(email.sender)
    sender = _wire_address(address)
    recipient = _wire_address(_as_written(message))
    variables = message.details.get("variables") or {}
    data = filled(message.data, variables, as_html=looks_like_html(message.data))
    asked = _one_line(str(message.details.get("subject") or "")) or email.subject
    subject = _one_line(filled(asked, variables, as_html=False))
    headers = {
        "From": _mailbox("From", name, sender),
        "To": recipient,
        "Reply-To": ",\r\n ".join(_reply_to(email)),
        "Subject": _words("Subject", subject),
        "Date": format_datetime(message.queued_at.astimezone(UTC)),
        "Message-ID": f"<{message.id}@{sender.rpartition('@')[2]}>",
        "Auto-Submitted": "auto-generated",
    }
    return Mail(
        mailbox=email.sender,
        sender=sender,
        recipient=recipient,
        subject=subject,
        content=_head(headers) + _body(message.id, _clean(data)),
    )


def filled(text: str, variables: Mapping[str, Any], *, as_html: bool) -> str:
    """Return a text with `${name}` and `{{name}}` replaced; without variables it stays as it stands.

    Values are escaped in HTML. Raises BadText when a name has no value.
    """
    if not variables:
        return text

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in variables:
            raise BadText(f"the text asks for {name!r}, which the message does not bring", "bad variables")
        found = str(variables[name])
        return escape(found) if as_html else found

    return PLACEHOLDER.sub(value, text)


def looks_like_html(text: str) -> bool:
    """Tell whether a body is meant as HTML: it has at least one tag that mails use."""
    return HTML.search(text) is not None


def text_of(html: str) -> str:
    """Return what an HTML body says, for readers without HTML."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.pieces).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _head(headers: Mapping[str, str]) -> bytes:
    # Beyond ASCII stands here only a local part, for servers that speak SMTPUTF8 (RFC 6532).
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value).encode()


def _body(id: str, text: str) -> bytes:  # noqa: A002  # the message's
    part = EmailMessage(policy=POLICY)
    if looks_like_html(text):
        part.set_content(text_of(text))
        part.add_alternative(text, subtype="html")
        # Nobody can have written it into a body: the id is younger than the text.
        part.set_boundary(f"=_{id}")
    else:
        part.set_content(text)
    return part.as_bytes()


def _as_written(message: Message) -> str:
    """Return the destination with its own upper and lower case, where it is nothing more than the address."""
    destination = message.destination.strip()
    return destination if destination.lower() == message.address else message.address


def _wire_address(address: str) -> str:
    """Return an address as it may stand in a header: nothing in it ends a line, a domain is ASCII."""
    if not ADDRESS.fullmatch(address) or not address.isprintable():
        raise BadAddress(f"not an e-mail address: {address!r}", "bad address")
    local, _, domain = address.rpartition("@")
    try:
        return f"{local}@{domain if domain.isascii() else domain.encode('idna').decode('ascii')}"
    except UnicodeError as error:
        raise BadAddress(f"no such domain can be: {domain!r}", "bad address") from error


def _reply_to(email: EmailPart) -> list[str]:
    mailboxes = [parseaddr(mailbox) for mailbox in email.reply_to]
    return [_mailbox("Reply-To", name, _wire_address(address)) for name, address in mailboxes]


def _mailbox(header: str, name: str, address: str) -> str:
    name = _one_line(name)
    return formataddr((name, address)) if name.isascii() else f"{_words(header, name)} <{address}>"


def _words(header: str, text: str) -> str:
    """Return unstructured text for a header, folded; what would be misread is sent as encoded words (RFC 2047)."""
    plain = text.isascii() and "=?" not in text and all(len(word) < LINE - len(header) - 2 for word in text.split(" "))
    charset = "us-ascii" if plain else "utf-8"
    return Header(text, charset, maxlinelen=LINE, header_name=header).encode(linesep="\r\n")


def _one_line(text: str) -> str:
    return UNPRINTABLE.sub(" ", _clean(text)).strip()


def _clean(text: str) -> str:
    """Return text that every encoding can carry: no NUL, and no halves of characters."""
    return text.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class _Reader(HTMLParser):
    """Collects what an HTML body says."""

    SILENT = frozenset({"script", "style", "title"})
    LINES = frozenset({"article", "center", "div", "footer", "header", "hr", "li", "section", "tr"})
    PARAGRAPHS = frozenset({"blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "table", "ul"})

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = ["\n"]
        self._silent = False
        self._link: tuple[str, int] = ("", 0)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a line, a link, or something that nobody reads."""
        known = dict(attrs)
        self._silent = tag in self.SILENT
        if tag == "a":
            self._link = (known.get("href") or "", len(self.pieces))
        elif tag == "img":
            self._say(known.get("alt") or "")
        elif tag == "br":
            self.pieces.append("\n")
        elif tag in {"td", "th"}:
            self.pieces.append(" ")
        else:
            self._break(tag)
            if tag == "li":
                self.pieces.append("- ")

    def handle_endtag(self, tag: str) -> None:
        """End a line, or show where a link leads unless its text does."""
        self._silent = False
        if tag != "a":
            self._break(tag)
            return
        (target, start), self._link = self._link, ("", 0)
        kind, _, rest = target.partition(":")
        if kind in {"http", "https", "mailto", "tel"} and rest not in "".join(self.pieces[start:]):
            self._say(f" ({target})")

    def handle_data(self, data: str) -> None:
        """Take text; how it is broken into lines means nothing in HTML."""
        self._say(data)

    def parse_marked_section(self, i: int, report: bool = True) -> int:  # noqa: ARG002  # the parser's
        """Pass over `<![…`: the parser itself raises an AssertionError for what Outlook never wrote."""
        end = self.rawdata.find(">", i)
        return end + 1 if end >= 0 else -1

    def _say(self, text: str) -> None:
        if not self._silent:
            self.pieces.append(re.sub(r"\s+", " ", text))

    def _break(self, tag: str) -> None:
        if tag in self.PARAGRAPHS:
            self.pieces.append("\n\n")
        elif tag in self.LINES and not self.pieces[-1].endswith("\n"):
            self.pieces.append("\n")
