"""Campaigns, blacklist and status: what operators ask for and do."""

from typing import Any

from fastapi import APIRouter
from starlette.exceptions import HTTPException

from dialerd import log
from dialerd.api.context import Context
from dialerd.api.v1.given import In, Limit, User, number_of
from dialerd.api.v1.models import CampaignState, Entry, EntryPage, Pause, StandingEntry
from dialerd.bases import blacklist_values
from dialerd.model.message import Channel
from dialerd.store import Connection, blacklist
from dialerd.store.blacklist import Entry as StoredEntry
from dialerd.store.pause import pause_campaign, resume_campaign
from dialerd.store.status import CampaignStatus, report

__all__ = ["router"]

logger = log.get(__name__)

router = APIRouter(tags=["control"])

COUNTS = (
    "scheduled", "queued", "deferred", "sending", "held", "in_doubt", "sent", "failed", "expired", "blocked",
    "cancelled",
)  # fmt: skip


@router.get("/campaigns")
async def list_campaigns(context: In) -> list[CampaignState]:
    """List the campaigns: may they send, when next, and how much waits, or has ended since midnight in its zone."""
    return await _campaigns(context)


async def _campaigns(context: Context) -> list[CampaignState]:
    settings = context.settings()
    told = await context.store.read(report, settings.campaigns, settings.providers, now=context.clock())
    return [_shown(context, name, status) for name, status in told.campaigns.items()]


def _shown(context: Context, name: str, status: CampaignStatus) -> CampaignState:
    known = context.settings().campaigns.get(name)
    return CampaignState(
        name=name,
        channel=known.channel if known else None,
        state=status.state,
        opens_at=status.opens_at,
        counts={count: getattr(status, count) for count in COUNTS},
    )


@router.get("/campaigns/{name}")
async def get_campaign(name: str, context: In) -> CampaignState:
    """Return one campaign."""
    await _known(context, name)
    return await _one(context, name)


@router.post("/campaigns/{name}/pause")
async def pause(name: str, given: Pause, context: In, user: User) -> CampaignState:
    """Pause a campaign, on all nodes and over restarts. Nothing of it is claimed from now on."""
    await _known(context, name)
    await context.store.transact(pause_campaign, name, reason=given.reason, now=context.clock())
    logger.info("campaign_paused", campaign=name, user=user)
    return await _one(context, name)


@router.post("/campaigns/{name}/resume")
async def resume(name: str, context: In, user: User) -> CampaignState:
    """Let a paused campaign go on."""
    await _known(context, name)
    await context.store.transact(resume_campaign, name)
    context.intake.wake()
    logger.info("campaign_resumed", campaign=name, user=user)
    return await _one(context, name)


async def _known(context: Context, name: str) -> None:
    if name not in context.settings().campaigns:
        raise HTTPException(404, "No such campaign")


async def _one(context: Context, name: str) -> CampaignState:
    return next(one for one in await _campaigns(context) if one.name == name)


@router.get("/blacklist")
async def list_entries(
    context: In,
    value: str | None = None,
    channel: Channel | None = None,
    campaign: str | None = None,
    cursor: str | None = None,
    limit: Limit = 100,
) -> EntryPage:
    """List the blacklist, oldest first: all of it, or what it holds about an address, a channel or a campaign.

    Go on with `next` as `cursor` until it is null.
    """
    values: tuple[str, ...] = ()
    if value is not None:
        channel, values = _values(context, value, channel, None)
    found = await context.store.read(
        _entries, after=number_of(cursor), most=limit, channel=channel, values=values, campaign=campaign
    )
    return EntryPage(
        entries=[
            StandingEntry(
                value=one.value, channel=one.channel, campaign=one.campaign, reason=one.reason, expires=one.expires,
                created=one.created,
            )
            for _, one in found
        ],
        next=str(found[-1][0]) if len(found) == limit else None,
    )  # fmt: skip


def _entries(connection: Connection, /, **given: Any) -> list[tuple[int, StoredEntry]]:
    return list(blacklist.entries(connection, **given))


@router.put("/blacklist")
async def block(given: Entry, context: In, user: User) -> dict[str, Any]:
    """Block an address; what is queued for it already is not sent either."""
    channel, values = _values(context, given.value, given.channel, given.campaign)
    some = [
        StoredEntry(channel=channel, value=value, campaign=given.campaign, reason=given.reason, expires=given.expires)
        for value in values
    ]
    await context.store.transact(blacklist.add, some, now=context.clock())
    logger.info("blacklisted", channel=channel, campaign=given.campaign, user=user)
    return {"channel": channel, "values": values}


@router.delete("/blacklist")
async def unblock(value: str, context: In, user: User, campaign: str | None = None) -> dict[str, Any]:
    """Take the entry of exactly this address and campaign off the blacklist; 404 if there is none."""
    channel, values = _values(context, value, None, campaign)
    removed = [one for one in values if await context.store.transact(blacklist.remove, channel, one, campaign=campaign)]
    if not removed:
        raise HTTPException(404, "No such entry")
    logger.info("unblacklisted", channel=channel, campaign=campaign, user=user)
    return {"channel": channel, "values": removed}


def _values(context: Context, value: str, channel: str | None, campaign: str | None) -> tuple[Channel, tuple[str, ...]]:
    chosen = Channel(channel) if channel else None
    return blacklist_values(context.settings(), value, channel=chosen, campaign=campaign)


@router.get("/status")
async def status(context: In) -> dict[str, Any]:
    """Return how many campaigns there are by state, how the providers are, and which nodes live."""
    settings = context.settings()
    told = await context.store.read(report, settings.campaigns, settings.providers, now=context.clock())
    states: dict[str, int] = {}
    for campaign in told.campaigns.values():
        states[campaign.state] = states.get(campaign.state, 0) + 1
    return {
        "campaigns": states,
        "providers": {
            name: {
                "state": one.state,
                "reason": one.reason,
                "rate": one.rate,
                "in_flight": one.in_flight,
                "learned_per_second": one.learned_per_second,
            }
            for name, one in told.providers.items()
        },
        "nodes": [{"node": one.node, "alive": one.alive} for one in told.nodes],
        "promoted_until": told.promoted_until,
    }
