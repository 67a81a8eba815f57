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


FREQUENT = """
import sys
from dialerd import log

log.configure("info", {"json": True, "console": False}[sys.argv[1]])
fields = dict(message_id="42", campaign="Promoción \\"ñ\\"", then="sent", took_s=0.25, attempt=1)
log.frequent("message_attempted", module="dialerd.dialer", provider="p")(**fields)
log.get("dialerd.dialer").info("message_attempted", provider="p", **fields)
log.set_level("warning")
log.frequent("message_attempted", module="dialerd.dialer", provider="p")(**fields)
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_frequent_event_is_written_like_any_other(form: str) -> None:
    """What is logged the quick way is the line that the long way gives, and obeys the level."""
    quick, usual = run(form, program=JOURNAL + FREQUENT).stderr.splitlines()

    if form == "json":
        assert (quick[:3], usual[:3]) == ("<6>", "<6>")
        told = [json.loads(line[3:]) for line in (quick, usual)]
        assert [len(event.pop("at")) for event in told] == [len("2026-01-01T00:00:00.000000Z")] * 2
        assert told[0] == told[1]
        assert "Promoción" in quick
    else:
        assert quick[27:].split() == usual[27:].split()


def test_what_was_said_of_a_person() -> None:
    """Addresses and numbers that a provider quotes stay out at info and above; the rest is told, an SMSC's code too."""
    program = """
from dialerd import log
log.configure("debug", True)
for level in ("debug", "warning"):
    getattr(log.get("m"), level)("provider_shut", reason="550 5.1.1 <Ana.B@example.com>: unknown, call +598 99 000-001")
log.get("m").warning("provider_shut", reason="bind: 0x00000400 59899000001, 0x59899000001 and 0x00000058")
"""
    debug, warning, code = [json.loads(line)["reason"] for line in run(program=program).stderr.splitlines()]

    assert "Ana.B@example.com" in debug
    assert warning == "550 5.1.1 <…>: unknown, call …"
    assert code == "bind: 0x00000400 …, 0x… and 0x00000058"


def test_debug_and_back() -> None:
    """Debug is switched on and off again for loggers that were made before, and the level asked for comes back."""
    program = """
from dialerd import log
log.configure("error", True)
logger = log.get("m")
for turn in range(3):
    logger.debug("message_read", turn=turn)
    logger.warning("provider_back", turn=turn)
    log.toggle_debug()
"""
    events = [json.loads(line) for line in run(program=program).stderr.splitlines()]

    assert [(event["event"], event.get("turn", event.get("to"))) for event in events] == [
        ("level_changed", "debug"), ("message_read", 1), ("provider_back", 1), ("level_changed", "debug"),
    ]  # fmt: skip


@pytest.mark.parametrize(("length", "most_torn"), [(100, 0), (9_000, 1)], ids=["short", "longer than a pipe takes"])
def test_a_reader_that_stands_still(length: int, most_torn: int) -> None:
    """When nobody takes the lines (the journal hangs), they are lost and counted, and the daemon goes on.

    Lines that are longer than a pipe takes at once, such as tracebacks, too: one may be cut off, and the next one
    begins anew.
    """
    program = """
import sys
from dialerd import log
log.configure("info", True)
write = log.frequent("message_attempted", module="m")
for number in range(3000):
    write(number=number, more="x" * int(sys.argv[1]))
print("went on", flush=True)
sys.stdin.readline()
write(number=3000)
"""
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    command = [sys.executable, "-c", program, str(length)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    with process, open(ours, "rb", buffering=0) as reader:  # noqa: PTH123
        assert process.stdout is not None
        assert process.stdout.readline() == b"went on\n"
        # Only now the reader wakes up.
        told = b"".join(iter(lambda: reader.read(65536) or b"", b""))
        process.communicate(b"\n")
        told += reader.readall()

    lines = told.splitlines()
    events = [json.loads(line) for line in lines if line.endswith(b"}")]
    assert len(lines) - len(events) <= most_torn
    assert events[-2]["number"] == 3000
    assert events[-1]["event"] == "lines_lost"
    assert len(events) - 2 + events[-1]["count"] == 3000


def test_frequent_lines_keep_their_place() -> None:
    """What is written once a turn of the event loop stands before what came later, and none is left."""
    program = """
import asyncio
from dialerd import log
log.configure("info", True)
write = log.frequent("message_attempted", module="m")
async def main():
    write(number=0)
    write(number=1)
    log.get("m").warning("provider_back", number=2)
    await asyncio.sleep(0)
    for number in range(3, 103):
        write(number=number)
    await asyncio.sleep(0)
    write(number=103)
    raise SystemExit
asyncio.run(main())
"""
    events = [json.loads(line) for line in run(program=program).stderr.splitlines()]

    assert [event["number"] for event in events] == list(range(104))


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
