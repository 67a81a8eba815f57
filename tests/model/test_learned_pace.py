"""The pace that a provider teaches."""

import heapq
import random
from collections import deque
from collections.abc import Callable

import pytest

from dialerd.model.breaker import Breaker
from dialerd.model.learned_pace import CAREFUL, FORGOTTEN_AFTER_S, MOST_TENTHS, WISHED_S, LearnedPace
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

    Where one a second is taken each refusal is dear: there it is half of it at least, and one refusal in ten. Who takes
    all of five seconds at once is found by the breaker's pauses, at the price of more refusals.
    """
    most = 50 if taking_s < 1 else 600
    taken, refused = send(limiter(limit, seconds), until=120, taking_s=taking_s, refusing_s=refusing_s, most=most)

    assert sum(at >= 30 for at in taken) >= (0.65 if limit == 1 or seconds > 1 else 0.8) * 90 * limit
    if seconds == 1 or (limiter is bucket and limit > 1):
        in_vain = 0.14 if limit == 1 else 0.032
        # What is on its way for a second and a half is refused as well.
        assert sum(at >= 30 for at in refused) <= (in_vain if taking_s < 1 else 0.12) * 90 * limit


@pytest.mark.parametrize("share", [0.01, 0.03, 0.1])
@pytest.mark.parametrize("again", [False, True], ids=["by chance", "always"])
def test_who_refuses_some_whatever_the_rate_is_not_sent_less(share: float, again: bool) -> None:
    """Refusals of single messages, by chance or of the same ones again and again, bring pauses and no slower pace."""
    chance, bad = random.Random(1), 0

    def take(_now: float) -> bool:
        nonlocal bad
        if bad:
            bad -= 1
            return False
        is_taken = chance.random() >= share
        bad = 0 if is_taken or not again else 1
        return is_taken

    taken, _ = send(take, until=300, taking_s=0.02, refusing_s=0.02, most=1)

    # One pause of a second (and one of two where the same one is refused again) for each refusal.
    possible = 1 / (share * (3 if again else 1) + 0.02)
    assert len(taken) / 300 >= 0.4 * possible


def taught(units: int, *, at: float = 40.0, rest_s: float = 1.0) -> LearnedPace:
    """Return the pace after as many refusals as it takes, each of what was sent when so many units had been taken."""
    pace = LearnedPace()
    for lesson in (at - 4 * rest_s, at - 2 * rest_s, at) if rest_s < WISHED_S else (at,):
        pace.took(units, lesson)
        pace.throttled(lesson, lesson + rest_s, wish_s=rest_s)
    return pace


def test_one_refusal_teaches_nothing() -> None:
    """What a provider takes before it complains must be about the same several times before it is called its limit."""
    for numbers, learned in (((40, 40), None), ((40, 90, 40), None), ((9, 40, 50, 38), CAREFUL * 38)):
        pace, at = LearnedPace(), 10.0
        for units in numbers:
            at += 5
            pace.took(units, at)
            pace.throttled(at, at + 1)
        assert pace.per_second(at) == (learned if learned is None else pytest.approx(learned))


@pytest.mark.parametrize(("rest_s", "slowly"), [(1.0, 1.0), (2.0, 1.0), (4.0, 2.0), (60.0, 10.0)])
def test_a_limit_that_has_gone_is_forgotten(rest_s: float, slowly: float) -> None:
    """A minute after the rest that a refusal brought, any pace is as before; where rests are long, it takes longer."""
    pace = taught(1, at=1000.0, rest_s=rest_s)
    until = 1000.0 + rest_s

    assert 0.9 == pace.per_second(1000.0) == pace.per_second(until)
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


def test_what_is_accepted_more_slowly_than_refused_counts_too() -> None:
    """Answers to what was sent in the second before the refusal raise the guess when they come; others do not."""
    pace = LearnedPace()
    for at in (10.0, 15.0, 20.0):
        pace.took(1, at - 3)
        pace.throttled(at, at + 1)
        for _ in range(40):
            pace.took(1, at - 0.01)
            pace.took(1, at - 1.5)
    assert CAREFUL * 40 == pytest.approx(pace.per_second(21.0))
    for _ in range(40):
        pace.took(1, 20.5)
    assert CAREFUL * 40 == pytest.approx(pace.per_second(21.0))


def test_who_takes_nothing_teaches_nothing() -> None:
    """A refusal of the first message, or of all, tells no rate; the breaker's pauses answer it."""
    pace = LearnedPace()
    for at in range(5):
        pace.throttled(10.0 + at, 10.5 + at)
        assert None is pace.per_second(10.5 + at)


