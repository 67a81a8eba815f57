"""`dialerd run` and `dialerd demo`: the real engine, from the command line."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dialerd.store import Store
from dialerd.store.tables import sms_repo
from tests.cli.calls import PROGRAM, call, configure, documented, refused
from tests.store.filled import migrated, rows, scheduled, spooled


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A database at this version's tables."""
    with migrated(database_url) as opened:
        yield opened


@pytest.fixture
def config(tmp_path: Path, database_url: str) -> Path:
    """A configuration on that database."""
    return configure(tmp_path, url=database_url)


def test_run_once_sends_what_is_due(store: Store, config: Path, tmp_path: Path) -> None:
    """A batch run promotes and sends what is due, leaves what is not, and tells what it did."""
    past, future = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)
    scheduled(store, {"calldate": past}, {"calldate": future}, campaign="Ventas->")
    spooled(store, campaign="Ventas->")

    result = call("run", "--once", config=config)

    assert (0, "1 promoted, 2 sent\n", "") == (result.exit_code, result.stdout, result.stderr)
    assert ["sent", "sent"] == [row.status for row in rows(store, sms_repo).values()]
    assert 2 == len((tmp_path / "var" / "outbox.jsonl").read_text().splitlines())


def test_run_once_as_json(config: Path) -> None:
    """Programs read the same; nothing due is no error."""
    document = documented("run", "--once", config=config)

    assert (0, 0, {}) == (document["promoted"], document["remaining"], document["down"])
    assert "nothing was due\n" == call("run", "--once", config=config).stdout


def test_run_once_logs_to_the_journal(store: Store, config: Path) -> None:
    """As a service a batch run logs each attempt, as a daemon does; by hand it only says what it did."""
    spooled(store, campaign="Ventas->")
    program = (
        "import os; there = os.fstat(2); os.environ['JOURNAL_STREAM'] = f'{there.st_dev}:{there.st_ino}';"
        "from dialerd.cli import main; main(prog_name='dialerd')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "run", "--once", "--config", str(config)], capture_output=True, text=True
    )

    assert (0, "1 sent\n") == (done.returncode, done.stdout)
    (attempt,) = [line for line in done.stderr.splitlines() if "message_attempted" in line]
    assert attempt.startswith("<6>{")


def test_run_once_ends_with_75_when_messages_remain(store: Store, tmp_path: Path, database_url: str) -> None:
    """Due messages that a provider could not take, being down, make a batch run worth repeating."""
    (tmp_path / "taken").write_text("")
    broken = f'[providers.broken]\ndriver = "file"\npath = "{tmp_path}/taken/outbox.jsonl"\n'
    config = configure(tmp_path, url=database_url, main_file=broken)
    ventas = config / "campaigns" / "ventas.toml"
    ventas.write_text(ventas.read_text().replace('"outbox"', '"broken"'))
    spooled(store, campaign="Ventas->")

    result = call("run", "--once", config=config)

    assert 75 == result.exit_code
    *log, said = result.stderr.splitlines()
    assert said.startswith("dialerd: 1 due messages remain, not taken by broken: ")
    # However often the provider was tried, nothing became of the message.
    assert "nothing was sent\n" == result.stdout
    assert all("event" in json.loads(line) for line in log)


def test_json_goes_with_once(config: Path) -> None:
    """A daemon prints no result."""
    assert 2 == call("run", "--json", config=config).exit_code


def test_a_node_name_is_checked(config: Path) -> None:
    """--node is held to the same rules as the configuration's."""
    assert "--node" in refused("run", "--node", "a b", config=config, status=2)


def test_the_daemon_sends_drains_and_stops(store: Store, config: Path) -> None:
    """A daemon under the name given sends what comes in, refuses a second of its name, and ends with 0 on SIGTERM."""
    daemon = [*PROGRAM, "run", "--node", "n-1", "--config", str(config)]
    with subprocess.Popen(daemon, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            call("send", "Ventas->", "099123456", "x", config=config)
            deadline = time.monotonic() + 60
            while not rows(store, sms_repo) and time.monotonic() < deadline:
                time.sleep(0.05)  # another process sends it, and has no event for us
            (node,) = documented("status", config=config)["nodes"]
            second = refused("run", "--node", "n-1", config=config)
        finally:
            process.send_signal(signal.SIGTERM)
            out, log = process.communicate(timeout=60)

    assert ["sent"] == [row.status for row in rows(store, sms_repo).values()], log
    assert ("n-1", True) == (node["node"], node["alive"])
    assert "n-1" in second
    assert (0, b"") == (process.returncode, out)
    events = [json.loads(line)["event"] for line in log.decode().splitlines()]
    assert ["daemon_started", "daemon_stopped"] == [events[0], events[-1]]


# The demo


def test_the_demo_shows_all_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo sends what was scheduled, uploaded and sent by hand, rejects two lines, and leaves nothing behind."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    result = call("demo")

    assert (0, "") == (result.exit_code, result.stderr)
    assert 4 == result.stdout.count("  sent  ") + result.stdout.count("  sent\n")
    for word in ("bad number", "blacklisted", "email", "ana@example.com", "Schedule ", "base.csv", "Next:"):
        assert word in result.stdout
    assert [] == list(tmp_path.iterdir())


def test_the_demo_can_be_kept(tmp_path: Path) -> None:
    """--keep leaves a folder to look around in with the other commands, and takes no folder that is in use."""
    kept = tmp_path / "a b"

    document = documented("demo", "--keep", kept)

    assert ["sent"] * 4 == [one["status"] for one in document["repo"]]
    assert {"sms", "email"} == {one["channel"] for one in document["outbox"]}
    status = documented("status", "--config", kept / "config")
    assert 1 == status["campaigns"]["Reminders"]["scheduled"]
    assert "not empty" in refused("demo", "--keep", kept)
