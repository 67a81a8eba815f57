"""Tells the garbage collector what it need not look at."""

import gc

__all__ = ["look_less_for_garbage"]

#: How many new objects make the garbage collector look at them, and how many such looks make it look further.
GARBAGE = (20_000, 10, 10)


def look_less_for_garbage() -> None:
    """Leave what stands now alone: it stands to the end, and messages come and go in no cycles.

    A garbage collector that walks through all modules every few hundred messages took an eighth of the time of a drain,
    and a third of the time in which a base's lines are judged.
    """
    gc.freeze()
    gc.set_threshold(*GARBAGE)
