"""The composition root: builds every part, starts them, drains them, stops them."""

import asyncio
import gc
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dialerd import bases, drivers, log
from dialerd.dialer import Dialer
from dialerd.janitor import Janitor
from dialerd.lease import FileLock, Lease
from dialerd.model.campaign import Campaign
from dialerd.model.errors import ConfigError, DatabaseGone, Refused, Unavailable
from dialerd.model.rules import CampaignState, state_of
from dialerd.scheduler import Scheduler
from dialerd.settings import Settings
from dialerd.spool import Spool
from dialerd.store import Store
from dialerd.store.migrate import at_head, migrate
from dialerd.store.pause import paused
from dialerd.store.spool import count_queued, newest_seq
from dialerd.ticker import Ticker

__all__ = ["Summary", "run", "run_once"]

logger = log.get(__name__)

#: After the attempts have ended, so long the database may take to record the last of them.
LAST_WORDS_S = 20.0
#: A batch run gives up when the database was away for so long.
DATABASE_PATIENCE_S = 60.0
RESTART_S = 5.0
#: How many new objects make the garbage collector look at them, and how many such looks make it look further.
GARBAGE = (20_000, 10, 10)


def utcnow() -> datetime:
    """Return the wall clock's time in aware UTC."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Summary:
    """What a batch run did: `ended` counts messages by status or state, `down` names providers that were away."""

    promoted: int = 0
    rescued: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    down: dict[str, str] = field(default_factory=dict)
    remaining: int = 0


class _Parts:
    """Everything that runs, wired together."""

    def __init__(self, settings: Settings, store: Store, clock: Callable[[], datetime]) -> None:
        self.settings = settings
        self.store = store
        self.clock = clock
        daemon = settings.daemon
        self.lease = Lease(store, node=daemon.node, state_dir=daemon.state_dir, lease_s=daemon.lease_s)
        self.spool = Spool(store, self.lease, clock=clock)
        self.scheduler = Scheduler(self.spool, campaigns=settings.campaigns, clock=clock)
        self.janitor = Janitor(
            self.spool, self.lease, state_dir=daemon.state_dir, campaigns=settings.campaigns, report=self.report
        )
        self.dialers = {name: self.build_dialer(name, settings) for name in settings.providers}
        #: Those of providers that a reload has changed or taken away, while their last attempts end.
        self.retiring: set[Dialer] = set()

    def build_dialer(self, name: str, settings: Settings) -> Dialer:
        provider = settings.providers[name]
        campaigns = campaigns_of(name, settings)
        return Dialer(
            name,
            drivers.build(provider, campaigns),
            self.spool,
            campaigns=campaigns,
            max_in_flight=provider.max_in_flight,
            per_second=provider.per_second,
        )

    def report(self) -> Mapping[str, Any]:
        return {name: dialer.report() for name, dialer in self.dialers.items()}

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
            await dialer.driver.close()


def campaigns_of(provider: str, settings: Settings) -> Mapping[str, Campaign]:
    """Return the campaigns that send through a provider."""
    return {name: campaign for name, campaign in settings.campaigns.items() if campaign.provider == provider}


@asynccontextmanager
async def _built(settings: Settings, clock: Callable[[], datetime]) -> AsyncIterator[_Parts]:
    """Build the parts on an open database at this version's tables, with what an earlier process held rescued."""
    store = Store(settings.database.url)
    try:
        if not await store.read(at_head):
            if not settings.database.migrate:
                raise Refused("the database is not at this version: run `dialerd migrate`")
            await store.transact(migrate)
        parts = _Parts(settings, store, clock)
        await parts.lease.begin()
        # What stands now stands to the end, and messages come and go in no cycles: a garbage collector that walks
        # through all modules every few hundred messages took an eighth of the time of a drain.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GARBAGE)
        yield parts
    finally:
        store.close()


