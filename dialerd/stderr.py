"""Lines on stderr that hold nobody up: what cannot be written (disk full, nobody reads) is lost, and counted."""

import asyncio
import atexit
import select
import sys
from collections.abc import Callable
from typing import TextIO

__all__ = ["Lines"]

#: A line whose reader is slow is waited for so long; from then on lines are lost until the reader takes them again.
PATIENCE_S = 0.1
#: A pipe that takes anything takes so many bytes at once (pipe(7)); of more it could hold us up in the middle.
PIECE = select.PIPE_BUF
#: No character takes more bytes: what UTF-8 or ASCII cannot spell is written as \\U and eight digits.
LONGEST_CHARACTER = 10


class Lines:
    """Writes lines. `lost(count)` is called when one could be written again after so many were lost."""

    def __init__(self, lost: Callable[[int], None]) -> None:
        self._tell_lost = lost
        self._lost = 0
        #: The last of them was lost in its middle.
        self._is_torn = False
        self._gathered: list[str] = []
        self._length = 0
        #: What was stderr when we last wrote, and how we ask whether it takes a line.
        self._stream: TextIO | None = None
        self._poll: select.poll | None = None
        atexit.register(self._write_gathered)

    def write(self, line: str) -> None:
        """Write a line now, behind those that have gathered."""
        self._write_gathered()
        self._write(line)

    def gather(self, line: str) -> None:
        """Write a line at the end of this turn of the event loop, together with the others: a write costs more."""
        if not self._gathered:
            try:
                asyncio.get_running_loop().call_soon(self._write_gathered)
            except RuntimeError:  # no loop: nothing will come back to it
                self._write(line)
                return
        elif self._length + len(line) >= PIECE:
            self._write_some()
        self._gathered.append(line)
        self._length += len(line) + 1

    def _write_gathered(self) -> None:
        if self._gathered:
            self._write_some()

    def _write_some(self) -> None:
        lines, self._gathered, self._length = self._gathered, [], 0
        self._write("\n".join(lines), lines=len(lines))

    def _write(self, text: str, *, lines: int = 1) -> None:
        try:
            if not self._takes_a_line():
                self._lost += lines
                return
            if self._is_torn:
                text, self._is_torn = f"\n{text}", False
            text += "\n"
            if self._poll is None or len(text) * (1 if text.isascii() else LONGEST_CHARACTER) <= PIECE:
                sys.stderr.write(text)
                sys.stderr.flush()
            elif not self._wrote_pieces(text.encode(sys.stderr.encoding, "backslashreplace")):
                self._lost += lines
                return
        except (OSError, ValueError):
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            self._tell_lost(lost)

    def _wrote_pieces(self, text: bytes) -> bool:
        """Write what is long (a traceback) by pieces; False if its reader stands still meanwhile: the rest is lost."""
        for begin in range(0, len(text), PIECE):
            if begin and not self._takes_a_line():
                self._is_torn = True
                return False
            sys.stderr.buffer.write(text[begin : begin + PIECE])
            sys.stderr.buffer.flush()
        return True

    def _takes_a_line(self) -> bool:
        """Tell whether stderr takes a line without holding us up: a full pipe would, for as long as nobody reads it."""
        if self._stream is not sys.stderr:
            self._stream, self._poll = sys.stderr, None
            try:
                poll = select.poll()
                poll.register(sys.stderr.fileno(), select.POLLOUT)
                self._poll = poll
            except (OSError, ValueError):
                pass  # no file: a buffer of somebody who has us in the same process
        return self._poll is None or bool(self._poll.poll(0 if self._lost else PATIENCE_S * 1000))
