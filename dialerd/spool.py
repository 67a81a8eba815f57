"""Between the dialer and the store: who is woken when, claims, and settlements in batches."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from dialerd import log
from dialerd.failpoint import hit
from dialerd.lease import Lease
from dialerd.model.errors import DatabaseGone
from dialerd.model.message import Message, State
from dialerd.model.retry import Verdict
from dialerd.store import Connection, Store
from dialerd.store.claim import claim
from dialerd.store.lanes import Lane, lanes
from dialerd.store.order import Claimed, Order
from dialerd.store.outcomes import settle
from dialerd.store.pause import paused
from dialerd.store.settle import Settlement, give_back
from dialerd.store.spool import next_ripe, ripen

__all__ = ["Notice", "Spool", "Waiter"]

logger = log.get(__name__)

#: How often the spool is looked at when nobody calls: what other processes insert is seen within a second.
LOOK_S = 0.75
#: Settlements gather for so long while attempts are under way.
GATHER_S = 0.02
#: Most settlements of one transaction: SQLite's writers wait no longer than 50 ms.
MOST_SETTLED = 500
MOST_RIPENED = 1000
FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 5.0
#: After a claim whose answer got lost we look for what it took at once, and again so many seconds later: the server may
#: still be committing it, for as long as a dead connection takes to be noticed.
LOOK_FOR_STRAYS_S = (0.0, 5.0, 75.0)


@dataclass(frozen=True, slots=True)
class Notice:
    """What a look at the spool showed: where something is queued, and which campaigns are paused."""

    lanes: Sequence[Lane]
    paused: frozenset[str]


class Waiter(Protocol):
    """Somebody who is told what waits in the spool."""

    def notice(self, notice: Notice) -> None:
        """Take a look's result; called in the event loop, must not wait."""


@dataclass(frozen=True, slots=True, eq=False)
class _Hold:
    """One claim of one message: by which incarnation, and when."""

    incarnation: str
    claimed_at: datetime


@dataclass(slots=True, eq=False)  # as Message
class _Pending:
    message: Message
    settlement: Settlement
    hold: _Hold
    settled: Callable[[Message, Verdict], None]


