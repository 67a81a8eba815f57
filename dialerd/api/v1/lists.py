"""Lists, page by page: messages by table, inbound SMS, uploads and their rejected lines."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query

from dialerd.api.context import Context, context_of
from dialerd.api.v1.messages import shown
from dialerd.api.v1.models import MessagePage
from dialerd.model.errors import Refused
from dialerd.model.message import State, Status
from dialerd.store.operate import Selection, waiting
from dialerd.store.repo import Filters, bounds, page
from dialerd.store.spool import newest_seq

__all__ = ["router"]

router = APIRouter(tags=["messages"])

In = Annotated[Context, Depends(context_of)]
Limit = Annotated[int, Query(ge=1, le=1000)]


@router.get("/messages")
async def list_messages(
    context: In,
    place: Literal["spool", "repo"] = "repo",
    campaign: str | None = None,
    base: str | None = None,
    state: State | None = None,
    status: Status | None = None,
    cursor: str | None = None,
    limit: Limit = 100,
) -> MessagePage:
    """List messages that wait (`place=spool`) or have ended (`repo`), oldest first.

    Go on with `next` as `cursor` until it is null; a page may be empty before that.
    """
    after = _number(cursor)
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


def _number(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise Refused("the cursor is none that a page gave as `next`")
    return int(cursor)
