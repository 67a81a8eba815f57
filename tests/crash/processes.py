"""Real processes of dialerd, quick to start and known by their ids.

They are forked from a server that has the third parties' libraries loaded: a start takes a few tenths of a second, and
each is a process of its own that imports dialerd, runs the command line and can be killed at any place.
"""

import ctypes
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

__all__ = ["PATIENCE_S", "Ended", "Process", "command", "until"]

#: Whatever is waited for comes long before this, however busy the machine is.
PATIENCE_S = 60.0
LOOK_S = 0.01

PRELOADED = [
    "alembic.command", "alembic.config", "alembic.runtime.migration", "apscheduler.schedulers.asyncio", "click",
    "email_validator", "phonenumbers", "psycopg", "pydantic", "rich.console", "rich.progress", "rich.table",
    "sqlalchemy", "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite.pysqlite", "structlog",
    "uvloop",
    # Of dialerd only what has no failpoint.
    "dialerd.settings",
]  # fmt: skip

servers = multiprocessing.get_context("forkserver")
servers.set_forkserver_preload(PRELOADED)


def until(holds: Callable[[], Any], what: str, *, within_s: float = PATIENCE_S, look_s: float = LOOK_S) -> Any:
    """Return what `holds()` returns as soon as that is true; other processes give us no event to wait for."""
    give_up_at = time.monotonic() + within_s
    while not (found := holds()):
        if time.monotonic() > give_up_at:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(look_s)
    return found


def _run(target: str, arguments: Sequence[str], surroundings: Mapping[str, Any]) -> None:
    """Be a process of dialerd: what runs in it from the fork on. `target` is written `module:function`."""
    # Whoever ends the tests, however, ends the server: it lives while somebody has this file open. We end with it.
    os.close(forkserver._forkserver._forkserver_alive_fd)
    with suppress(AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    for name, fd in (("stdout", 1), ("stderr", 2)):
        file = os.open(surroundings[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, fd)
        os.close(file)
    os.chdir(surroundings["folder"])
    os.environ.update(surroundings["environment"])
    assert "dialerd.failpoint" not in sys.modules, "whoever imported it already has not seen this environment"
    module, _, function = target.partition(":")
    getattr(import_module(module), function)(*arguments)


def command(*arguments: str) -> None:
    """Be `dialerd ARGUMENTS`."""
    from dialerd.cli import main  # with this process's environment

    main(list(arguments), prog_name="dialerd")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


class Process:
    """One process of dialerd, known by its id."""

    numbers = count(1)

    def __init__(self, folder: Path, target: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        number = next(self.numbers)
        logs = folder / "logs"
        logs.mkdir(exist_ok=True)
        self.name = f"{number} {' '.join(arguments)}"
        self._out, self._err = logs / f"{number}.out", logs / f"{number}.err"
        surroundings = {
            "stdout": str(self._out), "stderr": str(self._err), "folder": str(folder), "environment": dict(environment)
        }  # fmt: skip
        self._process = servers.Process(target=_run, args=(target, arguments, surroundings), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid
        try:
            # Ids are given anew; this names our process and no other, also when it has ended.
            self._handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            self._handle = -1

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.exitcode

    @property
    def stdout(self) -> str:
        """What it has written so far."""
        return self._out.read_text() if self._out.exists() else ""

    @property
    def stderr(self) -> str:
        """What it has written so far, a daemon's log."""
        return self._err.read_text() if self._err.exists() else ""

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return what it has logged, of one event or all."""
        found = []
        for line in self.stderr.splitlines():
            if name is not None and name not in line:
                continue
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and name in (None, event.get("event")):
                found.append(event)
        return found

    def until_event(self, name: str, number: int = 1) -> dict[str, Any]:
        """Return the n-th event of this name as soon as it has been logged."""

        def come() -> list[dict[str, Any]]:
            found = self.events(name)
            if len(found) < number and self.status is not None:
                raise AssertionError(f"{self.name} ended with {self.status} before {name}:\n{self.tail()}")
            return found[number - 1 :]

        return self.told(come, name)[0]

    def told(self, holds: Callable[[], Any], what: str, **given: Any) -> Any:
        """Wait as `until` does; what this process logged is part of the complaint."""
        try:
            return until(holds, what, **given)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.name}:\n{self.tail()}") from None

    def tail(self) -> str:
        """Return the last it has to say."""
        return self.stderr[-3000:]

    def wait(self, within_s: float = PATIENCE_S) -> int:
        """Return its exit status once it has ended."""
        self._process.join(within_s)
        if self.status is None:
            raise AssertionError(f"still running after {within_s:g} s: {self.name}\n{self.tail()}")
        return self.status

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.status is None, f"ended with {self.status}: {self.name}\n{self.tail()}"
        self._send(number)

    def _send(self, number: signal.Signals) -> None:
        if self._handle >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> bool:
        """End it as a power cut would; False if it had ended by itself."""
        self._send(signal.SIGKILL)
        return self.wait() == -signal.SIGKILL

    def close(self) -> None:
        """End it, and let go of it."""
        self.kill()
        if self._handle >= 0:
            os.close(self._handle)
        self._process.close()

    def stop(self) -> None:
        """Have a daemon drain and stop, which ends well."""
        self.send(signal.SIGTERM)
        status = self.wait()
        assert status == 0, f"ended with {status}: {self.name}\n{self.tail()}"

    def cpu_s(self) -> float:
        """Return the seconds of processor time it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
