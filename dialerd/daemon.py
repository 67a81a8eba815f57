"""The daemon: starts every part, drains them, stops them."""

import asyncio
import os
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial

from dialerd import bases, log, reload
from dialerd.lease import FileLock
from dialerd.model.errors import DatabaseGone, Refused
from dialerd.notify import Notifier
from dialerd.parts import LAST_WORDS_S, Parts, built, utcnow
from dialerd.settings import Settings
from dialerd.signals import Asked
from dialerd.tasks import RESTART_S, kept_up, plain_errors
from dialerd.ticker import Ticker

__all__ = ["run"]

logger = log.get(__name__)

#: Calls of the API that are under way when it stops have at least so long.
LAST_CALLS_S = 3.0
#: So long it takes at most to leave, when all is recorded.
LEAVE_S = 10.0


async def run(load: Callable[[], Settings], *, clock: Callable[[], datetime] = utcnow) -> None:
    """Run the daemon until SIGTERM or SIGINT; SIGHUP reads the configuration anew, SIGUSR1 logs at debug and back.

    The service manager, if there is one, is told how it goes.

    Raises Refused when a daemon of the same name runs, ConfigError and Unavailable when it cannot begin.
    """
    settings = load()
    lock = FileLock(settings.daemon.state_dir / f"{settings.daemon.node}.lock")
    if not lock.take():
        raise Refused(
            f"a daemon named {settings.daemon.node} runs already (process {lock.holder()}, {lock.path});"
            " stop it, or give this one another name with --node"
        )
    lock.write_pid()
    log.set_level(settings.daemon.log_level)
    notifier = Notifier(os.environ)
    notifier.status("opening the database")
    asked = Asked()
    with plain_errors(), asked.by_signals():
        try:
            async with built(settings, clock) as parts:
                await _serve(parts, load, asked, notifier)
        finally:
            lock.release()


async def _serve(parts: Parts, load: Callable[[], Settings], asked: Asked, notifier: Notifier) -> None:
    parts.open_api()
    rescued = await parts.janitor.rescue_earlier()
    ticker = Ticker(parts.scheduler.tick)
    logger.info("daemon_started", node=parts.lease.node, campaigns=len(parts.settings.campaigns), rescued=rescued)

    def jumped(seconds: float) -> None:
        logger.warning("clock_jumped", seconds=round(seconds, 1))
        # The minutes that the clock has left out have no second 0.
        running.append(group.create_task(kept_up(parts.scheduler.tick)))
        parts.spool.wake()

    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(kept_up(part))
            for part in (
                parts.spool.watch,
                parts.spool.run_settlements,
                parts.janitor.keep_lease,
                parts.janitor.keep_watch,
                parts.janitor.keep_expiring,
                parts.inbox.keep_looking,
                lambda: ticker.keep_aligned(parts.clock, jumped),
                lambda: _move_uploads(parts),
                parts.scheduler.tick,
                lambda: parts.vitals.keep(notifier),
            )
        ]
        parts.spool.waiters = list(parts.dialers.values())
        for dialer in parts.dialers.values():
            group.create_task(kept_up(dialer.run))
            parts.listen(dialer, group)
        if parts.api is not None:
            group.create_task(kept_up(parts.api.run))
        ticker.start()
        notifier.ready("sending")
        apply = partial(reload.apply, parts, group=group)
        await asked.until_stopped(lambda: reload.reloaded(load, apply, notifier, "sending"))
        ticker.stop()
        in_flight = sum(dialer.in_flight for dialer in parts.dialers.values())
        logger.info("daemon_draining", in_flight=in_flight)
        parts.vitals.is_stopping = True
        notifier.stopping(f"stopping: {in_flight} under way", parts.settings.daemon.drain_s + LAST_WORDS_S + LEAVE_S)
        began = time.monotonic()
        if parts.api is not None:
            parts.api.drain()
        await parts.drain()
        if parts.api is not None:
            left_s = parts.settings.daemon.drain_s - (time.monotonic() - began)
            await parts.api.stop(max(left_s, LAST_CALLS_S))
        for task in running:
            task.cancel()
    logger.info("daemon_stopped", node=parts.lease.node)


async def _move_uploads(parts: Parts) -> None:
    """Finish the uploads that a killed process had loaded but not moved into the spool. Runs until cancelled."""
    while True:
        try:
            await bases.tidy(parts.store, clock=parts.clock, wake=parts.spool.wake)
            parts.spool.database_answered("uploads")
        except DatabaseGone as error:
            parts.spool.database_failed(error, "uploads")
        await asyncio.sleep(RESTART_S)
