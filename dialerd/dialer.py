"""Sends what waits for one provider: permits → claim → send → settle."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from dialerd import log
from dialerd.agenda import Agenda
from dialerd.attempts import Attempts
from dialerd.charge import Charge
from dialerd.claims import Claims
from dialerd.drivers.base import Driver
from dialerd.examine import Examined, examine
from dialerd.model.breaker import Breaker
from dialerd.model.campaign import Campaign
from dialerd.model.ending import Attempt, Endings
from dialerd.model.errors import Unavailable
from dialerd.model.message import Channel, Message, State
from dialerd.model.outcome import Outcome
from dialerd.model.placeholders import Missing, worded
from dialerd.model.retry import Verdict
from dialerd.permits import Permits
from dialerd.spool import Notice, Spool
from dialerd.store.order import Claimed

__all__ = ["Dialer"]

logger = log.get(__name__)

#: An idle dialer looks around so often, to show that it lives.
TURN_S = 30.0

UNSTARTED = Verdict(state=State.QUEUED, spent=0)


class Dialer:
    """One provider's dialer. `campaigns` are those that send through it; they may be replaced while it runs.

    A campaign of several providers is taken from while all those before this one in its list are away, as `charge`
    knows, or do not accept a number; what this provider may have some of is taken by it alone, at any time.
    `accepts(campaign, destination, address)` tells whether it takes a number; None: it takes all.
    A permit is held from the claim until the outcome is committed; at most `max_in_flight` are out on this node.
    """

    def __init__(
        self,
        name: str,
        driver: Driver,
        spool: Spool,
        *,
        campaigns: Mapping[str, Campaign],
        max_in_flight: int,
        per_second: float | None,
        examine: Callable[[Campaign, str, str, Mapping[str, Any] | None], Examined] = examine,
        accepts: Callable[[Campaign, str, str], bool] | None = None,
        charge: Charge | None = None,
        observe: Callable[[str, Message, Outcome, float], None] | None = None,
    ) -> None:
        self.name = name
        self.driver = driver
        #: How many messages ended, or stay, in which status or state; what is queued as before does not count.
        self.tally: Counter[str] = Counter()
        self.breaker = Breaker(max_in_flight)
        self._endings = Endings()
        self._spool = spool
        self._log_attempt = log.frequent("message_attempted", module=__name__, provider=name)
        #: Campaigns of which something was queued that might go, at the last look.
        self.due: frozenset[str] = frozenset()
        #: The clock of the loop on which it runs, in seconds.
        self._time = asyncio.get_running_loop().time
        #: When it last had nothing to do or did what there was.
        self.turned_at = self._time()
        self._observe = observe
        self._attempts = Attempts(
            driver,
            most=max_in_flight,
            worded=self._worded,
            distances=lambda message: self._permits.distances(message, self._time()),
            may_start=lambda message: spool.may_start(message) and self.breaker.allows(self._time()) > 0,
            ended=self._ended,
            unstarted=self._give_back,
            idle=spool.hurry,
        )
        self._charge = charge or Charge()
        self._permits = Permits(
            name,
            campaigns=campaigns,
            interval_s=None if per_second is None else 1 / per_second,
            learned=self.breaker.pace,
            charge=self._charge,
            waiting=self._attempts.waiting,
        )
        #: A batch run has ended: with messages left that may go through another provider, or with none.
        self._gave_up = self._is_done = False
        self._asking = False
        self._rated = (self._time(), 0)
        self._agenda = Agenda()
        self._claims = Claims(name, spool, self._permits, self._agenda, examine=examine, accepts=accepts)
        self._draining = False
        self._probing: asyncio.Task[None] | None = None

    @property
    def campaigns(self) -> Mapping[str, Campaign]:
        """The campaigns that send through this provider, by their names."""
        return self._permits.campaigns

    @campaigns.setter
    def campaigns(self, campaigns: Mapping[str, Campaign]) -> None:
        self._permits.campaigns = campaigns

    @property
    def interval_s(self) -> float | None:
        """The provider's pace in seconds a part, None for no limit."""
        return self._permits.interval_s

    @property
    def in_flight(self) -> int:
        """How many permits are out."""
        return self._permits.in_flight

    @property
    def oldest_attempt(self) -> float | None:
        """When the oldest attempt under way began, by the loop's clock."""
        return self._attempts.oldest

    @property
    def aside(self) -> list[str]:
        """Why messages were set aside that are due and not sent, one error for each."""
        return self._endings.refusals.aside

    @property
    def failing_since(self) -> float | None:
        """Since when its claims fail though the database answers; None: they do not, or none was tried of late."""
        return self._claims.failing_since

    @property
    def is_away(self) -> bool:
        """Tell whether other providers should be used instead."""
        return self._gave_up or self.breaker.is_away(self._time())

    @property
    def is_busy(self) -> bool:
        """Tell whether something it has may still come to another provider."""
        return self._asking or self.in_flight > 0 or not (self._is_done or self._agenda.is_empty)

    def reconsider(self, *, work: bool) -> None:
        """Look again at who is away; with `work` there may be something to take now."""
        if work:
            self._agenda.add_work()
        self._agenda.stir()

    def report(self) -> dict[str, Any]:
        """Return the provider's health for status: state, reason, permits out, messages a second since last asked."""
        now = self._time()
        learned = self.breaker.pace.per_second(now)
        shut = self.breaker.allows(now) == 0
        since, before = self._rated
        self._rated = (now, self.tally["sent"])
        return {
            "state": "up" if not shut else "down" if self.breaker.needs_probe else "throttled",
            "reason": self.breaker.reason if shut else None,
            "in_flight": self.in_flight,
            "learned_per_second": learned and round(learned, 2),
            "rate": round((self.tally["sent"] - before) / max(now - since, 0.001), 2),
        }

    def notice(self, notice: Notice) -> None:
        """Wake up when something is queued that may go through this provider now."""
        self._permits.paused = notice.paused
        self.due = self._permits.due(notice.lanes, self._spool.clock())
        if self.due:
            self._agenda.add_work()
            self._agenda.stir()

    # -- running -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send what waits until drain() is called."""
        self._charge.join(self)
        while not self._draining:
            if await self._until_asked():
                await self._ask()
            self.turned_at = self._time()

    async def run_until_empty(self, up_to_seq: int) -> bool:
        """Send what waits up to `up_to_seq` and may go now; False if the provider was down and something may be left.

        Waits for pace and for attempts under way, not for retries, windows or what comes in the meantime.
        """
        self._charge.join(self)
        self._claims.up_to_seq = up_to_seq
        self._agenda.add_work()
        was_busy = True
        while not self._draining and not self.breaker.is_hopeless(self._time()):
            if was_busy and not self.is_busy:
                self._charge.changed(self, work=False)
            was_busy = self.is_busy
            if not was_busy and not self._may_inherit():
                self._is_done = True
                return True
            if await self._until_asked():
                self._asking = True
                await self._ask()
                self._asking = False
        # What is left may go through another provider.
        self._gave_up = self._is_done = True
        self._charge.changed(self, work=True)
        return False

    def _may_inherit(self) -> bool:
        shared = [campaign for campaign in self.campaigns.values() if campaign.fallbacks]
        return any(self._charge.may_bequeath(self.name, campaign) for campaign in shared)

    async def drain(self, seconds: float) -> None:
        """Claim no more and give back what was not started; attempts get `seconds`, then they are in doubt.

        Returns when every attempt has ended; their settlements may still be on their way.
        """
        self._draining = True
        self._agenda.stir()
        if self._probing is not None:
            self._probing.cancel()
        await self._attempts.stop(seconds)

    async def _until_asked(self) -> bool:
        """Wait for the next change; True if there is something to ask for now."""
        now = self._time()
        shut_until = self.breaker.shut_until
        until = now + TURN_S
        if shut_until is not None and shut_until > now:
            until = min(until, shut_until)
        elif self.breaker.needs_probe or (
            self._agenda.is_due(now) and self.breaker.allows(now) > self._charge.at[self.name]
        ):
            return True
        await self._agenda.wait(now, until=until)
        return False

    async def _ask(self) -> None:
        if self.breaker.needs_probe:
            self._probing = asyncio.create_task(self._probe())
            await asyncio.wait([self._probing])
            return
        campaigns = self.campaigns
        claimed = await self._claims.next(self.breaker.allows(self._time()))
        if claimed is not None:
            self._take(claimed, is_stale=self.campaigns is not campaigns)

    def _take(self, claimed: Claimed, *, is_stale: bool) -> None:
        if self._draining or is_stale:
            # A reload while the claim was under way: it may have taken what is forbidden by now.
            for message, _ in claimed.messages:
                self._give_back(message)
        else:
            self._attempts.add(claimed.messages)
        self.tally.update({str(status): count for status, count in claimed.ended.items()})
        if claimed.ended:
            logger.info("messages_ended", provider=self.name, **{str(name): n for name, n in claimed.ended.items()})
        if claimed.passed:
            self._charge.changed(self, work=True)

    def _worded(self, message: Message) -> Message:
        """Return an SMS with its variables filled in, where it brings any; a mail is composed by its driver."""
        if message.channel is not Channel.SMS or not message.details:
            return message
        campaign = self.campaigns.get(message.campaign)
        return worded(message, campaign.missing if campaign else Missing.ERROR)

    # -- what becomes of attempts --------------------------------------------------------------------------------

    def _ended(self, message: Message, outcome: Outcome, took_s: float) -> None:
        was_away = self.is_away
        jitter = random.random()  # noqa: S311  # spreads retries, guards no secret
        attempt = Attempt(message, outcome, self._time(), took_s, jitter)
        decided, is_shut = self._endings.judge(
            attempt, self.breaker, self._claims.rules_of(message), now=self._spool.clock()
        )
        if is_shut:
            learned = self.breaker.pace.per_second(attempt.ended_at)
            logger.warning(
                "provider_shut",
                provider=self.name,
                reason=self.breaker.reason,
                learned_per_second=learned and round(learned, 2),
            )
            self._attempts.give_back_ready()
        if was_away is not self.is_away:
            self._charge.changed(self, work=True)
        self._log_attempt(
            message_id=message.id,
            campaign=message.campaign,
            attempt=message.attempt,
            parts=message.parts,
            outcome=type(outcome).__name__,
            then=decided.status or decided.state,
            took_s=round(took_s, 4),
        )
        if decided.error and log.is_on("debug"):
            logger.debug("message_answered", message_id=message.id, provider=self.name, error=decided.error)
        if decided.state is not State.QUEUED:
            self.tally[str(decided.status or decided.state)] += 1
        self._settle(message, decided)
        if self._observe is not None:
            # Last: whatever is wrong with counting, the outcome is not lost.
            self._observe(self.name, message, outcome, took_s)

    def _give_back(self, message: Message) -> None:
        self._settle(message, UNSTARTED)

    def _settle(self, message: Message, decided: Verdict) -> None:
        self._spool.settle(message, self.name, decided, self._released)

    def _released(self, message: Message, decided: Verdict) -> None:
        """Take a permit back, now that the outcome is committed."""
        self._permits.come_back(message.campaign)
        self._agenda.stir()
        self._charge.freed(message.campaign, self)
        if decided.state is State.QUEUED:
            self._agenda.add_work()
            if self.is_away:
                self._charge.changed(self, work=True)
        if self._is_done and not self.in_flight:
            self._charge.changed(self, work=False)

    async def _probe(self) -> None:
        error: str | None = None
        try:
            async with asyncio.timeout(self.driver.attempt_limit_s):
                await self.driver.probe()
        except (Unavailable, TimeoutError) as trouble:
            error = str(trouble) or "no answer"
        except Exception as trouble:  # a driver's bug must not stop the daemon
            logger.exception("driver_failed", provider=self.name)
            error = f"the driver failed: {type(trouble).__name__}"
        was_away = self.is_away
        self.breaker.probed(error, self._time(), random.random())  # noqa: S311
        if was_away is not self.is_away:
            self._charge.changed(self, work=True)
        if error is None:
            logger.warning("provider_back", provider=self.name)
            self._agenda.add_work()