async def run(load: Callable[[], Settings], *, clock: Callable[[], datetime] = utcnow) -> None:
    """Run the daemon until SIGTERM or SIGINT; SIGHUP reads the configuration anew.

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
    stop, reload = asyncio.Event(), asyncio.Event()
    with _plain_errors(), _signals({signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload}):
        try:
            async with _built(settings, clock) as parts:
                await _serve(parts, load, stop, reload)
        finally:
            lock.release()


async def _serve(parts: _Parts, load: Callable[[], Settings], stop: asyncio.Event, reload: asyncio.Event) -> None:
    rescued = await parts.janitor.rescue_earlier()
    ticker = Ticker(parts.scheduler.tick)
    logger.info("daemon_started", node=parts.lease.node, campaigns=len(parts.settings.campaigns), rescued=rescued)

    def jumped(seconds: float) -> None:
        logger.warning("clock_jumped", seconds=round(seconds, 1))
        # The minutes that the clock has left out have no second 0.
        running.append(group.create_task(_kept_up(parts.scheduler.tick)))
        parts.spool.wake()

    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(_kept_up(part))
            for part in (
                parts.spool.watch,
                parts.spool.run_settlements,
                parts.janitor.keep_lease,
                parts.janitor.keep_watch,
                parts.janitor.keep_expiring,
                lambda: ticker.keep_aligned(parts.clock, jumped),
                lambda: _move_uploads(parts),
                parts.scheduler.tick,
            )
        ]
        parts.spool.waiters = list(parts.dialers.values())
        for dialer in parts.dialers.values():
            group.create_task(_kept_up(dialer.run))
        ticker.start()
        await _until_stopped(parts, load, stop, reload, group)
        ticker.stop()
        logger.info("daemon_draining", in_flight=sum(dialer.in_flight for dialer in parts.dialers.values()))
        await parts.drain()
        for task in running:
            task.cancel()
    logger.info("daemon_stopped", node=parts.lease.node)


async def _until_stopped(
    parts: _Parts, load: Callable[[], Settings], stop: asyncio.Event, reload: asyncio.Event, group: asyncio.TaskGroup
) -> None:
    while not stop.is_set():
        waits = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(reload.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if reload.is_set():
            reload.clear()
            try:
                _apply(parts, load(), group)
            except ConfigError as error:
                logger.error("reload_refused", problems=error.problems)
            except Refused as error:
                logger.error("reload_refused", problems=[str(error)])


def _apply(parts: _Parts, fresh: Settings, group: asyncio.TaskGroup) -> None:
    """Go on with a new configuration: providers that changed get a new dialer, the old one drains beside it."""
    old = parts.settings
    kept = [
        name
        for name, provider in old.providers.items()
        if fresh.providers.get(name) == provider and not _mail_changed(old, fresh, name)
    ]
    # Built before anything changes: what cannot be built leaves the old configuration whole.
    built = {name: parts.build_dialer(name, fresh) for name in fresh.providers if name not in kept}
    parts.settings = fresh
    if (old.daemon, old.database) != (fresh.daemon, fresh.database):
        logger.warning("reload_needs_restart", tables="[daemon] and [database] are read at the start only")
    parts.scheduler.campaigns = fresh.campaigns
    parts.janitor.campaigns = fresh.campaigns
    for name in parts.dialers.keys() - kept:
        group.create_task(_retire(parts, parts.dialers.pop(name), fresh.daemon.drain_s))
    for name, dialer in parts.dialers.items():
        dialer.campaigns = campaigns_of(name, fresh)
    for name, dialer in built.items():
        parts.dialers[name] = dialer
        group.create_task(_kept_up(dialer.run))
    parts.spool.waiters = list(parts.dialers.values())
    parts.spool.wake()
    logger.info("reloaded", campaigns=len(fresh.campaigns), providers=len(fresh.providers))


def _mail_changed(old: Settings, fresh: Settings, provider: str) -> bool:
    """Tell whether anything changed by which this provider's driver composes mails."""
    before, after = (
        {
            name: (campaign.email, campaign.missing, campaign.zone)
            for name, campaign in settings.campaigns.items()
            if campaign.provider == provider and campaign.email is not None
        }
        for settings in (old, fresh)
    )
    return before != after


async def _retire(parts: _Parts, dialer: Dialer, drain_s: float) -> None:
    parts.retiring.add(dialer)
    await dialer.drain(drain_s)
    await dialer.driver.close()
    parts.retiring.discard(dialer)


async def _kept_up(part: Callable[[], Awaitable[Any]]) -> None:
    """Run a part to its end; when a bug ends it, say so and begin anew, so that the other parts go on."""
    while True:
        try:
            await part()
            return
        except Exception:  # the loop that keeps the daemon alive
            logger.exception("part_failed", part=getattr(part, "__qualname__", str(part)))
            await asyncio.sleep(RESTART_S)


async def _move_uploads(parts: _Parts) -> None:
    """Finish the uploads that a killed process had loaded but not moved into the spool. Runs until cancelled."""
    while True:
        try:
            await bases.tidy(parts.store, clock=parts.clock, wake=parts.spool.wake)
            parts.spool.database_answered("uploads")
        except DatabaseGone as error:
            parts.spool.database_failed(error, "uploads")
        await asyncio.sleep(RESTART_S)


