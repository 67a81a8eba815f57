"""Files that came in by the API: safely on disk before the caller is told so, then loaded in the background.

Each is two files of `state_dir/incoming`: ID.base with its bytes and ID.json with what is to be done with it. The
second one is what counts: without it the first is the rest of a call that ended before its answer.
"""

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from dialerd import bases, log
from dialerd.lease import FileLock
from dialerd.model.errors import DatabaseGone, DialerdError, Unavailable
from dialerd.model.message import Channel, new_id
from dialerd.settings import Settings
from dialerd.store import Store

__all__ = ["Incoming", "Job"]

logger = log.get(__name__)

#: How long to wait before trying again when the database is away.
TROUBLE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be done with a file: load it as a base, or as a blacklist.

    `declared` is the number of lines that the caller says it has, `by` the user who brought it.
    """

    kind: str
    filename: str
    channel: Channel | None
    campaign: str | None
    by: str
    declared: int | None = None


class Incoming:
    """The folder of files that came in. `run` loads them, one after the other, oldest first."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        *,
        settings: Callable[[], Settings],
        clock: Callable[[], datetime],
        wake: Callable[[], None],
    ) -> None:
        self._store = store
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._wake = wake
        self._came = asyncio.Event()

    async def put(self, job: Job, content: bytes) -> str:
        """Keep a file until it is loaded, and return its id; it stands on the disk when this returns.

        Raises Unavailable when it cannot be written.
        """
        id_ = new_id()
        try:
            await asyncio.to_thread(self._write, id_, job, content)
        except OSError as error:
            raise Unavailable(f"the file cannot be kept: {error.strerror}") from error
        self._came.set()
        return id_

    def _write(self, id_: str, job: Job, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        _write_synced(self._folder / f"{id_}.base", content)
        _write_synced(self._folder / f"{id_}.json", json.dumps(asdict(job)).encode())
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    async def run(self) -> None:
        """Load what came in, also in an earlier life. Runs until cancelled."""
        while True:
            self._came.clear()
            try:
                await self._load_all()
            except Unavailable as error:
                logger.warning("incoming_waits", error=str(error))
                await asyncio.sleep(TROUBLE_S)
                continue
            await self._came.wait()

    async def _load_all(self) -> None:
        if not self._folder.is_dir():
            return
        lock = FileLock(self._folder / "lock")
        if not lock.take():
            raise Unavailable("another process loads from the same folder")
        try:
            # Ids rise with time.
            for described in sorted(self._folder.glob("*.json")):
                await self._load(described)
        finally:
            lock.release()

    async def _load(self, described: Path) -> None:
        content = described.with_suffix(".base")
        job = await asyncio.to_thread(_job, described)
        try:
            await (self._load_base(job, content) if job.kind == "base" else self._load_blacklist(job, content))
        except DatabaseGone:
            raise
        except DialerdError as refused:
            logger.warning("incoming_refused", upload=described.stem, by=job.by, reason=str(refused))
        except Exception:  # one file that cannot be read must not keep the others
            logger.exception("incoming_refused", upload=described.stem, by=job.by)
        await asyncio.to_thread(_remove, described, content)

    async def _load_base(self, job: Job, content: Path) -> None:
        loaded = await bases.load(
            self._store, self._settings(), content,
            channel=job.channel, base=job.filename, campaign=job.campaign, filename=job.filename, now=self._clock(),
        )  # fmt: skip
        lines = loaded.accepted + loaded.rejected
        if job.declared is not None and job.declared != lines:
            logger.warning("incoming_count_differs", upload=loaded.upload, declared=job.declared, lines=lines)
        await bases.move(self._store, loaded.upload, clock=self._clock, wake=self._wake)

    async def _load_blacklist(self, job: Job, content: Path) -> None:
        await bases.load_blacklist(
            self._store, self._settings(), content,
            channel=job.channel, campaign=job.campaign, now=self._clock(),
        )  # fmt: skip


def _job(described: Path) -> Job:
    given = json.loads(described.read_text())
    given["channel"] = given["channel"] and Channel(given["channel"])
    return Job(**given)


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _write_synced(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_suffix(path.suffix + ".part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
