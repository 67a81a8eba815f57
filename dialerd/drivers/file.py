"""The file driver: each message is one JSON object on one line, appended before the outcome is told."""

import asyncio
import errno
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from json import JSONEncoder

from dialerd import log
from dialerd.failpoint import hit
from dialerd.mail.composer import Composer
from dialerd.model.campaign import Campaign
from dialerd.model.errors import Unavailable
from dialerd.model.mail import Mail
from dialerd.model.message import Channel, Message
from dialerd.model.outcome import InDoubt, Outcome, Sent, Unreachable
from dialerd.settings import FileProvider

__all__ = ["File"]

logger = log.get(__name__)

SENT = Sent()

#: How much later than it said an answer may come before the dialer stops waiting.
LATE_S = 5.0

#: How often the path is looked at, for a file that was moved away (logrotate) is still open here.
LOOK_S = 1.0

#: Another process's line may be half visible while it is written; after so long it is half for good.
UNDER_WAY_S = 0.005

as_json = JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class File:
    """A provider that is a file. With `latency_ms` it answers so much later: its answer can be lost, its line not."""

    def __init__(self, provider: FileProvider, campaigns: Mapping[str, Campaign]) -> None:
        self._path = provider.path
        self._composer = Composer(campaigns)
        self._latency_s = provider.latency_ms / 1000
        self.attempt_limit_s = self._latency_s + LATE_S if self._latency_s else None
        self._fd = -1
        self._closed = False
        #: The length up to which the file is known to consist of whole lines.
        self._whole = 0
        self._look_at = 0.0

    async def send(self, message: Message) -> Outcome:
        """Append the message's line."""
        mail = None
        if message.channel is Channel.EMAIL:
            composed = await self._composer.compose(message)
            if not isinstance(composed, Mail):
                return composed
            mail = composed
        outcome = self._append(_line(message, mail))
        if self._latency_s and outcome is SENT:
            await asyncio.sleep(self._latency_s)
        return outcome

    async def probe(self) -> None:
        """Return when the file is open and its disk has room."""
        try:
            self._open()
            room = os.fstatvfs(self._fd)
        except OSError as error:
            raise Unavailable(f"cannot write {self._path}: {error.strerror}") from error
        # Some file systems have no limit and say so by 0 blocks; root may use the reserved ones.
        if room.f_blocks and not (room.f_bfree if os.geteuid() == 0 else room.f_bavail):
            raise Unavailable(f"cannot write {self._path}: no space left")

    async def close(self) -> None:
        """Close the file."""
        self._closed = True
        self._let_go()

    def _append(self, line: bytes) -> Outcome:
        try:
            before = self._open()
        except OSError as error:
            return Unreachable(f"cannot write {self._path}: {error.strerror}")
        try:
            written = os.write(self._fd, line)
        except OSError as error:
            return self._undo(before, 0, error.strerror or "unknown error")
        if written < len(line):
            return self._undo(before, written, f"no room for more than {written} of {len(line)} bytes")
        hit("outbox.written")
        self._whole = before + written
        return SENT

    def _open(self) -> int:
        """See to it that the file at the path is open and ends with a whole line; return its length."""
        if self._closed:
            raise OSError(errno.EBADF, "the driver is closed")
        now = time.monotonic()
        if self._fd < 0:
            self._open_path(now)
        status = os.fstat(self._fd)
        if (now >= self._look_at or status.st_nlink == 0) and self._is_elsewhere(status):
            self._let_go()
            self._open_path(now)
            status = os.fstat(self._fd)
            logger.info("outbox_reopened", path=str(self._path))
        elif now >= self._look_at:
            self._look_at = now + LOOK_S
        return status.st_size if status.st_size == self._whole else self._end_line()

    def _open_path(self, now: float) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
        self._whole = 0
        self._look_at = now + LOOK_S

    def _is_elsewhere(self, ours: os.stat_result) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)

    def _let_go(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _end_line(self) -> int:
        """End what a writer that died, or had no room, left unfinished; return the length of the file."""
        size = self._unfinished()
        if size:
            time.sleep(UNDER_WAY_S)
            if self._unfinished() == size:
                os.write(self._fd, b"\n")
                logger.warning("outbox_line_ended", path=str(self._path), at_byte=size)
        self._whole = os.fstat(self._fd).st_size
        return self._whole

    def _unfinished(self) -> int:
        """Return the length of the file if its last line has no end, else 0."""
        size = os.fstat(self._fd).st_size
        return size if size and os.pread(self._fd, 1, size - 1) != b"\n" else 0

    def _undo(self, before: int, written: int, reason: str) -> Outcome:
        """Take back what was written of a line, if it can be, and tell whether anything of it stands."""
        self._whole = -1
        text = f"cannot write {self._path}: {reason}"
        try:
            size = os.fstat(self._fd).st_size
            if not written:
                return Unreachable(text) if size == before else InDoubt(text)
            if size == os.lseek(self._fd, 0, os.SEEK_CUR):
                os.ftruncate(self._fd, size - written)
                return Unreachable(text)
            os.write(self._fd, b"\n")
        except OSError as error:
            return InDoubt(f"{text}; {error.strerror}")
        return InDoubt(text)


def _line(message: Message, mail: Mail | None) -> bytes:
    """Return the line that stands in the file for this message."""
    line = {
        "id": message.id,
        "campaign": message.campaign,
        "channel": message.channel,
        "destination": message.destination,
        "source": message.source,
        "data": message.data,
        "priority": message.priority,
        "base": message.base,
        "calldate": message.calldate and message.calldate.astimezone(UTC).isoformat(),
        "parts": message.parts,
        "sent_at": datetime.now(UTC).isoformat(),
    }
    if mail is not None:
        line |= {"subject": mail.subject, "from": mail.mailbox, "mime": mail.content.decode()}
    # Half a character, which UTF-8 cannot spell, becomes what JSON writes for it: \ud83d.
    return (as_json(line) + "\n").encode(errors="backslashreplace")
