"""The entrance alone, `dialerd api`: the HTTP API in a process of its own, beside daemons on the same database.

It claims and promotes nothing and is no node: what it takes stands in the database, and the daemons, which look there
every second, send it. It loads the files that came in by it, and those that an earlier process left in its state_dir.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from dialerd import log
from dialerd.api import Api
from dialerd.interpreter import tune_interpreter
from dialerd.model.errors import Refused
from dialerd.notify import Notifier
from dialerd.parts import Doors, utcnow
from dialerd.reload import reloaded
from dialerd.settings import Settings
from dialerd.signals import Asked
from dialerd.store.opening import open_store
from dialerd.tasks import kept_up, plain_errors

__all__ = ["run"]

logger = log.get(__name__)

#: How often the watchdog, if there is one, is told that the event loop turns.
ALIVE_S = 10.0


async def run(load: Callable[[], Settings], *, clock: Callable[[], datetime] = utcnow) -> None:
    """Serve the API until SIGTERM or SIGINT; requests under way may end within drain_s. SIGHUP and SIGUSR1 as a daemon.

    Raises Refused when there is no address to listen at, ConfigError and Unavailable when it cannot begin.
    """
    settings = load()
    if settings.api is None:
        raise Refused("[api] has no listen, and no --listen was given: there is no address to serve the API at")
    log.set_level(settings.daemon.log_level)
    notifier = Notifier(os.environ)
    notifier.status("opening the database")
    asked = Asked()
    with plain_errors(), asked.by_signals():
        async with open_store(settings.database.url, may_migrate=settings.database.migrate) as store:
            doors = Doors(settings, store, clock)
            api = doors.build_api(promoting=False)
            tune_interpreter()
            await _serve(doors, api, load, asked, notifier)


async def _serve(doors: Doors, api: Api, load: Callable[[], Settings], asked: Asked, notifier: Notifier) -> None:
    began = doors.settings

    def apply(fresh: Settings) -> None:
        doors.settings = doors.inbox.settings = fresh if fresh.api is not None else replace(fresh, api=began.api)
        if fresh.daemon.log_level != began.daemon.log_level:
            log.set_level(fresh.daemon.log_level)
        if _fixed(fresh) != _fixed(began):
            logger.warning(
                "reload_needs_restart", tables="[daemon], [database] and where [api] listens are read at the start only"
            )
        logger.info("reloaded", campaigns=len(fresh.campaigns), providers=len(fresh.providers))

    async with asyncio.TaskGroup() as group:
        group.create_task(kept_up(api.run))
        alive = group.create_task(_give_signs_of_life(notifier))
        notifier.ready("serving the API")
        await asked.until_stopped(lambda: reloaded(load, apply, notifier, "serving the API"))
        drain_s = doors.settings.daemon.drain_s
        notifier.stopping("stopping: requests under way may end", drain_s)
        await api.stop(drain_s)
        alive.cancel()
    logger.info("api_stopped")


def _fixed(settings: Settings) -> tuple[object, ...]:
    """Return what a reload cannot change."""
    return settings.daemon.state_dir, settings.database, settings.api and settings.api.listen


async def _give_signs_of_life(notifier: Notifier) -> None:
    every_s = ALIVE_S if notifier.watchdog_s is None else min(ALIVE_S, notifier.watchdog_s / 3)
    while True:
        notifier.alive("serving the API")
        await asyncio.sleep(every_s)
