"""Lists, page by page: messages by table, and inbound SMS."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from dialerd.api.v1.given import NO_CURSOR, In, Limit, id_of, number_of
from dialerd.api.v1.messages import shown
from dialerd.api.v1.models import InboundMessage, InboundPage, MessagePage
from dialerd.model.errors import Refused
from dialerd.model.message import State, Status
from dialerd.model.receipt import address_of
from dialerd.store.messages import scheduled_page
from dialerd.store.operate import Selection, waiting
from dialerd.store.received import InboundFilters, Place, inbound_page
from dialerd.store.repo import Filters, bounds, page
from dialerd.store.spool import newest_seq

__all__ = ["router"]

router = APIRouter()


@router.get("/messages", tags=["messages"])
async def list_messages(
    context: In,
    place: Annotated[
        Literal["scheduler", "spool", "repo"],
        Query(description="scheduler: waiting for their minute; spool: waiting to be sent; repo: ended."),
    ] = "repo",
    campaign: str | None = None,
    base: str | None = None,
    state: State | None = None,
    status: Status | None = None,
    cursor: str | None = None,
    limit: Limit = 100,
) -> MessagePage:
    """List messages that wait for their minute (`place=scheduler`), wait in the spool, or have ended, oldest first.

    Go on with `next` as `cursor` until it is null; a page may be empty before that. `base` and `state` are of messages
    in the spool, `base` and `status` of those that have ended.
    """
    if place == "scheduler":
        if (base, state, status) != (None, None, None):
            raise Refused("what waits in the scheduler has no base, state or status yet")
        rows, following_id = await context.store.read(
            scheduled_page, campaign=campaign, after=None if cursor is None else id_of(cursor), most=limit
        )
        return MessagePage(messages=[shown(row) for row in rows], next=following_id)
    after = number_of(cursor)
    if place == "spool":
        newest = await context.store.read(newest_seq)
        rows, following = await context.store.read(
            waiting, Selection(campaign=campaign, base=base, state=state),
            after_seq=after, up_to_seq=newest, most=limit,
        )  # fmt: skip
        found: list[dict[str, Any]] = [{**row, "place": "sms_spool", "error": row["last_error"]} for row in rows]
    else:
        filters = Filters(campaign=campaign, base=base, status=status)
        first, last = await context.store.read(bounds, filters)
        got = await context.store.read(page, filters, after_seq=max(after, first - 1), up_to_seq=last, most=limit)
        found, following = [{**row, "place": "sms_repo"} for row in got.rows], got.next_seq
    return MessagePage(messages=[shown(row) for row in found], next=None if following is None else str(following))


@router.get("/inbound", tags=["inbound"])
async def list_inbound(
    context: In,
    campaign: str | None = None,
    phone: Annotated[
        str | None, Query(description="Of the sender, with or without +.", examples=["59898344484"])
    ] = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    cursor: str | None = None,
    limit: Limit = 100,
) -> InboundPage:
    """List the SMS that people sent to us, oldest first: those received at `since` or later, and before `until`.

    Go on with `next` as `cursor` until it is null; a page may be empty before that. To follow what comes, ask with
    `since` ten minutes before the last one that you saw, and pass over ids that you know: a long SMS stands there when
    its last part has come, under the time of its first.
    """
    digits = address_of(phone)
    filters = InboundFilters(
        campaign=campaign,
        phones=() if phone is None else tuple({phone, f"+{digits}", str(digits)}),
        since=since,
        until=until,
    )
    after = None if cursor is None else _place(cursor)
    rows, following = await context.store.read(inbound_page, filters, after=after, most=limit)
    return InboundPage(
        messages=[InboundMessage(**row) for row in rows],
        next=None if following is None else f"{following.received.isoformat()}~{following.id}",
    )


def _place(cursor: str) -> Place:
    received, _, id_ = cursor.partition("~")
    try:
        at = datetime.fromisoformat(received)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise Refused(NO_CURSOR)
    return Place(at, id_of(id_))
