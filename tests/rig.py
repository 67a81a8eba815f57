"""A dialer on a real store with a scripted provider: the parts that run in the daemon, and ways to wait for them."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import text

from dialerd.dialer import Dialer
from dialerd.lease import Lease
from dialerd.model.campaign import Campaign
from dialerd.model.message import Channel, new_id
from dialerd.spool import Spool
from dialerd.store import Store
from dialerd.store.migrate import migrate
from dialerd.store.spool import NewMessage, submit
from tests.drivers.scripted import ScriptedDriver

__all__ = ["Rig", "campaign", "message"]

#: No event of a healthy rig takes longer; a test that waits so long has failed.
PATIENCE_S = 30


def campaign(name: str = "c", **given: Any) -> Campaign:
    """Return a campaign that is always open, on the provider `p`."""
    return Campaign(**({"name": name, "channel": Channel.SMS, "provider": "p"} | given))


def message(name: str = "c", **given: Any) -> NewMessage:
    """Return a message that has passed intake and is due."""
    now = given.pop("now", None) or datetime.now(UTC)
    defaults = {
        "id": new_id(), "campaign": name, "destination": "598", "data": "hola", "priority": 9999, "due_at": now,
        "due_since": now, "queued_at": now, "address": "598", "zone": "?", "parts": 1,
    }  # fmt: skip
    return NewMessage(**(defaults | given))


class Rig:
    """One provider `p` with its dialer; `async with Rig(...) as rig`."""

    def __init__(
        self,
        url: str,
        state_dir: Path,
        driver: ScriptedDriver,
        *campaigns: Campaign,
        max_in_flight: int = 50,
        per_second: float | None = None,
        lease_s: float = 30,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.store = Store(url)
        self.driver = driver
        self.lease = Lease(self.store, node="rig", state_dir=state_dir, lease_s=lease_s)
        self.spool = Spool(self.store, self.lease, clock=clock)
        self.campaigns: Mapping[str, Campaign] = {c.name: c for c in campaigns or (campaign(),)}
        self.max_in_flight, self.per_second = max_in_flight, per_second
        self._transacted = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Rig":
        await self.store.transact(migrate)
        await self.lease.begin()
        self.dialer = Dialer(
            "p", self.driver, self.spool,
            campaigns=self.campaigns, max_in_flight=self.max_in_flight, per_second=self.per_second,
        )  # fmt: skip
        self.spool.waiters = [self.dialer]
        transact = self.store.transact

        async def noticed(*args: Any, **kwargs: Any) -> Any:
            try:
                return await transact(*args, **kwargs)
            finally:
                self._transacted.set()

        self.store.transact = noticed  # type: ignore[method-assign]
        self._stack.callback(self.store.close)
        self.tasks = [
            asyncio.create_task(part) for part in (self.spool.watch(), self.spool.run_settlements(), self.dialer.run())
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.dialer.drain(0)
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self._stack.aclose()

    async def submit(self, *messages: NewMessage) -> None:
        """Put messages into the spool and wake it."""
        await self.store.transact(submit, messages)
        self.spool.wake()

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        return await self.store.read(lambda connection: [tuple(row) for row in connection.execute(text(sql))])

    async def until(self, sql: str, expected: Any) -> None:
        """Wait until the query's single value is as expected, looking after every transaction of the rig."""
        seen: Any = None
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    self._transacted.clear()
                    seen = (await self.rows(sql))[0][0]
                    if seen == expected:
                        return
                    await self._transacted.wait()
        except TimeoutError:
            raise AssertionError(f"{sql!r} stayed at {seen!r}, not {expected!r}") from None

    async def until_sent(self, count: int) -> None:
        """Wait until so many messages stand in sms_repo as sent."""
        await self.until("SELECT count(*) FROM sms_repo WHERE status = 'sent'", count)

    async def states(self) -> dict[str, int]:
        """Return how many messages stand in the spool, by state."""
        return dict(await self.rows("SELECT state, count(*) FROM sms_spool GROUP BY state"))
