"""One batch, `run --once`: promotes and sends what is due and may go now, and says what it did."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from dialerd import bases, log
from dialerd.model.campaign import Campaign
from dialerd.model.errors import Unavailable
from dialerd.model.rules import CampaignState, state_of
from dialerd.parts import Parts, built, utcnow
from dialerd.settings import Settings
from dialerd.signals import signals
from dialerd.store.order import Terms
from dialerd.store.pause import paused
from dialerd.store.spool import count_by_bound, count_queued, newest_seq
from dialerd.tasks import plain_errors

__all__ = ["Summary", "run_once"]

#: A batch run gives up when the database was away for so long.
DATABASE_PATIENCE_S = 60.0


@dataclass(slots=True)
class Summary:
    """What a batch run did: `ended` counts messages by status or state.

    `down` says of providers that were away, or refused a message whenever it was tried, why; `remaining` are those that
    wait for the former, or that the latter refused. `stopped`: a signal ended it before all was done.
    """

    promoted: int = 0
    rescued: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    down: dict[str, str] = field(default_factory=dict)
    remaining: int = 0
    stopped: bool = False


async def run_once(
    settings: Settings,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    clock: Callable[[], datetime] = utcnow,
) -> Summary:
    """Promote and send what is due now and may go now, and return what was done. It may run beside a daemon.

    SIGTERM, SIGINT or SIGHUP (its terminal is gone) ends it in order: attempts under way get the daemon's drain_s.
    SIGUSR1 logs at debug and back.

    Raises Unavailable when the database is away.
    """
    stop = asyncio.Event()
    calls = {signal.SIGTERM: stop.set, signal.SIGINT: stop.set, signal.SIGHUP: stop.set}
    with plain_errors(), signals({**calls, signal.SIGUSR1: log.toggle_debug}):
        async with built(settings, clock) as parts:
            summary = Summary()
            async with asyncio.TaskGroup() as group:
                background = [
                    group.create_task(part)
                    for part in (
                        parts.spool.run_settlements(),
                        parts.janitor.keep_lease(),
                        parts.janitor.keep_watch(),
                        parts.inbox.keep_looking(),
                        _end_when(stop, parts),
                        _impatient(parts),
                    )
                ]
                for dialer in parts.dialers.values():
                    parts.listen(dialer, group)
                try:
                    await _catch_up(parts, summary, on_progress, go_on=lambda: not stop.is_set())
                finally:
                    await parts.drain()
                    for task in background:
                        task.cancel()
    return summary


async def _catch_up(
    parts: Parts, summary: Summary, on_progress: Callable[[int, int], None] | None, *, go_on: Callable[[], bool]
) -> None:
    now = parts.clock()
    summary.rescued = await parts.janitor.rescue_earlier()
    # Each of these may have a million messages before it, and is asked to stop between two batches.
    await bases.move(parts.store, clock=parts.clock, go_on=go_on)
    summary.promoted = await parts.scheduler.promote(now, go_on=go_on) if go_on() else 0
    summary.ended["expired"] += await parts.janitor.expire(now, go_on=go_on)
    await parts.spool.ripen(now, go_on=go_on)
    up_to_seq = await parts.store.read(newest_seq)
    notice = asyncio.create_task(_report_progress(parts, up_to_seq, on_progress)) if on_progress else None
    try:
        done = await asyncio.gather(*(d.run_until_empty(up_to_seq) for d in parts.dialers.values()))
    finally:
        if notice is not None:
            notice.cancel()
            with suppress(asyncio.CancelledError):
                await notice
    # Stopped, the dialers return before their last attempts have ended.
    await parts.spool.all_settled()
    down = frozenset(
        dialer.name
        for complete, dialer in zip(done, parts.dialers.values(), strict=True)
        if not complete and dialer.breaker.shut_until is not None
    )
    for dialer in parts.dialers.values():
        summary.ended.update(dialer.tally)
        if dialer.aside or dialer.name in down:
            summary.down[dialer.name] = dialer.breaker.reason or next(iter(dialer.aside), "no answer")
    summary.stopped = not (all(done) or go_on())
    stuck = [
        name
        for name in await _open_campaigns(parts, now)
        if not down.isdisjoint(parts.settings.campaigns[name].providers)
    ]
    # What was set aside is due too; what waits otherwise for a provider that is up is not, as where recipients sleep.
    aside = sum(len(dialer.aside) for dialer in parts.dialers.values())
    left = await parts.store.read(count_by_bound, campaigns=stuck, up_to_seq=up_to_seq)
    summary.remaining = aside + sum(
        count for (name, bound), count in left.items() if _is_stuck(parts.settings.campaigns[name], bound, down)
    )


def _is_stuck(campaign: Campaign, bound: str, down: frozenset[str]) -> bool:
    """Tell whether what is bound so waits for providers that were away: others have sent what they may."""
    terms = Terms(campaign, 1, away=down)
    return not any(terms.takes(bound, provider) for provider in campaign.providers if provider not in down)


async def _open_campaigns(parts: Parts, now: datetime) -> list[str]:
    stopped = await parts.store.read(paused)
    return [
        name
        for name, campaign in parts.settings.campaigns.items()
        if state_of(campaign, paused=name in stopped, now=now) is CampaignState.OPEN
    ]


async def _report_progress(parts: Parts, up_to_seq: int, on_progress: Callable[[int, int], None]) -> None:
    # Counted beside the sending, not before it: a large backlog takes a while to count.
    may_go = await _open_campaigns(parts, parts.clock())
    total = await parts.store.read(count_queued, campaigns=may_go, up_to_seq=up_to_seq)
    total += sum(dialer.tally.total() for dialer in parts.dialers.values())
    while True:
        on_progress(sum(dialer.tally.total() for dialer in parts.dialers.values()), total)
        await asyncio.sleep(0.2)


async def _end_when(stop: asyncio.Event, parts: Parts) -> None:
    await stop.wait()
    await asyncio.gather(*(dialer.drain(parts.settings.daemon.drain_s) for dialer in parts.dialers.values()))


async def _impatient(parts: Parts) -> None:
    """Give up when the database stays away: a batch run is called again, a daemon is not."""
    loop = asyncio.get_running_loop()
    well_at = loop.time()
    while True:
        if parts.spool.database_error is None:
            well_at = loop.time()
        elif loop.time() - well_at > DATABASE_PATIENCE_S:
            raise Unavailable(f"the database stays away: {parts.spool.database_error}")
        await asyncio.sleep(1)
