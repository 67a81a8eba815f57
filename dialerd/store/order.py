"""What a dialer asks of a claim, and what it gets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from dialerd.examine import Examined
from dialerd.model.campaign import Campaign
from dialerd.model.message import Message, Status
from dialerd.model.pace import Gate
from dialerd.store.columns import as_instant
from dialerd.store.lanes import Candidate, passed_by

__all__ = ["Claimed", "Order", "Terms"]

#: Nothing expires later than a datetime can tell.
LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Terms:
    """What one open campaign may do now: `permits` attempts more on this node.

    `away` are those of its providers in whose place the next ones send.
    """

    campaign: Campaign
    permits: int
    away: frozenset[str] = frozenset()

    def takes(self, bound: str, provider: str) -> bool:
        """Tell whether `provider` may take what stands in a lane that is `bound` so (see lanes.Lane).

        What is bound to a provider that has left the campaign may be sent by whoever is in charge: the first that is
        not away. Those who have passed it on are left out, unless all of them have.
        """
        if bound == provider:
            return True
        passed = passed_by(bound)
        if not passed and bound in self.campaign.providers:
            return False
        asked = [name for name in self.campaign.providers if name not in passed] or self.campaign.providers
        in_charge = next((name for name in asked if name == provider or name not in self.away), None)
        return in_charge == provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a dialer asks for. `terms` holds the open campaigns of the provider, those whose turn it is first.

    `awake` tells whether recipients of a zone may be written to now; `examine` computes what intake would have, and
    raises Refused. `up_to_seq` leaves out what came later. `provider_interval_s` is seconds for a part, None for no
    limit. `learned` is the pace that it has taught this node, with `next_at` in seconds from now, and booked nowhere.
    `accepts` tells by destination and address whether the provider takes a number, where it is particular: of a
    campaign with several providers, what one does not take is passed on to the next that does.
    """

    provider: str
    provider_interval_s: float | None
    incarnation: str
    node: str
    now: datetime
    permits: int
    terms: Mapping[str, Terms]
    awake: Callable[[Campaign, str], bool]
    examine: Callable[[Campaign, str, str, Mapping[str, Any] | None], Examined]
    up_to_seq: int | None = None
    accepts: Callable[[Campaign, str, str], bool] | None = None
    learned: Gate | None = None


@dataclass
class Claimed:
    """What a claim took: each message with the seconds from now at which it may start.

    `more`: permits or the size of a batch ended it for a campaign. `free_in_s`: pace ended it for another (or for all),
    and lets the first go on then. `ended` counts by status what went to sms_repo without an attempt. `now` is when.
    """

    now: datetime
    taken: list[tuple[Candidate, Examined | None, Campaign, float]] = field(default_factory=list, repr=False)
    more: bool = False
    free_in_s: float | None = None
    ended: dict[Status, int] = field(default_factory=dict)
    #: So many were passed on to other providers.
    passed: int = 0
    #: Of long SMS, by id: the parts that the provider has taken before.
    accepted: Mapping[str, Mapping[int, str | None]] = field(default_factory=dict, repr=False)

    @cached_property
    def messages(self) -> list[tuple[Message, float]]:
        """What was taken; built when first asked for, so that it costs the transaction nothing."""
        return [
            (_message(row, examined, campaign, self.accepted.get(row.id), self.now), start_in_s)
            for row, examined, campaign, start_in_s in self.taken
        ]


def _expires_at(due_since: datetime | None, expires_s: float) -> datetime | None:
    if due_since is None or (LAST - due_since).total_seconds() < expires_s:
        return None
    return due_since + timedelta(seconds=expires_s)


def _message(
    row: Candidate,
    examined: Examined | None,
    campaign: Campaign,
    accepted: Mapping[int, str | None] | None,
    now: datetime,
) -> Message:
    queued_at = as_instant(row.queued_at)
    assert queued_at is not None
    return Message(
        id=row.id,
        seq=row.seq,
        campaign=row.campaign,
        channel=campaign.channel,
        destination=row.destination,
        address=examined.address if examined else row.address or "",
        data=row.data,
        priority=row.priority,
        base=row.base,
        calldate=as_instant(row.calldate),
        agent=row.agent,
        source=row.source or campaign.source,
        details=row.details if isinstance(row.details, dict) else {},
        queued_at=queued_at,
        attempt=row.attempts + 1,
        first_claimed_at=as_instant(row.first_claimed_at) if row.attempts else now,
        parts=examined.parts if examined else row.parts or 1,
        reference=row.reference,
        accepted=accepted or {},
        expires_at=None if campaign.expires_s is None else _expires_at(as_instant(row.due_since), campaign.expires_s),
    )
