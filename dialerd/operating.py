"""An operator's hand on many messages that wait, in the spool and before it: worked through in small transactions."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from dialerd.model.message import State
from dialerd.store import Store
from dialerd.store.operate import CANCEL, STEP, Selection, Verb, act, cancel_scheduled, find
from dialerd.store.spool import newest_seq
from dialerd.store.staged import act_staged, unmoved
from dialerd.store.uploads import upload_of

__all__ = ["Done", "carry_out"]


@dataclass(slots=True)
class Done:
    """How many messages were touched, and how many matched but were left alone, by state."""

    touched: int = 0
    left: Counter[str] = field(default_factory=Counter)


#: Is told how many messages were touched so far.
Show = Callable[[int], object]


async def carry_out(
    store: Store,
    verb: Verb,
    selection: Selection,
    done: Done,
    *,
    clock: Callable[[], datetime],
    show: Show,
    after_seq: int = 0,
) -> None:
    """Do it to a selection, to what stands in the spool behind `after_seq`, and keep count in `done` meanwhile.

    Interrupted, it may be done again: what it was done to is in no state that the verb means, or the same afterwards.
    """
    before = await store.read(newest_seq)
    # First: what is promoted, or moved, in the meantime is then found in the spool.
    while verb is CANCEL:
        began_s = time.monotonic()
        if not (moved := await store.transact(cancel_scheduled, selection, now=clock())):
            break
        done.touched += moved
        show(done.touched)
        await store.let_others_write(began_s)
    if not selection.ids and (verb.staged or verb.status) and verb.of & {State.QUEUED, State.HELD}:
        await _carry_out_staged(store, verb, selection, done, clock, show)
    after: int | None = after_seq
    newest = await store.read(newest_seq)
    while after is not None:
        up_to = before if after < before else newest
        found = await store.read(find, selection, verb, after_seq=after, up_to_seq=up_to)
        for seqs in found.steps:
            began_s = time.monotonic()
            touched = await store.transact(act, selection, verb, seqs, now=clock())
            done.touched += touched
            # What has left its state between the two transactions was claimed, as good as always.
            done.left[State.SENDING] += len(seqs) - touched
            show(done.touched)
            await store.let_others_write(began_s)
        if up_to == before:
            # Behind it stands what it was done to already, before it was moved.
            done.left.update(found.others)
        after = found.last_seq
        if after is None and up_to < newest:
            after = up_to
    done.left = +done.left


async def _carry_out_staged(
    store: Store,
    verb: Verb,
    selection: Selection,
    done: Done,
    clock: Callable[[], datetime],
    show: Show,
) -> None:
    for id_ in await store.read(unmoved):
        upload = await store.read(upload_of, id_)
        if selection.base not in (None, upload.base):
            continue
        last = 0
        while True:
            began_s = time.monotonic()
            step, touched = await store.transact(
                act_staged, id_, selection, verb, after=last, most=STEP[store.dialect], now=clock()
            )
            if not step.count:
                break
            last = step.last
            done.touched += touched
            show(done.touched)
            await store.let_others_write(began_s)
