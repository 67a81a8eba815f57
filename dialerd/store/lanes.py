"""Lanes: the queued messages of one campaign and one set of recipients' zones, read from their heads.

What only one provider may send, since it may have some of it, stands in a lane of its own (`bound`), and so does what
some providers have passed on, whose `accept` does not match its number.
What waits elsewhere (deferred, held, closed campaigns) does not stand in the queue's index or is not looked at.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import TextualSelect, column, text
from sqlalchemy.engine import Connection

from dialerd.store.columns import JSON_DETAILS, MessageId

__all__ = ["Candidate", "Lane", "bound_without", "candidates", "lanes", "passed_by"]

#: No provider's name has it: it leads each of those that have passed a message on.
PASSED = "\n"


class Candidate(NamedTuple):
    """A queued row as it stands; instants come as the database spells them (see columns.as_instant)."""

    seq: int
    id: str
    campaign: str
    destination: str
    data: str
    priority: int
    base: str | None
    calldate: datetime | str | None
    agent: str | None
    source: str | None
    details: Any
    due_since: datetime | str | None
    attempts: int
    first_claimed_at: datetime | str | None
    queued_at: datetime | str
    address: str | None
    zone: str
    parts: int | None
    taken: int
    reference: int | None
    answers: str | None
    bound: str


COLUMNS = ", ".join(Candidate._fields)
TYPES: dict[str, Any] = {"id": MessageId, "details": JSON_DETAILS, "answers": MessageId}
#: By position: to find them by name took a third of the time of reading twenty rows.
TYPED = [column(name, TYPES.get(name)) for name in Candidate._fields]

#: One probe of the index per lane, whatever stands in it: each step looks for the first row behind the lane before.
HEADS = {
    "postgresql": text(
        "WITH RECURSIVE head AS ("
        " (SELECT campaign, zone, bound, priority FROM sms_spool WHERE state = 'queued'"
        "  ORDER BY campaign, zone, bound, priority, seq LIMIT 1)"
        " UNION ALL"
        " SELECT s.* FROM head CROSS JOIN LATERAL (SELECT n.campaign, n.zone, n.bound, n.priority FROM sms_spool n"
        "  WHERE n.state = 'queued' AND (n.campaign, n.zone, n.bound) > (head.campaign, head.zone, head.bound)"
        "  ORDER BY n.campaign, n.zone, n.bound, n.priority, n.seq LIMIT 1) AS s)"
        " SELECT campaign, zone, priority, bound FROM head"
    ),
    # Of (campaign, zone) > (…, …) SQLite would look up the campaign only, and read the whole lane for the zone.
    # The names stay inside: those in Latin-1 are not what Python reads.
    "sqlite": text(
        "WITH RECURSIVE head(seq) AS ("
        " SELECT (SELECT seq FROM sms_spool WHERE state = 'queued'"
        "  ORDER BY campaign, zone, bound, priority, seq LIMIT 1)"
        " UNION ALL"
        " SELECT coalesce("
        "  (SELECT n.seq FROM sms_spool n WHERE n.state = 'queued' AND n.campaign = s.campaign AND n.zone = s.zone"
        "   AND n.bound > s.bound ORDER BY n.bound, n.priority, n.seq LIMIT 1),"
        "  (SELECT n.seq FROM sms_spool n WHERE n.state = 'queued' AND n.campaign = s.campaign AND n.zone > s.zone"
        "   ORDER BY n.zone, n.bound, n.priority, n.seq LIMIT 1),"
        "  (SELECT n.seq FROM sms_spool n WHERE n.state = 'queued' AND n.campaign > s.campaign"
        "   ORDER BY n.campaign, n.zone, n.bound, n.priority, n.seq LIMIT 1))"
        " FROM head JOIN sms_spool s ON s.seq = head.seq)"
        " SELECT s.campaign, s.zone, s.priority, s.bound FROM head JOIN sms_spool s ON s.seq = head.seq"
    ),
}


@dataclass(slots=True, eq=False)
class Lane:
    """A place in a lane: `priority` of its first message that was not looked at yet, None when it is empty.

    `bound` is the provider that alone may send what stands in it, "" where any of the campaign's may, or names those
    that may not (see passed_by).
    """

    campaign: str
    zone: str
    priority: int | None
    after: int = -1
    bound: str = ""


def passed_by(bound: str) -> frozenset[str]:
    """Return the providers that have passed on what is bound so, to whichever other one accepts it."""
    return frozenset(bound.split(PASSED)[1:])


def bound_without(passed: Iterable[str]) -> str:
    """Return how a message is bound that these providers have passed on."""
    return "".join(PASSED + name for name in sorted(passed))


def lanes(connection: Connection) -> list[Lane]:
    """Return the lanes in which something is queued, each standing at its head."""
    heads = connection.execute(HEADS[connection.dialect.name])
    return [Lane(campaign, zone, priority, bound=bound) for campaign, zone, priority, bound in heads]


def candidates(
    connection: Connection, asked: Sequence[tuple[Lane, int]], *, up_to_seq: int | None
) -> list[list[Candidate]]:
    """Return for each (lane, most) its next rows by priority and seq, locked where others could claim them too."""
    bounded = up_to_seq is not None
    if connection.dialect.name == "sqlite":
        statement = _head_of_one(bounded)
        return [
            list(map(Candidate._make, connection.execute(statement, parameters).all()))
            for parameters in (
                {
                    "campaign": lane.campaign,
                    "zone": lane.zone,
                    "bound": lane.bound,
                    "priority": lane.priority,
                    "after": lane.after,
                    "most": most,
                    "up_to_seq": up_to_seq,
                }
                for lane, most in asked
            )
        ]
    parameters = {
        "lanes": list(range(len(asked))),
        "campaigns": [lane.campaign for lane, _ in asked],
        "zones": [lane.zone for lane, _ in asked],
        "bounds": [lane.bound for lane, _ in asked],
        "priorities": [lane.priority for lane, _ in asked],
        "afters": [lane.after for lane, _ in asked],
        "mosts": [most for _, most in asked],
        "up_to_seq": up_to_seq,
    }
    found: list[list[Candidate]] = [[] for _ in asked]
    for *row, lane in connection.execute(_heads_of_all(bounded), parameters).all():
        found[lane].append(Candidate._make(row))
    for rows in found:
        rows.sort(key=lambda row: (row.priority, row.seq))
    return found


@cache
def _head_of_one(bounded: bool) -> TextualSelect:
    return text(_head(":campaign", ":zone", ":bound", ":priority", ":after", ":most", bounded)).columns(*TYPED)


@cache
def _heads_of_all(bounded: bool) -> TextualSelect:
    head = _head("l.of_campaign", "l.of_zone", "l.of_bound", "l.from_priority", "l.after_seq", "l.most", bounded)
    return text(
        f"SELECT {COLUMNS}, lane FROM unnest(CAST(:lanes AS int[]), CAST(:campaigns AS text[]),"
        " CAST(:zones AS text[]), CAST(:bounds AS text[]),"
        " CAST(:priorities AS smallint[]), CAST(:afters AS bigint[]), CAST(:mosts AS int[]))"
        " AS l(lane, of_campaign, of_zone, of_bound, from_priority, after_seq, most)"
        f" CROSS JOIN LATERAL ({head} FOR UPDATE SKIP LOCKED) AS s"
    ).columns(*TYPED, column("lane"))


def _head(campaign: str, zone: str, bound: str, priority: str, after: str, most: str, bounded: bool) -> str:
    return (
        f"SELECT {COLUMNS} FROM sms_spool WHERE state = 'queued' AND campaign = {campaign} AND zone = {zone}"
        f" AND bound = {bound} AND (priority, seq) > ({priority}, {after}){' AND seq <= :up_to_seq' if bounded else ''}"
        f" ORDER BY priority, seq LIMIT {most}"
    )
