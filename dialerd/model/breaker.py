"""The circuit breaker of a provider: stops asking one that is away, and comes back carefully."""

from dataclasses import dataclass

from dialerd.model.outcome import InDoubt, Outcome, Sent, Throttled, Unreachable

__all__ = ["Breaker"]

#: One refused connection of a pool says little; so many in a row, with nothing else between them, say that it is away.
UNREACHABLE_IN_A_ROW = 3
#: Each doubt may be a message lost in a provider that hangs: stop before a whole base is in doubt.
DOUBTS_IN_A_ROW = 5
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0


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
    in_a_row: int = 0
    _kind: type[Outcome] | None = None

    def __post_init__(self) -> None:
        self.window = self.window or self.most

    def allows(self, now: float) -> int:
        """Return how many attempts may be under way now."""
        return 0 if self.shut_until is not None and (self.needs_probe or now < self.shut_until) else self.window

    def saw(self, outcome: Outcome, now: float, jitter: float) -> bool:
        """Take note of an outcome; True when this one has shut the provider. `jitter` is 0..1."""
        match outcome:
            case Unreachable(error):
                return self._trouble(Unreachable, error, UNREACHABLE_IN_A_ROW, now, jitter)
            case InDoubt(error):
                return self._trouble(InDoubt, error, DOUBTS_IN_A_ROW, now, jitter)
            case Throttled(error, retry_after_s):
                return self._throttled(error, retry_after_s, now, jitter)
        self.in_a_row = 0
        if self.shut_until is not None and not self.needs_probe and now < self.shut_until:
            return False  # the answer to what was sent before it was shut
        self.shut_until, self.reason, self.needs_probe = None, None, False
        if isinstance(outcome, Sent):
            self.waits = 0
            self.window = min(self.window + 1, self.most)
        return False

    def probed(self, error: str | None, now: float, jitter: float) -> None:
        """Take note of a probe: after a good one a single attempt may go, after a bad one the next probe waits longer."""
        if error is None:
            self.shut_until, self.needs_probe, self.window, self.in_a_row = None, False, 1, 0
            # The next trouble shuts it at once, and for longer than before.
            self._kind = None
        else:
            self.reason = error
            self._shut(now, jitter)

    def _trouble(self, kind: type[Outcome], error: str, enough: int, now: float, jitter: float) -> bool:
        self.in_a_row = self.in_a_row + 1 if self._kind is kind else 1
        self._kind = kind
        if self.shut_until is not None and self.needs_probe:
            return False
        # After a probe the window is 1: that attempt was the test.
        if self.in_a_row < enough and not (self.window == 1 and self.waits):
            return False
        self.reason = error
        self.needs_probe = True
        self._shut(now, jitter)
        return True

    def _throttled(self, error: str, retry_after_s: float | None, now: float, jitter: float) -> bool:
        if self.shut_until is not None and (self.needs_probe or now < self.shut_until):
            return False
        self.window = max(self.window // 2, 1)
        self.reason = error
        self._shut(now, jitter)
        if retry_after_s is not None and self.shut_until is not None:
            self.shut_until = max(self.shut_until, now + retry_after_s)
        return True

    def _shut(self, now: float, jitter: float) -> None:
        wait_s = min(FIRST_WAIT_S * 2**self.waits, LONGEST_WAIT_S)
        self.waits = min(self.waits + 1, 10)
        self.shut_until = now + wait_s * (1 - 0.1 * jitter)
