"""The pace that a provider teaches."""

import heapq
from collections import deque
from collections.abc import Callable

import pytest

from dialerd.model.learned_pace import FORGOTTEN_AFTER_S, LearnedPace

PAUSE_S = 1.0


def fixed(limit: float, seconds: float) -> Callable[[float], bool]:
    """Take so many in each period of the calendar."""
    taken: dict[int, int] = {}

    def take(now: float) -> bool:
        period = int(now / seconds)
        taken[period] = taken.get(period, 0) + 1
        return taken[period] <= limit * seconds

    return take


def sliding(limit: float, seconds: float) -> Callable[[float], bool]:
    """Take so many within any period."""
    taken: deque[float] = deque()

    def take(now: float) -> bool:
        while taken and taken[0] <= now - seconds:
            taken.popleft()
        if len(taken) >= limit * seconds:
            return False
        taken.append(now)
        return True

    return take


def bucket(limit: float, seconds: float) -> Callable[[float], bool]:
    """Take so many a second, and what was not used of a period at once."""
    full, last = limit * seconds, 0.0

    def take(now: float) -> bool:
        nonlocal full, last
        full, last = min(full + (now - last) * limit, limit * seconds), now
        if full < 1:
            return False
        full -= 1
        return True

    return take


def send(take: Callable[[float], bool], *, until: float, at_most: float = 2000.0) -> tuple[list[float], list[float]]:
    """Send as fast as is allowed, with a pause after each refusal; return when what was taken, and what was refused.

    An answer takes 20 ms, so what is on its way when a provider begins to refuse is refused as well.
    """
    pace, now, shut_until = LearnedPace(), 0.0, 0.0
    taken: list[float] = []
    refused: list[float] = []
    answers: list[tuple[float, bool]] = []
    while now < until:
        while answers and answers[0][0] <= now:
            at, is_taken = heapq.heappop(answers)
            if is_taken:
                pace.took(1, at)
            elif at >= shut_until:
                pace.throttled(at)
                shut_until = at + PAUSE_S
        if now < shut_until:
            now = shut_until
            continue
        is_taken = take(now)
        (taken if is_taken else refused).append(now)
        heapq.heappush(answers, (now + 0.02, is_taken))
        now += max(pace.interval_s(now) or 0.0, 1 / at_most)
    return taken, refused


@pytest.mark.parametrize("limiter", [fixed, sliding, bucket])
@pytest.mark.parametrize("seconds", [1.0, 5.0])
@pytest.mark.parametrize("limit", [1.0, 6.0, 40.0, 500.0])
def test_it_is_found(limiter: Callable[[float, float], Callable[[float], bool]], seconds: float, limit: float) -> None:
    """However a provider counts, it soon gets most of what it takes, and few that it does not."""
    taken, refused = send(limiter(limit, seconds), until=300)

    settled = sum(at >= 60 for at in taken) / 240
    assert settled >= 0.6 * limit
    assert sum(at >= 60 for at in refused) <= 0.1 * 240 * limit


def test_a_limit_that_has_gone_is_forgotten() -> None:
    """Within a minute of the last refusal the pace is what it was before it, from any rate."""
    pace = LearnedPace()
    pace.throttled(100.0)

    assert 0.9 == pace.per_second(100.0)
    grown = [pace.per_second(100.0 + seconds) or float("inf") for seconds in range(int(FORGOTTEN_AFTER_S) + 1)]
    assert sorted(grown) == grown
    assert 500 < grown[-2] < float("inf") == grown[-1]
    assert None is pace.interval_s(100.0 + FORGOTTEN_AFTER_S)


def test_nothing_is_limited_unasked() -> None:
    """A provider that never complains gets whatever there is."""
    pace = LearnedPace()
    for at in range(1000):
        pace.took(5, at / 100)
    assert None is pace.per_second(10.0)


def test_what_it_took_lately_is_the_guess() -> None:
    """The pace follows from what was taken in the second before the refusal, in parts."""
    pace = LearnedPace()
    for at in range(300):
        pace.took(2, 1000 + at / 20)
    pace.throttled(1015.0)
    assert 0.9 * 40 == pytest.approx(pace.per_second(1015.0), rel=0.1)


def test_one_refusal_halves_at_most() -> None:
    """A refusal soon after a pause says little about the rate: the pace does not fall to nothing for it."""
    pace = LearnedPace()
    for at in range(100):
        pace.took(1, at / 100)
    pace.throttled(1.0)
    before = pace.per_second(3.0)
    pace.throttled(3.0)
    assert before is not None
    assert before * 0.45 == pytest.approx(pace.per_second(3.0))


def test_a_clock_that_stands_still_or_goes_back_breaks_nothing() -> None:
    """Answers and refusals of one instant, or of one that seems to lie before, are counted all the same."""
    pace = LearnedPace()
    for at in (5.0, 5.0, 4.0):
        pace.took(1, at)
        pace.throttled(at)
        assert 0 < (pace.per_second(at) or 0) <= 3
