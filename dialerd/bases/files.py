"""A file of lines as others hand it over: what it is, how it is spelled, and its lines, in bounded memory.

It is read twice: once to see that it is text, in which encoding, and to know it again (its digest), once line by line.
"""

import codecs
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, TextIO

from dialerd.model.errors import Refused

__all__ = ["LONGEST_LINE", "MOST_KEPT", "Line", "TextFile", "look"]

#: Characters of a line; a longer one is no line of a base, and is not read into memory.
LONGEST_LINE = 1 << 20
#: Characters of a rejected line that are kept.
MOST_KEPT = 500

BLOCK = 1 << 20

#: Byte order marks; those of UTF-32 first, since UTF-16's begins one of them.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}

#: How files that are no text begin.
SIGNATURES = {
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"\x1f\x9d": "a compressed file (.Z): unpack it first",
    b"\xfd7zXZ\x00": "an xz archive: unpack it first",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive: unpack it first",
    b"\x04\x22\x4d\x18": "an LZ4 archive: unpack it first",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive: unpack it first",
    b"Rar!\x1a\x07": "a RAR archive: unpack it first",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Office document, such as an Excel workbook (.xls): save it as CSV",
    b"%PDF-": "a PDF document",
    b"SQLite format 3\x00": "a SQLite database",
}
BZIP2 = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")
ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
#: What is inside a zip archive tells which one it is.
ZIPPED = {
    b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet": "an OpenDocument spreadsheet (.ods): save it as CSV",
    b"xl/": "an Excel workbook (.xlsx): save it as CSV",
    b"word/": "a Word document (.docx)",
}


class Line(NamedTuple):
    """A line with its number, from 1; `whole` is False for the beginning of one that is too long."""

    number: int
    text: str
    whole: bool


@dataclass(frozen=True, slots=True)
class TextFile:
    """A text file that has been looked at. `digest` is the same for the same bytes only; `seen` tells it was changed.

    `line_count` is about the number of lines, for a progress bar.
    """

    path: Path
    digest: str
    encoding: str
    line_count: int
    seen: tuple[int, ...]

    def lines(self) -> Iterator[Line]:
        """Yield its lines from the first on, without the empty ones, which count all the same.

        Raises Refused when the file is no longer what it was.
        """
        with self.path.open(encoding=self.encoding, errors="replace", newline=None) as text:
            self._refuse_changed(text)
            number = 0
            while line := text.readline(LONGEST_LINE + 1):
                number += 1
                if line.endswith("\n") or len(line) <= LONGEST_LINE:
                    stripped = line.removesuffix("\n")
                    # DOS programs end a file with Ctrl-Z.
                    if stripped.strip(" \t\x1a"):
                        yield Line(number, stripped, whole=True)
                else:
                    head = line[:MOST_KEPT]
                    while line and not line.endswith("\n"):
                        line = text.readline(LONGEST_LINE)
                    yield Line(number, head, whole=False)
            self._refuse_changed(text)

    def _refuse_changed(self, text: TextIO) -> None:
        if _seen(text) != self.seen:
            raise Refused(f"{self.path} changed while it was being read: load it again once it is complete")


def look(path: Path) -> TextFile:
    """Read a whole file once; raises Refused, by name of what it is, for one that is no text."""
    # Opening a pipe waits for somebody who writes into it, unless told not to; for a file it makes no difference.
    with open(path, "rb", opener=_open_at_once) as file:  # Path.open takes no opener
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Refused(f"{path} is no regular file: it must be read twice, so save it to disk first")
        seen = _seen(file)
        block = file.read(BLOCK)
        if not block:
            raise Refused(f"{path} is empty")
        _refuse_known(block, path)
        marked = next((name for mark, name in MARKS.items() if block.startswith(mark)), None)
        digest, reading = hashlib.blake2b(digest_size=32), _Reading(marked)
        newlines = returns = 0
        while block:
            digest.update(block)
            if reading.holds_nul(block):
                raise Refused(f"{path} is a binary file: it holds NUL characters{_hint(block, marked, newlines)}")
            newlines += block.count(b"\n")
            returns += block.count(b"\r")
            block = file.read(BLOCK)
        reading.holds_nul(b"")
        return TextFile(path, digest.hexdigest(), reading.encoding, max(newlines, returns), seen)


def _hint(block: bytes, marked: str | None, newlines: int) -> str:
    """Return what helps with a block that holds NUL characters, behind so many newlines."""
    if marked:
        return ""
    line = newlines + block.count(b"\n", 0, block.index(b"\0")) + 1
    return f", the first in line {line:,}; if it is UTF-16, save it with a byte order mark"


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


class _Reading:
    """Finds out which encoding it is: by the byte order mark, else UTF-8 if all of it is, else Windows-1252."""

    def __init__(self, marked: str | None) -> None:
        self.encoding = marked or "utf-8"
        self._decoder = codecs.getincrementaldecoder(self.encoding)("replace" if marked else "strict")

    def holds_nul(self, block: bytes) -> bool:
        """Take the next block, an empty one at the end, and tell whether there is a NUL character in it."""
        if self.encoding == "cp1252":
            return b"\0" in block
        try:
            return "\0" in self._decoder.decode(block, final=not block)
        except UnicodeDecodeError:
            self.encoding = "cp1252"
            return b"\0" in block


def _seen(file: IO[Any]) -> tuple[int, ...]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _refuse_known(block: bytes, path: Path) -> None:
    if block.startswith(ZIP):
        inside = next((name for part, name in ZIPPED.items() if part in block), "a zip archive: unpack it first")
        raise Refused(f"{path} is {inside}")
    if BZIP2.match(block):
        raise Refused(f"{path} is a bzip2 archive: unpack it first")
    for signature, name in SIGNATURES.items():
        if block.startswith(signature):
            raise Refused(f"{path} is {name}")
