"""systemd as a process meets it: the datagram socket on which it waits for what sd_notify(3) says."""

import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["ServiceManager"]

PATIENCE_S = 60.0


class ServiceManager:
    """A socket that a service is told of in its environment: `with ServiceManager(folder) as manager`."""

    def __init__(self, folder: Path | None, watchdog_s: float | None = None) -> None:
        """Listen in `folder`, or, without one, under a name in Linux's abstract space."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        if folder is None:
            # An empty name has the kernel choose one.
            self._socket.bind("")
            self.address = "@" + self._socket.getsockname()[1:].decode()
        else:
            self._folder = os.open(folder, os.O_PATH)
            # A socket's path has 108 bytes at most; a test's folder may be longer.
            self.address = f"/proc/{os.getpid()}/fd/{self._folder}/notify"
            self._socket.bind(self.address)
        self.environment = {"NOTIFY_SOCKET": self.address}
        if watchdog_s is not None:
            self.environment["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def next(self, within_s: float = PATIENCE_S) -> dict[str, str]:
        """Return the next datagram's assignments; raises TimeoutError when none comes."""
        self._socket.settimeout(within_s)
        lines = self._socket.recv(65536).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)

    def until(self, key: str, value: str | None = None) -> dict[str, str]:
        """Return the next datagram that assigns `key`, with a value that contains `value`; others are passed over."""
        give_up_at = time.monotonic() + PATIENCE_S
        seen = []
        while time.monotonic() < give_up_at:
            told = self.next()
            seen.append(told)
            if key in told and (value is None or value in told[key]):
                return told
        raise AssertionError(f"no {key}={value}: {seen[-5:]}")

    def tells(self, within_s: float) -> bool:
        """Take a datagram if one comes in time, and tell whether one has."""
        try:
            self.next(within_s)
        except TimeoutError:
            return False
        return True

    def drop(self) -> None:
        """Forget what has come so far."""
        self._socket.setblocking(False)
        try:
            while True:
                self._socket.recv(65536)
        except BlockingIOError:
            pass
