"""Promotes what is due in sms_scheduler into the spool, minute by minute."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from dialerd import log
from dialerd.failpoint import hit
from dialerd.model.campaign import Campaign
from dialerd.model.errors import DatabaseGone
from dialerd.spool import Spool
from dialerd.store.scheduler import promote

__all__ = ["Scheduler", "end_of_minute"]

logger = log.get(__name__)

#: Most rows of one transaction: SQLite's other writers wait no longer than 50 ms.
BATCH = {"sqlite": 1000, "postgresql": 5000}
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 15.0


def end_of_minute(now: datetime) -> datetime:
    """Return the end of the minute in which `now` lies."""
    return now.replace(second=0, microsecond=0) + timedelta(minutes=1)


class Scheduler:
    """Moves due messages on. `campaigns` are all that are known; rows of others stay where they are."""

    def __init__(self, spool: Spool, *, campaigns: Mapping[str, Campaign], clock: Callable[[], datetime]) -> None:
        self.campaigns = campaigns
        self._spool = spool
        self._clock = clock

    async def tick(self) -> None:
        """Promote as of now, and again until the database has taken it: what is missed is late."""
        wait_s = FIRST_WAIT_S
        while True:
            try:
                await self.promote(self._clock())
                return
            except DatabaseGone as error:
                self._spool.database_failed(error, "promote")
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    async def promote(self, now: datetime, *, go_on: Callable[[], bool] = lambda: True) -> int:
        """Move every message due before the end of this minute into the spool; return how many.

        Safe when several do it at once: each batch is one transaction that takes rows nobody else has taken. `go_on()`
        is asked after each batch.
        """
        store = self._spool.store
        zones = {name: campaign.zone for name, campaign in self.campaigns.items()}
        most = BATCH[store.dialect]
        total = 0
        while True:
            hit("promote.begin")
            moved = await store.transact(promote, until=end_of_minute(now), now=now, zones=zones, most=most)
            hit("promote.committed")
            self._spool.database_answered("promote")
            count = sum(moved.values())
            total += count
            if count:
                logger.info("messages_promoted", count=count)
                self._spool.wake()
            if count < most or not go_on():
                return total
