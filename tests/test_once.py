"""A batch run (`run --once`): when it ends, and what it says of what is left."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dialerd import drivers, scheduler
from dialerd.batch import Summary, run_once
from dialerd.model import breaker
from dialerd.model.errors import Unavailable
from dialerd.model.message import Message
from dialerd.model.outcome import Outcome, Sent, Throttled, Unreachable
from dialerd.settings import load
from dialerd.store import Store
from dialerd.store import scheduler as scheduler_table
from dialerd.store.migrate import migrate
from dialerd.store.spool import submit
from tests.drivers.scripted import ScriptedDriver, when
from tests.rig import message
from tests.store.conftest import select


@pytest.fixture
def once(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Awaitable[Summary]]:
    """Run a batch of so many messages, and so many scheduled ones, on a scripted provider: await once(driver, 30)."""
    (tmp_path / "campaigns").mkdir()
    (tmp_path / "dialerd.toml").write_text(
        f'[daemon]\nstate_dir = "{tmp_path}"\n[database]\nurl = "{database_url}"\n'
        '[providers.p]\ndriver = "discard"\nmax_in_flight = 10\n'
    )
    (tmp_path / "campaigns" / "c.toml").write_text('name = "c"\nchannel = "sms"\nprovider = "p"\n')
    monkeypatch.setattr(breaker, "FIRST_WAIT_S", 0.02)

    async def run(driver: ScriptedDriver, count: int, planned: int = 0) -> Summary:
        monkeypatch.setitem(drivers.DRIVERS, "discard", lambda _provider, _campaigns: driver)
        store = Store(database_url)
        await store.transact(migrate)
        await store.transact(submit, [message() for _ in range(count)])
        due = datetime.now(UTC) - timedelta(hours=1)
        await store.transact(scheduler_table.schedule, [message(calldate=due) for _ in range(planned)])
        store.close()
        async with asyncio.timeout(20):
            return await run_once(load(tmp_path))

    return run


async def test_a_provider_that_comes_back_in_time_gets_all(once: Callable[..., Awaitable[Summary]]) -> None:
    """A provider that answers the second probe is not given up, and what could not go at first goes."""
    driver = ScriptedDriver(lambda _m: Unreachable("refused") if driver.probes < 2 else Sent())

    async def probe() -> None:
        driver.probes += 1
        if driver.probes < 2:
            raise Unavailable("refused")

    driver.probe = probe  # type: ignore[method-assign]
    summary = await once(driver, 30)

    assert (30, 0, {}) == (summary.ended["sent"], summary.remaining, summary.down)


async def test_a_provider_that_is_only_there_for_probes_is_down(once: Callable[..., Awaitable[Summary]]) -> None:
    """A provider that answers probes and takes no message is given up, and what is left is said."""
    driver = ScriptedDriver(lambda _m: Unreachable("no bind"))

    summary = await once(driver, 30)

    assert (30, {"p": "no bind"}) == (summary.remaining, summary.down)


async def test_a_provider_that_throttles_for_ever_is_given_up(once: Callable[..., Awaitable[Summary]]) -> None:
    """A provider that takes nothing because of its rate is waited for, but not for ever."""
    driver = ScriptedDriver(lambda _m: Throttled("slow down"))

    summary = await once(driver, 30)

    assert (30, {"p": "slow down"}) == (summary.remaining, summary.down)


async def test_a_provider_with_a_long_wish_is_given_up(once: Callable[..., Awaitable[Summary]]) -> None:
    """A batch run is called again; it does not sit out a provider's long wish."""
    driver = ScriptedDriver(lambda _m: Throttled("quota", 3000))

    summary = await once(driver, 30)

    assert (30, {"p": "quota"}) == (summary.remaining, summary.down)


async def test_throttling_now_and_then_is_waited_for(once: Callable[..., Awaitable[Summary]]) -> None:
    """A provider that takes a few at a time gets all of them."""
    taken: list[float] = []

    def answer(_message: Message) -> Outcome:
        now = asyncio.get_running_loop().time()
        if sum(now - at < 0.1 for at in taken) >= 3:
            return Throttled("slow down")
        taken.append(now)
        return Sent()

    summary = await once(ScriptedDriver(answer), 30)

    assert (30, 0, {}) == (summary.ended["sent"], summary.remaining, summary.down)


