"""Processes beside each other, and how a daemon ends."""

import signal
import time
from collections.abc import Callable

import pytest

from tests.crash.harness import Site
from tests.crash.processes import until


@pytest.mark.parametrize("command", [["run"], ["run", "--once"]])
def test_a_state_folder_that_cannot_be_written(site_on: Callable[..., Site], command: list[str]) -> None:
    """Without a state folder nothing begins: one clear line, exit status 1, and everything stays as it was."""
    here = site_on("sqlite")
    ids = here.fill(5) + here.plan(5)
    # Even root cannot make a folder below a file.
    (here.folder / "state").write_text("")

    ended = here.call(*command)

    assert 1 == ended.status
    (line,) = ended.stderr.splitlines()
    assert line.startswith("dialerd: cannot write ")
    assert "state_dir" in line
    assert {"queued": 5} == here.states()
    assert set(ids) == here.places().keys()
    assert 0 == here.given()


def test_a_second_daemon_of_one_name_is_refused(site: Callable[..., Site]) -> None:
    """A daemon whose name is taken refuses at once with one line that says by whom; the first is not disturbed."""
    here = site(latency_ms=50, max_in_flight=5)
    ids = here.fill(60)
    first = here.daemon()
    until(lambda: here.given() > 5, "the first sends")

    second = here.call("run")

    assert 1 == second.status
    (line,) = second.stderr.splitlines()
    assert f"a daemon named one runs already (process {first.pid}" in line
    here.until_drained(first)
    first.stop()
    assert [] == here.faults(ids)
    assert here.sent() == set(ids)
    assert not first.events("lease_lost")


def test_a_batch_beside_a_daemon(site: Callable[..., Site]) -> None:
    """`run --once` and a daemon of the same name share the work: together they send all of it, each message once."""
    here = site(latency_ms=100, max_in_flight=10)
    ids = here.fill(400)
    once = here.start("run", "--once")
    daemon = here.daemon()
    held_by = "SELECT count(DISTINCT incarnation) FROM sms_spool WHERE state = 'sending'"
    until(lambda: here.value(held_by) == 2, "both send")

    assert 0 == once.wait()
    here.until_drained(daemon)
    daemon.stop()
    assert [] == here.faults(ids)
    assert here.sent() == set(ids)
    assert not [event for event in daemon.events() if event["level"] != "info"]


def test_sigterm_lets_attempts_end(site: Callable[..., Site]) -> None:
    """SIGTERM claims nothing more, records what is under way and gives the rest back: nothing is in doubt."""
    here = site(latency_ms=1000, max_in_flight=10, drain_s=10)
    ids = here.fill(100)
    daemon = here.daemon()
    until(lambda: here.given() >= 10, "the provider has some")

    began = time.monotonic()
    daemon.stop()

    assert time.monotonic() - began < 8
    assert here.sent() == here.outbox().keys()
    assert {"queued": 100 - len(here.sent())} == here.states()
    assert [(0,)] == here.rows("SELECT DISTINCT attempts FROM sms_spool")
    assert [] == here.faults(ids)
    assert [] == here.rows("SELECT node FROM node")


def test_sigterm_waits_no_longer_than_drain_s(site_on: Callable[..., Site]) -> None:
    """Attempts that do not end within drain_s are cut off and in doubt; the daemon ends well all the same."""
    here = site_on("sqlite", latency_ms=30_000, max_in_flight=4, drain_s=1)
    ids = here.fill(20)
    daemon = here.daemon()
    until(lambda: here.given() == 4, "the provider has some")

    began = time.monotonic()
    daemon.stop()

    assert 0.9 < time.monotonic() - began < 10
    assert {"in_doubt": 4, "queued": 16} == here.states()
    assert here.doubts() == here.outbox().keys()
    assert [] == here.faults(ids)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(site_on: Callable[..., Site], second: signal.Signals) -> None:
    """Who cannot wait for the drain says so again; what was under way is rescued at the next start."""
    here = site_on("sqlite", latency_ms=30_000, max_in_flight=4, drain_s=60)
    ids = here.fill(20)
    daemon = here.daemon()
    until(lambda: here.given() == 4, "the provider has some")
    daemon.send(signal.SIGTERM)
    daemon.until_event("daemon_draining")

    daemon.send(second)

    assert daemon.wait(within_s=20) in {-second, 128 + second}
    assert {"sending": 4, "queued": 16} == here.states()
    here.latency_ms = 0
    here.write()
    assert 0 == here.call("run", "--once").status
    assert {"in_doubt": 4} == here.states()
    assert [] == here.faults(ids)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_stop_at_any_moment_leaves_no_doubt(site_on: Callable[..., Site], kind: str) -> None:
    """However often it is stopped in the middle of claims, a daemon in order leaves nothing as sending or in doubt."""
    here = site_on(kind, max_in_flight=50)
    ids: list[str] = []
    for turn in range(6):
        ids += here.fill(300)
        daemon = here.daemon()
        given = here.given()
        until(lambda: here.given() > given + 40 * turn or not here.states(), "it sends")  # noqa: B023
        daemon.stop()
        assert here.states().keys() <= {"queued"}, daemon.tail()

    assert 0 == here.call("run", "--once").status
    assert [] == here.faults(ids)
    assert here.sent() == set(ids)
