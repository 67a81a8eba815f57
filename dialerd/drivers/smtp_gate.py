"""The gate to each recipient domain: who finds no room waits a moment if few do, or is told when to come back."""

import asyncio
from collections import deque

from dialerd.model.domains import Domains, Turn
from dialerd.model.outcome import Outcome, Postponed

__all__ = ["PATIENCE_S", "Gate"]

#: Nobody waits longer here: a mail that waits holds a permit that one to another domain could have.
PATIENCE_S = 1.0


class Gate:
    """At most `most` mails at once to a domain, fewer while it refuses; at most `waiting` wait, over all domains."""

    def __init__(self, most: int, waiting: int) -> None:
        self._domains = Domains(most)
        self._most_waiting = waiting
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def enter(self, domain: str) -> Turn | None:
        """Return the right to hand a mail over now, which ends with `leave`; None: there is no room."""
        return self._domains.enter(domain, _now())

    def leave(self, turn: Turn, outcome: Outcome | None) -> Outcome | None:
        """End a turn, and call who waits; see Domains."""
        meaning = self._domains.leave(turn, outcome, _now())
        for waiting in self._waiting.get(turn.domain, ()):
            if not waiting.done():
                waiting.set_result(None)
                break
        return meaning

    def postpone(self, domain: str, priority: int) -> Postponed:
        """Return when a mail that found no room shall come back."""
        return self._domains.postpone(domain, priority, _now())

    async def room(self, domain: str, until: float) -> bool:
        """Wait for room, until a time of the loop's clock; False: none is to be expected so soon, or too many wait."""
        now = _now()
        if (
            now >= until
            or self._domains.rests(domain, now)
            or sum(map(len, self._waiting.values())) >= self._most_waiting
        ):
            return False
        queue = self._waiting.setdefault(domain, deque())
        called = asyncio.get_running_loop().create_future()
        queue.append(called)
        try:
            async with asyncio.timeout_at(until):
                await called
        except TimeoutError:
            return False
        finally:
            queue.remove(called)
            if not queue and self._waiting.get(domain) is queue:
                del self._waiting[domain]
        return True


def _now() -> float:
    return asyncio.get_running_loop().time()
