"""The spool as a process sees it: who is told of what waits, and what becomes of claims whose answer was lost."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from dialerd import spool as spool_module
from dialerd.model.calendar import parse_schedule
from dialerd.model.campaign import OnDoubt, RetryPolicy
from dialerd.model.errors import DatabaseGone
from dialerd.model.message import Message, State
from dialerd.model.outcome import Outcome, Sent
from dialerd.spool import Notice
from dialerd.store.claim import claim
from dialerd.store.lanes import Lane
from tests.drivers.scripted import ScriptedDriver
from tests.rig import Rig, campaign, message

AN_HOUR = timedelta(hours=1)


async def test_a_locked_ripe_message_keeps_nobody_from_being_told(postgres_url: str, tmp_path: Path) -> None:
    """A deferred message that somebody else has locked for long holds up neither the others nor the database."""
    async with Rig(postgres_url, tmp_path, ScriptedDriver()) as rig:
        await rig.submit(message(state=State.DEFERRED, due_at=datetime.now(UTC) + AN_HOUR, data="locked"))
        with rig.store._engine.begin() as other:
            other.execute(text("SELECT seq FROM sms_spool WHERE data = 'locked' FOR UPDATE"))
            looks = 0
            read = rig.store.read

            async def counted(*args: Any, **kwargs: Any) -> Any:
                nonlocal looks
                looks += 1
                return await read(*args, **kwargs)

            rig.store.read = counted  # type: ignore[method-assign]
            rig.spool.clock = lambda: datetime.now(UTC) + 2 * AN_HOUR
            rig.spool.wake()
            await asyncio.sleep(0.5)
            assert looks < 10
            await rig.submit(message(data="free"))
            await rig.driver.wait_sent(1)
        await rig.driver.wait_sent(2)


async def test_what_ripens_goes_while_the_rest_ripens(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle dialer begins with the first of many messages that are due at once, not after the last has ripened."""
    monkeypatch.setattr(spool_module, "MOST_RIPENED", 10)
    deferred: list[int] = []

    async def answer(_message: Message) -> Outcome:
        deferred.append((await rig.states()).get("deferred", 0))
        return Sent()

    rig = Rig(database_url, tmp_path, ScriptedDriver(answer))
    async with rig:
        past = datetime.now(UTC) - AN_HOUR
        await rig.submit(*[message(state=State.DEFERRED, due_at=past) for _ in range(1000)])
        await rig.until_sent(1000)

        assert deferred[0] > 500


async def test_a_row_whose_zone_nobody_knows_yet_is_looked_at(database_url: str, tmp_path: Path) -> None:
    """What another system inserts goes when its recipient is awake, even while the campaign's own zone sleeps."""
    # 16:00 in Montevideo, 4:00 of the next day in Tokyo.
    now = datetime(2026, 3, 2, 19, 0, tzinfo=UTC)
    tokyo = ZoneInfo("Asia/Tokyo")
    sleeper = campaign(
        recipient_hours=parse_schedule(["mon-sun;08:00-21:00"]), region="UY", timezone="Asia/Tokyo", zone=tokyo
    )
    async with Rig(database_url, tmp_path, ScriptedDriver(), sleeper, clock=lambda: now) as rig:
        await rig.store.transact(
            lambda c: c.exec_driver_sql(
                "INSERT INTO sms_spool (campaign, destination, data) VALUES ('c', '59898344484', 'x')"
            )
        )
        await rig.until_sent(1)


async def test_a_claim_whose_answer_was_lost_is_given_back_at_the_end(database_url: str, tmp_path: Path) -> None:
    """What was claimed by a commit whose answer never came is no doubt when nothing is claimed any more."""
    async with Rig(database_url, tmp_path, ScriptedDriver()) as rig:
        rig.tasks[0].cancel()
        rig.store.transact = losing_a_claim(rig)  # type: ignore[method-assign]
        await rig.submit(message())
        rig.spool.waiters[0].notice(Notice([Lane("c", "?", 9999)], frozenset()))
        await rig.until("SELECT count(*) FROM sms_spool WHERE state = 'sending'", 1)
        await rig.dialer.drain(0)
        await rig.spool.all_settled()

        assert {"queued": 1} == await rig.states()
        assert [(0,)] == await rig.rows("SELECT attempts FROM sms_spool")


async def test_a_claim_whose_answer_was_lost_does_not_wait_for_the_next(database_url: str, tmp_path: Path) -> None:
    """What was claimed by a commit whose answer never came goes back even if nothing else may be claimed."""
    async with Rig(database_url, tmp_path, ScriptedDriver()) as rig:
        rig.store.transact = losing_a_claim(rig)  # type: ignore[method-assign]
        await rig.submit(message())
        await rig.until("SELECT count(*) FROM sms_spool WHERE state = 'sending'", 1)
        await rig.until("SELECT count(*) FROM sms_spool WHERE state = 'queued' AND attempts = 0", 1)


def losing_a_claim(rig: Rig) -> Callable[..., Any]:
    """Return a transact that loses the answer to the first claim that takes something, after which none may follow."""
    transact = rig.store.transact

    async def lossy(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = await transact(function, *args, **kwargs)
        if function is claim and result.taken:
            rig.dialer.campaigns = {}
            raise DatabaseGone("the answer was lost")
        return result

    return lossy


async def test_two_attempts_of_one_message_at_a_time(database_url: str, tmp_path: Path) -> None:
    """The late outcome of an attempt that was taken for dead does not end the attempt that came after it."""
    answers = [asyncio.Event(), asyncio.Event()]

    async def answer(one: Message) -> Outcome:
        await answers[one.attempt - 1].wait()
        return Sent()

    again = campaign(on_doubt=OnDoubt.RESEND, retry=RetryPolicy(first_s=0.01))
    async with Rig(database_url, tmp_path, ScriptedDriver(answer), again) as rig:
        await rig.submit(message())
        await rig.driver.wait_started(1)
        # Rescued by another node while we stood still, and ripe again.
        await rig.store.transact(
            lambda c: c.exec_driver_sql("UPDATE sms_spool SET state = 'queued', incarnation = NULL, node = NULL")
        )
        rig.spool.wake()
        await rig.driver.wait_started(2)
        answers[0].set()
        async with asyncio.timeout(5):
            while rig.dialer.in_flight == 2:
                await asyncio.sleep(0.01)
        answers[1].set()
        await rig.until_sent(1)

        assert [(2,)] == await rig.rows("SELECT attempts FROM sms_repo")
        assert 0 == rig.dialer.in_flight
