"""The minute tick, on a frozen wall clock: the loop's own clock runs on."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from dialerd import ticker as ticker_module
from dialerd.ticker import JOB, Ticker

PATIENCE_S = 10


class Minutes:
    """A ticker on a clock that only the test moves, and the times at which it called."""

    def __init__(self, clock: FrozenDateTimeFactory) -> None:
        self.clock = clock
        self.called: list[str] = []
        self.under_way = 0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.ticker = Ticker(self.tick)
        self._changed = asyncio.Event()

    async def tick(self) -> None:
        """Be called."""
        self.called.append(f"{datetime.now(UTC):%H:%M:%S}")
        self.under_way += 1
        self._changed.set()
        await self.may_end.wait()
        self.under_way -= 1
        self._changed.set()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass on the wall clock; the timer runs on another one and has to be told."""
        self.clock.tick(seconds)
        self.ticker._scheduler.wakeup()
        # The scheduler looks, and its job starts, in the next turns of the loop.
        for _ in range(5):
            await asyncio.sleep(0)

    async def until_called(self, number: int) -> None:
        """Wait until it was called so often and is done."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.called) < number or self.under_way:
                self._changed.clear()
                await self._changed.wait()

    def next_call(self) -> datetime:
        """Return when the next minute is taken to begin."""
        at: datetime = self.ticker._scheduler.get_job(JOB).next_run_time
        return at


@pytest.fixture
async def minutes() -> AsyncIterator[Minutes]:
    """A ticker that was started a tenth of a second before noon."""
    # pytest measures how long a test takes.
    with freeze_time("2026-03-01 11:59:59.9", real_asyncio=True, ignore=["_pytest"]) as clock:
        some = Minutes(clock)
        some.ticker.start()
        yield some
        some.ticker.stop()
        await asyncio.sleep(0)


async def test_every_minute_at_second_0(minutes: Minutes) -> None:
    """It calls at second 0 of each minute, not before; minutes that went by unseen are one call."""
    await minutes.pass_time(0.05)
    assert [] == minutes.called

    for number, seconds in enumerate([0.15, 59.9, 60, 600], 1):
        await minutes.pass_time(seconds)
        await minutes.until_called(number)

    assert ["12:00:00", "12:01:00", "12:02:00", "12:12:00"] == minutes.called


async def test_a_tick_is_not_overtaken(minutes: Minutes) -> None:
    """While one call is under way no second one begins; the minute after it has ended calls again."""
    minutes.may_end.clear()
    await minutes.pass_time(1)
    await minutes.pass_time(60)
    assert (["12:00:00"], 1) == (minutes.called, minutes.under_way)

    minutes.may_end.set()
    await minutes.until_called(1)
    await minutes.pass_time(60)
    await minutes.until_called(2)

    assert ["12:00:00", "12:02:00"] == minutes.called


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1), timedelta(seconds=-20)])
async def test_a_clock_that_was_set(minutes: Minutes, monkeypatch: pytest.MonkeyPatch, jump: timedelta) -> None:
    """After the wall clock was set, back or forth, the next call is at the next minute by the new time."""
    monkeypatch.setattr(ticker_module, "LOOK_S", 0.01)
    told: list[float] = []
    jumped = asyncio.Event()

    def note(seconds: float) -> None:
        told.append(seconds)
        jumped.set()

    aligning = asyncio.create_task(minutes.ticker.keep_aligned(lambda: datetime.now(UTC), note))
    await asyncio.sleep(0)
    minutes.clock.move_to(datetime(2026, 3, 1, 11, 59, 59, 900_000) + jump)
    async with asyncio.timeout(PATIENCE_S):
        await jumped.wait()
    aligning.cancel()

    assert [pytest.approx(jump.total_seconds(), abs=1)] == told
    now = datetime.now(UTC)
    assert now < minutes.next_call() <= now + timedelta(minutes=1)
    await minutes.pass_time((minutes.next_call() - now).total_seconds())
    await minutes.until_called(1)


async def test_a_clock_that_runs_is_left_alone(minutes: Minutes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is slewed by less than a second, or a busy machine, is no jump."""
    monkeypatch.setattr(ticker_module, "LOOK_S", 0.001)
    told: list[float] = []
    aligning = asyncio.create_task(minutes.ticker.keep_aligned(lambda: datetime.now(UTC), told.append))
    for _ in range(5):
        minutes.clock.tick(0.9)
        await asyncio.sleep(0.005)
    aligning.cancel()

    assert [] == told
