"""Header fields: what is in them is read back as it was, and nothing of it becomes another field."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime, formataddr, parseaddr
from functools import lru_cache

from dialerd.addresses import canonical
from dialerd.model.errors import BadAddress
from dialerd.model.message import Channel

__all__ = ["clean", "date", "head", "mailbox", "one_line", "own_field", "wire_address", "words"]

#: RFC 5322, section 2.1.1; an encoded word has 75 at most (RFC 2047, section 2).
LINE = 76
LONGEST = 998

ADDRESS = re.compile(r'[^\s@<>()\[\],;:"\\]+@[^\s@<>()\[\],;:"\\]+')
UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


def head(fields: Mapping[str, str]) -> bytes:
    """Return the fields, each with its line's end; an empty one is left out."""
    # Beyond ASCII stands here only a local part, for servers that speak SMTPUTF8 (RFC 6532).
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value).encode()


def date(at: datetime) -> str:
    """Return an instant for the field Date (RFC 5322, section 3.3), in UTC and whole seconds."""
    return _date(int(at.timestamp()))


@lru_cache(maxsize=1024)
def _date(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC))


def wire_address(address: str) -> str:
    """Return an address as it may stand in a header: nothing in it ends a line, its domain is ASCII (RFC 5891).

    Raises BadAddress where it is none.
    """
    if not ADDRESS.fullmatch(address) or not address.isprintable():
        raise BadAddress(f"not an e-mail address: {address!r}", "bad address")
    local, _, domain = address.rpartition("@")
    return address if domain.isascii() else f"{local}@{_ascii(domain)}"


@lru_cache(maxsize=1024)
def _ascii(domain: str) -> str:
    return canonical(f"a@{domain}", Channel.EMAIL).rpartition("@")[2]


def mailbox(field: str, written: str) -> str:
    """Return a mailbox, `Name <address>` or an address alone, for a field of that name.

    Raises BadAddress where there is none in it.
    """
    name, address = parseaddr(written)
    address, name = wire_address(address), one_line(name)
    return formataddr((name, address)) if name.isascii() else f"{words(field, name)} <{address}>"


def words(field: str, text: str) -> str:
    """Return unstructured text for a field, folded; what would be misread is sent as encoded words (RFC 2047)."""
    plain = text.isascii() and "=?" not in text and all(len(word) < LINE - len(field) - 2 for word in text.split(" "))
    if plain and len(field) + 2 + len(text) <= LINE:
        return text
    charset = "us-ascii" if plain else "utf-8"
    return Header(text, charset, maxlinelen=LINE, header_name=field).encode(linesep="\r\n")


def own_field(name: str, text: str) -> str:
    """Return what a campaign writes for a field of its own, folded.

    The field may have a structure that we do not know (List-Help, Feedback-ID): in ASCII it stays as it is, also where
    a word of it, such as a link, makes a line longer than it should be, but none longer than it may be.
    """
    pieces = text.split(" ")
    if not text.isascii() or "=?" in text or any(len(piece) > LONGEST - len(name) - 2 for piece in pieces):
        return words(name, text)
    lines, room = [""], LINE - len(name) - 1
    for piece in pieces:
        if lines[-1] and piece and len(lines[-1]) + 1 + len(piece) > room:
            lines.append("")
            room = LINE
        lines[-1] += " " + piece
    return "\r\n".join(lines)[1:]


def one_line(text: str) -> str:
    """Return text without line ends and control characters: a space stands for each run of them."""
    return UNPRINTABLE.sub(" ", clean(text)).strip()


def clean(text: str) -> str:
    """Return text that every encoding can carry: no NUL, and no halves of characters."""
    text = text.replace("\0", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
