"""The pace that a provider teaches us: it says "too fast", and nobody has written down how fast it takes messages."""

from dataclasses import dataclass
from math import exp

__all__ = ["LearnedPace"]

#: Where a provider refused for its rate, we go on with so much of what it took in the second before.
CAREFUL = 0.9
#: Who refuses at once has taken nothing by which its rate could be guessed: so many a second, to begin with.
FIRST_GUESS = 1.0
#: What was claimed waits for its start: not for long. Slower providers are left to the breaker's pauses.
SLOWEST = 0.2
#: The pace grows by a fifth in the first so many seconds, and by twice as many hundredths (as an exponent) in each of
#: the next: carefully where the limit was just met, and back at any rate within a minute of a limit that has gone.
STEP_S = 10.0
GROWTH = 0.2
FORGOTTEN_AFTER_S = 60.0


@dataclass(slots=True)
class LearnedPace:
    """Watches how many units (SMS parts, or mails) a provider takes; seconds are of any steady clock."""

    _base: float | None = None
    _taught_at: float = 0.0
    #: What was taken in the second that began at `_second`, and in the one before.
    _second: float = float("-inf")
    _taken: int = 0
    _taken_before: int = 0

    def took(self, units: int, now: float) -> None:
        """Count units that the provider has answered without complaining of our rate."""
        if now - self._second >= 1:
            self._turn(now)
        self._taken += units

    def throttled(self, now: float) -> None:
        """Take note that the provider wants less a second than it got; never halves the pace twice for one word."""
        lately = self._lately(now)
        known = self.per_second(now)
        lately = max(lately, FIRST_GUESS) if known is None else min(max(lately, known / 2), known)
        self._base = max(lately * CAREFUL, SLOWEST)
        self._taught_at = now

    def per_second(self, now: float) -> float | None:
        """Return how many units a second should be sent; None: nothing is known, or it was too long ago."""
        if self._base is None:
            return None
        since_s = max(now - self._taught_at, 0.0)
        if since_s >= FORGOTTEN_AFTER_S:
            self._base = None
            return None
        return self._base * exp(GROWTH * (2 ** (since_s / STEP_S) - 1))

    def interval_s(self, now: float) -> float | None:
        """Return the seconds between units; None for no limit."""
        per_second = self.per_second(now)
        return None if per_second is None else 1 / per_second

    def _turn(self, now: float) -> None:
        seconds = now - self._second
        self._taken_before = self._taken if seconds < 2 else 0
        self._taken = 0
        self._second = self._second + 1 if seconds < 2 else now

    def _lately(self, now: float) -> float:
        """Return about how many were taken in the last second."""
        if now - self._second >= 1:
            self._turn(now)
        return self._taken + self._taken_before * (1 - (now - self._second))
