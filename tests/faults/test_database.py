"""The database goes away, is locked, or has no room, in the middle of the work: nothing is lost, nothing goes twice."""

import asyncio
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dialerd.model.campaign import RetryPolicy
from dialerd.model.errors import DatabaseGone
from dialerd.model.message import Message
from dialerd.model.outcome import Deferred, Outcome, Sent, Unreachable
from dialerd.store.claim import claim
from dialerd.store.settle import give_back, settle
from tests.crash.harness import Databases, Site
from tests.crash.processes import until
from tests.postgres import PostgresServer
from tests.rig import Rig, campaign, message

OUTAGE_S = 5


def test_postgresql_goes_away_and_comes_back(tmp_path: Path) -> None:
    """A server that crashes and is back after some seconds stops the sending just so long; it is said once each way."""
    with PostgresServer() as server:
        databases = Databases(tmp_path, lambda: server)
        here = Site(tmp_path, databases.make("postgresql", tmp_path), latency_ms=20, max_in_flight=50)
        ids = here.fill(4000)
        daemon = here.daemon()
        until(lambda: here.given() > 1000, "it sends")

        server.stop("immediate")
        daemon.until_event("database_gone")
        time.sleep(OUTAGE_S)
        assert daemon.status is None
        server.start()

        here.until_drained(daemon)
        daemon.until_event("database_back")
        daemon.stop()
        here.close()
        assert [] == here.faults(ids)
        assert here.sent() == set(ids)
        assert (1, 1) == (len(daemon.events("database_gone")), len(daemon.events("database_back")))
        assert not daemon.events("part_failed")


def test_every_connection_is_ended(site_on: Callable[..., Site]) -> None:
    """An administrator who ends every connection in the middle of the work, again and again, costs nothing."""
    here = site_on("postgresql", latency_ms=5, max_in_flight=50)
    ids = here.fill(3000)
    daemon = here.daemon()
    for turn in range(8):
        until(lambda: here.given() > 300 * turn or not here.states(), "it sends")  # noqa: B023
        here.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dialerd'")

    here.until_drained(daemon)
    daemon.stop()
    assert [] == here.faults(ids)
    assert here.sent() == set(ids)
    assert not daemon.events("part_failed")


def test_sqlite_is_locked_by_another_process(site_on: Callable[..., Site]) -> None:
    """Somebody who keeps the database locked for 20 s stops the sending for just so long."""
    here = site_on("sqlite", latency_ms=20, max_in_flight=20)
    ids = here.fill(1000)
    daemon = here.daemon()
    until(lambda: here.given() > 100, "it sends")

    locker = here.start_function("tests.faults.locker:lock", f"{here.folder}/dialerd.db", "20")
    until(lambda: "locked" in locker.stdout, "it is locked")
    given = here.given()
    assert 0 == locker.wait()

    # What had been claimed has gone, what had not has not.
    assert here.given() <= given + 20 + 20
    here.until_drained(daemon)
    daemon.stop()
    assert [] == here.faults(ids)
    assert here.sent() == set(ids)
    assert not daemon.events("part_failed")


def test_sqlite_is_locked_for_longer_than_a_lease(site_on: Callable[..., Site]) -> None:
    """While the database is locked the lease runs out and nothing is begun; then all of it goes on, undoubted."""
    here = site_on("sqlite", latency_ms=20, max_in_flight=20, lease_s=2)
    ids = here.fill(400)
    daemon = here.daemon()
    until(lambda: here.given() > 50, "it sends")

    locker = here.start_function("tests.faults.locker:lock", f"{here.folder}/dialerd.db", "5")

    here.until_drained(daemon)
    assert 0 == locker.wait()
    daemon.stop()
    assert [] == here.faults(ids)
    assert here.sent() == set(ids)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_the_disk_is_full(small_disk: Path, databases: Databases, tmp_path: Path) -> None:
    """Without room for the database nothing is claimed and outcomes wait; said once, and with room all goes on."""
    url = databases.make("sqlite", small_disk)
    here = Site(tmp_path, url, latency_ms=50, max_in_flight=20)
    ids = here.fill(2000, data="x" * 100)
    # Room for a few commits: the log of writes grows with each until its first checkpoint, at 4 MB.
    ballast = small_disk / "ballast"
    _fill(ballast)
    os.truncate(ballast, ballast.stat().st_size - (1 << 20))
    daemon = here.daemon()

    gone = daemon.until_event("database_gone")
    assert "full" in gone["error"]
    assert "x" * 100 not in daemon.stderr
    until(lambda: _is_still(here), "nothing moves")
    assert 1 == len(daemon.events("database_gone")), daemon.tail()
    assert not daemon.events("database_back"), daemon.tail()
    assert 0 < here.given() < 2000

    ballast.unlink()
    here.until_drained(daemon)
    daemon.until_event("database_back")
    daemon.stop()
    here.close()
    assert [] == here.faults(ids)
    assert here.sent() == set(ids)
    assert not daemon.events("part_failed")


