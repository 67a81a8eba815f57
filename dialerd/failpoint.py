"""Places where a crash test may kill the process: `DIALERD_FAILPOINT=name`, or `name:N` for its N-th hit.

Without the variable, which is read once when this module is imported, a hit does nothing.
"""

import os
import signal
from collections.abc import Callable
from itertools import count

__all__ = ["hit"]


def _ignore(_name: str, /) -> None:
    """Do nothing."""


def _killer(wanted: str) -> Callable[[str], None]:
    """Return a hit that is this process's last at the place, and the time, that `wanted` says."""
    place, _, number = wanted.partition(":")
    last = int(number or 1)
    hits = count(1)

    def hit(name: str, /) -> None:
        # As a power cut would: no handler, no finally, no flush.
        if name == place and next(hits) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    return hit


#: `hit("claimed")`: the process may end here. Names are the past tense of what has just been done.
hit: Callable[[str], None] = _killer(os.environ["DIALERD_FAILPOINT"]) if "DIALERD_FAILPOINT" in os.environ else _ignore
