"""How an attempt ends: what its outcome means for the provider, and for the message."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from dialerd.model.breaker import LONGEST_WISH_S, Breaker
from dialerd.model.campaign import Campaign
from dialerd.model.message import Message, State
from dialerd.model.outcome import Outcome, Partly, Throttled
from dialerd.model.refusals import Refusals
from dialerd.model.retry import Verdict, verdict

__all__ = ["Attempt", "Endings"]

#: A provider may be busy for a while, and what is first in line stays first. After so many pauses, each twice as long
#: as the one before, with nothing taken between them, it is time to see whether it takes another message.
PATIENCE = 4


@dataclass(frozen=True, slots=True)
class Attempt:
    """One that has ended: `ended_at` and `took_s` in seconds of any steady clock, `jitter` 0..1."""

    message: Message
    outcome: Outcome
    ended_at: float
    took_s: float
    jitter: float

    @property
    def taken(self) -> int:
        """How many parts the provider has taken, if it took some only; else how many there were to take."""
        if isinstance(self.outcome, Partly):
            return max(len(self.outcome.accepted) - len(self.message.accepted), 0)
        return self.message.cost

    @property
    def wish_s(self) -> float:
        """For how long the provider wants to be left alone, as far as we comply."""
        rest = self.outcome.rest if isinstance(self.outcome, Partly) else self.outcome
        return min((rest.retry_after_s if isinstance(rest, Throttled) else None) or 0.0, LONGEST_WISH_S)


@dataclass(slots=True)
class Endings:
    """Judges the attempts at one provider."""

    refusals: Refusals = field(default_factory=Refusals)

    def judge(self, attempt: Attempt, breaker: Breaker, campaign: Campaign, *, now: datetime) -> tuple[Verdict, bool]:
        """Return what becomes of the message, and whether its outcome has shut the provider. `now`: the wall clock."""
        message, at = attempt.message, attempt.ended_at
        is_refusal = self.refusals.saw(message.id, attempt.outcome)
        waits = breaker.waits
        is_its_own = is_refusal and not waits and breaker.allows(at) > 0 and self.refusals.is_its_own(message.id)
        is_shut = not is_its_own and breaker.saw(
            attempt.outcome, at, attempt.jitter, sent_at=at - attempt.took_s, units=attempt.taken
        )
        decided = verdict(
            attempt.outcome,
            attempt=message.attempt,
            policy=campaign.retry,
            on_doubt=campaign.on_doubt,
            now=now,
            jitter=attempt.jitter,
        )
        if decided.state is State.QUEUED and (is_its_own or (is_refusal and is_shut and waits >= PATIENCE)):
            pause_s = max((breaker.shut_until or 0) - at, 0)
            aside_s = self.refusals.aside_s(message.id, pause_s, is_its_own=is_its_own)
            if aside_s is not None:
                # Others are to be tried first when the pause is over.
                due_at = now + timedelta(seconds=max(aside_s, attempt.wish_s))
                decided = replace(decided, state=State.DEFERRED, due_at=due_at)
        return decided, is_shut
