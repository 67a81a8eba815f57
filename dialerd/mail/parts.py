"""The parts of a mail's body, encoded as the standard library's EmailMessage would with `cte_type="7bit"`.

7 bit, so that no relay has to encode anew what was signed. Written out here because building an EmailMessage for each
recipient and flattening it takes ten times as long; the tests compare the two.
"""

import binascii
from base64 import encodebytes
from collections.abc import Sequence
from dataclasses import dataclass
from email.quoprimime import body_encode
from functools import lru_cache
from urllib.parse import quote

__all__ = ["File", "Part", "alternative", "attached", "inline", "mixed", "related", "text_part"]

#: Longest line of a text, in bytes: EmailMessage's policy has it (RFC 5322, section 2.1.1).
LINE = 78

#: By how many lines EmailMessage judges which of the two encodings is shorter.
SNIFFED = 10

#: Of a file, so many bytes are encoded at a time: whole lines of base64, 57 bytes each.
PIECE = 57 * 1000

#: What a line may have to be remembered with its encoding: most lines of a mail are the same for all recipients.
REMEMBERED = 1000

#: What a text may have to be remembered whole with its encoding: that of many bases is the same for all recipients.
REMEMBERED_WHOLE = 20_000


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a body: its fields with their lines' ends, and its content without the last."""

    head: bytes
    body: bytes

    def __bytes__(self) -> bytes:
        """Return it as it stands in a mail."""
        return self.head + b"\r\n" + self.body


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that goes with a mail: `kind` is its media type; an inline one is named `cid:NAME` by the HTML."""

    name: str
    kind: str
    content: bytes


def text_part(text: str, kind: str) -> Part:
    """Return a text as a part: `kind` is text/plain, text/html or another, with parameters of its own if need be."""
    encoding, body = _remembered_whole(text) if len(text) <= REMEMBERED_WHOLE else _encoded(text)
    head = f'Content-Type: {kind}; charset="utf-8"\r\nContent-Transfer-Encoding: {encoding}\r\n'
    return Part(head.encode(), body)


def attached(file: File) -> Part:
    """Return a file as an attachment."""
    return _file_part(file, f"Content-Disposition: attachment;\r\n {_parameter('filename', file.name)}\r\n")


def inline(file: File) -> Part:
    """Return a file that the HTML beside it names by `cid:` (RFC 2392)."""
    told = f"Content-Disposition: inline;\r\n {_parameter('filename', file.name)}\r\n"
    return _file_part(file, f"{told}Content-ID: <{quote(file.name)}>\r\n")


def alternative(parts: Sequence[Part], boundary: str) -> Part:
    """Return parts that say the same, the plainest first."""
    return _multipart("alternative", parts, boundary)


def related(parts: Sequence[Part], boundary: str) -> Part:
    """Return a part with those that it is made of."""
    return _multipart("related", parts, boundary)


def mixed(parts: Sequence[Part], boundary: str) -> Part:
    """Return parts that follow one another."""
    return _multipart("mixed", parts, boundary)


def _multipart(kind: str, parts: Sequence[Part], boundary: str) -> Part:
    if len(parts) == 1:
        return parts[0]
    inside = [bytes(part) for part in parts]
    mark = f"--{boundary}".encode()
    while any(mark in part for part in inside):
        # Somebody has written the id of a message into its text.
        boundary += "_"
        mark = f"--{boundary}".encode()
    body = b"".join(mark + b"\r\n" + part + b"\r\n" for part in inside) + mark + b"--\r\n"
    return Part(f'Content-Type: multipart/{kind};\r\n boundary="{boundary}"\r\n'.encode(), body)


def _file_part(file: File, told: str) -> Part:
    head = f"Content-Type: {file.kind}\r\nContent-Transfer-Encoding: base64\r\n{told}"
    # In pieces: of a large file, each line would be an object at the same time.
    pieces = (file.content[at : at + PIECE] for at in range(0, len(file.content), PIECE))
    return Part(head.encode(), b"".join(encodebytes(piece).replace(b"\n", b"\r\n") for piece in pieces))


def _parameter(name: str, value: str) -> str:
    """Return a parameter of a field: quoted, or beyond ASCII as RFC 2231 has it."""
    value = "".join(letter if letter.isprintable() else "_" for letter in value)
    if value.isascii():
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{name}="{escaped}"'
    return f"{name}*=utf-8''{quote(value, safe='')}"


def _encoded(text: str) -> tuple[str, bytes]:
    """Return the transfer encoding that a text needs, and the text in it; lines end in CR LF."""
    lines = text.encode().splitlines()
    if max(map(len, lines), default=0) <= LINE and text.isascii():
        return "7bit", b"\r\n".join([*lines, b""]) or b"\r\n"
    sniffed = b"\r\n".join([*lines[:SNIFFED], b""])
    as_words = sum(len(_quoted(line)) + 1 for line in lines[:SNIFFED])
    if as_words > len(binascii.b2a_base64(sniffed)):
        return "base64", encodebytes(b"\r\n".join([*lines, b""])).replace(b"\n", b"\r\n")
    quoted = "\n".join([*(_quoted(line) for line in lines), ""])
    return "quoted-printable", quoted.encode("ascii").replace(b"\n", b"\r\n")


def _quoted(line: bytes) -> str:
    return _remembered(line) if len(line) <= REMEMBERED else body_encode(line.decode("latin-1"), LINE)


@lru_cache(maxsize=4096)
def _remembered(line: bytes) -> str:
    return body_encode(line.decode("latin-1"), LINE)


@lru_cache(maxsize=32)
def _remembered_whole(text: str) -> tuple[str, bytes]:
    return _encoded(text)