async def test_one_that_is_always_refused_remains(
    once: Callable[..., Awaitable[Summary]], database_url: str, tmp_path: Path
) -> None:
    """A message that its provider refuses whenever it is tried stops no other, and is told as remaining; it alone."""
    awake = f"{datetime.now(UTC) + timedelta(days=3):%a}".lower()
    (tmp_path / "campaigns" / "s.toml").write_text(
        f'name = "s"\nchannel = "sms"\nprovider = "p"\nrecipient_hours = ["{awake};08:00-21:00"]\n'
    )
    with closing(Store(database_url)) as store:
        await store.transact(migrate)
        await store.transact(submit, [message("s", zone="Europe/Vienna")])
    first: list[str] = []

    def answer(message: Message) -> Outcome:
        first[:] = first or [message.id]
        return Throttled("queue full") if message.id == first[0] else Sent()

    summary = await once(ScriptedDriver(answer), 30)

    assert (29, 1, {"p": "queue full"}) == (summary.ended["sent"], summary.remaining, summary.down)


async def test_the_next_provider_takes_what_the_first_leaves(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch run whose first provider is away ends with nothing left when the campaign names another one."""
    (tmp_path / "campaigns").mkdir()
    (tmp_path / "dialerd.toml").write_text(
        f'[daemon]\nstate_dir = "{tmp_path}"\n[database]\nurl = "{sqlite_url}"\n'
        '[providers.p]\ndriver = "discard"\n[providers.q]\ndriver = "discard"\n'
    )
    (tmp_path / "campaigns" / "c.toml").write_text('name = "c"\nchannel = "sms"\nprovider = ["p", "q"]\n')
    monkeypatch.setattr(breaker, "FIRST_WAIT_S", 0.02)
    away = ScriptedDriver(lambda _m: Unreachable("refused"), down="refused")
    there = ScriptedDriver()
    monkeypatch.setitem(
        drivers.DRIVERS, "discard", lambda provider, _campaigns: away if provider.name == "p" else there
    )
    store = Store(sqlite_url)
    await store.transact(migrate)
    await store.transact(submit, [message() for _ in range(30)])
    store.close()

    async with asyncio.timeout(20):
        summary = await run_once(load(tmp_path))

    assert (30, 0, {"p": "refused"}) == (summary.ended["sent"], summary.remaining, summary.down)
    assert 30 == len(there.sent)


async def test_a_signal_while_it_promotes(
    once: Callable[..., Awaitable[Summary]], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM is heeded between two batches of promotion: nothing is sent, nothing is lost, and the summary says so."""
    promote, calls = scheduler.promote, 0

    def promote_some(*args: Any, **given: Any) -> dict[str, int]:
        nonlocal calls
        calls += 1
        if calls == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return promote(*args, **given)

    monkeypatch.setattr(scheduler, "promote", promote_some)
    monkeypatch.setattr(scheduler, "BATCH", {"sqlite": 2, "postgresql": 2})
    driver = ScriptedDriver()
    summary = await once(driver, 10, planned=200)

    assert summary.stopped
    assert 6 <= summary.promoted < 200
    assert [] == driver.started
    store = Store(database_url)
    waits = select(store, "SELECT (SELECT count(*) FROM sms_spool WHERE state = 'queued'), count(*) FROM sms_scheduler")
    store.close()
    assert [(10 + summary.promoted, 200 - summary.promoted)] == waits


async def test_a_signal_while_it_sends(once: Callable[..., Awaitable[Summary]]) -> None:
    """SIGINT claims nothing more; attempts under way may end, and the summary counts them and says that it stopped."""
    ended = asyncio.Event()
    driver = ScriptedDriver(when(ended))
    running = asyncio.create_task(once(driver, 30))
    await driver.wait_started(10)
    os.kill(os.getpid(), signal.SIGINT)
    while signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        await asyncio.sleep(0)  # a second signal will end the process at once, so the first has come
    ended.set()
    summary = await running

    assert (10, True, 0) == (summary.ended["sent"], summary.stopped, summary.remaining)
    assert 10 == len(driver.started)


async def test_a_run_that_ended_by_itself_was_not_stopped(once: Callable[..., Awaitable[Summary]]) -> None:
    """All that may go has gone: nothing says that it was stopped."""
    assert not (await once(ScriptedDriver(), 30)).stopped
