"""How many mails may be under way to one recipient domain: fewer after its refusals, more again after its consents.

The feedback of Postfix's queue manager and of TCP: additive increase, multiplicative decrease. What finds no room comes
back in its turn, so that a domain that is slow to take its mails costs the others nothing but a look at each of them.
"""

from dataclasses import dataclass, field

from dialerd.model.outcome import Deferred, InDoubt, Outcome, Postponed, Sent, Throttled

__all__ = [
    "DOMAINS_IN_A_ROW",
    "LEAST_WAIT_S",
    "LONGEST_REST_S",
    "LONGEST_WAIT_S",
    "MOST_REMEMBERED",
    "Domains",
    "Turn",
]

#: A domain that shuts its door (421) rests for so long, twice as long each time in a row, at most so long.
FIRST_REST_S = 1.0
LONGEST_REST_S = 60.0
#: What finds no room comes back after so long at least; and at most, whatever stands before it.
LEAST_WAIT_S = 1.0
LONGEST_WAIT_S = 600.0
#: One domain's 421 speaks of that domain; so many domains' without a consent between them speak of the provider.
DOMAINS_IN_A_ROW = 3
#: When so many domains have had trouble, what was learned of those that are quiet is forgotten.
MOST_REMEMBERED = 10_000
#: How much the latest mail counts in the time that a mail to a domain takes, and what it is until one has been seen.
LATEST = 0.1
USUAL_S = 0.1


@dataclass(slots=True)
class _Domain:
    limit: float
    under_way: int = 0
    #: Rises with each cut. What was under way before a cut says nothing about what it has changed.
    cuts: int = 0
    rests_until: float = 0.0
    rests: int = 0
    takes_s: float = 0.0
    error: str = "too many at once"
    #: The last turn given away, of each priority.
    booked: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Turn:
    """A mail under way to a domain, since `began` in seconds of a steady clock."""

    domain: str
    cuts: int
    began: float


class Domains:
    """Limits of simultaneous mails to each domain, from 1 to `most`; seconds are of any steady clock."""

    def __init__(self, most: int) -> None:
        self._most = most
        #: Those with mails under way or a limit below `most`; the rest has nothing to remember.
        self._known: dict[str, _Domain] = {}
        self._refusing: set[str] = set()

    def enter(self, domain: str, now: float) -> Turn | None:
        """Return the right to hand a mail over, which ends with `leave`; None: there is no room."""
        known = self._of(domain, now)
        if now < known.rests_until or known.under_way >= int(known.limit):
            return None
        known.under_way += 1
        return Turn(domain, known.cuts, now)

    def rests(self, domain: str, now: float) -> bool:
        """Tell whether there is no room because the domain has shut its door."""
        return now < self._of(domain, now).rests_until

    def postpone(self, domain: str, priority: int, now: float) -> Postponed:
        """Return when a mail that found no room shall come back: after those that found none before.

        What is more urgent comes before, and after no more than what is as urgent as itself.
        """
        known = self._of(domain, now)
        known.booked = {other: at for other, at in known.booked.items() if at > now}
        before = max((at for other, at in known.booked.items() if other <= priority), default=now)
        at = max(before + (known.takes_s or USUAL_S) / known.limit, known.rests_until, now + LEAST_WAIT_S)
        known.booked[priority] = at = min(at, now + LONGEST_WAIT_S)
        return Postponed(f"{domain}: {known.error}", at - now)

    def leave(self, turn: Turn, outcome: Outcome | None, now: float) -> Outcome | None:
        """End a turn; return what its outcome means for the message.

        `outcome` is None when it says nothing about the domain. Throttled by the domain alone becomes Postponed.
        """
        known = self._known[turn.domain]
        known.under_way -= 1
        if outcome is not None:
            took_s = now - turn.began
            known.takes_s += (took_s - known.takes_s) * (LATEST if known.takes_s else 1)
        match outcome:
            case Sent():
                self._consented(known)
            case Deferred(error) | InDoubt(error):
                self._cut(turn, known, error)
            case Throttled(error):
                outcome = self._shut(turn, known, error, now)
        if known.limit >= self._most and not known.rests and _is_quiet(known, now):
            del self._known[turn.domain]
        return outcome

    def _consented(self, known: _Domain) -> None:
        # One more after as many consents as the limit allows at once.
        known.limit = min(known.limit + 1 / known.limit, self._most)
        known.rests = 0
        self._refusing.clear()

    def _cut(self, turn: Turn, known: _Domain, error: str) -> bool:
        if turn.cuts != known.cuts:
            return False
        known.cuts += 1
        known.limit = max(known.limit / 2, 1.0)
        known.error = error
        return True

    def _shut(self, turn: Turn, known: _Domain, error: str, now: float) -> Outcome:
        if self._cut(turn, known, error):
            known.rests_until = now + min(FIRST_REST_S * 2**known.rests, LONGEST_REST_S)
            known.rests = min(known.rests + 1, 10)
        self._refusing.add(turn.domain)
        if len(self._refusing) >= DOMAINS_IN_A_ROW:
            self._refusing.clear()
            return Throttled(error)
        return Postponed(error, max(known.rests_until - now, LEAST_WAIT_S))

    def _of(self, domain: str, now: float) -> _Domain:
        known = self._known.get(domain)
        if known is None:
            if len(self._known) >= MOST_REMEMBERED:
                self._known = {name: other for name, other in self._known.items() if not _is_quiet(other, now)}
            known = self._known[domain] = _Domain(self._most)
        return known


def _is_quiet(known: _Domain, now: float) -> bool:
    return not known.under_way and known.rests_until <= now and all(at <= now for at in known.booked.values())
