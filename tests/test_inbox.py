"""The inbox: what a provider tells stands in the database before it is told that we have it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from dialerd import batch, daemon, drivers
from dialerd.inbox import Inbox
from dialerd.model.campaign import OnDoubt
from dialerd.model.errors import DatabaseGone
from dialerd.model.message import Message
from dialerd.model.outcome import Failed, InDoubt, Outcome, Sent, Throttled
from dialerd.model.receipt import Delivery, Inbound, Receipt
from dialerd.settings import Settings, load
from dialerd.store import Store, receipts
from dialerd.store.migrate import migrate
from dialerd.store.spool import submit
from tests.drivers.scripted import ScriptedDriver, ScriptedListener
from tests.rig import Rig, campaign, message
from tests.store.conftest import select
from tests.store.filled import repoed

PHONE = "59899123456"
DELIVERED = "SELECT count(*) FROM sms_repo WHERE delivery = 'delivered'"


def now() -> datetime:
    return datetime.now(UTC)


def receipt(provider_id: str, **given: Any) -> Receipt:
    return Receipt(
        **{"provider": "p", "provider_id": provider_id, "delivery": Delivery.DELIVERED, "address": PHONE} | given
    )


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    """Write and read a configuration with the campaign `c` on the provider `p`."""

    def write(url: str = "", extra: str = "", **campaign: str) -> Settings:
        (tmp_path / "campaigns").mkdir(exist_ok=True)
        database = f'[database]\nurl = "{url}"\n' if url else ""
        (tmp_path / "dialerd.toml").write_text(
            f'[daemon]\nstate_dir = "{tmp_path}"\ndrain_s = 0.2\n{database}{extra}\n'
            '[providers.p]\ndriver = "discard"\n[providers.q]\ndriver = "discard"\n'
        )
        lines = {"name": "c", "channel": "sms", "provider": "p", "region": "UY"} | campaign
        toml = "".join(f'{key} = "{value}"\n' for key, value in lines.items())
        (tmp_path / "campaigns" / "c.toml").write_text(toml)
        return load(tmp_path)

    return write


def named(one: Message) -> Outcome:
    return Sent(f"id-{one.data}")


async def test_many_at_once_share_their_transactions(
    database_url: str, tmp_path: Path, settings: Callable[..., Settings]
) -> None:
    """Receipts that come together are recorded together, and each call returns only when its own stands there."""
    async with Rig(database_url, tmp_path, ScriptedDriver(named)) as rig:
        await rig.submit(*[message(data=str(n), address=PHONE) for n in range(1000)])
        await rig.until_sent(1000)
        inbox = Inbox(rig.spool, settings(), clock=now)
        transact, batches = rig.store.transact, 0

        async def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal batches
            batches += 1
            return await transact(*args, **kwargs)

        rig.store.transact = counted  # type: ignore[method-assign]

        async def one(number: int) -> None:
            await inbox.receipt(receipt(f"id-{number}"))
            if number % 100 == 0:
                known = await rig.rows(f"SELECT delivery FROM sms_repo WHERE provider_id = 'id-{number}'")
                assert [("delivered",)] == known

        await asyncio.gather(*(one(number % 1000) for number in range(1500)))

        assert [(1000,)] == await rig.rows(DELIVERED)
        assert batches < 60


@pytest.mark.parametrize(
    ("on_doubt", "outcome", "ends"),
    [
        (OnDoubt.HOLD, Sent("7"), ("sent", 1, "7")),
        (OnDoubt.RESEND, Sent("7"), ("sent", 1, "7")),
        (OnDoubt.HOLD, Failed("no"), ("failed", 1, None)),
        (OnDoubt.HOLD, Throttled("slower"), ("sent", 1, "again")),
    ],
)
async def test_a_late_outcome_ends_its_doubt(
    database_url: str,
    tmp_path: Path,
    settings: Callable[..., Settings],
    on_doubt: OnDoubt,
    outcome: Outcome,
    ends: tuple[Any, ...],
) -> None:
    """What is known after all ends the doubt, and what went is not sent again; a second word does nothing."""
    answers: list[Outcome] = [InDoubt("no answer"), Sent("again")]
    given = campaign(on_doubt=on_doubt)
    async with Rig(database_url, tmp_path, ScriptedDriver(lambda _one: answers.pop(0)), given) as rig:
        inbox = Inbox(rig.spool, settings(on_doubt=on_doubt), clock=now)
        await rig.submit(message(address=PHONE))
        await rig.until("SELECT count(*) FROM sms_spool WHERE state IN ('in_doubt', 'deferred')", 1)
        (one,) = rig.driver.sent or rig.driver.started

        await inbox.late("p", one, outcome)
        await rig.until("SELECT count(*) FROM sms_repo", 1)
        with capture_logs() as logged:
            await inbox.late("p", one, Failed("nonsense"))

        assert [] == [line["event"] for line in logged if line["event"] == "outcome_late"]
        assert [ends] == await rig.rows("SELECT status, attempts, provider_id FROM sms_repo")
        assert [] == await rig.rows("SELECT seq FROM sms_spool")


async def test_a_database_that_is_away_is_not_acknowledged(
    sqlite_url: str, tmp_path: Path, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be recorded raises for everybody who waits for it; told again, it is there."""
    async with Rig(sqlite_url, tmp_path, ScriptedDriver(named)) as rig:
        await rig.submit(*[message(data=str(n), address=PHONE) for n in range(5)])
        await rig.until_sent(5)
        inbox = Inbox(rig.spool, settings(), clock=now)
        told = [receipt(f"id-{n}") for n in range(5)]

        async def gone(*_: Any, **__: Any) -> Any:
            raise DatabaseGone("away")

        transact = rig.store.transact
        rig.store.transact = gone  # type: ignore[method-assign]
        results = await asyncio.gather(*map(inbox.receipt, told), return_exceptions=True)
        assert [DatabaseGone] * 5 == [type(result) for result in results]
        with pytest.raises(DatabaseGone):
            await inbox.inbound(Inbound(provider="p", phone=PHONE, message="hola", received=now()))
        rig.store.transact = transact  # type: ignore[method-assign]
        # The answer to the provider is lost, too: it tells all of it twice.
        for _ in range(2):
            await asyncio.gather(*map(inbox.receipt, told))

        assert [(5,)] == await rig.rows(DELIVERED)
        assert [(0,)] == await rig.rows("SELECT count(*) FROM parked_receipt")
        assert rig.spool.database_error is None


