"""Loads a base: stages its good lines, keeps the bad ones, and makes the whole of it count at once."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from dialerd import log
from dialerd.bases.files import TextFile, look
from dialerd.bases.judging import Batch, Judge
from dialerd.bases.lines import split_left
from dialerd.bases.moving import discard_staged
from dialerd.bases.rejected import base_lines
from dialerd.bases.seen import Seen
from dialerd.failpoint import hit
from dialerd.model.errors import DatabaseGone, Refused, Unavailable, UnknownCampaign
from dialerd.model.message import Channel, new_id
from dialerd.settings import Settings
from dialerd.store import Store
from dialerd.store.bases import forget_bad_lines, reopen
from dialerd.store.blacklist import blocked
from dialerd.store.uploads import BadLine, Upload, bad_lines, begin, fail, finish, same_upload, stage

__all__ = ["SAME_FILE_S", "SAMPLE", "Loaded", "load", "reason_of", "start_over"]

logger = log.get(__name__)

#: The same file within this time is taken for the same upload, made again by mistake.
SAME_FILE_S = 86_400
#: Most lines of one transaction: SQLite's other writers wait no longer than 50 ms.
MOST_LINES = {"sqlite": 1000, "postgresql": 2000}
#: Rejected lines that are handed out with the result; the rest is in upload_error.
SAMPLE = 20
#: Rejected lines forgotten by one transaction.
FORGET = 1000


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of a file: `already` if it is an earlier upload that brought it in. `errors` are the first few."""

    upload: str
    base: str
    accepted: int
    rejected: int
    errors: tuple[BadLine, ...]
    already: bool


async def load(
    store: Store,
    settings: Settings,
    path: Path,
    *,
    channel: Channel | None = None,
    base: str | None = None,
    campaign: str | None = None,
    filename: str | None = None,
    again: bool = False,
    now: datetime,
    on_progress: Callable[[int, int], None] | None = None,
    judged_by: Store | None = None,
    registered: str | None = None,
) -> Loaded:
    """Load a base; its accepted lines count from then on, all together, and wait for `move` to bring them to the spool.

    `campaign` stands where a line names none; `channel` and `base` are those of the campaigns in the file and the
    file's name unless given. `on_progress` is told the lines read, and about how many there are. Killed or cancelled
    before the end, nothing of the file is ever sent. `judged_by` is the database whose blacklist and earlier uploads
    count, where that is not the one to load into. `registered` is the upload as which the file was announced (see
    store/bases.py): whatever becomes of it is noted there.

    Raises Refused for a file that is no text, and for an unknown campaign or one of the other channel.
    """
    channel = _checked_channel(settings, channel, campaign)
    file = await asyncio.to_thread(look, path)
    if channel is None:
        channel = await asyncio.to_thread(_channel_of, settings, file)
    upload = registered or new_id()
    filename = _storable(filename or path.name)
    since = None if again else now - timedelta(seconds=SAME_FILE_S)
    base = _storable(base or filename)
    digest = await asyncio.to_thread(_digest, file, campaign)
    if judged_by is not None and since is not None:
        before = await judged_by.read(same_upload, digest, base, since)
        if before is not None:
            return await _result(judged_by, before, already=True)
    earlier = await store.transact(
        begin, upload, filename=filename, base=base, channel=channel, since=since, now=now, digest=digest
    )
    if earlier is None:
        loading = _Loading(store, judged_by or store, upload, now)
        try:
            judge = Judge(settings, channel, campaign)
            await loading.stage(file, judge, on_progress)
            done = await store.transact(finish, upload, since=since, now=loading.now())
        except BaseException as error:
            await loading.give_up(error, reason_of(error, path, filename))
            raise
        if done.state == "loaded" and done.id == upload:
            hit("upload.loaded")
            logger.info("base_loaded", upload=upload, base=done.base, accepted=done.accepted, rejected=done.rejected)
            return await _result(store, done)
        await discard_staged(store, upload)
        if done.id == upload:
            return await _result(store, done)
        earlier = done
    elif registered is not None:
        await store.transact(fail, registered, same_as=earlier, now=now)
    return await _result(store, earlier, already=True)


async def start_over(store: Store, upload: str, *, now: datetime) -> bool:
    """Forget what an interrupted load of a registered upload left, so that it can begin anew.

    False if it was cancelled, or has ended in another way, meanwhile.
    """
    await store.transact(fail, upload, now=now)
    await discard_staged(store, upload)
    while await store.transact(forget_bad_lines, upload, most=FORGET):
        pass
    return await store.transact(reopen, upload, now=now)


