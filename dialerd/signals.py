"""Signals, taken by the event loop, and what they ask for."""

import asyncio
import signal
from collections.abc import Callable, Mapping

from dialerd import log

__all__ = ["Asked", "signals"]

ENDING = (signal.SIGTERM, signal.SIGINT)


class signals:  # noqa: N801  # reads as the context it is
    """Call a function when its signal comes. After the first SIGTERM or SIGINT, a second ends the process at once."""

    def __init__(self, calls: Mapping[signal.Signals, Callable[[], object]]) -> None:
        self._calls = calls

    def __enter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        for number in self._calls:
            self._loop.add_signal_handler(number, self._came, number)

    def _came(self, number: signal.Signals) -> None:
        if number in ENDING:
            for other in ENDING:
                self._loop.remove_signal_handler(other)
        self._calls[number]()

    def __exit__(self, *_exc: object) -> None:
        for number in self._calls:
            self._loop.remove_signal_handler(number)


class Asked:
    """What is asked of a process that goes on: to stop, and to read its configuration anew."""

    def __init__(self) -> None:
        self._stop, self._reload = asyncio.Event(), asyncio.Event()

    def by_signals(self) -> signals:
        """Listen to SIGTERM and SIGINT: stop; SIGHUP: reload; and SIGUSR1, which logs at debug and back."""
        return signals(
            {
                signal.SIGTERM: self._stop.set,
                signal.SIGINT: self._stop.set,
                signal.SIGHUP: self._reload.set,
                signal.SIGUSR1: log.toggle_debug,
            }
        )

    async def until_stopped(self, reload: Callable[[], None]) -> None:
        """Return when asked to stop; until then call `reload` whenever asked to."""
        while not self._stop.is_set():
            waits = [asyncio.ensure_future(self._stop.wait()), asyncio.ensure_future(self._reload.wait())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            if self._reload.is_set():
                self._reload.clear()
                reload()
