"""Which of a campaign's providers sends: what the dialers of one process must know of each other."""

from collections import Counter
from typing import Protocol

from dialerd.model.campaign import Campaign

__all__ = ["Charge", "Member"]


class Member(Protocol):
    """A provider's dialer, as the others see it."""

    name: str

    @property
    def is_away(self) -> bool:
        """Tell whether others should send in its place."""

    @property
    def is_busy(self) -> bool:
        """Tell whether something it has may still come to another one."""

    def reconsider(self, *, work: bool) -> None:
        """Look again at who is away; with `work` there may be something to take now."""


class Charge:
    """Knows the dialers by their providers, and how many attempts are out, whoever makes them.

    `out` counts them by campaign, `at` by provider: after a reload the dialer before has some for a while.
    """

    def __init__(self) -> None:
        self.out: Counter[str] = Counter()
        self.at: Counter[str] = Counter()
        #: Campaigns that had no permit of their own left when somebody asked last.
        self.narrow: set[str] = set()
        self._members: dict[str, Member] = {}

    def join(self, member: Member) -> None:
        """Make a dialer known; it takes the place of an earlier one of its provider."""
        self._members[member.name] = member

    def away(self, campaign: Campaign) -> frozenset[str]:
        """Return those of a campaign's providers in whose place the next ones send."""
        members = ((name, self._members.get(name)) for name in campaign.providers)
        return frozenset(name for name, member in members if member is not None and member.is_away)

    def may_bequeath(self, heir: str, campaign: Campaign) -> bool:
        """Tell whether another provider of this campaign is still at work."""
        others = [self._members[name] for name in campaign.providers if name != heir and name in self._members]
        return any(member.is_busy for member in others)

    def changed(self, by: Member, *, work: bool) -> None:
        """Tell the others that a dialer has gone away, has come back, or has nothing left to do."""
        if self._members.get(by.name) is by:
            for member in list(self._members.values()):
                if member is not by:
                    member.reconsider(work=work)

    def freed(self, campaign: str, by: Member) -> None:
        """Tell all that a campaign has a permit again, and who has taken a dialer's place that its provider has one."""
        heir = self._members.get(by.name)
        if heir is not None and heir is not by:
            heir.reconsider(work=True)
        if campaign in self.narrow:
            for member in list(self._members.values()):
                member.reconsider(work=True)
