"""Keeps starts apart on this node: what pace has booked for a moment may come to it late, and then all at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

__all__ = ["Distance", "Spacing"]

#: Where starts follow each other faster than this, what counts is how many there are: a start may come so late without
#: pushing back the next ones, and these keep a little less distance until the pace booked in the database is caught up
#: with. Slower ones keep their whole distance, from when the start before really came.
DENSE_S = 0.02
CATCHING_UP = 0.97


@dataclass(frozen=True, slots=True)
class Distance:
    """What a start keeps free behind it: `units` of `interval_s` seconds; of a campaign, or (None) of the provider."""

    campaign: str | None
    interval_s: float
    units: int = 1


@dataclass(slots=True)
class _Gate:
    """The last start, in seconds of the loop's clock, and the units it keeps free; those who wait stand in line."""

    started: float = float("-inf")
    units: int = 0
    line: asyncio.Lock = field(default_factory=asyncio.Lock)

    def opens(self, interval_s: float) -> float:
        # As of the interval that holds now: after a reload nobody waits for the pace that was.
        return self.started + self.units * interval_s * (CATCHING_UP if interval_s < DENSE_S else 1)


class Spacing:
    """`wait(seconds)` passes the time, and returns False when nothing is to start any more."""

    def __init__(self, wait: Callable[[float], Awaitable[bool]]) -> None:
        self._wait = wait
        self._gates: dict[str | None, _Gate] = {}

    async def turn(self, distances: Sequence[Distance]) -> None:
        """Return at the moment of a start; the starts after it keep their distance from when it really came."""
        if not distances:
            return
        first, *rest = distances
        gate = self._gates.setdefault(first.campaign, _Gate())
        clock = asyncio.get_running_loop().time
        async with gate.line:
            planned = max(gate.opens(first.interval_s), clock())
            # A loop whose timers count in milliseconds may be back a little early.
            while (left_s := planned - clock()) > 0 and await self._wait(left_s):
                pass
            await self.turn(rest)
            late_s = DENSE_S if first.interval_s < DENSE_S else 0.0
            gate.started = max(planned, clock() - late_s)
            gate.units = first.units
