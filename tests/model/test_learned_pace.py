"""The pace that a provider teaches."""

import heapq
from collections import deque
from collections.abc import Callable

import pytest

from dialerd.model.breaker import Breaker
from dialerd.model.learned_pace import CAREFUL, FORGOTTEN_AFTER_S, MOST_TENTHS, LearnedPace
from dialerd.model.outcome import Sent, Throttled


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


def send(
    take: Callable[[float], bool], *, until: float, taking_s: float, refusing_s: float, most: int
) -> tuple[list[float], list[float]]:
    """Send as fast as a breaker allows, at most 2000/s; return when what was taken, and what was refused.

    An answer takes so long, and what is on its way meanwhile may be refused as well.
    """
    breaker, now, next_at = Breaker(most), 0.0, 0.0
    taken: list[float] = []
    refused: list[float] = []
    under_way: list[tuple[float, float, bool]] = []
    while now < until:
        while under_way and under_way[0][0] <= now:
            at, sent_at, is_taken = heapq.heappop(under_way)
            breaker.saw(Sent() if is_taken else Throttled("too fast"), at, 0.5, sent_at=sent_at)
        if now >= next_at and breaker.allows(now) > len(under_way):
            is_taken = take(now)
            (taken if is_taken else refused).append(now)
            heapq.heappush(under_way, (now + (taking_s if is_taken else refusing_s), now, is_taken))
            next_at = now + (breaker.pace.interval_s(now) or 0.0005)
        now = min([next_at if next_at > now else now + 0.01, *(at for at, *_ in under_way[:1])])
    return taken, refused


@pytest.mark.parametrize("limiter", [fixed, sliding, bucket])
@pytest.mark.parametrize("seconds", [1.0, 5.0])
@pytest.mark.parametrize("limit", [1.0, 6.0, 40.0, 300.0])
@pytest.mark.parametrize(("taking_s", "refusing_s"), [(0.02, 0.02), (0.1, 0.002), (1.5, 1.5)])
def test_it_is_found(
    limiter: Callable[[float, float], Callable[[float], bool]],
    seconds: float,
    limit: float,
    taking_s: float,
    refusing_s: float,
) -> None:
    """However a provider counts, and however long its answers take, it soon gets most of what it takes and little else.

    Where one a second is taken each refusal is dear: there it is half of it at least, and one refusal in ten.
    """
    most = 50 if taking_s < 1 else 600
    taken, refused = send(limiter(limit, seconds), until=120, taking_s=taking_s, refusing_s=refusing_s, most=most)

    soon, later, in_vain = (0.5, 0.5, 0.1) if limit == 1 else (0.6, 0.8, 0.02)
    assert sum(10 <= at < 30 for at in taken) >= soon * 20 * limit
    assert sum(at >= 30 for at in taken) >= later * 90 * limit
    # What is on its way for a second and a half is refused as well.
    assert sum(at >= 30 for at in refused) <= (in_vain if taking_s < 1 else 0.12) * 90 * limit


@pytest.mark.parametrize("limit", [40.0, 300.0])
def test_a_first_guess_that_was_far_too_low_is_soon_forgotten(limit: float) -> None:
    """Where others had used up most of the limit when the provider first complained, it does not stay slow."""
    little, all_of_it = sliding(limit / 20, 1.0), sliding(limit, 1.0)
    taken, refused = send(
        lambda now: (little if now < 0.5 else all_of_it)(now), until=60, taking_s=0.1, refusing_s=0.002, most=50
    )

    assert sum(3 <= at < 30 for at in taken) >= 0.6 * 27 * limit
    assert sum(at >= 30 for at in taken) >= 0.8 * 30 * limit
    assert len(refused) <= 15


@pytest.mark.parametrize(("rest_s", "slowly"), [(1.0, 1.0), (2.0, 1.0), (4.0, 2.0), (60.0, 10.0)])
def test_a_limit_that_has_gone_is_forgotten(rest_s: float, slowly: float) -> None:
    """A minute after the rest that a refusal brought, any pace is as before; where rests are long, it takes longer."""
    pace = LearnedPace()
    until = 40.0 + rest_s
    pace.took(1, 40.0)
    pace.throttled(40.0, until)

    assert 0.9 == pace.per_second(40.0) == pace.per_second(until)
    at = [until + seconds * slowly for seconds in range(int(FORGOTTEN_AFTER_S) + 1)]
    grown = [pace.per_second(one) or float("inf") for one in at]
    assert sorted(grown) == grown
    assert 500 < grown[-2] < float("inf") == grown[-1]
    assert None is pace.interval_s(at[-1])


def test_nothing_is_limited_unasked() -> None:
    """A provider that never complains gets whatever there is, and what is remembered of it does not grow."""
    pace = LearnedPace()
    for at in range(10_000):
        pace.took(5, at / 10)
    assert None is pace.per_second(1000.0)
    assert len(pace._taken) <= MOST_TENTHS


def test_what_it_took_lately_is_the_guess() -> None:
    """The pace follows from what was taken of that which was sent in the second before the refusal, in parts."""
    pace = LearnedPace()
    for at in range(300):
        pace.took(2, 1000 + at / 20)
    pace.throttled(1015.0, 1016.0)
    assert CAREFUL * 40 == pytest.approx(pace.per_second(1015.0), rel=0.1)


def test_what_is_accepted_more_slowly_than_refused_counts_too() -> None:
    """Answers to what was sent in the second before the refusal raise the guess when they come; others do not."""
    pace = LearnedPace()
    pace.throttled(10.0, 11.0)
    assert None is pace.per_second(11.0)
    for at in range(40):
        pace.took(1, 9.99)
        pace.took(1, 8.5)
        pace.took(1, 10.5 + at)
    assert CAREFUL * 40 == pytest.approx(pace.per_second(11.0))


def test_who_takes_nothing_teaches_nothing() -> None:
    """A refusal of the first message, or of all, tells no rate; the breaker's pauses answer it."""
    pace = LearnedPace()
    for at in range(5):
        pace.throttled(10.0 + at, 10.5 + at)
        assert None is pace.per_second(10.5 + at)


def test_one_refusal_halves_at_most() -> None:
    """A refusal soon after a pause says little about the rate: what was learned before is halved at most."""
    pace = LearnedPace()
    for at in range(100):
        pace.took(1, at / 100)
    pace.throttled(1.0, 2.0)
    before = pace.per_second(2.0)
    pace.throttled(3.0, 4.0)
    assert before is not None
    assert before / 2 == pytest.approx(pace.per_second(4.0))


def test_a_pace_that_has_grown_unused_is_no_guess() -> None:
    """What nobody has sent shows nothing: one refusal brings the pace back from any height to what was taken."""
    pace = LearnedPace()
    for start in (0.0, 50.0):
        for at in range(40):
            pace.took(1, start + at / 1000)
        pace.throttled(start + 0.04, start + 1)
        assert CAREFUL * 40 == pytest.approx(pace.per_second(start + 1))
        assert 10_000 < (pace.per_second(start + 50) or 0)


def test_a_clock_that_stands_still_or_goes_back_breaks_nothing() -> None:
    """Answers and refusals of one instant, or of one that seems to lie before, are counted all the same."""
    pace = LearnedPace()
    for at in (5.0, 5.0, 4.0):
        pace.took(1, at)
        pace.throttled(at, at)
        assert 0 < (pace.per_second(at) or 0) <= 3
