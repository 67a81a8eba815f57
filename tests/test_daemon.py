"""The daemon as a whole: how it ends, whatever does not answer at that moment."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dialerd import daemon, drivers, reload, ticker
from dialerd.model.campaign import UnicodeRule
from dialerd.model.errors import DatabaseGone
from dialerd.model.outcome import Unreachable
from dialerd.settings import Settings, load
from dialerd.store import Store
from dialerd.store.migrate import migrate
from dialerd.store.spool import submit
from tests.drivers.scripted import ScriptedDriver, hang, when
from tests.rig import campaign, message


@pytest.fixture
def running(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a daemon on a scripted provider, with some messages: `async with running(driver)`; then it is stopped."""
    (tmp_path / "campaigns").mkdir()
    (tmp_path / "dialerd.toml").write_text(
        f'[daemon]\nstate_dir = "{tmp_path}"\ndrain_s = 0.2\n[database]\nurl = "{database_url}"\n'
        '[providers.p]\ndriver = "discard"\nmax_in_flight = 10\n'
    )
    (tmp_path / "campaigns" / "c.toml").write_text('name = "c"\nchannel = "sms"\nprovider = "p"\n')

    @asynccontextmanager
    async def run(
        driver: ScriptedDriver, count: int = 10, *, read: Callable[[Path], Settings] = load
    ) -> AsyncIterator[None]:
        monkeypatch.setitem(drivers.DRIVERS, "discard", lambda _provider, _campaigns: driver)
        store = Store(database_url)
        await store.transact(migrate)
        await store.transact(submit, [message() for _ in range(count)])
        store.close()
        task = asyncio.create_task(daemon.run(lambda: read(tmp_path)))
        try:
            yield
            os.kill(os.getpid(), signal.SIGTERM)
            began = time.monotonic()
            await asyncio.wait([task], timeout=10)
            assert task.done(), "it does not stop"
            await task
            assert time.monotonic() - began < 5
        finally:
            task.cancel()
            await asyncio.wait([task])

    return run


async def test_it_stops_while_a_provider_hangs(running: Callable[..., Any]) -> None:
    """A provider that never answers an attempt holds nobody up for longer than drain_s."""
    driver = ScriptedDriver(hang)
    async with running(driver):
        await driver.wait_started(10)


async def test_it_stops_while_a_probe_hangs(running: Callable[..., Any]) -> None:
    """A provider that never answers a probe holds nobody up either."""
    driver = ScriptedDriver(lambda _m: Unreachable("refused"))

    async def probe() -> None:
        driver.probes += 1
        driver._tell()
        await asyncio.Event().wait()

    driver.probe = probe  # type: ignore[method-assign]
    async with running(driver):
        await driver.wait_probed(1)


async def test_it_stops_after_the_clock_jumped_while_nothing_can_be_promoted(
    running: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A promotion that the clock's jump has called for, and that the database does not take, ends with the daemon."""

    async def jump(_self: object, _clock: object, jumped: Callable[[float], None]) -> None:
        jumped(3600)
        await asyncio.Event().wait()

    async def fail(_self: object, _now: object) -> None:
        raise DatabaseGone("away")

    monkeypatch.setattr(ticker.Ticker, "keep_aligned", jump)
    monkeypatch.setattr("dialerd.scheduler.Scheduler.promote", fail)
    driver = ScriptedDriver()
    async with running(driver):
        await driver.wait_sent(10)


async def test_a_bug_that_a_reload_meets_changes_nothing(running: Callable[..., Any]) -> None:
    """Whatever goes wrong while the configuration is read anew, the daemon goes on with the one it has."""
    calls = []
    asked_again = asyncio.Event()

    def read(folder: Path) -> Settings:
        calls.append(folder)
        if len(calls) > 1:
            asked_again.set()
            raise RuntimeError("a bug")
        return load(folder)

    release = asyncio.Event()
    driver = ScriptedDriver(when(release))
    async with running(driver, 20, read=read):
        await driver.wait_started(10)
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(asked_again.wait(), 10)
        release.set()
        await driver.wait_sent(20)


@pytest.mark.parametrize(
    ("changed", "renewed"),
    [({}, False), ({"enabled": False}, False), ({"region": "AR"}, True), ({"unicode": UnicodeRule.GSM7}, True),
     ({"name": "other"}, True), ({"provider": "q"}, True)],
)  # fmt: skip
def test_a_driver_is_renewed_with_what_it_writes_by(changed: dict[str, Any], renewed: bool) -> None:
    """A reload that changes how a campaign's numbers or texts are written gives its provider a new driver."""
    before, after = (
        cast(Any, SimpleNamespace(campaigns={one.name: one}))
        for one in (campaign(region="UY"), campaign(**{"region": "UY"} | changed))
    )
    assert reload._messages_changed(before, after, "p") is renewed
