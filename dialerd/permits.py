"""Whose turn it is: which campaigns may send through one provider now, and how many messages of each."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter

from dialerd.addresses import zones_of
from dialerd.charge import Charge
from dialerd.examine import ZONE_NOT_ASKED
from dialerd.model.calendar import awake
from dialerd.model.campaign import Campaign
from dialerd.model.learned_pace import LearnedPace
from dialerd.model.message import Message
from dialerd.model.pace import HORIZON_S, Gate
from dialerd.model.rules import CampaignState, state_of
from dialerd.spacing import Distance
from dialerd.store.lanes import Lane
from dialerd.store.order import Terms

__all__ = ["Permits", "is_awake"]


class Permits:
    """A provider's permits. One is out from the claim of a message until its outcome is committed.

    `campaigns` are those that send through it and `paused` those that somebody has paused; both may be replaced.
    `interval_s` is the provider's pace in seconds a part, None for no limit; `learned` is what it has taught, for this
    node alone. `waiting` counts by campaign what was claimed and has not started yet.
    """

    def __init__(
        self,
        provider: str,
        *,
        campaigns: Mapping[str, Campaign],
        interval_s: float | None,
        learned: LearnedPace,
        charge: Charge,
        waiting: Counter[str],
    ) -> None:
        self.campaigns = campaigns
        self.paused: frozenset[str] = frozenset()
        self.interval_s = interval_s
        #: At the last look there were campaigns, or the provider, of which more waits for its start than pace explains,
        #: or a learned pace let nothing start yet.
        self.is_late = False
        self._provider = provider
        self._learned = learned
        self._charge = charge
        self._waiting = waiting
        self._out: Counter[str] = Counter()
        self._served: dict[str, int] = {}
        #: When the last of what was claimed is to start, and what it costs of the provider's pace.
        self._last: tuple[float, int] = (0.0, 0)
        self._open: tuple[datetime, Mapping[str, Campaign], frozenset[str], list[Campaign]] | None = None

    @property
    def in_flight(self) -> int:
        """How many permits are out."""
        return self._out.total()

    def free(self, window: int, at: float) -> int:
        """Return how many more of `window` permits may go out, `at` a moment of the loop's clock."""
        self.is_late = False
        free = window - self._charge.at[self._provider]
        learned = self.learned(at)
        if learned is not None and learned.next_at > HORIZON_S:
            self.is_late = True
            return 0
        interval_s = self._interval_s(at)
        return free if interval_s is None else min(free, self._room(interval_s, self._waiting.total()))

    def learned(self, at: float) -> Gate | None:
        """Return the gate that the provider has taught this node, `next_at` in seconds from `at`; None: none."""
        interval_s = self._learned.interval_s(at)
        if interval_s is None:
            return None
        start_at, cost = self._last
        # As of the interval that holds now: it shrinks as time passes.
        return Gate(interval_s, max(start_at + cost * interval_s - at, 0.0))

    def terms(self, now: datetime, free: int) -> dict[str, Terms]:
        """Return the open campaigns that have permits of their own left, those that were served longest ago first."""
        terms = {}
        for campaign in sorted(self._open_campaigns(now), key=lambda campaign: self._served.get(campaign.name, 0)):
            own = free if campaign.max_in_flight is None else campaign.max_in_flight - self._charge.out[campaign.name]
            if campaign.interval_s is not None:
                own = min(own, self._room(campaign.interval_s, self._waiting[campaign.name]))
            if own > 0:
                terms[campaign.name] = self._term(campaign, min(own, free))
                self._charge.narrow.discard(campaign.name)
            else:
                self._charge.narrow.add(campaign.name)
        return terms

    def due(self, lanes: Iterable[Lane], now: datetime) -> frozenset[str]:
        """Return the campaigns of which something is queued, as `lanes` show, that may go through this provider now."""
        mine = [lane for lane in lanes if lane.campaign in self.campaigns]
        if not mine:
            return frozenset()
        due: set[str] = set()
        may_go = {campaign.name: campaign for campaign in self._open_campaigns(now)}
        for lane in mine:
            campaign = None if lane.campaign in due else may_go.get(lane.campaign)
            if campaign is None or not self._term(campaign, 1).takes(lane.bound, self._provider):
                continue
            if lane.zone == ZONE_NOT_ASKED or is_awake(campaign, lane.zone, now):
                due.add(lane.campaign)
        return frozenset(due)

    def gone_out(self, messages: Sequence[tuple[Message, float]], at: float) -> None:
        """Count the permits of messages that a claim begun `at` lets start so many seconds later.

        Their campaigns have had their turn.
        """
        if not messages:
            return
        last, start_in_s = max(messages, key=itemgetter(1))
        self._last = (at + start_in_s, last.cost)
        by_campaign = Counter(message.campaign for message, _ in messages)
        self._out.update(by_campaign)
        self._charge.out.update(by_campaign)
        self._charge.at[self._provider] += by_campaign.total()
        turn = max(self._served.values(), default=0) + 1
        self._served.update(dict.fromkeys(by_campaign, turn))

    def come_back(self, campaign: str) -> None:
        """Take a permit back."""
        self._out[campaign] -= 1
        self._charge.out[campaign] -= 1
        self._charge.at[self._provider] -= 1

    def distances(self, message: Message, at: float) -> list[Distance]:
        """Return what a start keeps free behind it, of its campaign's pace and of the provider's."""
        campaign = self.campaigns.get(message.campaign)
        distances = []
        if campaign is not None and campaign.interval_s:
            distances.append(Distance(campaign.name, campaign.interval_s))
        if interval_s := self._interval_s(at):
            distances.append(Distance(None, interval_s, message.cost))
        return distances

    def _interval_s(self, at: float) -> float | None:
        learned_s = self._learned.interval_s(at)
        return self.interval_s if learned_s is None else max(learned_s, self.interval_s or 0.0)

    def _term(self, campaign: Campaign, permits: int) -> Terms:
        return Terms(campaign, permits, away=self._charge.away(campaign) if campaign.fallbacks else frozenset())

    def _room(self, interval_s: float, waiting: int) -> int:
        """Return how many more may be claimed: on a busy machine, what was claimed may not have started in time.

        Without it such starts would heap up, and what a pause forbids would be on its way for longer than a horizon.
        """
        room = int(HORIZON_S / interval_s) + 2 - waiting
        self.is_late = self.is_late or room <= 0
        return room

    def _open_campaigns(self, now: datetime) -> list[Campaign]:
        # Rules speak of minutes: within one they say the same, whoever asks.
        minute = now.replace(second=0, microsecond=0)
        known = self._open
        if known is None or known[0] != minute or known[1] is not self.campaigns or known[2] != self.paused:
            is_open = [
                campaign
                for campaign in self.campaigns.values()
                if state_of(campaign, paused=campaign.name in self.paused, now=minute) is CampaignState.OPEN
            ]
            self._open = known = (minute, self.campaigns, self.paused, is_open)
        return known[3]


def is_awake(campaign: Campaign, zone: str, now: datetime) -> bool:
    """Tell whether recipients of a zone, as it stands in the spool, may be written to now."""
    return awake(campaign.recipient_hours, zones_of(zone, campaign.zone), now)
