"""The log: one line an event on stderr, in the form its reader needs, and nothing in it about a person."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dialerd import log

DIALERD = Path(log.__file__).parent
EVENT = re.compile(
    r"\b(?:_?log(?:ger)?|get\(__name__\))\.(?:debug|info|warning|error|exception|critical|frequent)\(\s*([^,)\s]+)"
)

JOURNAL = """
import os
there = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{there.st_dev}:{there.st_ino}"
"""

PROGRAM = """
import logging, sys
from dialerd import log

log.configure(sys.argv[1], {"json": True, "console": False, "auto": None}[sys.argv[2]])
logger = log.get("dialerd.dialer")
secrets = dict(data="Hola", destination="59899000001", address="59899000001", subject="Hola", text="Hola")
logger.debug("message_read", **secrets)
logger.info("message_sent", id="42", campaign="Promoción", **secrets)
try:
    text = "Hola"
    raise ValueError("two\\nlines")
except ValueError:
    logger.exception("tick_failed", **secrets)
logging.getLogger("apscheduler").warning("run was missed by %s", 3)
logging.getLogger("apscheduler").info("not asked for")
"""


def run(*args: str, program: str = PROGRAM, **options: object) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if key != "JOURNAL_STREAM"}
    command = [sys.executable, "-c", program, *args]
    defaults = {"env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "check": False}
    return subprocess.run(command, text=True, **(defaults | options))  # type: ignore[call-overload, no-any-return]


def test_json_lines() -> None:
    """Where stderr is no terminal each event is one JSON object on one line, libraries' warnings included."""
    ended = run("info", "auto")
    events = [json.loads(line) for line in ended.stderr.splitlines()]

    assert ended.stdout == ""
    assert [(event["level"], event["event"], event["module"]) for event in events] == [
        ("info", "message_sent", "dialerd.dialer"),
        ("error", "tick_failed", "dialerd.dialer"),
        ("warning", "run was missed by 3", "apscheduler"),
    ]
    assert (events[0]["id"], events[0]["campaign"]) == ("42", "Promoción")
    assert events[1]["exception"].endswith("ValueError: two\nlines")
    assert all(event["at"].endswith("Z") for event in events)


def test_journal_priorities() -> None:
    """Under systemd each line begins with its syslog priority, by which journalctl sorts."""
    assert [line[:4] for line in run("debug", "auto", program=JOURNAL + PROGRAM).stderr.splitlines()] == [
        "<7>{", "<6>{", "<3>{", "<4>{",
    ]  # fmt: skip


def test_journal_elsewhere() -> None:
    """A JOURNAL_STREAM that is not our stderr (a terminal inherited it, say) puts nothing before a line."""
    ended = run("info", "json", env=os.environ | {"JOURNAL_STREAM": "1:1"})

    assert [line[:1] for line in ended.stderr.splitlines()] == ["{"] * 3


@pytest.mark.parametrize("form", ["json", "console"])
def test_nothing_private(form: str) -> None:
    """No text and no address stands at info or above, not even as a local variable of a traceback."""
    ended = run("info", form)

    assert "message_sent" in ended.stderr
    assert "ValueError" in ended.stderr
    assert "59899000001" not in ended.stderr
    assert "Hola" not in ended.stderr.replace('text = "Hola"', "")
    assert "59899000001" in run("debug", form).stderr


def test_lost_line_stops_nobody() -> None:
    """A full disk under the log costs lines, not the daemon."""
    with Path("/dev/full").open("w") as full:
        ended = run("info", "json", stderr=full, program=PROGRAM + "print('went on')")

    assert ended.stdout == "went on\n"


def test_stdout_is_for_data() -> None:
    """Before anybody configured the log, too, it goes to stderr."""
    ended = run(program="from dialerd import log; log.get('x').warning('outbox_reopened')")

    assert (ended.stdout, "outbox_reopened" in ended.stderr) == ("", True)


def test_events_are_listed() -> None:
    """Every event that the code logs stands in log.EVENTS by its literal name, and no other does."""
    logged = {name for path in DIALERD.rglob("*.py") for name in EVENT.findall(path.read_text())}

    assert {f'"{name}"' for name in log.EVENTS} == logged
