"""Attempts under way at one provider: each claimed message, at its start, through the driver, to its outcome."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence

from dialerd import log
from dialerd.drivers.base import Driver, NothingSent
from dialerd.failpoint import hit
from dialerd.model.errors import Refused
from dialerd.model.message import Message
from dialerd.model.outcome import Failed, InDoubt, Outcome
from dialerd.spacing import Distance, Spacing

__all__ = ["Attempts"]

logger = log.get(__name__)

#: A worker that never has to wait lets the others have the loop after so many messages.
TURN = 50
#: A start may come this much before the moment that was booked for it.
WORTH_WAITING_S = 0.001


class Attempts:
    """Runs attempts, at most `most` at a time, and tells how each went.

    `worded(message)` returns a message as the driver is given it; what it refuses has failed.
    `distances(message)` is asked at a message's start: what it keeps free of other starts behind it.
    `ended(message, outcome, took_s)` is called for each attempt, `unstarted(message)` for a message that was not
    tried: after stop(), which may also cut it off before anything of it was sent, or when `may_start(message)` is
    false at its time. `idle()` is called when nothing is under
    way.
    """

    def __init__(
        self,
        driver: Driver,
        *,
        most: int,
        worded: Callable[[Message], Message],
        distances: Callable[[Message], Sequence[Distance]],
        may_start: Callable[[Message], bool],
        ended: Callable[[Message, Outcome, float], None],
        unstarted: Callable[[Message], None],
        idle: Callable[[], None],
    ) -> None:
        self._driver = driver
        self._most = most
        self._worded = worded
        self._distances = distances
        self._spacing = Spacing(self._pass)
        self._may_start = may_start
        self._ended = ended
        self._unstarted = unstarted
        self._nothing_left = idle
        #: How many were claimed and have not started yet, of each campaign.
        self.waiting: Counter[str] = Counter()
        self._ready: deque[tuple[Message, float]] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._waiting: list[asyncio.Future[None]] = []
        #: Each with its start, the oldest first.
        self._under_way: dict[asyncio.Task[None], float] = {}
        #: Those that were cancelled because they took longer than so many seconds, and a look at the oldest other.
        self._overdue: dict[asyncio.Task[None], float] = {}
        self._watch: asyncio.TimerHandle | None = None
        #: A worker has been called and has not come yet.
        self._called = False
        self._stopping = asyncio.Event()

    @property
    def oldest(self) -> float | None:
        """When the oldest attempt under way began, by the loop's clock."""
        return min(self._under_way.values(), default=None)

    def add(self, messages: Iterable[tuple[Message, float]]) -> None:
        """Take messages, each with the seconds from now at which it may start."""
        now = asyncio.get_running_loop().time()
        for message, start_in_s in messages:
            self._ready.append((message, now + start_in_s))
            self.waiting[message.campaign] += 1
        self._call_worker()

    def give_back_ready(self) -> None:
        """Hand back what no worker has taken yet."""
        while self._ready:
            message, _ = self._ready.popleft()
            self.waiting[message.campaign] -= 1
            self._unstarted(message)

    async def stop(self, seconds: float) -> None:
        """Start nothing more; give what is under way so many seconds, then cut it off: it is in doubt."""
        self._stopping.set()
        self.give_back_ready()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=seconds)
        for task in list(self._under_way):
            task.cancel()
        for waiting in self._waiting:
            waiting.cancel()
        if self._workers:
            await asyncio.wait(self._workers)
        if self._watch is not None:
            self._watch.cancel()

    def _call_worker(self) -> None:
        """Have one more worker look at what is ready; it calls the next before it starts its own attempt.

        So a driver that answers at once needs one worker, and a slow one gets as many as there are messages.
        """
        if not self._ready or self._called:
            return
        while self._waiting:
            waiting = self._waiting.pop()
            if not waiting.done():
                waiting.set_result(None)
                self._called = True
                return
        if len(self._workers) < self._most:
            self._called = True
            worker = asyncio.get_running_loop().create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        done = 0
        self._called = False
        while not self._stopping.is_set():
            if not self._ready:
                if not self._under_way:
                    self._nothing_left()
                waiting = loop.create_future()
                self._waiting.append(waiting)
                try:
                    await waiting
                except asyncio.CancelledError:
                    return
                self._called = False
                continue
            message, start_at = self._ready.popleft()
            self._call_worker()
            wait_s = start_at - loop.time()
            if wait_s > WORTH_WAITING_S:
                await self._pass(wait_s)
            if distances := self._distances(message):
                await self._spacing.turn(distances)
            self.waiting[message.campaign] -= 1
            if self._stopping.is_set() or not self._may_start(message):
                self._unstarted(message)
            else:
                await self._attempt(message, task, loop)
            done += 1
            if done % TURN == 0:
                await asyncio.sleep(0)

    async def _pass(self, wait_s: float) -> bool:
        """Let the time pass; False, perhaps earlier, when nothing is to start any more."""
        try:
            async with asyncio.timeout(wait_s):
                await self._stopping.wait()
        except TimeoutError:
            pass
        return not self._stopping.is_set()

    async def _attempt(self, message: Message, task: asyncio.Task[None], loop: asyncio.AbstractEventLoop) -> None:
        began = loop.time()
        self._under_way[task] = began
        if self._watch is None:
            self._watch_oldest(loop)
        try:
            outcome = await self._outcome(message)
        except NothingSent:
            self._unstarted(message)
            return
        except asyncio.CancelledError:
            # The provider may have it.
            limit_s = self._overdue.get(task)
            outcome = InDoubt("cut off when dialerd stopped" if limit_s is None else f"no answer within {limit_s:g} s")
        finally:
            del self._under_way[task]
            self._overdue.pop(task, None)
            while task.cancelling():
                task.uncancel()
        self._ended(message, outcome, loop.time() - began)

    def _watch_oldest(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel attempts that have taken too long. All have the same limit: one timer does for all of them."""
        self._watch = None
        limit_s = self._driver.attempt_limit_s
        if limit_s is None:
            return
        for task, began in self._under_way.items():
            if task in self._overdue:
                continue
            if began + limit_s > loop.time():
                self._watch = loop.call_at(began + limit_s, self._watch_oldest, loop)
                return
            self._overdue[task] = limit_s
            task.cancel()

    async def _outcome(self, message: Message) -> Outcome:
        try:
            message = self._worded(message)
        except Refused as refused:
            return Failed(str(refused))
        hit("send.begin")
        try:
            outcome = await self._driver.send(message)
        except TimeoutError:
            return InDoubt("no answer in time")
        except Exception as error:  # a driver's bug must not stop the daemon; the message may have gone
            logger.exception("driver_failed", message_id=message.id)
            return InDoubt(f"the driver failed: {type(error).__name__}")
        hit("send.end")
        return outcome
