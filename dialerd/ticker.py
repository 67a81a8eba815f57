"""The minute: calls one coroutine at second 0 of each, whatever the clocks do. The only file that knows APScheduler."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

__all__ = ["Ticker"]

JOB = "minute"
LOOK_S = 1.0
#: Slewing clocks and busy machines differ by less; a clock that was set differs by more.
TOLERATED_S = 1.5


class Ticker:
    """Calls `tick` at second 0 of every minute, in UTC; a tick under way is not overtaken by the next.

    The truth is in the database: the job is kept in memory, and what was missed is in the next tick's due rows.
    """

    def __init__(self, tick: Callable[[], Awaitable[None]]) -> None:
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._scheduler.add_job(
            tick,
            CronTrigger(second=0, timezone=UTC),
            id=JOB,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )

    def start(self) -> None:
        """Begin with the next minute."""
        self._scheduler.start()

    async def keep_aligned(self, clock: Callable[[], datetime], jumped: Callable[[float], None]) -> None:
        """Find the next minute anew whenever the wall clock was set; `jumped` is told by how many seconds.

        The timer that waits for the minute runs on a steady clock and would not notice. Runs until cancelled.
        """
        loop = asyncio.get_running_loop()
        wall, steady = clock(), loop.time()
        while True:
            await asyncio.sleep(LOOK_S)
            wall_now, steady_now = clock(), loop.time()
            drift_s = (wall_now - wall).total_seconds() - (steady_now - steady)
            wall, steady = wall_now, steady_now
            if abs(drift_s) > TOLERATED_S:
                self._scheduler.reschedule_job(JOB, trigger=CronTrigger(second=0, timezone=UTC))
                jumped(drift_s)

    def stop(self) -> None:
        """Call no more."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
