"""Long work on a SQLite database, while another connection writes to it: how long it keeps the one writer's place."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dialerd.model.message import Channel
from dialerd.store import Store, blacklist
from dialerd.store.blacklist import Entry
from tests.store.filled import NOW, migrated

__all__ = ["while_others_write"]


async def while_others_write(
    url: str, work: Callable[[Store], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[float], int]:
    """Do the work; return the seconds that each of its writes took, and how many others were made meanwhile."""
    took: list[float] = []
    begin = Store.transact_here

    def timed(store: Store, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        def alone(connection: Any, *inner: Any, **named: Any) -> Any:
            # Its own work: what a busy machine does meanwhile says nothing about it.
            began = time.thread_time()
            try:
                return function(connection, *inner, **named)
            finally:
                took.append(time.thread_time() - began)

        return begin(store, alone, *args, **kwargs)

    async def worked(store: Store) -> None:
        await work(store)

    with migrated(url) as store, migrated(url) as other:
        monkeypatch.setattr(Store, "transact_here", timed)
        # The tests' own heap is none of the work's: walking through it takes longer than any write.
        gc.disable()
        try:
            working = asyncio.create_task(worked(store))
            number = 0
            while not working.done():
                entry = Entry(channel=Channel.SMS, value=f"5989{number}")
                await asyncio.to_thread(begin, other, blacklist.add, [entry], now=NOW)
                number += 1
            await working
        finally:
            gc.enable()
            monkeypatch.setattr(Store, "transact_here", begin)
    return took, number
