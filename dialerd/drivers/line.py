"""Those who wait for one of a few things: first come, first served."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Line"]

T = TypeVar("T")


class Line(Generic[T]):
    """Each waits for at most `patience_s`; one timer does for all, for most never wait so long.

    `give_back` is called with what came to somebody who was cancelled in that very moment.
    """

    def __init__(self, patience_s: float, *, give_back: Callable[[T], None]) -> None:
        self._patience_s = patience_s
        self._give_back = give_back
        #: And until when; all wait equally long, so the first gives up first.
        self._waiting: deque[tuple[asyncio.Future[T], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self) -> T:
        """Return what `serve` brings, in turn. Raises TimeoutError when nothing came in time, or what `end` says."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[T] = loop.create_future()
        self._waiting.append((waiting, loop.time() + self._patience_s))
        if self._timer is None:
            self._timer = loop.call_at(self._waiting[0][1], self._give_up)
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                self._give_back(waiting.result())
            raise

    def serve(self, thing: T) -> bool:
        """Give something to who has waited longest; False: nobody waits."""
        while self._waiting:
            waiting, _ = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(thing)
                return True
        return False

    def end(self, error: Exception) -> None:
        """Send everybody away."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            waiting, _ = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(error)

    def _give_up(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and (self._waiting[0][1] <= loop.time() or self._waiting[0][0].done()):
            waiting, _ = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(TimeoutError())
        self._timer = loop.call_at(self._waiting[0][1], self._give_up) if self._waiting else None
