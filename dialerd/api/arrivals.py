"""A file on its way in: written to the disk as it comes, in bounded memory, and deleted unless it is kept."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from dialerd.model.errors import Refused, Unavailable
from dialerd.model.message import new_id

__all__ = ["Arrival", "remove", "sync_folder", "write_synced"]

#: Bytes that are gathered before they are written.
BLOCK = 1 << 20


class Arrival:
    """A file that comes in under a fresh `id`; `async with` deletes what was not kept.

    Its bytes stand in ID.base once it is kept, and in ID.base.part before.
    """

    def __init__(self, folder: Path) -> None:
        self.id = new_id()
        self.path = folder / f"{self.id}.base"
        self.size = 0
        self._part = folder / f"{self.id}.base.part"
        self._digest = hashlib.blake2b(digest_size=32)
        self._gathered = bytearray()
        self._file: int | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        remove(self._part)

    async def write(self, some: bytes) -> None:
        """Take the next bytes. Raises Unavailable when they cannot be written."""
        self.size += len(some)
        self._gathered += some
        if len(self._gathered) >= BLOCK:
            await self._in_thread(self._flush)

    async def keep(self) -> None:
        """Make the file stand on the disk. Raises Refused for an empty one, Unavailable when it cannot be written."""
        if not self.size:
            raise Refused("the file is empty")
        await self._in_thread(self._finish)

    def digest(self) -> str:
        """Return what tells the bytes that were written from others."""
        digest = self._digest.copy()
        digest.update(self._gathered)
        return digest.hexdigest()

    async def _in_thread(self, step: Callable[[], None]) -> None:
        # Whoever hurries us waits until the thread has done with the file.
        task = asyncio.ensure_future(asyncio.to_thread(step))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            raise
        except OSError as error:
            raise Unavailable(f"the file cannot be kept: {error.strerror}") from error

    def _flush(self) -> None:
        if self._file is None:
            self._part.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        rest = memoryview(bytes(self._gathered))
        self._gathered.clear()
        self._digest.update(rest)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def _finish(self) -> None:
        self._flush()
        assert self._file is not None
        os.fsync(self._file)
        self._part.rename(self.path)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_suffix(path.suffix + ".part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder stand on the disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def remove(*paths: Path) -> None:
    """Delete files, if they are there."""
    for path in paths:
        path.unlink(missing_ok=True)
