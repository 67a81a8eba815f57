"""Keeps starts apart on this node: what pace has booked for a moment may come to it late, and then all at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

__all__ = ["Distance", "Spacing"]

#: After a late start the next ones keep this part of their distance: the pace booked in the database is caught up with.
CATCHING_UP = 0.97
#: A start that is late by no more than this does not push back the next ones.
TOLERATED_S = 0.001
#: Where starts follow each other faster than this, only their number counts, and the loop's own lateness is tolerated.
DENSE_S = 0.02


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
        return self.started + self.units * interval_s * CATCHING_UP


class Spacing:
    """`wait(seconds)` passes the time; it may return earlier when nothing is to start any more."""

    def __init__(self, wait: Callable[[float], Awaitable[None]]) -> None:
        self._wait = wait
        self._gates: dict[str | None, _Gate] = {}

    async def turn(self, distances: Sequence[Distance]) -> None:
        """Return at the moment of a start; the starts after it keep their distance from when it really came."""
        if not distances:
            return
        first, *rest = distances
        gate = self._gates.setdefault(first.campaign, _Gate())
        async with gate.line:
            now = asyncio.get_running_loop().time()
            planned = max(gate.opens(first.interval_s), now)
            await self._wait(planned - now)
            await self.turn(rest)
            late_s = DENSE_S if first.interval_s < DENSE_S else TOLERATED_S
            gate.started = max(planned, asyncio.get_running_loop().time() - late_s)
            gate.units = first.units
