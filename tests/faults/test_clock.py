"""The wall clock is set, back and forth, and the seconds within a minute."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

from dialerd.intake import schedule
from dialerd.model.message import Message
from dialerd.model.outcome import Sent
from dialerd.scheduler import Scheduler
from dialerd.store.scheduler import promoted_until
from dialerd.store.scheduler import schedule as put
from tests.crash.harness import Site
from tests.crash.processes import until
from tests.rig import Rig, campaign, message

HOUR = timedelta(hours=1)


class Clock:
    """The machine's clock, set to ten seconds past a minute and then as far forth or back as a test wants."""

    def __init__(self) -> None:
        now = datetime.now(UTC)
        self.ahead = now.replace(second=10, microsecond=0) - now

    def __call__(self) -> datetime:
        """Return what it shows."""
        return datetime.now(UTC) + self.ahead


class Sender:
    """A provider that notes what the clock showed at each start."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.late_s: dict[str, float] = {}

    def __call__(self, one: Message) -> Sent:
        """Take the message."""
        assert one.calldate is not None
        self.late_s[one.id] = (self.clock() - one.calldate).total_seconds()
        return Sent()


def due(when: datetime, **given: Any) -> Any:
    """Return a message that is due then."""
    return message(calldate=when, due_at=when, due_since=when, priority=1, **given)


async def test_on_time_to_the_second(rig_of: Callable[..., Rig]) -> None:
    """A message scheduled for a second inside the current minute goes at that second, though the tick is a minute."""
    clock = Clock()
    sender = Sender(clock)
    async with rig_of(sender, clock=clock) as rig:
        now = clock()
        await rig.store.transact(put, [due(now + timedelta(seconds=seconds)) for seconds in (0.7, 1.3, 2.1)])
        await Scheduler(rig.spool, campaigns=rig.campaigns, clock=clock).tick()
        # Asked for while the minute is under way: not promoted, but put straight into the spool.
        settings: Any = SimpleNamespace(campaigns=rig.campaigns, providers={})
        await schedule(
            rig.store, settings,
            campaign="c", destination="59899123456", data="hola", when=now + timedelta(seconds=1.7), now=clock(),
        )  # fmt: skip
        await rig.until_sent(4)

    assert min(sender.late_s.values()) >= 0
    # One may meet a busy machine; a spool that is only looked at would be late for most.
    assert median(sender.late_s.values()) < 0.5


async def test_the_clock_is_set_forth(rig_of: Callable[..., Rig]) -> None:
    """An hour forth: what is due by the new clock goes at once, deferred or still scheduled; what is not yet, waits."""
    clock = Clock()
    sender = Sender(clock)
    async with rig_of(sender, clock=clock) as rig:
        scheduler = Scheduler(rig.spool, campaigns=rig.campaigns, clock=clock)
        now = clock()
        await rig.store.transact(put, [due(now + timedelta(minutes=minutes)) for minutes in (10, 50, 70)])
        await rig.submit(due(now + HOUR / 2, state="deferred"), due(now + 2 * HOUR, state="deferred"))
        await scheduler.tick()
        rig.spool.looked.clear()
        await rig.spool.looked.wait()
        assert {"deferred": 2} == await rig.states()

        clock.ahead += HOUR
        await scheduler.tick()
        rig.spool.wake()
        await rig.until_sent(3)

        assert {"deferred": 1} == await rig.states()
        assert [(1,)] == await rig.rows("SELECT count(*) FROM sms_scheduler")
    assert min(sender.late_s.values()) >= 0


async def test_the_clock_is_set_back(rig_of: Callable[..., Rig]) -> None:
    """An hour back: promoted_until stays, nothing is promoted early, and what is asked for now is on time."""
    clock = Clock()
    sender = Sender(clock)
    async with rig_of(sender, campaign(interval_s=0.01), clock=clock) as rig:
        scheduler = Scheduler(rig.spool, campaigns=rig.campaigns, clock=clock)
        now = clock()
        await rig.store.transact(put, [due(now), due(now + timedelta(minutes=10))])
        await scheduler.tick()
        await rig.until_sent(1)
        until = await rig.store.read(promoted_until)

        clock.ahead -= HOUR
        await scheduler.tick()
        settings: Any = SimpleNamespace(campaigns=rig.campaigns, providers={})
        soon = await schedule(
            rig.store, settings,
            campaign="c", destination="59899123456", data="hola", when=clock() + timedelta(seconds=1), now=clock(),
        )  # fmt: skip
        rig.spool.wake()
        await rig.until_sent(2)
        assert until == await rig.store.read(promoted_until)
        assert 0 <= sender.late_s[soon] < 10
        assert [(1,)] == await rig.rows("SELECT count(*) FROM sms_scheduler")

        clock.ahead += HOUR + timedelta(minutes=10)
        await scheduler.tick()
        await rig.until_sent(3)
        assert until < await rig.store.read(promoted_until)
    assert min(sender.late_s.values()) >= 0


async def test_a_pace_booked_by_a_clock_that_was_wrong(rig_of: Callable[..., Rig]) -> None:
    """Pace that was booked an hour ahead, before the database's clock was set back, holds nobody up."""
    async with rig_of(None, campaign(interval_s=0.01), per_second=200) as rig:
        await rig.submit(message())
        await rig.until_sent(1)
        await rig.store.transact(_book_ahead)

        await rig.submit(*[message() for _ in range(10)])
        await rig.until_sent(11)


def _book_ahead(connection: Any) -> None:
    connection.exec_driver_sql("UPDATE pace SET next_at = next_at + 3600")


def test_a_daemon_whose_clock_is_set(site: Callable[..., Site], tmp_path: Path) -> None:
    """A daemon notices that the clock was set, promotes for the minutes left out, and goes on when it is set back."""
    here = site(options="per_second = 50")
    ahead = tmp_path / "ahead"
    ahead.write_text("0")
    daemon = here.start_function("tests.faults.clocked:run", str(here.config), str(ahead))
    daemon.until_event("daemon_started")
    soon, later = here.plan(10, due_in_s=1800), here.plan(10, due_in_s=7200)
    ids = here.fill(10)
    until(lambda: set(ids) <= here.sent(), "what is queued is sent")
    assert not here.sent() & set(soon)

    _set(ahead, 3600)

    assert 3599 < daemon.until_event("clock_jumped")["seconds"] < 3601
    until(lambda: set(soon) <= here.sent(), "what is due by the new clock is sent")
    promoted = here.value("SELECT promoted_until FROM promotion")
    _set(ahead, 0)
    assert -3601 < daemon.until_event("clock_jumped", 2)["seconds"] < -3599
    more = here.fill(10)
    until(lambda: set(more) <= here.sent(), "it goes on")
    assert promoted == here.value("SELECT promoted_until FROM promotion")
    assert not here.sent() & set(later)
    daemon.stop()
    assert [] == here.faults(ids + soon + later + more)


def _set(ahead: Path, seconds: float) -> None:
    """Set the clock in one step: whoever reads finds the old number or the new one."""
    fresh = ahead.with_suffix(".new")
    fresh.write_text(str(seconds))
    fresh.replace(ahead)
