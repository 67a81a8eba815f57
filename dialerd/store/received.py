"""sms_inbound, read page by page, oldest first."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from dialerd.store.columns import Instant, MessageId

__all__ = ["InboundFilters", "Place", "inbound_page"]

COLUMNS = ("id", "phone", "message", "received", "campaign", "provider", "recipient")

#: Rows looked at by one reading transaction.
SCAN = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundFilters:
    """Which SMS are meant; `phones` are spellings of one number, `since` is included, `until` is not."""

    campaign: str | None = None
    phones: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ends: at an SMS of this time and id."""

    received: datetime
    id: str


def inbound_page(
    connection: Connection, filters: InboundFilters, *, after: Place | None, most: int
) -> tuple[list[dict[str, Any]], Place | None]:
    """Return the next SMS behind `after`, at most `most`, and where to go on: None after the last page.

    A bounded number of rows is looked at, so a page may be empty before the last.
    """
    bound: dict[str, Any] = {"most": most, "skip": SCAN - 1}
    span: list[str] = []
    if after is not None:
        span.append("(received, id) > (:after, :after_id)")
        bound |= {"after": after.received, "after_id": after.id}
    for name, comparison in (("since", ">="), ("until", "<")):
        if getattr(filters, name) is not None:
            span.append(f"received {comparison} :{name}")
            bound[name] = getattr(filters, name)
    chosen: list[str] = []
    if filters.campaign is not None:
        chosen.append("campaign = :campaign")
        bound["campaign"] = filters.campaign
    if filters.phones:
        names = [f"phone_{index}" for index in range(len(filters.phones))]
        chosen.append(f"phone IN ({', '.join(f':{name}' for name in names)})")
        bound |= dict(zip(names, filters.phones, strict=True))
    typed: list[Any] = [bindparam(name, type_=Instant) for name in ("after", "since", "until") if name in bound]
    typed += [bindparam("after_id", type_=MessageId)] if after is not None else []
    types: dict[str, Any] = {"id": MessageId, "received": Instant}
    end = None
    if chosen:
        ends = text(f"SELECT received, id FROM sms_inbound{_where(span)} ORDER BY received, id LIMIT 1 OFFSET :skip")
        end = connection.execute(ends.bindparams(*typed).columns(**types), bound).one_or_none()
    if end is not None:
        span.append("(received, id) <= (:end, :end_id)")
        bound |= {"end": end.received, "end_id": end.id}
        typed += [bindparam("end", type_=Instant), bindparam("end_id", type_=MessageId)]
    statement = text(
        f"SELECT {', '.join(COLUMNS)} FROM sms_inbound{_where([*span, *chosen])} ORDER BY received, id LIMIT :most"
    )
    rows = connection.execute(statement.bindparams(*typed).columns(**types), bound).all()
    values = [dict(row._mapping) for row in rows]
    if len(rows) == most:
        return values, Place(rows[-1].received, rows[-1].id)
    return values, None if end is None else Place(end.received, end.id)


def _where(conditions: list[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""
