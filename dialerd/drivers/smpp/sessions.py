"""The sessions over which messages go, and those who wait for room in their windows, who came first first."""

import asyncio
from collections import deque

from dialerd.drivers.smpp.session import Session
from dialerd.model.outcome import Throttled

__all__ = ["Sessions"]


class _Waiter:
    """Somebody who waits for room in a window; `called` becomes whether it is too late."""

    __slots__ = ("called", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        self.called: asyncio.Future[bool]


class Sessions:
    """The sessions that are `bound` and may send. Nobody waits for room for longer than `room_s`."""

    def __init__(self, room_s: float) -> None:
        self.room_s = room_s
        self.bound: list[Session] = []
        #: Those who wait for room in a window, who came first at the left.
        self._waiting: deque[_Waiter] = deque()
        #: So many of those have been called, and have not come yet.
        self._called = 0
        self._timer: asyncio.TimerHandle | None = None
        self._turn = 0
        self._closed = False

    def add(self, session: Session) -> None:
        """Use a session from now on."""
        self.bound.append(session)
        self.call()

    def remove(self, session: Session) -> None:
        """Use a session no more; after the last one all who wait are told."""
        self.bound.remove(session)
        if not self.bound:
            self._call_some(len(self._waiting))

    def close(self) -> None:
        """Tell all who wait that it is over."""
        self._closed = True
        self._call_some(len(self._waiting))
        if self._timer is not None:
            self._timer.cancel()

    def take(self) -> Session | None:
        """Return a session with room, if there is one and nobody has waited for it before."""
        return None if self._waiting or self._called else self._free()

    async def wait(self) -> Session | Throttled | None:
        """Return a session with room; None when there is no bind any more."""
        loop = asyncio.get_running_loop()
        waiter = _Waiter(loop.time() + self.room_s)
        self._waiting.append(waiter)
        if self._timer is None:
            self._timer = loop.call_at(waiter.until, self._end_waiting)
        while True:
            waiter.called = loop.create_future()
            self.call()
            try:
                is_late = await waiter.called
            except asyncio.CancelledError:
                if waiter in self._waiting:
                    self._waiting.remove(waiter)
                elif not waiter.called.cancelled() and not waiter.called.result():
                    self._called -= 1  # it was our turn, and now it is the next one's
                    self.call()
                raise
            if is_late:
                return Throttled(f"no room in the window for {self.room_s:g} s")
            self._called -= 1
            session = self._free()
            if session is not None or not self.bound or self._closed:
                return session
            self._waiting.appendleft(waiter)

    def call(self) -> None:
        """Call as many of those who wait as there is room for."""
        if self._waiting:
            room = -self._called
            for session in self.bound:
                room += session.free
            self._call_some(room)

    def _call_some(self, number: int) -> None:
        while number > 0 and self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.called.done():
                waiter.called.set_result(False)
                self._called += 1
                number -= 1

    def _end_waiting(self) -> None:
        """Tell those who have waited for too long."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._waiting and self._waiting[0].until <= now:
            waiter = self._waiting.popleft()
            if not waiter.called.done():
                waiter.called.set_result(True)
        # Who was called in vain stands at the left again, and may be due a little later than the next one.
        self._timer = loop.call_at(self._waiting[0].until, self._end_waiting) if self._waiting else None

    def _free(self) -> Session | None:
        """Return the session with the most room; of several with the same, each in its turn."""
        best, most = None, 0
        sessions = self.bound
        for index in range(len(sessions)):
            session = sessions[(self._turn + index) % len(sessions)]
            if (free := session.free) > most:
                best, most = session, free
        self._turn += 1
        return best
