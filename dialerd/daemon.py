"""The composition root: builds every part, starts them, drains them, stops them."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from dialerd import bases, drivers, log
from dialerd.api import Api
from dialerd.charge import Charge
from dialerd.dialer import Dialer
from dialerd.examine import Examined, accepts, examine, providers_of
from dialerd.inbox import Inbox
from dialerd.interpreter import tune_interpreter
from dialerd.janitor import Janitor
from dialerd.lease import FileLock, Lease
from dialerd.model.campaign import Campaign
from dialerd.model.errors import ConfigError, DatabaseGone, Refused
from dialerd.model.message import Message
from dialerd.model.outcome import Outcome
from dialerd.notify import Notifier
from dialerd.scheduler import Scheduler
from dialerd.settings import Settings
from dialerd.signals import Asked
from dialerd.spool import Spool
from dialerd.store import Store
from dialerd.store.opening import open_store
from dialerd.tasks import RESTART_S, kept_up, plain_errors
from dialerd.ticker import Ticker
from dialerd.vitals import Vitals

__all__ = ["Doors", "Parts", "built", "reloaded", "run", "utcnow"]

logger = log.get(__name__)

#: After the attempts have ended, so long the database may take to record the last of them.
LAST_WORDS_S = 20.0
#: Calls of the API that are under way then have at least so long.
LAST_CALLS_S = 3.0
#: And so long it takes at most to leave.
LEAVE_S = 10.0


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
        apply = partial(_apply, parts, group=group)
        await asked.until_stopped(lambda: reloaded(load, apply, notifier, "sending"))
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


def reloaded(load: Callable[[], Settings], apply: Callable[[Settings], None], notifier: Notifier, doing: str) -> None:
    """Read the configuration anew and go on with it, or else with the old one; say what became of it.

    `doing` is what the process does either way, for `systemctl status`.
    """
    notifier.reloading()
    told = f"{doing}; the new configuration was refused"
    try:
        apply(load())
    except ConfigError as error:
        logger.error("reload_refused", problems=error.problems)
        told += f", problems: {len(error.problems)}"
    except Refused as error:
        logger.error("reload_refused", problems=[str(error)])
    except Exception as error:  # whatever is wrong with the new configuration, the old one is right
        logger.exception("reload_refused", problems=[f"a bug: {type(error).__name__}"])
    else:
        told = f"{doing}; the new configuration holds"
    notifier.ready(told)


def _apply(parts: Parts, fresh: Settings, *, group: asyncio.TaskGroup) -> None:
    """Go on with a new configuration: providers that changed get a new dialer, the old one drains beside it."""
    old = parts.settings
    kept = [
        name
        for name, provider in old.providers.items()
        if fresh.providers.get(name) == provider and not _messages_changed(old, fresh, name)
    ]
    # Built before anything changes: what cannot be built leaves the old configuration whole.
    built = {name: parts.build_dialer(name, fresh) for name in fresh.providers if name not in kept}
    parts.settings = fresh
    parts.vitals.stall_s = fresh.daemon.stall_minutes * 60
    if fresh.daemon.log_level != old.daemon.log_level:
        log.set_level(fresh.daemon.log_level)
    daemon = replace(old.daemon, stall_minutes=fresh.daemon.stall_minutes, log_level=fresh.daemon.log_level)
    listening = [settings.api and settings.api.listen for settings in (old, fresh)]
    if (daemon, old.database, listening[0]) != (fresh.daemon, fresh.database, listening[1]):
        logger.warning(
            "reload_needs_restart", tables="[daemon], [database] and where [api] listens are read at the start only"
        )
    parts.inbox.settings = fresh
    parts.scheduler.campaigns = fresh.campaigns
    parts.janitor.campaigns = fresh.campaigns
    for name in parts.dialers.keys() - kept:
        group.create_task(_retire(parts, parts.dialers.pop(name), fresh.daemon.drain_s))
    for name, dialer in parts.dialers.items():
        dialer.campaigns = campaigns_of(name, fresh)
    for name, dialer in built.items():
        parts.dialers[name] = dialer
        group.create_task(kept_up(dialer.run))
        parts.listen(dialer, group)
    parts.spool.waiters = list(parts.dialers.values())
    parts.spool.wake()
    logger.info("reloaded", campaigns=len(fresh.campaigns), providers=len(fresh.providers))


def _messages_changed(old: Settings, fresh: Settings, provider: str) -> bool:
    """Tell whether that changed of the campaigns by which this provider's driver composes mails, numbers and texts."""
    before, after = (
        {
            name: (one.email, one.region, one.unicode, one.missing, one.zone)
            for name, one in campaigns_of(provider, settings).items()
        }
        for settings in (old, fresh)
    )
    return before != after


async def _retire(parts: Parts, dialer: Dialer, drain_s: float) -> None:
    parts.retiring.add(dialer)
    await dialer.drain(drain_s)
    await parts.hang_up(dialer)
    parts.spool.forget(f"claim for {dialer.name}")
    parts.retiring.discard(dialer)


async def _move_uploads(parts: Parts) -> None:
    """Finish the uploads that a killed process had loaded but not moved into the spool. Runs until cancelled."""
    while True:
        try:
            await bases.tidy(parts.store, clock=parts.clock, wake=parts.spool.wake)
            parts.spool.database_answered("uploads")
        except DatabaseGone as error:
            parts.spool.database_failed(error, "uploads")
        await asyncio.sleep(RESTART_S)
