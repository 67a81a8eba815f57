"""Everything that runs in a process, built and wired together; the daemon starts it, drains it and stops it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from dialerd import drivers, log
from dialerd.api import Api
from dialerd.charge import Charge
from dialerd.dialer import Dialer
from dialerd.examine import Examined, accepts, examine, providers_of
from dialerd.inbox import Inbox
from dialerd.interpreter import tune_interpreter
from dialerd.janitor import Janitor
from dialerd.lease import Lease
from dialerd.model.campaign import Campaign
from dialerd.model.errors import DatabaseGone
from dialerd.model.message import Message
from dialerd.model.outcome import Outcome
from dialerd.scheduler import Scheduler
from dialerd.settings import Settings
from dialerd.spool import Spool
from dialerd.store import Store
from dialerd.store.opening import open_store
from dialerd.tasks import kept_up
from dialerd.vitals import Vitals

__all__ = ["LAST_WORDS_S", "Doors", "Parts", "built", "campaigns_of", "utcnow"]

logger = log.get(__name__)

#: After the attempts have ended, so long the database may take to record the last of them.
LAST_WORDS_S = 20.0


def utcnow() -> datetime:
    """Return the wall clock's time in aware UTC."""
    return datetime.now(UTC)


class Doors:
    """By which messages, and what providers tell, come in: all that a process has that sends nothing itself."""

    def __init__(self, settings: Settings, store: Store, clock: Callable[[], datetime]) -> None:
        self.settings = settings
        self.store = store
        self.clock = clock
        daemon = settings.daemon
        self.lease = Lease(store, node=daemon.node, state_dir=daemon.state_dir, lease_s=daemon.lease_s)
        self.spool = Spool(store, self.lease, clock=clock)
        self.inbox = Inbox(self.spool, settings, clock=clock)

    def build_api(self, *, promoting: bool) -> Api:
        """Listen where [api] says; what calls the API is served once it runs. `promoting`: this is a daemon."""
        return Api(
            self.store,
            settings=lambda: self.settings,
            clock=self.clock,
            wake=self.spool.wake,
            inbox=self.inbox,
            promoting=promoting,
        )


class Parts(Doors):
    """Everything that runs, wired together."""

    def __init__(self, settings: Settings, store: Store, clock: Callable[[], datetime]) -> None:
        super().__init__(settings, store, clock)
        daemon = settings.daemon
        self.scheduler = Scheduler(self.spool, campaigns=settings.campaigns, clock=clock)
        self.janitor = Janitor(
            self.spool, self.lease, state_dir=daemon.state_dir, campaigns=settings.campaigns, report=self.report
        )
        self.charge = Charge()
        self.api: Api | None = None
        self.dialers = {name: self.build_dialer(name, settings) for name in settings.providers}
        #: Those of providers that a reload has changed or taken away, while their last attempts end.
        self.retiring: set[Dialer] = set()
        self.vitals = Vitals(self.spool, self.dialers, stall_s=daemon.stall_minutes * 60)
        #: Of drivers whose provider speaks to us.
        self.listeners: dict[Dialer, asyncio.Task[None]] = {}

    def build_dialer(self, name: str, settings: Settings) -> Dialer:
        """Return a new dialer for a provider as `settings` describe it; nothing of it runs yet."""
        provider = settings.providers[name]
        campaigns = campaigns_of(name, settings)
        return Dialer(
            name,
            drivers.build(provider, campaigns),
            self.spool,
            campaigns=campaigns,
            max_in_flight=provider.max_in_flight,
            per_second=provider.per_second,
            examine=self._examine,
            accepts=partial(accepts, provider) if provider.accept is not None else None,
            charge=self.charge,
            observe=self._observe,
        )

    def _examine(self, campaign: Campaign, destination: str, data: str, details: Mapping[str, Any] | None) -> Examined:
        return examine(campaign, destination, data, details, providers_of(campaign, self.settings.providers))

    def open_api(self) -> None:
        """Listen where [api] says, if it does; what calls the API is served once it runs."""
        if self.settings.api is not None:
            self.api = self.build_api(promoting=True)

    def _observe(self, provider: str, message: Message, outcome: Outcome, took_s: float) -> None:
        if self.api is not None:
            self.api.meters.attempted(provider, message, outcome, took_s, self.clock())

    def listen(self, dialer: Dialer, group: asyncio.TaskGroup) -> None:
        """Have a driver hand on what its provider tells by itself, if it does, until `hang_up`."""
        driver = dialer.driver
        if isinstance(driver, drivers.Listener):
            self.listeners[dialer] = group.create_task(kept_up(partial(driver.listen, self.inbox)))

    async def hang_up(self, dialer: Dialer) -> None:
        """Listen no more, and let go of the driver."""
        listener = self.listeners.pop(dialer, None)
        if listener is not None:
            listener.cancel()
            await asyncio.wait([listener], timeout=LAST_WORDS_S)
        await dialer.driver.close()

    def report(self) -> Mapping[str, Any]:
        """Return how each provider is, for the heartbeat and so for status."""
        return {name: self.vitals.told(name, dialer.report()) for name, dialer in self.dialers.items()}

    async def drain(self) -> None:
        """Let attempts end within drain_s, record them, and leave."""
        drain_s = self.settings.daemon.drain_s
        dialers = [*self.dialers.values(), *self.retiring]
        await asyncio.gather(*(dialer.drain(drain_s) for dialer in dialers))
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                self.spool.hurry()
                await self.spool.all_settled()
                await self.lease.end()
        except (TimeoutError, DatabaseGone) as error:
            # Whoever comes next finds our claims and makes them doubts.
            logger.error("drain_incomplete", error=str(error) or "the database did not answer in time")
            self.lease.abandon()
        for dialer in dialers:
            await self.hang_up(dialer)


def campaigns_of(provider: str, settings: Settings) -> Mapping[str, Campaign]:
    """Return the campaigns that send, or may send, through a provider."""
    return {name: campaign for name, campaign in settings.campaigns.items() if provider in campaign.providers}


@asynccontextmanager
async def built(settings: Settings, clock: Callable[[], datetime]) -> AsyncIterator[Parts]:
    """Build the parts on an open database, with what an earlier process held rescued."""
    async with open_store(settings.database.url, may_migrate=settings.database.migrate) as store:
        parts = Parts(settings, store, clock)
        await parts.lease.begin()
        tune_interpreter()
        yield parts
