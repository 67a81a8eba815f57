"""When a dialer is to ask for messages: now, at a time of its own, or when it is stirred."""

import asyncio

__all__ = ["Agenda"]


class Agenda:
    """What one dialer has before it. Times are those of the loop's clock, in seconds."""

    def __init__(self) -> None:
        self._time = asyncio.get_running_loop().time
        #: Something may be queued that may go; or only at this time.
        self._work = False
        self._at: float | None = None
        self._stirred = asyncio.Event()

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to ask for, now or later."""
        return not self._work and self._at is None

    def is_due(self, now: float) -> bool:
        """Tell whether there is something to ask for at `now`."""
        return self._work or (self._at is not None and self._at <= now)

    def add_work(self) -> None:
        """Have the dialer ask as soon as it may."""
        self._work = True

    def ask_in(self, seconds: float) -> None:
        """Have it ask so much later, if it is not to ask sooner."""
        at = self._time() + seconds
        self._at = at if self._at is None else min(self._at, at)

    def clear(self) -> None:
        """Forget what there was: it is being asked for."""
        self._work, self._at = False, None

    def stir(self) -> None:
        """Have whoever waits look at everything again."""
        self._stirred.set()

    async def wait(self, now: float, *, until: float) -> None:
        """Wait until something stirs, until what is not due at `now` falls due, or until then."""
        self._stirred.clear()
        at = until if self._at is None or self.is_due(now) else min(until, self._at)
        try:
            async with asyncio.timeout_at(at):
                await self._stirred.wait()
        except TimeoutError:
            pass
