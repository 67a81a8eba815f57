"""/v1/bases: load many messages from a file, see how far it has come, and put a hand on what waits of it."""

import csv
import hashlib
import io
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from dialerd import log
from dialerd.api.arrivals import Arrival
from dialerd.api.context import Context
from dialerd.api.incoming import Call, Job
from dialerd.api.multipart import Multipart
from dialerd.api.v1.given import In, Key, Limit, User, id_of, number_of
from dialerd.api.v1.models import BadLine, BadLinePage, Base, BasePage, BaseProgress, NewPriority, Operated
from dialerd.bases import MOST_KEPT
from dialerd.model.errors import Refused, UnknownCampaign
from dialerd.model.message import Channel
from dialerd.operating import Done, carry_out
from dialerd.store.bases import behind, cancel_loading, find_upload, page_of_uploads
from dialerd.store.operate import CANCEL, HOLD, RELEASE, Selection, Verb, set_priority
from dialerd.store.status import base_counts
from dialerd.store.uploads import BadLine as StoredLine
from dialerd.store.uploads import Upload, bad_lines

__all__ = ["router"]

logger = log.get(__name__)

router = APIRouter(tags=["bases"])

EXAMPLE = "Ventas->;098344484;Hello World!;9999\nVentas->;098344485;Hello you!;9999\n"

#: The body is read as it comes: what it is has to be told by hand.
BODY = {
    "requestBody": {
        "required": True,
        "description": "The file as it is, or a form with one file in it.",
        "content": {
            "text/csv": {"schema": {"type": "string"}, "example": EXAMPLE},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "string", "contentMediaType": "text/csv"}},
                    "required": ["file"],
                    "additionalProperties": False,
                }
            },
        },
    }
}

#: Rejected lines of one reading transaction.
PAGE = 1000


@router.post("/bases", status_code=202, openapi_extra=BODY)
async def upload_base(
    request: Request,
    response: Response,
    context: In,
    user: User,
    name: Annotated[
        str | None, Query(min_length=1, max_length=200, description="The base's name; of a form: its file's if absent.")
    ] = None,
    campaign: Annotated[str | None, Query(description="Of the lines that name none.")] = None,
    channel: Annotated[Channel | None, Query(description="What the lines are; else their campaigns tell.")] = None,
    again: Annotated[bool, Query(description="Load it even if the same file was loaded within a day.")] = False,
    key: Key = None,
) -> Base:
    """Load a base of any size: one message a line, `campaign;number;text;priority` or the same for e-mail.

    The body is the file, or a form (`multipart/form-data`) with one file. When this answers, the file is safe, and it
    is loaded in the background, also over restarts: ask for its state. The good lines count all together once the
    whole file has been read. The same file under the same name within a day adds nothing and is `same_as` the earlier.
    """
    _check_campaign(context, campaign, channel)
    async with context.incoming.arrival() as arrival:
        filename = await _receive(request, arrival)
        base = name or filename
        if not base:
            raise Refused("say how the base is called: ?name=")
        job = Job(
            kind="base", filename=filename or base, channel=channel, campaign=campaign, by=user, base=base, again=again
        )
        call = Call(user, key, _digest(arrival, base, campaign, channel, again)) if key is not None else None
        id_ = await context.incoming.keep(arrival, job, call)
    logger.info("base_changed", base=base, user=user, to="loading", upload=id_, size=arrival.size)
    response.headers["Location"] = f"/v1/bases/{id_}"
    return _shown(await _known(context, id_))


def _check_campaign(context: Context, campaign: str | None, channel: Channel | None) -> None:
    known = context.settings().campaigns
    if campaign is not None and campaign not in known:
        raise UnknownCampaign(campaign, known)
    if campaign is not None and channel not in (None, known[campaign].channel):
        raise Refused(f"campaign {campaign} sends {known[campaign].channel}, not {channel}")


async def _receive(request: Request, arrival: Arrival) -> str | None:
    """Write the body's file to the disk, and return its name if it has one."""
    content_type = request.headers.get("content-type", "")
    form = Multipart(content_type) if content_type.lower().startswith("multipart/") else None
    try:
        async for some in request.stream():
            await arrival.write(form.feed(some) if form else some)
    except ClientDisconnect:
        raise HTTPException(400, "The body ended early") from None
    if form is None:
        return None
    form.end()
    return form.name


def _digest(arrival: Arrival, *given: object) -> str:
    return hashlib.sha256(json.dumps([arrival.digest(), *given]).encode()).hexdigest()


# -- how far it has come ---------------------------------------------------------------------------------------------


async def _known(context: Context, id_: str) -> Upload:
    upload = await context.store.read(find_upload, id_)
    if upload is None:
        raise HTTPException(404, "No such base")
    return upload


def _shown(upload: Upload) -> Base:
    return Base(**_members(upload))


def _members(upload: Upload) -> dict[str, Any]:
    error = upload.error
    if upload.state == "failed" and error is None:
        error = "the same file was loaded before" if upload.same_as else "interrupted: load it again"
    return {
        "id": upload.id,
        "name": upload.base,
        "filename": upload.filename,
        "channel": upload.channel,
        "state": upload.state,
        "accepted": upload.accepted,
        "rejected": upload.rejected,
        "created": upload.created,
        "finished": upload.finished,
        "error": error,
        "same_as": upload.same_as,
    }


