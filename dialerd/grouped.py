"""Calls that come at the same time share one piece of work: a transaction pays its fsync for all of them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["Grouped"]

A = TypeVar("A")
R = TypeVar("R")


class Grouped(Generic[A, R]):
    """`await grouped(item)` returns the item's result of `work(items)`, which takes at most `most` of them at a time.

    While one group is worked on, the next one gathers; an item that comes alone waits for nothing. What `work` raises
    is raised to each of its callers.
    """

    def __init__(self, work: Callable[[Sequence[A]], Awaitable[Sequence[R]]], *, most: int = 500) -> None:
        self._work = work
        self._most = most
        self._waiting: list[tuple[A, asyncio.Future[R]]] = []
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, item: A) -> R:
        """Return what `work` says of this item; a caller that goes away does not stop the work."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._serve(group)
        finally:
            self._running = None

    async def _serve(self, group: list[tuple[A, asyncio.Future[R]]]) -> None:
        try:
            results = await self._work([item for item, _ in group])
        except BaseException as error:
            for _, future in group:
                if not future.done():
                    future.set_exception(error) if isinstance(error, Exception) else future.cancel()
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), result in zip(group, results, strict=True):
            if not future.done():
                future.set_result(result)