class _Loading:
    """One upload under way."""

    def __init__(self, store: Store, judged_by: Store, upload: str, now: datetime) -> None:
        self._store = store
        self._judged_by = judged_by
        self._upload = upload
        self._began = now
        self._began_s = time.monotonic()

    def now(self) -> datetime:
        return self._began + timedelta(seconds=time.monotonic() - self._began_s)

    async def stage(self, file: TextFile, judge: Judge, on_progress: Callable[[int, int], None] | None) -> None:
        """Read the file to its end, a batch of lines at a time, and keep what became of each."""
        done = 0
        batches = self._judged(file, judge)
        upcoming = _next(batches)
        try:
            while batch := await asyncio.shield(upcoming):
                # Read and judged while the database takes this one.
                upcoming = _next(batches)
                await self._store.transact(stage, self._upload, batch.good, batch.bad, now=self.now())
                hit("upload.staged")
                done += batch.size
                if on_progress is not None:
                    on_progress(done, max(done, file.line_count))
        finally:
            await asyncio.gather(upcoming, return_exceptions=True)
        if not done:
            raise Refused(f"{file.path} holds no lines")

    def _judged(self, file: TextFile, judge: Judge) -> Iterator[Batch]:
        """Yield the file's lines with all that speaks against them; this blocks."""
        seen = Seen()
        for batch in judge.batches(base_lines(file), most=MOST_LINES[self._store.dialect]):
            asked = [(judge.channel, line.address, line.campaign) for line in batch.good]
            reasons = dict.fromkeys(seen.add(batch.fingerprints), "duplicate")
            if entries := self._judged_by.read_here(blocked, asked, now=self._began):
                reasons |= {place: "blacklisted" for place, key in enumerate(asked) if key in entries}
            if reasons:
                batch.reject(reasons)
            yield batch

    async def give_up(self, error: BaseException, reason: str | None) -> None:
        """Leave nothing behind; what a lost database or somebody's hurry leaves is deleted later (see tidy)."""
        try:
            await self._store.transact(fail, self._upload, error=reason, now=self.now())
            if isinstance(error, Exception):
                await discard_staged(self._store, self._upload)
        except DatabaseGone:
            pass


def _next(batches: Iterator[Batch]) -> asyncio.Future[Batch | None]:
    return asyncio.ensure_future(asyncio.to_thread(next, batches, None))


async def _result(store: Store, upload: Upload, *, already: bool = False) -> Loaded:
    errors = await store.read(bad_lines, upload.id, most=SAMPLE)
    return Loaded(upload.id, upload.base, upload.accepted, upload.rejected, tuple(errors), already)


def reason_of(error: BaseException, path: Path, filename: str) -> str | None:
    """Return what is told of an upload that failed; None for one that was interrupted: it may be loaded again."""
    if isinstance(error, Unavailable) or not isinstance(error, Exception):
        return None
    return str(error).replace(str(path), filename) if isinstance(error, Refused) else "an error of dialerd: see its log"


def _checked_channel(settings: Settings, channel: Channel | None, campaign: str | None) -> Channel | None:
    if campaign is None:
        return channel
    known = settings.campaigns.get(campaign)
    if known is None:
        raise UnknownCampaign(campaign, settings.campaigns)
    if channel not in (None, known.channel):
        raise Refused(f"campaign {campaign} sends {known.channel}, not {channel}")
    return known.channel


def _channel_of(settings: Settings, file: TextFile) -> Channel:
    """Return the channel of the first known campaign in the file; SMS if there is none: all its lines are rejected."""
    for line in base_lines(file):
        known = settings.campaigns.get(split_left(line.text)[0].strip())
        if known is not None:
            return known.channel
    return Channel.SMS


def _digest(file: TextFile, campaign: str | None) -> str:
    """Return by what the file is known again; with the campaign that its lines leave open, if any does."""
    if campaign and any(not split_left(line.text)[0].strip() for line in base_lines(file)):
        return f"{file.digest} {campaign}"
    return file.digest


def _storable(name: str) -> str:
    """Return a file's name as text that a database takes."""
    return os.fsencode(name).decode("utf-8", "replace").replace("\0", "")
