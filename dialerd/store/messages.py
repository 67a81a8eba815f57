"""One message, wherever it stands; and calls that are made once though they are made again."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from dialerd.store.columns import JSON_DETAILS, Instant, MessageId

__all__ = [
    "OtherBody",
    "answer_of",
    "edit_scheduled",
    "forget_old_calls",
    "message_of",
    "once",
    "scheduled_page",
]

COMMON = "id, campaign, destination, data, agent, source, details, calldate"
PLACES = {
    "sms_scheduler": f"{COMMON}, created AS queued_at",
    "sms_spool": f"{COMMON}, priority, base, state, due_at, attempts, queued_at, last_error AS error, parts",
    "sms_repo": f"{COMMON}, priority, base, status, dateprocessed, attempts, provider, provider_id, parts, error,"
    " delivery, delivered_at, queued_at",
}
#: Rows of sms_scheduler looked at by one reading transaction.
SCAN = 20_000
INSTANTS = ("calldate", "queued_at", "due_at", "dateprocessed", "delivered_at")


class OtherBody(Exception):
    """A call is made again under the same key, but is another call."""


def message_of(connection: Connection, id_: str) -> dict[str, Any] | None:
    """Return a message with `place`, the table it stands in; None if there is none of this id.

    What can be told of it differs by place: no priority before it is promoted, no due_at after its end.
    """
    for place, columns in PLACES.items():
        types: dict[str, Any] = {name: Instant for name in INSTANTS if name in columns}
        statement = text(f"SELECT {columns} FROM {place} WHERE id = :id").bindparams(bindparam("id", type_=MessageId))
        row = connection.execute(
            statement.columns(id=MessageId, details=JSON_DETAILS, **types), {"id": id_}
        ).one_or_none()
        if row is not None:
            return {"place": place, **row._mapping}
    return None


def scheduled_page(
    connection: Connection, *, campaign: str | None, after: str | None, most: int
) -> tuple[list[dict[str, Any]], str | None]:
    """Return the next messages of sms_scheduler by their ids, and the id to go on from: None after the last page.

    A bounded number of rows is looked at, so a page may be empty before the last.
    """
    bound = {"after": after, "campaign": campaign, "most": most, "skip": SCAN - 1}
    behind = " WHERE id > :after" if after is not None else ""
    typed = [bindparam("after", type_=MessageId)] if after is not None else []
    ends = text(f"SELECT id FROM sms_scheduler{behind} ORDER BY id LIMIT 1 OFFSET :skip")
    end: str | None = None
    if campaign is not None:
        end = connection.execute(ends.bindparams(*typed).columns(id=MessageId), bound).scalar()
    conditions = ["id > :after"] if after is not None else []
    conditions += ["id <= :end"] if end is not None else []
    conditions += ["campaign = :campaign"] if campaign is not None else []
    typed += [bindparam("end", type_=MessageId)] if end is not None else []
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    statement = text(f"SELECT {PLACES['sms_scheduler']} FROM sms_scheduler{where} ORDER BY id LIMIT :most")
    types: dict[str, Any] = {"id": MessageId, "details": JSON_DETAILS, "calldate": Instant, "queued_at": Instant}
    rows = connection.execute(statement.bindparams(*typed).columns(**types), bound | {"end": end}).all()
    values = [{"place": "sms_scheduler", **row._mapping} for row in rows]
    return values, values[-1]["id"] if len(rows) == most else end


def edit_scheduled(connection: Connection, id_: str, changes: Mapping[str, Any]) -> bool:
    """Change columns of a message that still waits in sms_scheduler; False if it does not."""
    names = ", ".join(f"{name} = :{name}" for name in changes)
    statement = text(f"UPDATE sms_scheduler SET {names} WHERE id = :id").bindparams(bindparam("id", type_=MessageId))
    if "calldate" in changes:
        statement = statement.bindparams(bindparam("calldate", type_=Instant))
    return connection.execute(statement, {"id": id_, **changes}).rowcount == 1


def once(
    connection: Connection, *, user: str, key: str, digest: str, now: datetime, do: Callable[[Connection], Any]
) -> Any:
    """Return what `do(connection)` returns (anything that JSON can hold), or what it did under this key before.

    `digest` is of the call's body. Raises OtherBody when the key belongs to a call with another one.
    """
    bound = {"user": user, "key": key}
    # Of two at once the second waits here until the first one's transaction has ended.
    is_first = connection.execute(
        text(
            'INSERT INTO api_call ("user", key, digest, answer, created) VALUES (:user, :key, :digest, :nothing, :now)'
            " ON CONFLICT DO NOTHING"
        ).bindparams(bindparam("now", type_=Instant)),
        bound | {"digest": digest, "nothing": "null", "now": now},
    ).rowcount
    if not is_first:
        return answer_of(connection, **bound, digest=digest)
    answer = do(connection)
    connection.execute(
        text('UPDATE api_call SET answer = :answer WHERE "user" = :user AND key = :key'),
        bound | {"answer": json.dumps(answer)},
    )
    return answer


def answer_of(connection: Connection, *, user: str, key: str, digest: str) -> Any:
    """Return what a call under this key was answered, None if there was none. Raises OtherBody as `once` does."""
    found = connection.execute(
        text('SELECT digest, answer FROM api_call WHERE "user" = :user AND key = :key'), {"user": user, "key": key}
    ).one_or_none()
    if found is None:
        return None
    if found.digest != digest:
        raise OtherBody
    return json.loads(found.answer)


def forget_old_calls(connection: Connection, *, now: datetime, keep: timedelta) -> None:
    """Delete keys older than `keep`."""
    connection.execute(
        text("DELETE FROM api_call WHERE created <= :before").bindparams(bindparam("before", type_=Instant)),
        {"before": now - keep},
    )
