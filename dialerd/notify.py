"""What systemd is told: ready, reloading, stopping, how it goes, and that we live (sd_notify(3))."""

import os
import socket
import time
from collections.abc import Mapping

__all__ = ["Notifier"]

#: systemd takes a datagram at once; if it does not, it has other troubles, and sending must go on.
PATIENCE_S = 1.0


class Notifier:
    """Speaks to the service manager that `environ` names; where there is none, to nobody.

    `watchdog_s` is within how many seconds it wants signs of life (sd_watchdog_enabled(3)); None: it wants none.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        named = environ.get("NOTIFY_SOCKET", "")
        self._address: str | None = None
        if named.startswith("/"):
            self._address = named
        elif named.startswith("@"):
            # Linux's abstract names begin with a zero byte, unix(7).
            self._address = "\0" + named[1:]
        self.watchdog_s = _watchdog_s(environ) if self._address is not None else None

    def ready(self, status: str) -> None:
        """Tell that everything runs, at the start or after a reload."""
        self._tell("READY=1", _status(status))

    def reloading(self) -> None:
        """Tell that the configuration is read anew; ready() ends it."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str, within_s: float) -> None:
        """Tell that the daemon is about to end, and how long that may take at most."""
        self._tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(within_s * 1e6)}", _status(status))

    def status(self, status: str) -> None:
        """Tell in a line how it goes, for `systemctl status`."""
        self._tell(_status(status))

    def alive(self, status: str) -> None:
        """Give the sign of life that the watchdog waits for, and tell how it goes."""
        self._tell(*(["WATCHDOG=1"] if self.watchdog_s is not None else []), _status(status))

    def _tell(self, *assignments: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as peer:
                peer.settimeout(PATIENCE_S)
                peer.sendto("\n".join(assignments).encode(), self._address)
        except OSError:
            # Nobody listens any more, or not now: what it does about that is its own business.
            pass


def _status(text: str) -> str:
    # One assignment a line: a line end in it would begin another.
    return f"STATUS={' '.join(text.split())}"


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """Return the watchdog's limit, if it is one for this process."""
    try:
        is_ours = int(environ.get("WATCHDOG_PID") or os.getpid()) == os.getpid()
        limit_s = int(environ.get("WATCHDOG_USEC", "")) / 1e6
    except ValueError:
        return None
    return limit_s if is_ours and limit_s > 0 else None
