"""Messages that a provider refuses as too fast again and again, while it takes others: it is about them alone.

A 429 or ESME_RMSGQFUL speaks of our rate with most providers, and of one recipient's full queue with some. Who tries
such a message first of all, after every pause, sends nothing else.
"""

from dataclasses import dataclass, field

from dialerd.model.outcome import Outcome, Partly, Postponed, Throttled, Unreachable

__all__ = ["Refusals"]

#: So many messages are remembered, those that were refused last.
MOST = 1000
LONGEST_ASIDE_S = 3600.0


@dataclass(slots=True)
class _Refused:
    since: float
    times: int = 0
    #: It has been set aside, and is tried once more.
    was_aside: bool = False


@dataclass(slots=True)
class Refusals:
    """Remembers which messages one provider has refused as too fast; seconds are of any steady clock."""

    _known: dict[str, _Refused] = field(default_factory=dict)

    def saw(self, message_id: str, outcome: Outcome, now: float) -> bool:
        """Take note of what became of an attempt; True if it was refused as too fast."""
        rest = outcome.rest if isinstance(outcome, Partly) else outcome
        if isinstance(rest, Throttled):
            known = self._known.pop(message_id, None) or _Refused(now)
            known.times += 1
            self._known[message_id] = known
            if len(self._known) > MOST:
                del self._known[next(iter(self._known))]
            return True
        if not isinstance(rest, Unreachable | Postponed):
            self._known.pop(message_id, None)
        return False

    def is_its_own(self, message_id: str) -> bool:
        """Tell whether a message is refused that has been set aside: while others are taken, that is not our rate."""
        known = self._known.get(message_id)
        return known is not None and known.was_aside

    def aside_s(self, message_id: str, now: float, pause_s: float) -> float | None:
        """Return for how long to set aside a message that was refused, the provider's pause included.

        None: it is refused for the first time, which says nothing of it. So long that others are tried before it when
        the pause is over, and three times longer each time: a few seconds if it was chance.
        """
        known = self._known.get(message_id)
        if known is None or known.times < 2:
            return None
        known.was_aside = True
        return pause_s + min(max(2 * (now - known.since), pause_s), LONGEST_ASIDE_S)
