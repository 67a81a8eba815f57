"""Pace: which messages may start within the horizon, and when (generic cell rate, ITU-T I.371 annex A).

A gate lets one message pass and is then shut for `interval_s` per unit of cost. `next_at` is the instant at which it
opens next; it is what stands in the database, so that a limit holds over nodes and restarts.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["HORIZON_S", "MOST_PARTS", "Gate", "plan", "room"]

#: A claim takes only what may start within this many seconds (see the README's promises).
HORIZON_S = 0.2

#: No single message costs more parts than a concatenated SMS can have (3GPP TS 23.040, section 9.2.3.24.1).
MOST_PARTS = 255


@dataclass(slots=True)
class Gate:
    """The state of one limit: `next_at` in seconds of the database's clock, `interval_s` between units of cost."""

    interval_s: float
    next_at: float

    def opened(self, now: float, *, most_cost: int) -> "Gate":
        """Return the gate as of now: unused time is not saved up, and a clock that was set back does not block it.

        No message costs more than `most_cost`, so what lies further ahead was booked by another clock, or pace.
        """
        latest = now + HORIZON_S + self.interval_s * most_cost
        return Gate(self.interval_s, now if self.next_at > latest else max(self.next_at, now))


def room(gate: Gate | None, now: float, most: int) -> int:
    """Return how many messages of cost 1 may start within the horizon, at most `most`."""
    if gate is None:
        return most
    left = now + HORIZON_S - gate.next_at
    return 0 if left < 0 else min(most, int(left / gate.interval_s) + 1)


def plan(
    waiting: Sequence[tuple[str, int]], *, provider: Sequence[Gate], campaigns: Mapping[str, Gate], now: float
) -> list[float | None]:
    """Return for each (campaign, cost) in `waiting` the seconds from now at which it starts, None if it does not.

    All pass through every gate of `provider`, if there are any. The gates move on by what was taken. Order within a
    campaign is kept; among campaigns the first in `waiting` goes first unless its own gate is shut longer than
    another's, so that a slow campaign holds up nobody.
    """
    starts: list[float | None] = [None] * len(waiting)
    queues: dict[str, deque[int]] = {}
    for index, (campaign, _cost) in enumerate(waiting):
        queues.setdefault(campaign, deque()).append(index)
    if not provider:
        for campaign, queue in queues.items():
            _plan_one(queue, starts, campaigns.get(campaign), now)
        return starts

    while queues:
        open_at = max(gate.next_at for gate in provider)
        free_at = {name: max(open_at, campaigns[name].next_at) if name in campaigns else open_at for name in queues}
        name = min(queues, key=lambda name: (free_at[name], queues[name][0]))
        start = free_at[name]
        if start > now + HORIZON_S:
            break
        index = queues[name].popleft()
        starts[index] = start - now
        for gate in provider:
            gate.next_at = start + gate.interval_s * waiting[index][1]
        if name in campaigns:
            campaigns[name].next_at = start + campaigns[name].interval_s
        if not queues[name]:
            del queues[name]
    return starts


def _plan_one(queue: deque[int], starts: list[float | None], gate: Gate | None, now: float) -> None:
    for index in queue:
        if gate is None:
            starts[index] = 0.0
            continue
        if gate.next_at > now + HORIZON_S:
            return
        starts[index] = gate.next_at - now
        gate.next_at += gate.interval_s
