"""Fits Python's interpreter to a process through which many messages go."""

import gc
import sys

__all__ = ["tune_interpreter"]

#: How many new objects make the garbage collector look at them, and how many such looks make it look further.
GARBAGE = (20_000, 10, 10)

#: After so long a thread that works lets one work that waits for its turn.
TURN_S = 0.0002


def tune_interpreter() -> None:
    """Look less for garbage, in none of what stands now, and have threads change places sooner than Python does.

    What stands now stands to the end, and messages come and go in no cycles: a garbage collector that walks through all
    modules every few hundred messages took an eighth of the time of a drain, and a third of the time in which a base's
    lines are judged.

    A thread of the store needs its turn at each answer of the database. By Python's own 5 ms it waited longer than the
    database took, woken in vain at each step of the event loop: sending over HTTP took a tenth longer.
    """
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    sys.setswitchinterval(TURN_S)
