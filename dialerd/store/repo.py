"""sms_repo, read page by page: what became of messages.

A page is found by its key and looks at a bounded number of rows, so that an export of any size needs little memory
and holds no transaction open between two pages.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from dialerd.model.message import Status
from dialerd.store.columns import JSON_DETAILS, Instant, MessageId
from dialerd.store.sizes import portions, size_of

__all__ = ["COLUMNS", "Filters", "Page", "bounds", "campaigns", "page", "page_back"]

#: What the outside may rely on, in the documented order.
COLUMNS = (
    "id",
    "campaign",
    "destination",
    "data",
    "priority",
    "base",
    "calldate",
    "agent",
    "source",
    "details",
    "status",
    "dateprocessed",
    "attempts",
    "provider",
    "provider_id",
    "parts",
    "error",
    "delivery",
    "delivered_at",
    "queued_at",
)
TYPES: dict[str, Any] = {
    "id": MessageId,
    "details": JSON_DETAILS,
    "calldate": Instant,
    "dateprocessed": Instant,
    "delivered_at": Instant,
    "queued_at": Instant,
}

#: Rows looked at by one reading transaction.
SCAN = 20_000

#: Entries of the index looked at to find where the results of a campaign, or of some days, stand.
INDEX_SCAN = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which results are meant; `since` is included, `until` is not, both are about dateprocessed."""

    campaign: str | None = None
    base: str | None = None
    status: Status | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some results by COLUMNS, and the seq to go on from: None after the last page."""

    rows: list[dict[str, Any]]
    next_seq: int | None


def bounds(connection: Connection, filters: Filters) -> tuple[int, int]:
    """Return the first and the last seq between which everything that the filters mean stands; (1, 0) if nothing does.

    Seqs rise with dateprocessed only about, so all that the index names is looked at, for one campaign after the other;
    where that is much, a walk over the whole table costs no more, and its own bounds are returned.
    """
    first, last = connection.execute(text("SELECT min(seq), max(seq) FROM sms_repo")).one()
    if first is None:
        return 1, 0
    if filters.campaign is None and filters.since is None and filters.until is None:
        return first, last
    conditions = " AND ".join(["campaign = :name", *_dates(filters)])
    statement = _with_instants(
        text(
            "SELECT min(seq), max(seq), count(*) FROM (SELECT seq FROM sms_repo"
            f" WHERE {conditions} ORDER BY dateprocessed LIMIT :most) AS entries"
        ),
        filters,
    )
    spans = []
    for name in campaigns(connection) if filters.campaign is None else [filters.campaign]:
        bound = _bound(filters) | {"name": name, "most": INDEX_SCAN}
        low, high, count = connection.execute(statement, bound).one()
        if count == INDEX_SCAN:
            return first, last
        if count:
            spans.append((low, high))
    return (min(low for low, _ in spans), max(high for _, high in spans)) if spans else (1, 0)


def campaigns(connection: Connection) -> Iterator[str]:
    """Yield the campaigns that have results: one probe of the index for each."""
    name = connection.execute(text("SELECT min(campaign) FROM sms_repo")).scalar()
    following = text("SELECT min(campaign) FROM sms_repo WHERE campaign > :name")
    while name is not None:
        yield name
        name = connection.execute(following, {"name": name}).scalar()


def page(connection: Connection, filters: Filters, *, after_seq: int, up_to_seq: int, most: int) -> Page:
    """Return the next results behind `after_seq`, oldest first, at most `most`; a page may be empty before the last.

    Where texts are long, it holds fewer than `most`.
    """
    return _page(connection, filters, "seq > :from_seq AND seq <= :to_seq", "ASC", after_seq, up_to_seq, most)


def page_back(connection: Connection, filters: Filters, *, before_seq: int, down_to_seq: int, most: int) -> Page:
    """Return the results before `before_seq`, newest first, at most `most`; a page may be empty before the last."""
    return _page(connection, filters, "seq < :from_seq AND seq >= :to_seq", "DESC", before_seq, down_to_seq, most)


def _page(
    connection: Connection, filters: Filters, span: str, direction: str, from_seq: int, to_seq: int, most: int
) -> Page:
    end: int | None = connection.execute(
        text(f"SELECT seq FROM sms_repo WHERE {span} ORDER BY seq {direction} LIMIT 1 OFFSET :scan"),
        {"from_seq": from_seq, "to_seq": to_seq, "scan": SCAN - 1},
    ).scalar()
    named = [f"{name} = :{name}" for name in ("campaign", "base", "status") if getattr(filters, name) is not None]
    conditions = " AND ".join([span, *named, *_dates(filters)])
    bound = _bound(filters) | {"from_seq": from_seq, "to_seq": to_seq if end is None else end, "most": most}
    sizes = text(
        f"SELECT seq, {size_of(connection)} FROM sms_repo WHERE {conditions} ORDER BY seq {direction} LIMIT :most"
    )
    found = connection.execute(_with_instants(sizes, filters), bound).all()
    seqs: list[int] | None = next(portions(((seq, size) for seq, size in found), most), None)
    if seqs is None:
        return Page([], end)
    rows = text(f"SELECT {', '.join(COLUMNS)} FROM sms_repo WHERE {conditions} ORDER BY seq {direction}")
    rows = _with_instants(rows.columns(**TYPES), filters)
    values = [dict(row._mapping) for row in connection.execute(rows, bound | {"to_seq": seqs[-1]})]
    return Page(values, seqs[-1] if len(seqs) < len(found) or len(found) == most else end)


def _dates(filters: Filters) -> list[str]:
    since = ["dateprocessed >= :since"] if filters.since else []
    return since + (["dateprocessed < :until"] if filters.until else [])


def _with_instants(statement: Any, filters: Filters) -> Any:
    given = [name for name in ("since", "until") if getattr(filters, name) is not None]
    return statement.bindparams(*(bindparam(name, type_=Instant) for name in given))


def _bound(filters: Filters) -> dict[str, Any]:
    return {name: getattr(filters, name) for name in ("campaign", "base", "status", "since", "until")}
