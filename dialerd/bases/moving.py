"""Brings loaded bases into the spool, and takes away what killed or failed uploads left."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from dialerd.failpoint import hit
from dialerd.store import Store, staged
from dialerd.store.uploads import abandon, has_abandoned, upload_of

__all__ = ["discard_staged", "move", "tidy"]

#: Most lines of one transaction: SQLite's other writers wait no longer than 50 ms.
STEP = {"sqlite": 2000, "postgresql": 5000}
#: An upload that has shown no sign of life for so long is nobody's any more; one comes with every batch of lines.
ABANDONED_S = 3600


async def move(
    store: Store,
    upload: str | None = None,
    *,
    clock: Callable[[], datetime],
    on_progress: Callable[[int, int], None] | None = None,
    wake: Callable[[], None] | None = None,
    go_on: Callable[[], bool] = lambda: True,
) -> int:
    """Move the staged lines of a loaded upload, of all of them by default, into the spool; return how many.

    Safe at any time, however many do it, wherever one was killed. `on_progress` is told the lines moved and about how
    many there are, `wake` is called whenever some stand in the spool, `go_on()` is asked before each step.
    """
    waiting = await store.read(staged.unmoved)
    chosen = [await store.read(upload_of, id_) for id_ in waiting if upload in (None, id_)]
    total = sum(one.accepted for one in chosen)
    done = 0
    for one in chosen:
        last = 0
        while go_on():
            began_s = time.monotonic()
            step = await store.transact(staged.move, one.id, after=last, most=STEP[store.dialect], now=clock())
            if not step.count:
                break
            hit("upload.moved")
            last = step.last
            done += step.count
            if wake is not None:
                wake()
            if on_progress is not None:
                on_progress(done, total)
            await store.let_others_write(began_s)
    return done


async def tidy(store: Store, *, clock: Callable[[], datetime], wake: Callable[[], None] | None = None) -> int:
    """Finish what others began: give up uploads that nobody works on, delete their lines, move what is left to move.

    Returns how many lines were moved.
    """
    now = clock()
    before = now - timedelta(seconds=ABANDONED_S)
    if await store.read(has_abandoned, before=before):
        await store.transact(abandon, before=before, now=now)
    for upload in await store.read(staged.failed_unmoved):
        await discard_staged(store, upload)
    return await move(store, clock=clock, wake=wake)


async def discard_staged(store: Store, upload: str) -> None:
    """Delete the staged lines of a failed upload."""
    last = 0
    while True:
        began_s = time.monotonic()
        step = await store.transact(staged.discard, upload, after=last, most=STEP[store.dialect])
        if not step.count:
            return
        last = step.last
        await store.let_others_write(began_s)
