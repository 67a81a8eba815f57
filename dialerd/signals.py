"""Signals as events of the loop."""

import asyncio
import signal
from collections.abc import Mapping

__all__ = ["signals"]


class signals:  # noqa: N801  # reads as the context it is
    """Set an event when a signal comes; a second one of the same kind does what the system does by default."""

    def __init__(self, events: Mapping[signal.Signals, asyncio.Event]) -> None:
        self._events = events

    def __enter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        for number in self._events:
            self._loop.add_signal_handler(number, self._came, number)

    def _came(self, number: signal.Signals) -> None:
        self._events[number].set()
        if number is not signal.SIGHUP:
            for other in (signal.SIGTERM, signal.SIGINT):
                self._loop.remove_signal_handler(other)

    def __exit__(self, *_exc: object) -> None:
        for number in self._events:
            self._loop.remove_signal_handler(number)