async def test_who_is_cut_off_leaves_the_others_unharmed(
    sqlite_url: str, tmp_path: Path, settings: Callable[..., Settings]
) -> None:
    """A connection that breaks while its receipt is recorded makes others be told again, and nobody wait for ever."""
    async with Rig(sqlite_url, tmp_path, ScriptedDriver(named)) as rig:
        await rig.submit(*[message(data=str(n), address=PHONE) for n in range(4)])
        await rig.until_sent(4)
        inbox = Inbox(rig.spool, settings(), clock=now)
        tasks = [asyncio.create_task(inbox.receipt(receipt(f"id-{n}"))) for n in range(4)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[2].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert all(result is None or isinstance(result, DatabaseGone | asyncio.CancelledError) for result in results)
        for n in range(4):
            await inbox.receipt(receipt(f"id-{n}"))

        assert [(4,)] == await rig.rows(DELIVERED)


async def test_a_bug_with_one_loses_no_other(
    sqlite_url: str, tmp_path: Path, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receipt that no transaction takes is said to be one, and those that came with it are recorded."""
    match = receipts.match

    def picky(connection: Any, told: Any, when: Any) -> Any:
        if any(one.receipt.provider_id == "bad" for one in told):
            raise RuntimeError("a bug")
        return match(connection, told, when)

    monkeypatch.setattr(receipts, "match", picky)
    async with Rig(sqlite_url, tmp_path, ScriptedDriver(named)) as rig:
        await rig.submit(*[message(data=str(n), address=PHONE) for n in range(5)])
        await rig.until_sent(5)
        inbox = Inbox(rig.spool, settings(), clock=now)
        await asyncio.gather(*(inbox.receipt(receipt(name)) for name in ("id-0", "id-1", "bad", "id-2")))

        assert [(3,)] == await rig.rows(DELIVERED)


async def test_a_daemon_listens(
    database_url: str, tmp_path: Path, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drivers that listen do so while the daemon runs; a reload of their provider starts the new and stops the old one.

    Receipts end doubts, a STOP is confirmed and honoured, all through the running daemon.
    """
    reply = '[inbound]\nopt_out_reply = "Listo"\n'
    settings(database_url, reply)
    built: list[ScriptedListener] = []

    def build(provider: Any, _campaigns: Any) -> ScriptedListener:
        driver = ScriptedListener(lambda m: InDoubt("lost") if m.data == "doubt" else Sent(f"id-{m.data}"))
        if provider.name == "p":
            built.append(driver)
        return driver

    monkeypatch.setitem(drivers.DRIVERS, "discard", build)
    store = Store(database_url)
    await store.transact(migrate)
    await store.transact(submit, [message(data=data, address=PHONE, destination=PHONE) for data in ("a", "doubt")])
    task = asyncio.create_task(daemon.run(lambda: load(tmp_path)))

    async def until(sql: str, expected: Any) -> None:
        async with asyncio.timeout(30):
            while (await store.read(lambda c: c.execute(text(sql)).scalar())) != expected:
                await asyncio.sleep(0.02)

    try:
        while not built:
            await asyncio.sleep(0.01)
        first = built[0]
        inbox = await first.wait_listening()
        await until("SELECT count(*) FROM sms_spool WHERE state = 'in_doubt'", 1)
        await inbox.receipt(receipt("id-a"))
        await inbox.receipt(receipt("new", delivery=Delivery.UNDELIVERED))
        await until("SELECT count(*) FROM sms_repo WHERE delivery IS NOT NULL", 2)

        settings(database_url, f'{reply}[providers.r]\ndriver = "discard"', provider="p")
        text_ = (tmp_path / "dialerd.toml").read_text()
        (tmp_path / "dialerd.toml").write_text(text_.replace("[providers.p]\n", "[providers.p]\nmax_in_flight = 7\n"))
        os.kill(os.getpid(), signal.SIGHUP)
        await first.wait_until(lambda: first.heard == ["began", "ended", "closed"], "end of listening")
        second = built[1]
        inbox = await second.wait_listening()
        await inbox.inbound(Inbound(provider="p", phone=f"+{PHONE}", message="Stop.", received=now()))
        await second.wait_sent(1)
        assert [("Listo", PHONE)] == [(one.data, one.address) for one in second.sent]
        await store.transact(submit, [message(data="late", address=PHONE)])
        await until("SELECT count(*) FROM sms_repo WHERE status = 'blocked' AND data = 'late'", 1)

        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(task, 30)
        assert ["began", "ended", "closed"] == second.heard
    finally:
        task.cancel()
        await asyncio.wait([task])
        store.close()


async def test_a_batch_run_listens(
    sqlite_url: str, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run once, a driver listens until the last attempt has ended."""
    driver = ScriptedListener()
    monkeypatch.setitem(
        drivers.DRIVERS, "discard", lambda provider, _campaigns: driver if provider.name == "p" else ScriptedDriver()
    )

    async def told(one: Message) -> Outcome:
        inbox = await driver.wait_listening()
        await inbox.receipt(receipt("early", address=None, own_id=one.id))
        return Sent("early")

    driver.script = told
    config = settings(sqlite_url)
    store = Store(sqlite_url)
    await store.transact(migrate)
    await store.transact(submit, [message()])
    summary = await batch.run_once(config)

    assert 1 == summary.ended["sent"]
    assert ["began", "ended", "closed"] == driver.heard
    assert 1 == await store.read(lambda c: c.execute(text(DELIVERED)).scalar())
    store.close()


KILLED_BEFORE_THE_ANSWER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from dialerd.inbox import Inbox
from dialerd.lease import Lease
from dialerd.model.receipt import Delivery, Inbound, Receipt
from dialerd.settings import load
from dialerd.spool import Spool
from dialerd.store import Store

def now():
    return datetime.now(UTC)

async def tell():
    store = Store(sys.argv[1])
    folder = Path(sys.argv[2])
    spool = Spool(store, Lease(store, node="n", state_dir=folder, lease_s=30), clock=now)
    inbox = Inbox(spool, load(folder), clock=now)
    await inbox.inbound(Inbound(provider="p", phone="59899123456", message="hola", received=now()))
    print("acknowledged SMS", flush=True)
    await inbox.receipt(Receipt(provider="p", provider_id="id-1", delivery=Delivery.DELIVERED, address="59899123456"))
    print("acknowledged receipt", flush=True)

asyncio.run(tell())
"""


def test_what_was_recorded_and_not_acknowledged_is_told_again(
    sqlite_url: str, tmp_path: Path, settings: Callable[..., Settings]
) -> None:
    """Killed between the commit and the answer, the provider tells it again, and it stands there once."""
    settings()
    with closing(Store(sqlite_url)) as store:
        store.transact_here(migrate)
        repoed(store, provider="p", provider_id="id-1", address=PHONE, dateprocessed=now())
        for place in ("receive.committed", ""):
            environ = {**os.environ, "DIALERD_FAILPOINT": place}
            command = [sys.executable, "-c", KILLED_BEFORE_THE_ANSWER, sqlite_url, str(tmp_path)]
            done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
            assert (-signal.SIGKILL if place else 0) == done.returncode, done.stderr
        assert "acknowledged receipt" in done.stdout
        assert [("delivered",)] == select(store, "SELECT delivery FROM sms_repo")
        assert [("hola",)] == select(store, "SELECT message FROM sms_inbound")
        assert [] == select(store, "SELECT seq FROM parked_receipt")
