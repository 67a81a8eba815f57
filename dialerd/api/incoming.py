"""Files that came in by the API: safely on disk before the caller is told so, then loaded in the background.

Each is two files of `state_dir/incoming`: ID.base with its bytes and ID.json with what is to be done with it. Without
the second one the first is the rest of a call that ended before its answer. A base also stands in the table upload,
under its file's id: that row's commit is what makes it count, and without it the files are the rest of such a call too.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from dialerd import bases, log
from dialerd.api.arrivals import Arrival, remove, sync_folder, write_synced
from dialerd.lease import FileLock
from dialerd.model.errors import DatabaseGone, DialerdError, Unavailable
from dialerd.model.message import Channel
from dialerd.settings import Settings
from dialerd.store import Connection, Store
from dialerd.store.bases import find_upload, register, touch
from dialerd.store.messages import once
from dialerd.store.uploads import fail

__all__ = ["Call", "Incoming", "Job"]

logger = log.get(__name__)

#: How long to wait before trying again when the database is away.
TROUBLE_S = 5.0
#: Bases that wait for their turn show a sign of life so often: an hour without one, and others give them up.
ALIVE_S = 600.0
#: What no call has made count for so long, none will; so often it is looked for.
FORGOTTEN_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be done with a file: load it as a base, or as a blacklist.

    `declared` is the number of lines that the caller says it has, `by` the user who brought it, `base` the base's name
    if that is not the file's. `again`: load it even if it was loaded within a day. A `registered` one stands in upload.
    """

    kind: str
    filename: str
    channel: Channel | None
    campaign: str | None
    by: str
    declared: int | None = None
    base: str | None = None
    again: bool = False
    registered: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A call that may be made again: the same `digest` under the same key is the same call."""

    user: str
    key: str
    digest: str


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

    def arrival(self) -> Arrival:
        """Return a file to write to, and then to hand to `keep`."""
        return Arrival(self._folder)

    async def put(self, job: Job, content: bytes) -> str:
        """Keep a file until it is loaded, and return its id; it stands on the disk when this returns.

        Raises Unavailable when it cannot be kept, Refused when it is empty.
        """
        async with self.arrival() as arrival:
            await arrival.write(content)
            return await self.keep(arrival, job)

    async def keep(self, arrival: Arrival, job: Job, call: Call | None = None) -> str:
        """Make a file that has come in count, and return its id; of a `call` made again what it returned before.

        Raises Unavailable when it cannot be kept, Refused when it is empty, OtherBody for another call under one key.
        """
        described = arrival.path.with_suffix(".json")
        job = Job(**{**asdict(job), "registered": job.kind == "base"})
        await arrival.keep()
        try:
            await asyncio.to_thread(_describe, described, job)
            id_ = await self._count(arrival.id, job, call) if job.registered else arrival.id
        except OSError as error:
            remove(described, arrival.path)
            raise Unavailable(f"the file cannot be kept: {error.strerror}") from error
        except DatabaseGone:
            # It may have been committed, as it may when we are cancelled: `run` finds out.
            self._came.set()
            raise
        except Exception:
            remove(described, arrival.path)
            raise
        if id_ != arrival.id:
            remove(described, arrival.path)
        self._came.set()
        return id_

    async def _count(self, id_: str, job: Job, call: Call | None) -> str:
        campaign = self._settings().campaigns.get(job.campaign or "")
        channel = job.channel or (campaign.channel if campaign else Channel.SMS)
        given = {"filename": job.filename, "base": job.base or job.filename, "channel": channel}
        now = self._clock()
        if call is None:
            await self._store.transact(register, id_, **given, now=now)
            return id_

        def do(connection: Connection) -> str:
            register(connection, id_, **given, now=now)
            return id_

        known: str = await self._store.transact(once, user=call.user, key=call.key, digest=call.digest, now=now, do=do)
        return known

    # -- loading -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Load what came in, also in an earlier life. Runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._load_what_comes())
            group.create_task(self._show_life())

    async def _load_what_comes(self) -> None:
        while True:
            self._came.clear()
            try:
                await self._load_all()
            except Unavailable as error:
                logger.warning("incoming_waits", error=str(error))
                await asyncio.sleep(TROUBLE_S)
                continue
            try:
                async with asyncio.timeout(FORGOTTEN_S):
                    await self._came.wait()
            except TimeoutError:
                pass

    async def _show_life(self) -> None:
        while True:
            await asyncio.sleep(ALIVE_S)
            waiting = [path.stem for path in self._folder.glob("*.json")]
            try:
                await self._store.transact(touch, waiting, now=self._clock())
            except DatabaseGone as error:
                logger.debug("incoming_waits", error=str(error))

    async def _load_all(self) -> None:
        if not self._folder.is_dir():
            return
        lock = FileLock(self._folder / "lock")
        if not lock.take():
            raise Unavailable("another process loads from the same folder")
        try:
            await asyncio.to_thread(_forget_rests, self._folder)
            # Ids rise with time.
            for described in sorted(self._folder.glob("*.json")):
                await self._load(described)
        finally:
            lock.release()

    async def _load(self, described: Path) -> None:
        content = described.with_suffix(".base")
        try:
            job = await asyncio.to_thread(_job, described)
        except FileNotFoundError:  # its call was another one made again, and has deleted it
            return
        try:
            if job.kind == "base":
                if not await self._load_base(job, content):
                    return
            else:
                await self._load_blacklist(job, content)
        except DatabaseGone:
            raise
        except Exception as error:  # one file that cannot be read must not keep the others
            if isinstance(error, DialerdError):
                logger.warning("incoming_refused", upload=described.stem, by=job.by, reason=str(error))
            else:
                logger.exception("incoming_refused", upload=described.stem, by=job.by)
            reason = bases.reason_of(error, content, job.filename)
            await self._store.transact(fail, described.stem, error=reason, now=self._clock())
        await asyncio.to_thread(remove, described, content)

    async def _load_base(self, job: Job, content: Path) -> bool:
        """Load a base, if it counts; False if that is not known yet."""
        id_ = content.stem
        if job.registered:
            known = await self._store.read(find_upload, id_)
            if known is None:
                return await asyncio.to_thread(_age_s, content) > FORGOTTEN_S
            if known.state == "loaded":
                await bases.move(self._store, id_, clock=self._clock, wake=self._wake)
                return True
            begun = known.accepted or known.rejected or known.state == "failed"
            ended = known.error is not None or known.same_as is not None
            if ended or (begun and not await bases.start_over(self._store, id_, now=self._clock())):
                return True
        loaded = await bases.load(
            self._store, self._settings(), content,
            channel=job.channel, base=job.base or job.filename, campaign=job.campaign, filename=job.filename,
            again=job.again, now=self._clock(), registered=id_ if job.registered else None,
        )  # fmt: skip
        lines = loaded.accepted + loaded.rejected
        if job.declared is not None and job.declared != lines:
            logger.warning("incoming_count_differs", upload=loaded.upload, declared=job.declared, lines=lines)
        await bases.move(self._store, loaded.upload, clock=self._clock, wake=self._wake)
        return True

    async def _load_blacklist(self, job: Job, content: Path) -> None:
        await bases.load_blacklist(
            self._store, self._settings(), content,
            channel=job.channel, campaign=job.campaign, now=self._clock(),
        )  # fmt: skip


def _describe(path: Path, job: Job) -> None:
    write_synced(path, json.dumps(asdict(job)).encode())
    sync_folder(path.parent)


def _job(described: Path) -> Job:
    given: dict[str, Any] = json.loads(described.read_text())
    given["channel"] = given["channel"] and Channel(given["channel"])
    return Job(**given)


def _age_s(path: Path) -> float:
    """Return for how long a file has not been written to; 0 for one that its call has just deleted."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _forget_rests(folder: Path) -> None:
    """Delete what calls left that ended before their answer."""
    for path in [*folder.glob("*.part"), *folder.glob("*.base")]:
        if not folder.joinpath(f"{path.name.partition('.')[0]}.json").exists() and _age_s(path) > FORGOTTEN_S:
            remove(path)