@router.get("/bases")
async def list_bases(
    context: In,
    name: str | None = None,
    state: Literal["loading", "loaded", "failed"] | None = None,
    cursor: str | None = None,
    limit: Limit = 100,
) -> BasePage:
    """List the bases, the newest first, however they were loaded. Go on with `next` as `cursor` until it is null."""
    before = None if cursor is None else id_of(cursor)
    found = await context.store.read(page_of_uploads, base=name, state=state, before=before, most=limit)
    return BasePage(
        bases=[_shown(one) for one in found],
        next=found[-1].id if len(found) == limit else None,
    )


@router.get("/bases/{id}")
async def get_base(id: UUID, context: In) -> BaseProgress:  # noqa: A002  # the path's own word
    """Return how far a base has come: lines read so far, and how many of its messages are in each state.

    Messages are counted by the base's name, those that came since it was loaded; `moving` ones are on their way into
    the spool.
    """
    upload = await _known(context, str(id))
    counts: dict[str, int] = {}
    if upload.state == "loaded":
        since = await context.store.read(behind, upload.id)
        found = await context.store.read(base_counts, [upload.base], after_seq=since.seq, after_repo_seq=since.repo_seq)
        counts = found[upload.base]
    return BaseProgress(**_members(upload), counts=counts)


@router.get(
    "/bases/{id}/errors",
    response_model=BadLinePage,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def list_bad_lines(
    id: UUID,  # noqa: A002
    context: In,
    format: Annotated[  # noqa: A002
        Literal["json", "csv"], Query(description="json: page by page; csv: all, to be corrected and loaded again.")
    ] = "json",
    cursor: str | None = None,
    limit: Limit = 100,
) -> Response | BadLinePage:
    """List the lines that were rejected, with their reasons, in the file's order.

    Of a long line only the beginning is kept, and the CSV (`line;reason;text`) leaves it out: loaded again it would be
    sent as if it were the whole.
    """
    upload = await _known(context, str(id))
    after = number_of(cursor)
    if format == "csv":
        return StreamingResponse(_as_csv(context, upload.id, after), media_type="text/csv; charset=utf-8")
    found = await context.store.read(bad_lines, upload.id, after=after, most=limit)
    return BadLinePage(
        errors=[BadLine(line=one.line, reason=one.reason, text=one.text, whole=_is_whole(one)) for one in found],
        next=str(found[-1].line) if len(found) == limit else None,
    )


def _is_whole(line: StoredLine) -> bool:
    return len(line.text) < MOST_KEPT


async def _as_csv(context: Context, id_: str, after: int) -> AsyncIterator[str]:
    rows: list[list[object]] = [["line", "reason", "text"]]
    while True:
        text = io.StringIO()
        csv.writer(text, delimiter=";", lineterminator="\n").writerows(rows)
        yield text.getvalue()
        page = await context.store.read(bad_lines, id_, after=after, most=PAGE)
        if not page:
            return
        after = page[-1].line
        rows = [[one.line, one.reason, one.text if _is_whole(one) else ""] for one in page]


# -- an operator's hand ----------------------------------------------------------------------------------------------


@router.post("/bases/{id}/hold")
async def hold_base(id: UUID, context: In, user: User) -> Operated:  # noqa: A002
    """Keep what waits of a base from being sent, until it is released."""
    return await _operate(context, user, str(id), HOLD, "held")


@router.post("/bases/{id}/release")
async def release_base(id: UUID, context: In, user: User) -> Operated:  # noqa: A002
    """Let what is held of a base go."""
    return await _operate(context, user, str(id), RELEASE, "released")


@router.post("/bases/{id}/priority")
async def give_base_priority(id: UUID, given: NewPriority, context: In, user: User) -> Operated:  # noqa: A002
    """Give what waits of a base another priority."""
    return await _operate(context, user, str(id), set_priority(given.priority), f"priority {given.priority}")


@router.post("/bases/{id}/cancel")
async def cancel_base(id: UUID, context: In, user: User) -> Operated:  # noqa: A002
    """End what waits of a base without sending it. While it is loading, nothing of it will ever be sent."""
    upload = await _known(context, str(id))
    error = f"cancelled by {user}"
    if await context.store.transact(cancel_loading, upload.id, error=error, now=context.clock()):
        logger.info("base_changed", base=upload.base, user=user, to="cancelled", touched=upload.accepted)
        return Operated(touched=upload.accepted, left_alone={}, base=_shown(await _known(context, upload.id)))
    return await _operate(context, user, upload.id, CANCEL, "cancelled")


async def _operate(context: Context, user: str, id_: str, verb: Verb, to: str) -> Operated:
    """Do it to all that waits of a base; made again after an interruption, the call does the rest."""
    upload = await _known(context, id_)
    if upload.state != "loaded":
        raise HTTPException(409, f"It is {upload.state}: only what was loaded can be changed")
    done = Done()
    since = await context.store.read(behind, id_)
    await carry_out(
        context.store,
        verb,
        Selection(base=upload.base),
        done,
        clock=context.clock,
        show=lambda touched: logger.debug("base_changed", base=upload.base, to=to, touched=touched),
        after_seq=since.seq,
    )
    context.intake.wake()
    logger.info("base_changed", base=upload.base, user=user, to=to, touched=done.touched)
    left = {str(state): count for state, count in done.left.items()}
    return Operated(touched=done.touched, left_alone=left, base=_shown(upload))
