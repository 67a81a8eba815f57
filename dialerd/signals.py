"""Signals, taken by the event loop."""

import asyncio
import signal
from collections.abc import Callable, Mapping

__all__ = ["signals"]

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
