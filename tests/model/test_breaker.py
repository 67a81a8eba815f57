"""The circuit breaker."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dialerd.model.breaker import (
    DOUBTS_IN_A_ROW,
    LONGEST_WAIT_S,
    LONGEST_WISH_S,
    UNREACHABLE_IN_A_ROW,
    Breaker,
)
from dialerd.model.outcome import Deferred, Failed, InDoubt, Outcome, Partly, Postponed, Sent, Throttled, Unreachable

AWAY, LOST, OK = Unreachable("refused"), InDoubt("no answer"), Sent()
ANSWERS = [Sent(), Failed("no such number"), Deferred("busy")]


def saw(breaker: Breaker, *outcomes: Outcome, now: float = 0.0) -> list[bool]:
    return [breaker.saw(outcome, now, 0.0) for outcome in outcomes]


def shut(most: int = 8, now: float = 0.0) -> Breaker:
    breaker = Breaker(most)
    saw(breaker, *[AWAY] * UNREACHABLE_IN_A_ROW, now=now)
    return breaker


def test_a_healthy_provider_gets_all() -> None:
    """Without trouble the whole window may be under way."""
    breaker = Breaker(8)
    saw(breaker, *ANSWERS)

    assert 8 == breaker.allows(0)
    assert None is breaker.shut_until


@pytest.mark.parametrize(("trouble", "enough"), [(AWAY, UNREACHABLE_IN_A_ROW), (LOST, DOUBTS_IN_A_ROW)])
def test_so_many_in_a_row_shut_it(trouble: Outcome, enough: int) -> None:
    """One refusal of a pool says little, so many in a row say that the provider is away; only the last one shuts it."""
    breaker = Breaker(8)

    assert [False] * (enough - 1) + [True, False] == saw(breaker, *[trouble] * (enough + 1))
    assert 0 == breaker.allows(10**6)
    assert breaker.needs_probe
    assert trouble.error == breaker.reason


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize(("trouble", "enough"), [(AWAY, UNREACHABLE_IN_A_ROW), (LOST, DOUBTS_IN_A_ROW)])
def test_any_answer_breaks_the_row(trouble: Outcome, enough: int, answer: Outcome) -> None:
    """A provider that answers anything, even no, is there."""
    breaker = Breaker(8)

    assert not any(saw(breaker, *([trouble] * (enough - 1) + [answer]) * 10))


def test_other_trouble_does_not_break_the_row() -> None:
    """Where one connection is refused and the next one's answer is lost, doubts count on, and soon shut it."""
    breaker = Breaker(8)

    assert [False] * 4 + [True] == saw(breaker, LOST, AWAY, LOST, AWAY, AWAY)
    breaker = Breaker(8)
    assert any(saw(breaker, *[LOST, Throttled("slower")] * DOUBTS_IN_A_ROW))


def test_who_is_away() -> None:
    """Others send while a provider is shut for trouble or on trial, and while it rests for long, not for short."""
    breaker = shut()
    assert breaker.is_away(10**6)
    breaker.probed(None, 1.0, 0.0)
    assert breaker.is_away(1.0)
    saw(breaker, OK, now=1.0)
    assert not breaker.is_away(1.0)

    saw(breaker, Throttled("slower"), now=2.0)
    assert (0, False) == (breaker.allows(2.0), breaker.is_away(2.0))
    saw(breaker, Throttled("slower", 31.0), now=10.0)
    assert [True, True, False] == [breaker.is_away(at) for at in (10.0, 40.9, 41.0)]
    saw(breaker, OK, now=42.0)
    for at in (100.0, 200.0, 300.0, 400.0, 500.0):
        saw(breaker, Throttled("slower"), now=at)
        assert not breaker.is_away(at)
    saw(breaker, Throttled("slower"), now=600.0)
    assert breaker.is_away(600.0)


