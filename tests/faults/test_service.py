"""The daemon under systemd: what it tells, and when the watchdog is fed."""

import json
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.crash.harness import Site
from tests.crash.processes import until
from tests.systemd import ServiceManager

FED_EVERY_S = 0.1


def test_systemd_is_told_of_a_life(site_on: Callable[..., Site], tmp_path: Path) -> None:
    """It is ready when it sends, lives, reloads what is right and refuses what is wrong, and says when it stops."""
    with ServiceManager(tmp_path, watchdog_s=3 * FED_EVERY_S) as manager:
        here = site_on("sqlite", environment=manager.environment, drain_s=7)
        daemon = here.start("run")

        assert "opening the database" == manager.next()["STATUS"]
        assert "1" == manager.until("READY")["READY"]
        assert daemon.events("daemon_started")
        assert "providers: 1 of 1" in manager.until("WATCHDOG")["STATUS"]
        for options, said in (("per_second = 5", "holds"), ("per_second = -1", "refused, problems: 1")):
            here.options = options
            here.write()
            before = time.clock_gettime(time.CLOCK_MONOTONIC)
            daemon.send(signal.SIGHUP)
            assert before * 1e6 <= int(manager.until("RELOADING")["MONOTONIC_USEC"])
            assert said in manager.until("READY")["STATUS"]
        manager.until("WATCHDOG")
        daemon.send(signal.SIGTERM)
        assert 7e6 < int(manager.until("STOPPING")["EXTEND_TIMEOUT_USEC"]) < 60e6
        assert 0 == daemon.wait()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_thread_that_hangs_is_not_fed(site_on: Callable[..., Site], tmp_path: Path, kind: str) -> None:
    """While a thread hangs and outcomes cannot be recorded, the database being well, systemd gets no sign of life."""
    with ServiceManager(tmp_path, watchdog_s=3 * FED_EVERY_S) as manager:
        here = site_on(kind, environment=manager.environment)
        daemon = here.start_function("tests.faults.watched:hang_in_settle")
        manager.until("WATCHDOG")
        (here.folder / "hang").touch()
        ids = here.fill(10)

        stopped = daemon.until_event("progress_stopped")
        assert "settle" in stopped["parts"]
        assert [where for where in stopped["threads"].values() if "hanging (watched.py" in where]
        assert "settle" in manager.until("STATUS", "no progress")["STATUS"]
        assert not [told for told in (manager.next() for _ in range(10)) if "WATCHDOG" in told]

        (here.folder / "hang").unlink()
        manager.until("WATCHDOG")
        here.until_drained(daemon)
        daemon.stop()
        assert [] == here.faults(ids)
        assert daemon.events("progress_resumed")


def test_a_loop_that_hangs_is_not_fed(site_on: Callable[..., Site], tmp_path: Path) -> None:
    """An event loop that stands still gives no sign of life."""
    with ServiceManager(tmp_path, watchdog_s=3 * FED_EVERY_S) as manager:
        here = site_on("sqlite", environment=manager.environment)
        daemon = here.start_function("tests.faults.watched:hang_in_the_loop")
        manager.until("WATCHDOG")
        (here.folder / "hang").touch()
        here.fill(1)
        until(lambda: here.held(), "it has claimed it, and is to send it")
        while manager.tells(within_s=10 * FED_EVERY_S):
            assert daemon.status is None


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_database_that_does_not_answer_is_excused(
    site_on: Callable[..., Site], tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """A database that is locked or hangs (a frozen machine) makes nobody end a daemon that holds outcomes in memory."""
    with ServiceManager(tmp_path, watchdog_s=3 * FED_EVERY_S) as manager:
        here = site_on(kind, environment=manager.environment, latency_ms=300, max_in_flight=5)
        ids = here.fill(5)
        daemon = here.start_function("tests.faults.watched:impatient")
        until(lambda: here.given() == 5, "the provider has them")
        with _locked(here) if kind == "sqlite" else request.getfixturevalue("postgres").frozen():
            before = daemon.events("progress_stopped")
            manager.drop()
            manager.until("STATUS", "does not answer")
            # By now every part has stood still for longer than it may, whatever was told of single failures.
            told = [manager.next() for _ in range(int(3 / FED_EVERY_S))]
            assert not [one for one in told if "WATCHDOG" not in one]
            assert before == daemon.events("progress_stopped")

        here.until_drained(daemon)
        daemon.stop()
        assert [] == here.faults(ids)
        assert here.sent() == set(ids)


@contextmanager
def _locked(here: Site) -> Iterator[None]:
    """Keep a SQLite database locked as another process does."""
    with closing(sqlite3.connect(here.engine.url.database or "", isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_a_stall_is_said_and_over(site_on: Callable[..., Site], tmp_path: Path) -> None:
    """Messages are due and none goes: the log says it once, status shows it, systemd is not fed; then it is over."""
    with ServiceManager(tmp_path, watchdog_s=3 * FED_EVERY_S) as manager:
        here = site_on(
            "sqlite",
            environment=manager.environment,
            daemon_options="stall_minutes = 0.03\n",
            lease_s=2,
            max_in_flight=2,
        )
        (here.folder / "hang").touch()
        ids = here.fill(4)
        daemon = here.start_function("tests.faults.watched:hang_in_the_driver")

        assert "out" == daemon.until_event("sending_stalled")["provider"]
        assert "WATCHDOG" not in manager.until("STATUS", "out: due, but nothing goes")
        # Known to the others by the next heartbeat.
        stalled = "SELECT count(*) FROM node WHERE CAST(providers AS text) LIKE '%stalled%due%'"
        until(lambda: here.value(stalled), "the database knows")
        told = json.loads(here.call("status", "--json").stdout)["providers"]["out"]
        assert ("stalled", True) == (told["state"], told["stalled_s"] > 0)

        (here.folder / "hang").unlink()
        daemon.until_event("sending_resumed")
        manager.until("WATCHDOG")
        here.until_drained(daemon)
        assert 1 == len(daemon.events("sending_stalled"))
        daemon.stop()
        assert [] == here.faults(ids)


def test_the_log_of_attempts(site_on: Callable[..., Site], tmp_path: Path) -> None:
    """One line an attempt, with nothing private; SIGUSR1 shows more, and less again; a reload sets the level."""
    with ServiceManager(tmp_path) as manager:
        here = site_on("sqlite", environment=manager.environment)
        daemon = here.daemon()
        manager.until("READY")
        ids = here.fill(3, data="secreto")
        here.until_drained(daemon)

        attempts = daemon.events("message_attempted")
        assert set(ids) == {event["message_id"] for event in attempts}
        assert {("info", "ventas", "out", 1, "Sent", "sent")} == {
            tuple(event[key] for key in ("level", "campaign", "provider", "attempt", "outcome", "then"))
            for event in attempts
        }
        for changed in (1, 2):
            daemon.send(signal.SIGUSR1)
            daemon.until_event("level_changed", changed)
            ids += here.fill(2, data="secreto")
            here.until_drained(daemon)
        claimed = [event["count"] for event in daemon.events("messages_claimed") if event["count"]]
        assert 2 == sum(claimed)

        here.daemon_options = 'log_level = "warning"\n'
        here.write()
        daemon.send(signal.SIGHUP)
        manager.until("READY")
        ids += here.fill(2, data="secreto")
        here.until_drained(daemon)
        daemon.stop()
        assert len(ids) - 2 == len(daemon.events("message_attempted"))
        assert not daemon.events("reload_needs_restart")
        assert not [word for word in ("secreto", "59890000") if word in daemon.stderr]
        assert [] == here.faults(ids)