def test_one_refusal_halves_at_most() -> None:
    """A refusal soon after a pause says little about the rate: what was learned before is halved at most."""
    pace = taught(100)
    before = pace.per_second(41.0)
    pace.throttled(41.5, 43.0)
    assert before is not None
    assert before / 2 == pytest.approx(pace.per_second(43.0))


def test_refusals_of_another_day_are_no_habit() -> None:
    """Only refusals that follow each other within a minute say together what the limit is."""
    pace = LearnedPace()
    for at in (10.0, 69.0, 140.0, 190.0):
        pace.took(40, at)
        pace.throttled(at, at + 1)
        assert None is pace.per_second(at)
    pace.took(40, 240.0)
    pace.throttled(240.0, 241.0)
    assert CAREFUL * 40 == pytest.approx(pace.per_second(240.0))


def test_who_names_a_long_rest_teaches_at_once() -> None:
    """A refusal that asks for a rest (Retry-After) is about our rate, and too dear to wait for three of them."""
    pace = LearnedPace()
    pace.took(40, 10.0)
    pace.throttled(10.0, 70.0, wish_s=60.0)
    assert CAREFUL * 40 == pytest.approx(pace.per_second(70.0))


def test_a_pause_of_our_own_is_no_wish() -> None:
    """One recipient's refusals bring long pauses, others being taken beside them; these teach no pace at once."""
    breaker, now = Breaker(50), 10.0
    for _ in range(9):
        others = breaker.allows(now) - 1
        breaker.saw(Throttled("message queue full"), now + 0.02, 0.5, sent_at=now)
        for _ in range(others):
            breaker.saw(Sent(), now + 0.03, 0.5, sent_at=now + 0.001)
        assert None is breaker.pace.per_second(now + 0.03)
        assert breaker.shut_until is not None
        now = breaker.shut_until
    assert now > 60


def test_one_whose_limit_is_contradicted_is_deaf() -> None:
    """Who goes on refusing at less than half of what seemed its limit has no limit, and teaches nothing for long."""
    pace = taught(100)
    pace.throttled(42.0, 43.0)
    pace.throttled(44.0, 45.0)
    assert CAREFUL * 25 == pytest.approx(pace.per_second(45.0))
    pace.throttled(46.0, 47.0)
    for at in range(50, 600, 50):
        pace.took(40, at)
        pace.throttled(at, at + 1)
        assert None is pace.per_second(at)
    for at in (650, 655, 660):
        pace.took(40, at)
        pace.throttled(at, at + 1)
    assert CAREFUL * 40 == pace.per_second(660)


def test_a_pace_that_has_grown_unused_is_no_guess() -> None:
    """What nobody has sent shows nothing: one refusal brings the pace back from any height to what was taken."""
    pace = taught(40)
    assert 10_000 < (pace.per_second(90.0) or 0)
    pace.took(40, 90.0)
    pace.throttled(90.0, 91.0)
    assert CAREFUL * 40 == pytest.approx(pace.per_second(91.0))


def test_a_clock_that_stands_still_or_goes_back_breaks_nothing() -> None:
    """Answers and refusals of one instant, or of one that seems to lie before, are counted all the same."""
    pace = LearnedPace()
    for at in (5.0, 5.0, 4.0, 5.0, 5.0, 5.0):
        pace.took(1, at)
        pace.throttled(at, at)
        assert 0 <= (pace.per_second(at) or 0) <= 6