def test_what_teaches_a_pace() -> None:
    """Only complaints of our rate limit it, by the units that were taken before; other trouble does not."""
    breaker, rest = Breaker(8), Throttled("slower")
    for at in (0.0, 5.0, 10.0):
        breaker.saw(Sent(), at, 0.0, units=30)
        breaker.saw(Failed("no such number"), at + 0.1, 0.0, units=10)
        saw(breaker, AWAY, LOST, Postponed("busy", 1.0), now=at + 0.5)
        assert None is breaker.pace.per_second(at + 0.5)
        assert breaker.saw(Partly({1: None, 2: None}, 7, rest), at + 0.5, 0.0, units=2)
    assert 0.9 * 42 == pytest.approx(breaker.pace.per_second(11.0), rel=0.02)


def test_what_was_sent_before_a_complaint_teaches_once() -> None:
    """Of a whole window that was too much the first refusal counts, however late the others come; a new one does."""
    breaker, slower = Breaker(64), Throttled("slower")
    for at in (-20.0, -10.0, 2.0):
        for _ in range(40):
            breaker.saw(Sent(), at, 0.0, sent_at=at - 2)
        if at < 0:
            breaker.saw(slower, at, 0.0, sent_at=at - 2)
    assert breaker.saw(slower, 2.0, 0.0, sent_at=0.0)
    learned = breaker.pace.per_second(4.0)
    assert not any(breaker.saw(slower, at, 0.0, sent_at=at - 2) for at in (2.5, 3.1, 3.9))
    assert 32 == breaker.allows(4.0)
    assert learned == breaker.pace.per_second(4.0)
    assert breaker.saw(slower, 4.1, 0.0, sent_at=3.1)
    assert 0 == breaker.allows(4.1)


def test_a_pace_rests_while_its_provider_does() -> None:
    """After a rest that a provider wished for, be it minutes, it is sent what it took before it."""
    breaker = Breaker(8)
    breaker.saw(Sent(), 0.0, 0.0, units=100)
    breaker.saw(Throttled("slower", 300), 0.1, 0.0)
    assert 0 == breaker.allows(300)
    assert 90 == breaker.pace.per_second(300.1)


def test_after_a_good_probe_one_attempt_may_go() -> None:
    """What the probe promises a single message must prove."""
    breaker = shut()
    breaker.probed(None, 1.0, 0.0)

    assert 1 == breaker.allows(1.0)
    assert (False, None) == (breaker.needs_probe, breaker.reason)


@pytest.mark.parametrize("trouble", [AWAY, LOST])
def test_the_attempt_after_a_probe_is_the_test(trouble: Outcome) -> None:
    """If it fails as well, the provider is shut at once, and for longer than before."""
    breaker = shut()
    breaker.probed(None, 1.0, 0.0)

    assert [True] == saw(breaker, trouble, now=2.0)
    assert (0, 4.0) == (breaker.allows(2.0), breaker.shut_until)


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_window_grows_with_answers(answer: Outcome) -> None:
    """With each answer one more may be under way, until all may."""
    breaker = shut(most=4)
    breaker.probed(None, 1.0, 0.0)
    seen = []
    for _ in range(4):
        saw(breaker, answer, now=1.0)
        seen.append(breaker.allows(1.0))

    assert [2, 3, 4, 4] == seen


def test_one_refusal_after_the_test_is_one_refusal() -> None:
    """Once an attempt has passed the test, trouble counts from the beginning again."""
    breaker = shut()
    breaker.probed(None, 1.0, 0.0)

    assert [False, False, False] == saw(breaker, OK, AWAY, AWAY, now=1.0)


def test_bad_probes_wait_longer_and_longer() -> None:
    """The wait doubles from probe to probe up to a minute, and jitter shortens it by a tenth at most."""
    breaker, waits = shut(), []
    for _ in range(8):
        breaker.probed("still away", breaker.shut_until or 0.0, 0.0)
        waits.append(breaker.shut_until)

    assert [3, 7, 15, 31, 63, 123, 183, 243] == waits
    assert "still away" == breaker.reason
    now = breaker.shut_until or 0.0
    breaker.probed("still away", now, 1.0)
    assert now + 0.9 * LONGEST_WAIT_S == pytest.approx(breaker.shut_until)


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_makes_waits_short_again(answer: Outcome) -> None:
    """Once the provider has answered, the next trouble begins with the first wait."""
    breaker = shut()
    for _ in range(5):
        breaker.probed("still away", breaker.shut_until or 0.0, 0.0)
    breaker.probed(None, 100.0, 0.0)
    saw(breaker, answer, *[AWAY] * UNREACHABLE_IN_A_ROW, now=100.0)

    assert 101.0 == breaker.shut_until


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_late_answer_opens_nothing(answer: Outcome) -> None:
    """While it is shut, an answer to what was sent before does not open it: the probe or the wait decides."""
    away, slowed = shut(), Breaker(8)
    saw(slowed, Throttled("slower"))
    saw(away, answer, now=0.5)
    saw(slowed, answer, now=0.5)

    assert (0, 0) == (away.allows(0.5), slowed.allows(0.5))


