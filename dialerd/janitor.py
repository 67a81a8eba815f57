"""Looks after what others left: rescues what a dead node held, ends what has waited too long."""

import asyncio
import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from dialerd import log
from dialerd.lease import FileLock, Lease, boottime, home_of, lock_path
from dialerd.model.campaign import Campaign, OnDoubt, RetryPolicy
from dialerd.model.errors import DatabaseGone
from dialerd.model.outcome import InDoubt
from dialerd.model.retry import Verdict, verdict
from dialerd.spool import Spool
from dialerd.store.nodes import incarnations, orphans, rescue
from dialerd.store.spool import expire, oldest_waiting

__all__ = ["Janitor"]

logger = log.get(__name__)

BEATS_PER_LEASE = 6
#: Most rows of one transaction: SQLite's other writers wait no longer than 50 ms.
MOST_EXPIRED = 1000
EXPIRE_EVERY_S = 10.0


class Janitor:
    """Keeps this process's lease, watches the others', and expires what waits too long."""

    def __init__(
        self, spool: Spool, lease: Lease, *, state_dir: Path, campaigns: Mapping[str, Campaign],
        report: Callable[[], Mapping[str, Any]],
    ) -> None:  # fmt: skip
        self.campaigns = campaigns
        self._spool = spool
        self._lease = lease
        self._state_dir = state_dir
        self._report = report
        #: For each other incarnation the beat last seen and since when, on our own steady clock, it stands still.
        self._seen: dict[str, tuple[int, float]] = {}
        self._looked_at = 0.0

    # -- heartbeat -----------------------------------------------------------------------------------------------

    async def keep_lease(self) -> None:
        """Give signs of life. Runs until cancelled."""
        while True:
            try:
                if not await self._lease.beat(self._report()):
                    logger.error("lease_lost", incarnation=self._lease.incarnation)
                    await self._lease.begin()
                self._spool.database_answered("beat")
            except DatabaseGone as error:
                self._spool.database_failed(error, "beat")
            await asyncio.sleep(self._lease.lease_s / BEATS_PER_LEASE)

    async def keep_watch(self) -> None:
        """Watch the others' signs of life, beside our own: a rescue may have to wait. Runs until cancelled."""
        while True:
            try:
                await self._watch_others()
                self._spool.database_answered("watch")
            except DatabaseGone as error:
                self._spool.database_failed(error, "watch")
            await asyncio.sleep(self._lease.lease_s / BEATS_PER_LEASE)

    async def _watch_others(self) -> None:
        """Rescue what those held whose heartbeat has stood still for their whole lease, on our own clock."""
        store, now = self._spool.store, boottime()
        if now - self._looked_at > self._lease.lease_s / 2:
            # We stood still ourselves, or the database did: what we have not watched proves nothing.
            self._seen.clear()
        self._looked_at = now
        others = [other for other in await store.read(incarnations) if other.incarnation != self._lease.incarnation]
        # A beat that is new to us may have come while we waited for the answer; it stood still from then on.
        answered = boottime()
        seen = {}
        for other in others:
            beat, since = self._seen.get(other.incarnation, (other.beat, answered))
            seen[other.incarnation] = (beat, since) if beat == other.beat else (other.beat, answered)
            if now - seen[other.incarnation][1] >= other.lease_s:
                await self._rescue(other.incarnation, other.node, seen_beat=other.beat)
        self._seen = seen
        for stray in await store.transact(orphans):
            await self._rescue(stray, "unknown")

    async def rescue_earlier(self) -> int:
        """Rescue at once what earlier processes of this node held: those whose lock file nobody holds; return how many.

        Where the files are not ours to judge by (another host or state folder), the heartbeat decides later.
        """
        home, doubts = home_of(self._state_dir), 0
        for earlier in await self._spool.store.read(incarnations):
            if earlier.node != self._lease.node or earlier.home != home:
                continue
            lock = FileLock(lock_path(self._state_dir, earlier.node, earlier.incarnation))
            if lock.take():
                doubts += await self._rescue(earlier.incarnation, earlier.node)
                lock.release(remove=True)
        return doubts

    async def _rescue(self, incarnation: str, node: str, *, seen_beat: int | None = None) -> int:
        now = self._spool.clock()
        doubts = await self._spool.store.transact(
            rescue,
            incarnation,
            doubt=lambda campaign, attempt: self._doubt(campaign, attempt, node, now),
            now=now,
            seen_beat=seen_beat,
        )
        if doubts is not None:
            logger.warning("node_rescued", node=node, incarnation=incarnation, doubts=doubts)
            self._spool.wake()
        return doubts or 0

    def _doubt(self, name: str, attempt: int, node: str, now: datetime) -> Verdict:
        campaign = self.campaigns.get(name)
        return verdict(
            InDoubt(f"node {node} died during the attempt"),
            attempt=attempt,
            policy=campaign.retry if campaign else RetryPolicy(),
            on_doubt=campaign.on_doubt if campaign else OnDoubt.HOLD,
            now=now,
            jitter=random.random(),  # noqa: S311  # spreads retries, guards no secret
        )

    # -- expiry --------------------------------------------------------------------------------------------------

    async def keep_expiring(self) -> None:
        """End what has waited too long, open campaign or not. Runs until cancelled."""
        while True:
            try:
                await self.expire(self._spool.clock())
                self._spool.database_answered("expire")
            except DatabaseGone as error:
                self._spool.database_failed(error, "expire")
            await asyncio.sleep(EXPIRE_EVERY_S)

    async def expire(self, now: datetime, *, go_on: Callable[[], bool] = lambda: True) -> int:
        """Move the waiting messages that have been due for longer than their campaign's expires_s to sms_repo.

        Returns how many. `go_on()` is asked after each batch.
        """
        total = 0
        oldest = await self._spool.store.read(oldest_waiting)
        for campaign in [self.campaigns[name] for name in oldest if name in self.campaigns]:
            if campaign.expires_s is None:
                continue
            due_before = now - timedelta(seconds=campaign.expires_s)
            while oldest[campaign.name] < due_before and go_on():
                count = await self._spool.store.transact(
                    expire,
                    campaign.name,
                    due_before=due_before,
                    reason=f"waited longer than {campaign.expires_s:g} s",
                    now=now,
                    most=MOST_EXPIRED,
                )
                total += count
                if count < MOST_EXPIRED:
                    break
        if total:
            logger.info("messages_expired", count=total)
        return total
