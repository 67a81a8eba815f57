"""Virtual time: an event loop that jumps to its next timer, and every clock the daemon reads set by it.

What runs in worker threads elsewhere runs in the loop's own thread here and takes no time: a run is the same each time.
"""

import asyncio
import random
import selectors
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from types import SimpleNamespace
from typing import Any

import pytest

__all__ = ["VirtualLoop", "clocks_of"]


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose `time()`, seconds since `began`, passes only while it has nothing to do. Signals are calls."""

    def __init__(self, began: datetime) -> None:
        self.began = began
        self.passed_s = 0.0
        self.signals: dict[signal.Signals, Callable[[], Any]] = {}
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self.passed_s

    def clock(self) -> datetime:
        """Return the wall clock's time in aware UTC."""
        return self.began + timedelta(seconds=self.passed_s)

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, function: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        done = self.create_future()
        try:
            result = function(*args)
        except Exception as error:  # noqa: BLE001  # whoever waits for it is told
            done.set_exception(error)
        else:
            done.set_result(result)
        return done

    def add_signal_handler(self, number: Any, callback: Callable[..., Any], *args: Any) -> None:
        self.signals[signal.Signals(number)] = lambda: callback(*args)

    def remove_signal_handler(self, number: Any) -> bool:
        return self.signals.pop(signal.Signals(number), None) is not None


class _Jumping(selectors.SelectSelector):
    """Waits for nothing: when the loop would wait, its time moves on instead."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("nothing is left to happen")
        self._loop.passed_s += max(timeout, 0)
        # Nothing outside speaks to this loop.
        return []


@contextmanager
def clocks_of(loop: VirtualLoop, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have APScheduler, the lease, the janitor and SQLite's pace read the loop's time, and chance repeat itself."""

    class Now(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return loop.clock().astimezone(tz or UTC)

    state = random.getstate()
    with monkeypatch.context() as patch:
        patch.setattr("apscheduler.schedulers.base.datetime", Now)
        patch.setattr("dialerd.lease.boottime", loop.time)
        patch.setattr("dialerd.janitor.boottime", loop.time)
        patch.setattr("dialerd.store.pace.time", SimpleNamespace(time=lambda: loop.clock().timestamp()))
        random.seed(7)
        try:
            yield
        finally:
            random.setstate(state)