def test_postponed_says_nothing() -> None:
    """What was not even tried neither shuts a provider nor shows that it is there."""
    breaker = shut()
    breaker.probed(None, 100.0, 0.0)
    assert 1 == breaker.allows(100.0)
    assert [False, False] == saw(breaker, *[Postponed("enough", 1.0)] * 2, now=100.0)
    assert 1 == breaker.allows(100.0)
    assert [True] == saw(breaker, AWAY, now=100.0)


def test_throttling_halves_the_window_and_waits() -> None:
    """Too fast: half as many may be under way, after a second, without a probe."""
    breaker = Breaker(8)

    assert [True, False] == saw(breaker, Throttled("slower"), Throttled("slower"))
    assert (0, 4, False) == (breaker.allows(0.9), breaker.allows(1.0), breaker.needs_probe)
    assert "slower" == breaker.reason


def test_throttling_again_waits_longer() -> None:
    """Throttled again after the wait, it halves and doubles on, but one may always go."""
    breaker, seen = Breaker(8), []
    for _ in range(5):
        now = breaker.shut_until or 0.0
        saw(breaker, Throttled("slower"), now=now)
        seen.append(((breaker.shut_until or 0.0) - now, breaker.window))

    assert [(1, 4), (2, 2), (4, 1), (8, 1), (16, 1)] == seen


@pytest.mark.parametrize(
    ("wish", "until"),
    [(30.0, 30), (0.1, 1), (-5.0, 1), (math.nan, 1), (math.inf, LONGEST_WISH_S), (1e9, LONGEST_WISH_S)],
)
def test_a_providers_wish_counts_within_bounds(wish: float, until: float) -> None:
    """A provider may ask for more patience, but not for ever."""
    breaker = Breaker(8)
    breaker.saw(Throttled("slower", wish), 0.0, 0.0)

    assert until == breaker.shut_until


def test_trouble_does_not_shorten_a_wish() -> None:
    """What is refused after the provider asked for patience is probed no earlier than it asked for."""
    breaker = Breaker(8)
    breaker.saw(Throttled("slower", 30.0), 0.0, 0.0)
    saw(breaker, *[AWAY] * UNREACHABLE_IN_A_ROW)

    assert (True, 30.0) == (breaker.needs_probe, breaker.shut_until)


def test_away_for_several_waits_is_hopeless() -> None:
    """Who has little time waits for two probes of a provider that is away, and comes again for a third."""
    breaker = shut()
    hopeless = []
    for now in (1.0, 3.0, 7.0):
        hopeless.append(breaker.is_hopeless(now))
        breaker.probed("refused", now, 0.0)

    assert [False, False, True] == hopeless
    breaker.probed(None, 20.0, 0.0)
    assert not breaker.is_hopeless(20.0)


def test_slow_is_hopeless_later() -> None:
    """A provider that takes no more for a while is waited for, one that wants minutes of patience is not."""
    breaker = Breaker(8)
    breaker.saw(Throttled("slower", 100.0), 0.0, 0.0)
    assert not breaker.is_hopeless(0.0)

    breaker = Breaker(8)
    breaker.saw(Throttled("slower", 200.0), 0.0, 0.0)
    assert (True, False) == (breaker.is_hopeless(0.0), breaker.is_hopeless(100.0))


