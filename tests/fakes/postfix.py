"""Postfix's smtp-sink, which takes every mail, and a Postfix of one's own, each on a loopback port, gone afterwards."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.peers import program
from tests.postgres import free_port

__all__ = ["Sink", "await_port"]

START_S = 60


class Sink:
    """smtp-sink: takes mails from as many connections as come; with `dump` each stands in a file of that folder."""

    def __init__(self, *, dump: Path | None = None) -> None:
        self.dump = dump
        self.port = free_port()

    def __enter__(self) -> Self:
        command = [program("smtp-sink"), "-4", "-m", "1000"]
        if os.geteuid() == 0:
            command += ["-u", "nobody"]
        if self.dump is not None:
            command += ["-d", f"{self.dump}/%Y."]
            if os.geteuid() == 0:
                shutil.chown(self.dump, "nobody")
        self._process = subprocess.Popen([*command, f"127.0.0.1:{self.port}", "1000"], stdin=subprocess.DEVNULL)
        await_port(self.port, self._process)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()


def await_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Return once something listens there. Raises RuntimeError when its process ends before."""
    give_up_at = time.monotonic() + START_S
    while time.monotonic() < give_up_at and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}")
