"""What counts as progress of the daemon's parts, and when sending counts as stalled."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from dialerd import dialer, vitals
from dialerd.model.outcome import Sent, Unreachable
from dialerd.vitals import Vitals
from tests.drivers.scripted import Script, ScriptedDriver, hang, when
from tests.rig import Rig, campaign, message

STALL_S = 600


@pytest.fixture
def rig_of(sqlite_url: str, tmp_path: Path) -> Callable[..., Rig]:
    """Build a rig: rig_of(script, *campaigns, max_in_flight=…)."""

    def build(script: Script, *campaigns: object, limit_s: float | None = None, **given: object) -> Rig:
        driver = ScriptedDriver(script, attempt_limit_s=limit_s)
        return Rig(sqlite_url, tmp_path, driver, *campaigns, **({"max_in_flight": 10} | given))

    return build


def of(rig: Rig) -> Vitals:
    return Vitals(rig.spool, {"p": rig.dialer}, stall_s=STALL_S)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_nothing_goes_though_something_is_due(rig_of: Callable[..., Rig]) -> None:
    """Due messages, a provider that is not known to be away, and no outcome for so long: that is a stall, until one."""
    released = asyncio.Event()
    async with rig_of(when(released)) as rig:
        judge = of(rig)
        await rig.submit(*[message() for _ in range(100)])
        await rig.driver.wait_started(10)
        await until(lambda: rig.dialer.due)
        begun = now()

        assert {} == judge.stalled(begun)
        assert {} == judge.stalled(begun + STALL_S - 1)
        assert {"p": pytest.approx(STALL_S + 1)} == judge.stalled(begun + STALL_S + 1)
        told = judge.told("p", rig.dialer.report())
        assert ("stalled", 10) == (told["state"], told["in_flight"])
        assert "messages are due" in str(told["reason"])

        released.set()
        await rig.until_sent(100)
        assert {} == judge.stalled(begun + STALL_S + 2)
        assert ("up", 0.0) == tuple(judge.told("p", rig.dialer.report())[key] for key in ("state", "stalled_s"))


async def test_a_provider_that_is_known_to_be_away_is_no_stall(rig_of: Callable[..., Rig]) -> None:
    """While a provider is shut and probed, or asks for patience, its messages wait rightly, however long."""
    async with rig_of(lambda _m: Unreachable("refused")) as rig:
        rig.driver.down = "refused"
        judge = of(rig)
        await rig.submit(*[message() for _ in range(20)])
        await rig.driver.wait_probed(1)
        await until(lambda: rig.dialer.due)

        begun = now()
        assert [{}, {}] == [judge.stalled(begun + passed) for passed in (0, 100 * STALL_S)]


async def test_what_may_not_go_is_not_due(rig_of: Callable[..., Rig]) -> None:
    """Messages of closed campaigns wait rightly."""
    async with rig_of(hang, campaign(enabled=False)) as rig:
        judge = of(rig)
        await rig.submit(*[message() for _ in range(20)])
        await rig.spool.looked.wait()

        begun = now()
        assert [{}, {}] == [judge.stalled(begun + passed) for passed in (0, 100 * STALL_S)]


@pytest.mark.parametrize("pace", [{"campaign": 100.0}, {"provider": 0.06}])
async def test_a_slow_pace_is_no_stall(rig_of: Callable[..., Rig], pace: dict[str, float]) -> None:
    """Where a message may start every 100 s only, so many chances must have passed before anybody is alarmed."""
    of_campaign = campaign(interval_s=pace.get("campaign"))
    async with rig_of(hang, of_campaign, per_second=pace.get("provider")) as rig:
        judge = of(rig)
        await rig.submit(*[message() for _ in range(20)])
        await rig.driver.wait_started(1)
        await until(lambda: rig.dialer.due)

        begun = now()
        assert {} == judge.stalled(begun)
        assert {} == judge.stalled(begun + vitals.CHANCES * 100 - 1)
        assert {"p"} == judge.stalled(begun + vitals.CHANCES * 100 + 1).keys()


async def test_an_idle_dialer_shows_that_it_lives(rig_of: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    """A dialer with nothing to do comes round now and then; one that does not has stopped."""
    monkeypatch.setattr(dialer, "TURN_S", 0.02)
    async with rig_of(lambda _m: Sent()) as rig:
        judge = of(rig)
        for _ in range(3):
            before = rig.dialer.turned_at
            await until(lambda: rig.dialer.turned_at > before)  # noqa: B023

        assert not judge.stopped(now())
        assert "dialer p" in judge.stopped(now() + vitals.TURN_S + 1)


async def test_an_attempt_that_its_driver_does_not_give_up(rig_of: Callable[..., Rig]) -> None:
    """An attempt that goes on though it was cancelled at its limit is no progress, whatever the dialer does."""
    released = asyncio.Event()

    async def stubborn(_message: object) -> Sent:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                pass
        return Sent()

    async with rig_of(stubborn, limit_s=0.05) as rig:
        judge = of(rig)
        await rig.submit(message())
        await rig.driver.wait_started(1)

        late = now() + vitals.CANCELLED_S + 1
        assert ["attempts of p"] == [part for part in judge.stopped(late) if "attempts" in part]
        released.set()
        await rig.until("SELECT (SELECT count(*) FROM sms_repo) + count(*) FROM sms_spool WHERE state = 'in_doubt'", 1)
        assert "attempts of p" not in judge.stopped(late)


async def test_claims_that_fail(rig_of: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims that all fail, for whatever reason but the database being away, are no progress, until one does not."""

    def broken(*_: object, **__: object) -> None:
        raise TypeError("a bug")

    async with rig_of(lambda _m: Sent()) as rig:
        judge = of(rig)
        with monkeypatch.context() as patch:
            patch.setattr("dialerd.spool.claim", broken)
            await rig.submit(message())
            with pytest.raises(TypeError, match="a bug"):
                await rig.tasks.pop()
        late = now() + vitals.TURN_S + 1

        assert "claims of p" not in judge.stopped(now())
        assert "claims of p" in judge.stopped(late)
        rig.tasks.append(asyncio.create_task(rig.dialer.run()))
        await rig.until_sent(1)
        assert "claims of p" not in judge.stopped(late)


async def test_outcomes_that_are_not_recorded(rig_of: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes that wait while nothing is recorded, for whatever reason but the database, are no progress."""

    def broken(*_: object, **__: object) -> int:
        raise TypeError("a bug")

    monkeypatch.setattr("dialerd.spool.settle", broken)
    async with rig_of(lambda _m: Sent()) as rig:
        judge = of(rig)
        await rig.submit(message())
        await until(lambda: rig.spool.unsettled_since)

        assert "settle" not in judge.stopped(now())
        assert "settle" in judge.stopped(now() + vitals.TURN_S + 1)
        with pytest.raises(TypeError, match="a bug"):
            await rig.tasks.pop(1)
