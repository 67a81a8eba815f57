"""Messages that a provider refuses again and again in words that are about us, while it takes others.

A 429 or ESME_RMSGQFUL speaks of our rate with most providers, and of one recipient's full queue with some; a 401 of
our account, or of one message's sender. Who tries such a message first of all, after every pause, sends nothing else.
"""

from dataclasses import dataclass, field

from dialerd.model.outcome import Outcome, Partly, Postponed, Throttled, Unreachable

__all__ = ["Refusals"]

#: So many messages are remembered, those that were refused last.
MOST = 1000
LONGEST_ASIDE_S = 3600.0


@dataclass(slots=True)
class _Refused:
    error: str
    times: int = 0
    #: It has been set aside, and is tried once more.
    was_aside: bool = False
    #: How often it was refused while others were taken.
    alone: int = 0


@dataclass(slots=True)
class Refusals:
    """Remembers which messages one provider has refused without an attempt being spent."""

    _known: dict[str, _Refused] = field(default_factory=dict)

    def saw(self, message_id: str, outcome: Outcome) -> bool:
        """Take note of what became of an attempt; True if it was refused, and costs nothing."""
        rest = outcome.rest if isinstance(outcome, Partly) else outcome
        if isinstance(rest, Throttled | Unreachable):
            known = self._known.pop(message_id, None) or _Refused(rest.error)
            known.error = rest.error
            known.times += 1
            self._known[message_id] = known
            if len(self._known) > MOST:
                del self._known[next(iter(self._known))]
            return True
        if self._known and not isinstance(rest, Postponed):
            self._known.pop(message_id, None)
        return False

    @property
    def aside(self) -> list[str]:
        """Why messages were refused that have been set aside and not been answered since, one error for each."""
        return [known.error for known in self._known.values() if known.was_aside]

    def is_its_own(self, message_id: str) -> bool:
        """Tell whether a message is refused that has been set aside: while others are taken, it is about that one."""
        known = self._known.get(message_id)
        return known is not None and known.was_aside

    def aside_s(self, message_id: str, pause_s: float, *, is_its_own: bool) -> float | None:
        """Return for how long to set aside a message that was refused, the provider's pause included.

        None: it is refused for the first time, which says nothing of it. So long that others are tried before it when
        the pause is over, and no longer: the provider may refuse all of them, and take them all tomorrow. Where a
        refusal is a message's own, three times longer each time.
        """
        known = self._known.get(message_id)
        if known is None or known.times < 2:
            return None
        known.was_aside = True
        known.alone += is_its_own
        return pause_s + max(min(3.0 ** min(known.alone, 10), LONGEST_ASIDE_S), pause_s)
