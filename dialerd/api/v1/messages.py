"""/v1/messages: send, schedule, look up, change, cancel."""

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from starlette.exceptions import HTTPException

from dialerd import log
from dialerd.api.context import Context
from dialerd.api.v1.given import In, Key, User
from dialerd.api.v1.models import Accepted, Batch, BatchResult, Edit, Message, NewMessage, Result
from dialerd.intake import Checked, check_schedule, check_submit, put
from dialerd.model.errors import Refused
from dialerd.store import Connection
from dialerd.store.messages import answer_of, edit_scheduled, message_of, once
from dialerd.store.operate import CANCEL, Selection, act, cancel_scheduled, find

__all__ = ["router", "shown"]

logger = log.get(__name__)

router = APIRouter(tags=["messages"])

#: Messages of one transaction: SQLite's other writers wait no longer than 50 ms.
STEP = 500

TOO_LATE = "It does not wait in sms_scheduler any more"


@router.post("/messages", status_code=201)
async def send_message(given: NewMessage, context: In, user: User, key: Key = None) -> Accepted:
    """Send a message now, or at its time. When this answers, the message stands in the database."""
    if key is None:
        return Accepted(id=await _put_one(context, given))
    (answer,) = await _once(context, user, key, given.model_dump_json(), [given])
    if "error" in answer:
        raise Refused(answer["error"])
    return Accepted(**answer)


@router.post("/messages/batch")
async def send_batch(given: Batch, context: In, user: User, key: Key = None) -> BatchResult:
    """Send up to 10,000 messages. Each is taken or refused by itself; those that are taken stand in the database."""
    results: list[Result] = []
    digest = given.model_dump_json() if key else ""
    for start in range(0, len(given.messages), STEP):
        some = given.messages[start : start + STEP]
        if key is None:
            answers = await context.store.transact(_put, _all_checked(context, some), context=context)
        else:
            answers = await _once(context, user, f"{key}#{start}", digest, some)
        results += [Result(**answer) for answer in answers]
    context.intake.wake()
    accepted = sum(result.id is not None for result in results)
    return BatchResult(accepted=accepted, refused=len(results) - accepted, results=results)


async def _put_one(context: Context, given: NewMessage) -> str:
    common = _common(given)
    if given.at is None:
        return await context.intake.submit(**common, priority=given.priority)
    return await context.intake.schedule(**common, when=given.at)


def _common(given: NewMessage) -> dict[str, Any]:
    return {
        "campaign": given.campaign,
        "destination": given.destination,
        "data": given.text,
        "agent": given.agent,
        "source": given.source,
        "details": given.details,
    }


def _checked(context: Context, given: NewMessage) -> Checked:
    common = _common(given) | {"now": context.clock()}
    if given.at is None:
        return check_submit(context.settings(), **common, priority=given.priority)
    return check_schedule(context.settings(), **common, when=given.at)


def _all_checked(context: Context, some: Sequence[NewMessage]) -> list[Checked | str]:
    """Return each message as it was checked, or why it was refused."""
    checked: list[Checked | str] = []
    for one in some:
        try:
            checked.append(_checked(context, one))
        except Refused as refused:
            checked.append(str(refused))
    return checked


async def _once(context: Context, user: str, key: str, body: str, some: Sequence[NewMessage]) -> list[dict[str, str]]:
    """Return what became of each message, now or when the same call was made before; nothing is checked twice."""
    call = {"user": user, "key": key, "digest": hashlib.sha256(body.encode()).hexdigest()}
    answers: list[dict[str, str]] | None = await context.store.read(answer_of, **call)
    if answers is None:
        do = partial(_put, some=_all_checked(context, some), context=context)
        answers = await context.store.transact(once, **call, now=context.clock(), do=do)
        context.intake.wake()
    return answers or []


def _put(connection: Connection, some: Sequence[Checked | str], *, context: Context) -> list[dict[str, str]]:
    good = [one for one in some if isinstance(one, Checked)]
    entries = iter(put(connection, good, now=context.clock()))
    answers: list[dict[str, str]] = []
    for one in some:
        if isinstance(one, str):
            answers.append({"error": one})
        else:
            entry = next(entries)
            answers.append({"id": one.message.id} if entry is None else {"error": f"the destination is {entry}"})
    return answers


# -- one message -----------------------------------------------------------------------------------------------------


def shown(row: dict[str, Any]) -> Message:
    """Return a row of any of the three tables as callers see it."""
    given = {name: value for name, value in row.items() if name in Message.model_fields}
    return Message(**given, text=row["data"], at=row["calldate"])


@router.get("/messages/{id}")
async def get_message(id: UUID, context: In) -> Message:  # noqa: A002  # the path's own word
    """Return a message, wherever it stands: scheduled, in the spool, or ended."""
    row = await context.store.read(message_of, str(id))
    if row is None:
        raise HTTPException(404, "No such message")
    return shown(row)


@router.patch("/messages/{id}")
async def edit_message(id: UUID, given: Edit, context: In, user: User) -> Message:  # noqa: A002
    """Change a message that still waits in sms_scheduler: its destination, text or time."""
    row = await context.store.read(message_of, str(id))
    if row is None:
        raise HTTPException(404, "No such message")
    if row["place"] != "sms_scheduler":
        raise HTTPException(409, TOO_LATE)
    checked = check_schedule(
        context.settings(),
        campaign=row["campaign"], destination=given.destination or row["destination"],
        data=row["data"] if given.text is None else given.text, when=given.at or row["calldate"],
        details=row["details"], now=context.clock(),
    )  # fmt: skip
    changes = {name: getattr(checked.message, name) for name in ("destination", "data", "address", "zone", "parts")}
    changes["calldate"] = checked.message.calldate
    if not await context.store.transact(edit_scheduled, str(id), changes):
        raise HTTPException(409, TOO_LATE)
    logger.info("message_changed", message_id=str(id), user=user)
    return await get_message(id, context)


@router.delete("/messages/{id}")
async def cancel_message(id: UUID, context: In, user: User) -> Message:  # noqa: A002
    """Cancel a message that waits. One that is being sent, or has ended, cannot be cancelled: 409."""
    done = await context.store.transact(_cancel, str(id), context=context)
    message = await get_message(id, context)
    if not done:
        raise HTTPException(409, f"It is {message.status or message.state} already")
    logger.info("message_cancelled", message_id=str(id), user=user)
    return message


def _cancel(connection: Connection, id_: str, *, context: Context) -> int:
    selection = Selection(ids=(id_,))
    now = context.clock()
    done = cancel_scheduled(connection, selection, now=now)
    found = find(connection, selection, CANCEL, after_seq=0, up_to_seq=2**62)
    return done + (act(connection, selection, CANCEL, found.seqs, now=now) if found.seqs else 0)
