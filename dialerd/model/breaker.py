"""The circuit breaker of a provider: stops asking one that is away, and comes back carefully."""

from dataclasses import dataclass, field

from dialerd.model.learned_pace import LearnedPace
from dialerd.model.outcome import Deferred, Failed, InDoubt, Outcome, Partly, Postponed, Sent, Throttled, Unreachable

__all__ = ["Breaker"]

#: One refused connection of a pool says little; so many without an answer between them say that it is away.
UNREACHABLE_IN_A_ROW = 3
#: Each doubt may be a message lost in a provider that hangs: stop before a whole base is in doubt.
DOUBTS_IN_A_ROW = 5
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
#: A provider that asks for more patience is asked again after so long all the same.
LONGEST_WISH_S = 3600.0
#: One that is to be left alone for longer than this on account of its rate is as good as away.
LONG_REST_S = 30.0
#: Hopeless is a provider that is away for longer than so many waits, each twice as long as the one before,
MOST_WAITS = 2
#: or that takes nothing because of its rate for so many, or wants to be left alone for so long.
MOST_WAITS_FOR_RATE = 6
LONGEST_PATIENCE_S = 120.0


@dataclass(slots=True)
class Breaker:
    """Decides from outcomes how many attempts may be under way, at most `most`; seconds are of any steady clock.

    `shut_until` is when the provider may be probed (after trouble) or used (after throttling) again; None: it is fine.
    """

    most: int
    window: int = 0
    shut_until: float | None = None
    needs_probe: bool = False
    reason: str | None = None
    waits: int = 0
    #: What the provider's complaints of our rate have taught.
    pace: LearnedPace = field(default_factory=LearnedPace)
    _unreachable: int = 0
    _doubts: int = 0
    #: After a good probe the first attempt is the test: if it fails as well, the provider is shut at once.
    _on_trial: bool = False
    #: When it was last shut on account of its rate.
    _throttled_at: float = float("-inf")
    _rests: bool = False

    def __post_init__(self) -> None:
        self.window = self.window or self.most

    def is_away(self, now: float) -> bool:
        """Tell whether others should send in its place: also until the first attempt after trouble is answered."""
        return self.needs_probe or self._on_trial or (self._rests and self._is_shut(now))

    def allows(self, now: float) -> int:
        """Return how many attempts may be under way now."""
        return 0 if self._is_shut(now) else self.window

    def is_hopeless(self, now: float) -> bool:
        """Tell whether who has little time should rather come again than wait."""
        if self.needs_probe:
            return self.waits > MOST_WAITS
        shut_for_s = (self.shut_until or 0) - now
        return shut_for_s > 0 and (self.waits > MOST_WAITS_FOR_RATE or shut_for_s > LONGEST_PATIENCE_S)

    def saw(self, outcome: Outcome, now: float, jitter: float, *, sent_at: float | None = None, units: int = 1) -> bool:
        """Take note of an outcome; True when this one has shut the provider. `jitter` is 0..1.

        `sent_at` is when the attempt began, and `units` what the provider has answered of it without complaint of our
        rate, in units of its pace.
        """
        sent_at = now if sent_at is None else sent_at
        match outcome:
            case Sent() | Failed() | Deferred():
                self.pace.took(units, sent_at)
                self._answered(now)
                return False
            case Partly(_, _, rest):
                self.pace.took(units, sent_at)
                return self.saw(rest, now, jitter, sent_at=sent_at, units=0)
            case Unreachable(error):
                self._unreachable += 1
                return self._trouble(error, self._unreachable >= UNREACHABLE_IN_A_ROW, now, jitter)
            case InDoubt(error):
                self._doubts += 1
                return self._trouble(error, self._doubts >= DOUBTS_IN_A_ROW, now, jitter)
            case Throttled(error, wish_s):
                return self._throttled(error, wish_s, now, jitter, sent_at)
            case Postponed():
                return False

    def probed(self, error: str | None, now: float, jitter: float) -> None:
        """Take note of a probe: after a good one a single attempt may go, after a bad one the next waits longer."""
        if error is None:
            self._open()
            self.window, self._on_trial = 1, True
        else:
            self._shut_for_trouble(error, now, jitter)

    def _answered(self, now: float) -> None:
        """Any answer, yes or no, shows that the provider is there."""
        if self._is_shut(now):
            return  # It is about what was sent before: the wait, or the probe, decides.
        self._open()
        self._on_trial = False
        self.waits = 0
        self.window = min(self.window + 1, self.most)

    def _trouble(self, error: str, is_enough: bool, now: float, jitter: float) -> bool:
        if self.needs_probe or not (is_enough or self._on_trial):
            return False
        self._shut_for_trouble(error, now, jitter)
        return True

    def _throttled(self, error: str, wish_s: float | None, now: float, jitter: float, sent_at: float) -> bool:
        if self._is_shut(now) or sent_at < self._throttled_at:
            return False  # It is about what was sent before.
        self._throttled_at = now
        self.window = max(self.window // 2, 1)
        self._shut(error, now, jitter)
        if wish_s is not None and self.shut_until is not None:
            self.shut_until = max(self.shut_until, now + min(wish_s, LONGEST_WISH_S))
        self.pace.throttled(sent_at, self.shut_until or now, wish_s=wish_s or 0.0)
        self._rests = self.shut_until is not None and self.shut_until - now > LONG_REST_S
        return True

    def _is_shut(self, now: float) -> bool:
        return self.shut_until is not None and (self.needs_probe or now < self.shut_until)

    def _open(self) -> None:
        self.shut_until, self.needs_probe, self.reason = None, False, None
        self._unreachable, self._doubts = 0, 0

    def _shut_for_trouble(self, error: str, now: float, jitter: float) -> None:
        self.needs_probe = True
        self._shut(error, now, jitter)

    def _shut(self, error: str, now: float, jitter: float) -> None:
        wait_s = min(FIRST_WAIT_S * 2**self.waits, LONGEST_WAIT_S) * (1 - 0.1 * jitter)
        self.waits = min(self.waits + 1, 10)
        self.reason = error
        self.shut_until = max(self.shut_until or now, now + wait_s)