async def run_once(
    settings: Settings,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    clock: Callable[[], datetime] = utcnow,
) -> Summary:
    """Promote and send what is due now and may go now, and return what was done. It may run beside a daemon.

    Raises Unavailable when the database is away.
    """
    stop = asyncio.Event()
    with _plain_errors(), _signals({signal.SIGTERM: stop, signal.SIGINT: stop}):
        async with _built(settings, clock) as parts:
            summary = Summary()
            async with asyncio.TaskGroup() as group:
                background = [
                    group.create_task(part)
                    for part in (
                        parts.spool.run_settlements(),
                        parts.janitor.keep_lease(),
                        parts.janitor.keep_watch(),
                        _end_when(stop, parts),
                        _impatient(parts),
                    )
                ]
                try:
                    await _catch_up(parts, summary, on_progress)
                finally:
                    await parts.drain()
                    for task in background:
                        task.cancel()
    return summary


async def _catch_up(parts: _Parts, summary: Summary, on_progress: Callable[[int, int], None] | None) -> None:
    now = parts.clock()
    summary.rescued = await parts.janitor.rescue_earlier()
    await bases.move(parts.store, clock=parts.clock)
    summary.promoted = await parts.scheduler.promote(now)
    summary.ended["expired"] += await parts.janitor.expire(now)
    await parts.spool.ripen(now)
    up_to_seq = await parts.store.read(newest_seq)
    notice = asyncio.create_task(_report_progress(parts, up_to_seq, on_progress)) if on_progress else None
    try:
        done = await asyncio.gather(*(d.run_until_empty(up_to_seq) for d in parts.dialers.values()))
    finally:
        if notice is not None:
            notice.cancel()
            with suppress(asyncio.CancelledError):
                await notice
    for complete, dialer in zip(done, parts.dialers.values(), strict=True):
        summary.ended.update(dialer.tally)
        if not complete and dialer.breaker.shut_until is not None:
            summary.down[dialer.name] = dialer.breaker.reason or "no answer"
    await parts.spool.all_settled()
    stuck = [
        name for name in await _open_campaigns(parts, now) if parts.settings.campaigns[name].provider in summary.down
    ]
    summary.remaining = await parts.store.read(count_queued, campaigns=stuck, up_to_seq=up_to_seq)


async def _open_campaigns(parts: _Parts, now: datetime) -> list[str]:
    stopped = await parts.store.read(paused)
    return [
        name
        for name, campaign in parts.settings.campaigns.items()
        if state_of(campaign, paused=name in stopped, now=now) is CampaignState.OPEN
    ]


async def _report_progress(parts: _Parts, up_to_seq: int, on_progress: Callable[[int, int], None]) -> None:
    # Counted beside the sending, not before it: a large backlog takes a while to count.
    may_go = await _open_campaigns(parts, parts.clock())
    total = await parts.store.read(count_queued, campaigns=may_go, up_to_seq=up_to_seq)
    total += sum(dialer.tally.total() for dialer in parts.dialers.values())
    while True:
        on_progress(sum(dialer.tally.total() for dialer in parts.dialers.values()), total)
        await asyncio.sleep(0.2)


async def _end_when(stop: asyncio.Event, parts: _Parts) -> None:
    await stop.wait()
    await asyncio.gather(*(dialer.drain(parts.settings.daemon.drain_s) for dialer in parts.dialers.values()))


async def _impatient(parts: _Parts) -> None:
    """Give up when the database stays away: a batch run is called again, a daemon is not."""
    loop = asyncio.get_running_loop()
    well_at = loop.time()
    while True:
        if parts.spool.database_error is None:
            well_at = loop.time()
        elif loop.time() - well_at > DATABASE_PATIENCE_S:
            raise Unavailable(f"the database stays away: {parts.spool.database_error}")
        await asyncio.sleep(1)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Raise the first error of a group by itself: callers know our errors, not which tasks they came from."""
    try:
        yield
    except BaseExceptionGroup as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from group


class _signals:  # noqa: N801  # reads as the context it is
    """Set an event when a signal comes; a second one of the same kind does what the system does by default."""

    def __init__(self, events: Mapping[signal.Signals, asyncio.Event]) -> None:
        self._events = events

    def __enter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        for number in self._events:
            self._loop.add_signal_handler(number, self._came, number)

    def _came(self, number: signal.Signals) -> None:
        self._events[number].set()
        if number is not signal.SIGHUP:
            for other in (signal.SIGTERM, signal.SIGINT):
                self._loop.remove_signal_handler(other)

    def __exit__(self, *_exc: object) -> None:
        for number in self._events:
            self._loop.remove_signal_handler(number)