def _is_still(here: Site) -> bool:
    """Tell whether nothing was sent, nor recorded, for three seconds."""
    before = (here.given(), here.states())
    time.sleep(3)
    return before == (here.given(), here.states())


def _fill(path: Path) -> None:
    """Take all the room there is."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(os.urandom(size) if size > 1 else b"x")
            except OSError:
                continue


async def test_answers_of_the_database_get_lost(rig_of: Callable[..., Rig]) -> None:
    """A commit whose answer gets lost is neither done again nor taken for undone, whatever it was."""
    chance = random.Random(4)
    answers: list[Outcome] = [*[Sent()] * 5, *[Deferred("busy")] * 2, Unreachable("refused")]
    policy = RetryPolicy(attempts=100, first_s=0.01, max_s=0.01)

    async with rig_of(lambda _m: chance.choice(answers), campaign(retry=policy), max_in_flight=20) as rig:
        transact = rig.store.transact

        async def forgetful(function: Callable[..., Any], /, *args: Any, **given: Any) -> Any:
            done = await transact(function, *args, **given)
            if chance.random() < 0.2:
                raise DatabaseGone("the answer got lost")
            return done

        some = [message() for _ in range(150)]
        await rig.submit(*some)
        rig.store.transact = forgetful  # type: ignore[method-assign]
        await rig.until_sent(150)
        rig.store.transact = transact  # type: ignore[method-assign]

        assert sorted(m.id for m in some) == sorted(m.id for m in rig.driver.sent)
        assert {} == await rig.states()


async def test_what_was_given_back_and_claimed_anew(rig_of: Callable[..., Rig]) -> None:
    """A message given back by a commit whose answer got lost, and claimed anew since, is not given back once more."""
    settled: list[str] = []
    again = asyncio.Event()

    async def answer(_message: Message) -> Outcome:
        if not settled:
            return Unreachable("refused")
        await again.wait()
        return Sent()

    async with rig_of(answer, max_in_flight=2) as rig:
        transact = rig.store.transact

        async def forgetful(function: Callable[..., Any], /, *args: Any, **given: Any) -> Any:
            done = await transact(function, *args, **given)
            if function is settle:
                settled.append("done")
                if len(settled) == 1:
                    rig.spool.wake()
                    raise DatabaseGone("the answer got lost")
                again.set()
            return done

        rig.store.transact = forgetful  # type: ignore[method-assign]
        await rig.submit(message())
        await rig.until_sent(1)
        rig.store.transact = transact  # type: ignore[method-assign]

        assert 1 == len(rig.driver.sent)
        assert 2 == len(rig.driver.started)
        assert [(1,)] == await rig.rows("SELECT attempts FROM sms_repo")


async def test_a_claim_that_is_committed_after_its_connection_broke(
    rig_of: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a lost claim took is found even when the server commits it only after we had looked; it goes once."""
    monkeypatch.setattr("dialerd.spool.LOOK_FOR_STRAYS_S", (0.0, 0.5, 1.0))
    late: list[Callable[[], Any]] = []

    async with rig_of(None, max_in_flight=3) as rig:
        transact = rig.store.transact

        async def breaking(function: Callable[..., Any], /, *args: Any, **given: Any) -> Any:
            if function is claim and not late:
                late.append(lambda: transact(function, *args, **given))
                raise DatabaseGone("the connection broke")
            done = await transact(function, *args, **given)
            if function is give_back and len(late) == 1:
                late.append(late[0])
                await late[0]()
            return done

        rig.store.transact = breaking  # type: ignore[method-assign]
        some = [message() for _ in range(5)]
        await rig.submit(*some)
        await rig.until_sent(5)
        rig.store.transact = transact  # type: ignore[method-assign]

        assert sorted(m.id for m in some) == sorted(m.id for m in rig.driver.started)