@pytest.mark.parametrize("most", [1, 2, 50])
def test_a_hanging_provider_gets_few(most: int) -> None:
    """However many may be under way, one that takes messages and never answers gets five, then one a probe."""
    breaker, now, doubts = Breaker(most), 0.0, []
    for _ in range(10):
        count = 0
        while breaker.allows(now):
            saw(breaker, LOST, now=now)
            count += 1
        doubts.append(count)
        now = breaker.shut_until or now
        breaker.probed(None, now, 0.0)

    assert [DOUBTS_IN_A_ROW] + [1] * 9 == doubts


outcomes = st.one_of(
    st.just(AWAY),
    st.just(LOST),
    st.sampled_from(ANSWERS),
    st.builds(Throttled, st.just("slower"), st.none() | st.floats()),
)


class Life(RuleBasedStateMachine):
    """Anything may happen to a provider, in any order, while time passes."""

    @initialize(most=st.integers(1, 20))
    def begin(self, most: int) -> None:
        self.breaker, self.now, self.doubts = Breaker(most), 0.0, 0

    @rule(seconds=st.floats(0, 4000))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(outcome=outcomes, jitter=st.floats(0, 1))
    def attempt(self, outcome: Outcome, jitter: float) -> None:
        """One attempt at a time, where one is allowed, and its outcome."""
        if self.breaker.allows(self.now):
            self.breaker.saw(outcome, self.now, jitter)
            if isinstance(outcome, InDoubt):
                self.doubts += 1
                assert self.doubts <= DOUBTS_IN_A_ROW
            elif outcome in ANSWERS:
                self.doubts = 0

    @rule(outcome=outcomes, jitter=st.floats(0, 1))
    def late(self, outcome: Outcome, jitter: float) -> None:
        """The outcome of an attempt that was under way when the provider was shut."""
        if not self.breaker.allows(self.now):
            self.breaker.saw(outcome, self.now, jitter)
            assert 0 == self.breaker.allows(self.now)

    @precondition(lambda self: self.breaker.needs_probe)
    @rule(error=st.none() | st.just("away"), jitter=st.floats(0, 1))
    def probe(self, error: str | None, jitter: float) -> None:
        """A probe at its time; a good one lets one attempt go."""
        self.now = max(self.now, self.breaker.shut_until or 0.0)
        self.breaker.probed(error, self.now, jitter)
        self.doubts = DOUBTS_IN_A_ROW - 1 if error is None else self.doubts
        assert (0 if error else 1) == self.breaker.allows(self.now)

    @invariant()
    def keeps_within_bounds(self) -> None:
        """Never more than `most`, never fewer than one when it is not shut, and no wait is longer than an hour."""
        breaker = self.breaker
        assert 1 <= breaker.window <= breaker.most
        assert (breaker.shut_until or 0.0) <= self.now + LONGEST_WISH_S
        assert not breaker.needs_probe or breaker.shut_until is not None

    @invariant()
    def always_heals(self) -> None:
        """Time, a good probe and good outcomes bring back the whole window, whatever happened before."""
        breaker = Breaker(**{name: getattr(self.breaker, name) for name in ("most", "window")})
        for name in Breaker.__slots__:
            setattr(breaker, name, getattr(self.breaker, name))
        now = max(self.now, breaker.shut_until or 0.0)
        if breaker.needs_probe:
            breaker.probed(None, now, 0.0)
        for _ in range(breaker.most):
            assert breaker.allows(now) >= 1
            breaker.saw(OK, now, 0.0)
        assert breaker.most == breaker.allows(now)


TestLife = Life.TestCase
TestLife.__doc__ = "Any life keeps the breaker's rules."


@given(st.lists(st.sampled_from([AWAY, LOST]), min_size=1, max_size=40))
def test_a_provider_without_any_answer_is_shut_soon(troubles: list[Outcome]) -> None:
    """Any mix of refusals and lost answers shuts a provider before a few messages are in doubt."""
    breaker, doubts = Breaker(50), 0
    for trouble in troubles:
        if breaker.allows(0.0):
            breaker.saw(trouble, 0.0, 0.0)
            doubts += trouble is LOST

    assert doubts <= DOUBTS_IN_A_ROW
    assert len(troubles) < UNREACHABLE_IN_A_ROW + DOUBTS_IN_A_ROW - 1 or breaker.needs_probe
