"""The whole engine over SMPP: from the spool through an SMSC to sms_repo."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from dialerd.batch import Summary, run_once
from dialerd.model import breaker
from dialerd.settings import load
from dialerd.store import Store
from dialerd.store.migrate import migrate
from dialerd.store.spool import submit
from tests.fakes.smsc import Smsc
from tests.rig import message

COUNT = 60


@pytest.fixture
async def run(smsc: Smsc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Send so many messages in a batch run; return its summary and the rows of sms_repo."""
    (tmp_path / "campaigns").mkdir()
    (tmp_path / "dialerd.toml").write_text(
        f'[daemon]\nstate_dir = "{tmp_path}"\n'
        f'[providers.smsc]\ndriver = "smpp"\nhost = "127.0.0.1"\nport = {smsc.port}\nsystem_id = "dialerd"\n'
        'password = "secret"\nwindow = 5\n'
    )
    (tmp_path / "campaigns" / "c.toml").write_text('name = "c"\nchannel = "sms"\nprovider = "smsc"\nsource = "1234"\n')
    monkeypatch.setattr(breaker, "FIRST_WAIT_S", 0.02)

    async def run() -> tuple[Summary, list[tuple[object, ...]]]:
        settings = load(tmp_path)
        store = Store(settings.database.url)
        await store.transact(migrate)
        await store.transact(submit, [message(address="59899123456") for _ in range(COUNT)])
        async with asyncio.timeout(60):
            summary = await run_once(settings)
        sql = text("SELECT status, attempts, provider, provider_id FROM sms_repo")
        rows = await store.read(lambda connection: [tuple(row) for row in connection.execute(sql)])
        store.close()
        return summary, rows

    return run


async def test_all_sent(smsc: Smsc, run: Callable[..., object]) -> None:
    """What waits is sent, once, and stands in sms_repo with the SMSC's name for it; the SMSC is told goodbye."""
    summary, rows = await run()  # type: ignore[misc]

    assert summary.ended["sent"] == COUNT
    assert sorted(rows) == sorted(("sent", 1, "smsc", str(number + 1)) for number in range(COUNT))
    assert (len(smsc.accepted), smsc.unbinds) == (COUNT, 1)
    assert {(one.source, one.source_ton, one.destination, one.dest_ton) for one in smsc.accepted} == {
        (b"1234", 3, b"59899123456", 1)
    }


async def test_throttled(smsc: Smsc, run: Callable[..., object]) -> None:
    """An SMSC that is too busy now and then costs no attempt and no message: the pace falls and comes back."""
    answers = iter(range(10_000))
    smsc.policy = lambda _message: 0x58 if next(answers) in {5, 6, 40} else "id"
    summary, rows = await run()  # type: ignore[misc]

    assert (summary.ended["sent"], summary.down) == (COUNT, {})
    assert {row[:2] for row in rows} == {("sent", 1)}
    assert len(smsc.accepted) == COUNT
