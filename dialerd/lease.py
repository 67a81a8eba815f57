"""This process's life as the database sees it: its incarnation, its heartbeat, its locks."""

import fcntl
import os
import socket
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dialerd.model.errors import Refused
from dialerd.store import Store
from dialerd.store.nodes import Incarnation, beat, enlist, leave

__all__ = ["FileLock", "Lease", "boottime", "home_of", "lock_path"]


_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def boottime() -> float:
    """Return seconds on a clock that nobody sets and that goes on while the machine sleeps."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


class FileLock:
    """An exclusive lock on a file, gone with the process that holds it, however that ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def take(self) -> bool:
        """Take the lock; False if another process holds it. Raises Refused when the file cannot be made."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Refused(
                f"cannot write {self.path}: {error.strerror}; make the folder writable, or set [daemon] state_dir"
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        return True

    def write_pid(self) -> None:
        """Leave our process id in the file, for whoever finds it locked."""
        if self._file is not None:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def holder(self) -> str:
        """Return what the holder left in the file."""
        try:
            return self.path.read_text().strip() or "unknown"
        except OSError:
            return "unknown"

    def release(self, *, remove: bool = False) -> None:
        """Let go; `remove` the file too where its name is never used again."""
        if self._file is not None:
            if remove:
                self.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None


def home_of(state_dir: Path) -> str:
    """Return the name of the ground on which lock files speak: this host and this state folder."""
    return f"{socket.gethostname()}:{state_dir.resolve()}"


def lock_path(state_dir: Path, node: str, incarnation: str) -> Path:
    """Return the file that an incarnation keeps locked while it lives."""
    return state_dir / f"{node}.{incarnation}.lock"


class Lease:
    """The right to claim and to start attempts: lost when the database was not told for `lease_s` that we live.

    Others watch the heartbeat on their own clock for just as long before they rescue what we hold, so by then we have
    stopped.
    """

    def __init__(self, store: Store, *, node: str, state_dir: Path, lease_s: float) -> None:
        self.node = node
        self.lease_s = lease_s
        self.incarnation = ""
        self._store = store
        self._state_dir = state_dir
        self._valid_until = 0.0
        self._lock: FileLock | None = None
        self._over = False

    @property
    def valid(self) -> bool:
        """Whether this incarnation may claim and start attempts now."""
        return boottime() < self._valid_until

    async def begin(self) -> None:
        """Enlist a new incarnation."""
        incarnation = uuid.uuid4().hex
        lock = FileLock(lock_path(self._state_dir, self.node, incarnation))
        lock.take()
        began = boottime()
        try:
            await self._store.transact(
                enlist,
                Incarnation(
                    incarnation=incarnation,
                    node=self.node,
                    home=home_of(self._state_dir),
                    pid=os.getpid(),
                    lease_s=self.lease_s,
                ),
            )
        except BaseException:
            lock.release(remove=True)
            raise
        if self._lock is not None:
            self._lock.release(remove=True)
        self._lock = lock
        self._over = False
        self.incarnation = incarnation
        self._valid_until = began + self.lease_s

    async def beat(self, providers: Mapping[str, Any]) -> bool:
        """Renew the lease; False when others have declared us dead: then begin() anew. Once it is over, do nothing."""
        began = boottime()
        alive = self._over or await self._store.transact(beat, self.incarnation, providers)
        if self._over:
            return True  # We have left, perhaps while this was under way.
        self._valid_until = began + self.lease_s if alive else 0.0
        return alive

    async def end(self) -> None:
        """Strike this incarnation out: it holds nothing any more."""
        self._valid_until, self._over = 0.0, True
        await self._store.transact(leave, self.incarnation)
        self.abandon()

    def abandon(self) -> None:
        """Let go of the lock file without telling the database; whoever comes next rescues what we held."""
        self._valid_until, self._over = 0.0, True
        if self._lock is not None:
            self._lock.release(remove=True)
            self._lock = None
