"""Whether a campaign's messages may leave, and if not, since which rule and until when."""

from datetime import datetime
from enum import StrEnum

from dialerd.model.calendar import on_date, opens_at, within
from dialerd.model.campaign import Campaign

__all__ = ["CampaignState", "campaign_opens_at", "state_of"]


class CampaignState(StrEnum):
    """Open, or the first rule that keeps a campaign shut, in this order."""

    OPEN = "open"
    UNKNOWN = "unknown"
    DISABLED = "disabled"
    PAUSED = "paused"
    OUT_OF_DATE = "out_of_date"
    OUT_OF_HOURS = "out_of_hours"


def state_of(campaign: Campaign | None, *, paused: bool, now: datetime) -> CampaignState:
    """Return the state of a campaign, None being one that has messages but no file."""
    if campaign is None:
        return CampaignState.UNKNOWN
    if not campaign.enabled:
        return CampaignState.DISABLED
    if paused:
        return CampaignState.PAUSED
    if not on_date(campaign.dates, campaign.zone, now):
        return CampaignState.OUT_OF_DATE
    if not within(campaign.schedule, campaign.zone, now):
        return CampaignState.OUT_OF_HOURS
    return CampaignState.OPEN


def campaign_opens_at(campaign: Campaign, now: datetime) -> datetime | None:
    """Return when the calendar lets a campaign send again, in UTC.

    None while it is within its dates and hours, when these never meet again, and for a disabled one: nobody knows.
    Nor does anybody know of a paused one, but whether it is paused is not asked here.
    """
    if state_of(campaign, paused=False, now=now) in (CampaignState.OUT_OF_DATE, CampaignState.OUT_OF_HOURS):
        return opens_at(campaign.schedule, campaign.dates, campaign.zone, now)
    return None