class Spool:
    """The spool as one process sees it. `clock` returns the wall clock's time in aware UTC."""

    def __init__(self, store: Store, lease: Lease, *, clock: Callable[[], datetime]) -> None:
        self.store = store
        self.lease = lease
        self.clock = clock
        self.waiters: list[Waiter] = []
        self.database_error: str | None = None
        self._failing: set[str] = set()
        #: When something that is asked of the database now and then last came back, well or not (the loop's clock).
        self.turned_at: dict[str, float] = {}
        #: Since when outcomes wait to be recorded, or when some last were.
        self.unsettled_since: float | None = None
        self.looked = asyncio.Event()
        self._wake = asyncio.Event()
        self._pending: list[_Pending] = []
        self._pending_added = asyncio.Event()
        self._hurry = asyncio.Event()
        #: The claim by which we hold each message's attempt; there are two of one that was taken for dead meanwhile.
        self._held: dict[tuple[int, int], _Hold] = {}
        self._asking = 0
        self._claiming = 0
        self._changed = asyncio.Event()
        #: When to look for what lost claims took, on the loop's clock.
        self._strays_at: list[float] = []
        self._strays_lock = asyncio.Lock()

    # -- looking -----------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Look at the spool now: something was put into it."""
        self._wake.set()

    async def watch(self) -> None:
        """Tell the waiters what is queued, now and then and when woken; queue what is ripe. Runs until cancelled."""
        while True:
            self._wake.clear()
            wait_s = LOOK_S
            try:
                wait_s = await self._look()
            except DatabaseGone as error:
                self.database_failed(error, "look")
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _look(self) -> float:
        if self._strays_due():
            await self._return_strays()
        now = self.clock()
        ripe_at, notice = await self.store.read(_read_notice)
        for waiter in self.waiters:
            waiter.notice(notice)
        # Step by step, so that nobody waits for the last of many; none, if somebody else has locked them.
        ripened = 0
        if ripe_at is not None and ripe_at <= now:
            ripened = await self.store.transact(ripen, now=now, most=MOST_RIPENED)
        self.looked.set()
        self.database_answered("look")
        if ripened:
            return 0
        return LOOK_S if ripe_at is None or ripe_at <= now else min(LOOK_S, (ripe_at - now).total_seconds())

    async def ripen(self, now: datetime, *, go_on: Callable[[], bool] = lambda: True) -> None:
        """Queue all deferred messages that are due at `now`, batch by batch for as long as `go_on()`."""
        while go_on() and await self.store.transact(ripen, now=now, most=MOST_RIPENED) == MOST_RIPENED:
            pass

    # -- claiming ----------------------------------------------------------------------------------------------

    async def claim(self, order: Order) -> Claimed:
        """Take the next messages for this incarnation. Raises DatabaseGone, and nothing is held then."""
        self._asking += 1
        try:
            if self._strays_due():
                await self._return_strays()
            claimed = await self._claim(order)
            hold = _Hold(order.incarnation, order.now)
            for message, _ in claimed.messages:
                self._held[message.seq, message.attempt] = hold
            return claimed
        finally:
            self._asking -= 1
            self._changed.set()

    async def _claim(self, order: Order) -> Claimed:
        hit("claim.begin")
        self._claiming += 1
        try:
            claimed = await self.store.transact(claim, order)
        except BaseException:
            # Whether the commit stood nobody knows; before the next claim we look.
            now = asyncio.get_running_loop().time()
            self._strays_at = [now + seconds for seconds in LOOK_FOR_STRAYS_S]
            raise
        finally:
            self._claiming -= 1
            self._changed.set()
        hit("claim.committed")
        return claimed

    def may_start(self, message: Message) -> bool:
        """Tell whether a claimed message may still be tried: the lease under which it was claimed has not run out."""
        return self.lease.valid and self._held_by(message).incarnation == self.lease.incarnation

    def _held_by(self, message: Message) -> _Hold:
        return self._held[message.seq, message.attempt]

    def _strays_due(self) -> bool:
        return bool(self._strays_at) and self._strays_at[0] <= asyncio.get_running_loop().time()

    async def _return_strays(self) -> None:
        async with self._strays_lock:
            while self._strays_at and self._claiming:
                self._changed.clear()
                await self._changed.wait()
            if self._strays_at:
                began = asyncio.get_running_loop().time()
                # What is on its way back anyway may have got there, and been claimed anew by what got lost.
                returning = {
                    item.settlement.seq
                    for item in self._pending
                    if item.settlement.verdict.state is State.QUEUED
                    and self._held.get((item.settlement.seq, item.settlement.attempt)) is item.hold
                }
                known = [seq for seq, _ in self._held if seq not in returning]
                returned = await self.store.transact(give_back, incarnation=self.lease.incarnation, except_seqs=known)
                self._strays_at = [at for at in self._strays_at if at > began]
                if returned:
                    logger.warning("claims_returned", count=returned)

    # -- settling ----------------------------------------------------------------------------------------------

    def settle(
        self, message: Message, provider: str, verdict: Verdict, settled: Callable[[Message, Verdict], None]
    ) -> None:
        """Have a verdict recorded; `settled` is called with both once it is committed."""
        hold = self._held_by(message)
        settlement = Settlement(
            seq=message.seq,
            message=message.id,
            parted=bool(message.accepted),
            attempt=message.attempt,
            incarnation=hold.incarnation,
            claimed_at=hold.claimed_at,
            provider=provider,
            verdict=verdict,
        )
        if not self._pending:
            self.unsettled_since = asyncio.get_running_loop().time()
        self._pending.append(_Pending(message, settlement, hold, settled))
        self._pending_added.set()
        if len(self._pending) >= MOST_SETTLED:
            self._hurry.set()

    def hurry(self) -> None:
        """Record what has gathered at once: nothing more will come without it."""
        if self._pending:
            self._hurry.set()

    async def run_settlements(self) -> None:
        """Record verdicts in batches, those that came while the last batch was committed. Runs until cancelled."""
        wait_s = FIRST_WAIT_S
        while True:
            await self._pending_added.wait()
            try:
                async with asyncio.timeout(GATHER_S):
                    await self._hurry.wait()
            except TimeoutError:
                pass
            self._hurry.clear()
            batch = self._pending[:MOST_SETTLED]
            try:
                await self._record(batch)
            except DatabaseGone as error:
                self.database_failed(error, "settle")
                self.unsettled_since = asyncio.get_running_loop().time()
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
                continue
            wait_s = FIRST_WAIT_S

    async def _record(self, batch: list[_Pending]) -> None:
        hit("settle.begin")
        done = await self.store.transact(settle, [item.settlement for item in batch], now=self.clock())
        hit("settle.committed")
        if done < len(batch):
            # Rescued by somebody and sent on, or ended by an operator, while we had lost our lease.
            logger.warning("settlements_late", count=len(batch) - done)
        del self._pending[: len(batch)]
        self.unsettled_since = asyncio.get_running_loop().time() if self._pending else None
        if not self._pending:
            self._pending_added.clear()
        for item in batch:
            # After an answer that got lost, what was given back may have been claimed anew in the meantime.
            attempt = item.settlement.seq, item.settlement.attempt
            if self._held.get(attempt) is item.hold:
                del self._held[attempt]
            item.settled(item.message, item.settlement.verdict)
        self._changed.set()
        self.database_answered("settle")

    async def all_settled(self) -> None:
        """Wait until no claim is under way and the outcome of all that was claimed is recorded.

        Raises DatabaseGone when a claim's answer was lost and what it took cannot be given back either.
        """
        while self._asking or self._held:
            self._changed.clear()
            await self._changed.wait()
        if self._strays_at:
            await self._return_strays()

    # -- the database's health ---------------------------------------------------------------------------------

    def database_failed(self, error: DatabaseGone, what: str) -> None:
        """Say once that the database is away. Where some things fail and others do not (a full disk), that is away."""
        self.turned_at[what] = asyncio.get_running_loop().time()
        if not self._failing:
            logger.error("database_gone", error=str(error))
        self._failing.add(what)
        self.database_error = str(error)

    def database_answered(self, what: str) -> None:
        """Say once that it is back: when the last of what had failed went through."""
        self.turned_at[what] = asyncio.get_running_loop().time()
        self.forget(what)

    def forget(self, what: str) -> None:
        """Wait no longer for the database to answer something that nobody asks any more."""
        if what in self._failing:
            self._failing.discard(what)
            if not self._failing:
                logger.warning("database_back")
                self.database_error = None


def _read_notice(connection: Connection) -> tuple[datetime | None, Notice]:
    """Return when the next deferred message is due, and what is queued."""
    return next_ripe(connection), Notice(lanes(connection), frozenset(paused(connection)))
