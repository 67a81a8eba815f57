"""The API of one process, in its event loop: the server, and what works behind it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from dialerd import log
from dialerd.api.app import build
from dialerd.api.context import Context, Health
from dialerd.api.incoming import Incoming
from dialerd.api.meters import Meters
from dialerd.api.server import Server
from dialerd.drivers import Inbox
from dialerd.intake import Intake
from dialerd.model.errors import DatabaseGone
from dialerd.settings import Settings
from dialerd.store import Store
from dialerd.store.messages import forget_old_calls
from dialerd.users import Users

__all__ = ["Api"]

logger = log.get(__name__)

#: What has run out is deleted so often.
TIDY_S = 600.0
#: For so long a call made again under its idempotency key does nothing.
CALLS_KEPT = timedelta(hours=24)


class Api:
    """Listens from its making on; serves while `run` runs, and until `stop`.

    `settings` returns those that hold now. `wake` is called when something stands in the spool, `inbox` keeps
    what providers tell. Raises Refused when the address cannot be listened at.
    """

    def __init__(
        self,
        store: Store,
        *,
        settings: Callable[[], Settings],
        clock: Callable[[], datetime],
        wake: Callable[[], None],
        inbox: Inbox,
        promoting: bool,
    ) -> None:
        first = settings()
        assert first.api is not None
        folder = first.daemon.state_dir / "incoming"
        self.health = Health(promoting=promoting)
        self.meters = Meters()
        self._context = Context(
            store=store,
            settings=_keeping_api(settings),
            clock=clock,
            intake=Intake(store, settings=settings, clock=clock, wake=wake),
            users=Users(store, clock=clock),
            incoming=Incoming(store, folder, settings=settings, clock=clock, wake=wake),
            health=self.health,
            meters=self.meters,
            inbox=inbox,
        )
        self._server = Server(build(self._context), first.api.listen)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    async def run(self) -> None:
        """Serve until stopped."""
        async with asyncio.TaskGroup() as group:
            background = [group.create_task(self._context.incoming.run()), group.create_task(self._tidy())]
            await self._server.run()
            for task in background:
                task.cancel()

    def drain(self) -> None:
        """Say to who asks that this process will end. Calls are taken still."""
        self.health.draining = True

    async def stop(self, seconds: float) -> None:
        """Take no more calls; those under way may end within so many seconds, then `run` ends."""
        self.drain()
        await self._server.stop(seconds)

    async def _tidy(self) -> None:
        while True:
            try:
                await self._context.users.forget_old()
                await self._context.store.transact(forget_old_calls, now=self._context.clock(), keep=CALLS_KEPT)
            except DatabaseGone as error:
                logger.debug("api_untidied", error=str(error))
            await asyncio.sleep(TIDY_S)


def _keeping_api(settings: Callable[[], Settings]) -> Callable[[], Settings]:
    """Return the settings that hold now, with the last [api] there was: it is served to the end of the process."""
    last = settings().api

    def current() -> Settings:
        nonlocal last
        now = settings()
        if now.api is None:
            return replace(now, api=last)
        last = now.api
        return now

    return current
