"""The pace that a provider teaches us: it says "too fast", and nobody has written down how fast it takes messages."""

from collections import deque
from dataclasses import dataclass, field
from math import exp

__all__ = ["LearnedPace"]

#: Where a provider refused for its rate, we go on with so much of what it took in the second before.
CAREFUL = 0.9
#: Slower providers are left to the breaker's pauses.
SLOWEST = 0.2
#: The pace grows by a fifth in the first so many seconds, and by twice as many hundredths (as an exponent) in each of
#: the next: carefully where the limit was just met, and back at any rate within a minute of a limit that has gone.
STEP_S = 10.0
GROWTH = 0.2
FORGOTTEN_AFTER_S = 60.0
#: A refusal costs a rest. Where that is longer than this, all of it takes longer in proportion, up to so many times.
SHORT_REST_S = 2.0
MOST_SLOWLY = 10.0
#: Who has a limit refuses after about as many each time; who refuses now and then for other reasons, after a few or a
#: great many. So many refusals must be alike, by this factor, before they are taken for a limit.
ALIKE = 3
ALIKE_WITHIN = 1.6
#: Who wishes for a longer rest than this (Retry-After) speaks of our rate, and dearly. The breaker's own pauses, which
#: may be as long, say nothing.
WISHED_S = 5.0
#: And whoever goes on refusing at less than this part of that has another reason: it teaches nothing for so long.
CONTRADICTED = 0.4
DEAF_S = 600.0
#: What was taken is counted by tenths of a second, for so many of them: answers come late, and refusals too.
TENTHS = 10
MOST_TENTHS = 300


@dataclass(slots=True)
class LearnedPace:
    """Watches how many units (SMS parts, or mails) a provider takes of what is sent; seconds are of any steady clock.

    What counts is when something was sent: many a provider refuses at once, and takes its time to accept.
    """

    _base: float | None = None
    #: From when on the pace grows.
    _grows_from: float = 0.0
    _slowly: float = 1.0
    #: The pace, and its base, when that was sent which was refused last.
    _before: tuple[float, float] | None = None
    _refused_at: float = float("-inf")
    #: When that was sent which was refused lately, each after something else had been taken; has anything been since?
    _refusals: deque[float] = field(default_factory=lambda: deque(maxlen=ALIKE))
    _took_since: bool = True
    #: So many of them are enough.
    _enough: int = ALIKE
    #: How many a second it took when it was taken for a limit.
    _limit: float = 0.0
    _deaf_until: float = float("-inf")
    #: By tenths of a second: the units sent in it that were taken.
    _taken: dict[int, int] = field(default_factory=dict)

    def took(self, units: int, sent_at: float) -> None:
        """Count units that the provider has answered without complaining of our rate; so it may tell what it takes."""
        tenth = int(sent_at * TENTHS)
        self._taken[tenth] = self._taken.get(tenth, 0) + units
        if len(self._taken) > MOST_TENTHS:
            for earlier in sorted(self._taken)[: MOST_TENTHS // 2]:
                del self._taken[earlier]
        self._took_since = self._took_since or sent_at > self._refused_at
        if 0 <= self._refused_at * TENTHS - tenth < TENTHS + 1:
            self._base = self._guess()

    def throttled(self, sent_at: float, until: float, *, wish_s: float = 0.0) -> None:
        """Take note that the provider wants less a second than it got when that was sent; `until` then it gets nothing.

        `wish_s` is the rest that it has asked for itself, in seconds.
        What it had taught before is halved at most: a refusal soon after a rest says little of the rate.
        """
        if sent_at < self._deaf_until:
            return
        pace, base = self.per_second(sent_at), self._base
        if base is not None and base + 1 < CONTRADICTED * self._limit:
            self._base, self._refused_at, self._deaf_until = None, float("-inf"), sent_at + DEAF_S
            self._refusals.clear()
            return
        self._before = None if pace is None or base is None else (pace, base)
        self._refused_at, self._grows_from = sent_at, until
        self._enough = 1 if wish_s > WISHED_S else ALIKE
        self._slowly = min(max((until - sent_at) / SHORT_REST_S, 1.0), MOST_SLOWLY)
        if self._refusals and sent_at - self._refusals[-1] >= FORGOTTEN_AFTER_S * self._slowly:
            self._refusals.clear()
        if self._took_since:
            self._refusals.append(sent_at)
        self._took_since = False
        self._base = self._guess()

    def per_second(self, now: float) -> float | None:
        """Return how many units a second should be sent; None: nothing is known, or it was too long ago."""
        if self._base is None:
            return None
        since_s = max(now - self._grows_from, 0.0) / self._slowly
        if since_s >= FORGOTTEN_AFTER_S:
            self._base = None
            return None
        return self._base * exp(GROWTH * (2 ** (since_s / STEP_S) - 1))

    def interval_s(self, now: float) -> float | None:
        """Return the seconds between units; None for no limit."""
        per_second = self.per_second(now)
        return None if per_second is None else 1 / per_second

    def _guess(self) -> float | None:
        if self._before is not None:
            pace, base = self._before
            return max(min(max(self._lately(self._refused_at) * CAREFUL, base / 2), pace * CAREFUL), SLOWEST)
        lately = [self._lately(at) for at in self._refusals][-self._enough :]
        if len(lately) < self._enough or max(lately) > ALIKE_WITHIN * min(lately) or not min(lately):
            return None
        self._limit = min(lately)
        return max(self._limit * CAREFUL, SLOWEST)

    def _lately(self, at: float) -> float:
        """Return how many units were taken of what was sent in the second before."""
        # What was sent in the same tenth counts as sent before: on several connections requests overtake each other.
        tenth = int(at * TENTHS)
        lately = sum(self._taken.get(tenth - ago, 0) for ago in range(TENTHS))
        return lately + self._taken.get(tenth - TENTHS, 0) * (1 - (at * TENTHS - tenth))
