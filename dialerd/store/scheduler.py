"""sms_scheduler: what is to go later, and its way into the spool."""

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo

from sqlalchemy import bindparam, insert, text
from sqlalchemy.engine import Connection

from dialerd.model.message import URGENT
from dialerd.store.arrays import any_of, bind_list, bind_rows, rows_of
from dialerd.store.columns import Instant, MessageId
from dialerd.store.spool import NewMessage
from dialerd.store.tables import sms_scheduler

__all__ = ["base_name", "promote", "promoted_until", "schedule"]


CARRIED = "id, calldate, campaign, destination, data, agent, source, details, address, zone, parts"
COLUMNS = CARRIED.split(", ")


def promoted_until(connection: Connection) -> datetime:
    """Return the end of the last minute that was promoted; until this transaction ends it stays there."""
    lock = " FOR SHARE" if connection.dialect.name == "postgresql" else ""
    statement = text(f"SELECT promoted_until FROM promotion WHERE one = 1{lock}").columns(promoted_until=Instant)
    until: datetime = connection.execute(statement).scalar_one()
    return until


def schedule(connection: Connection, messages: Sequence[NewMessage]) -> None:
    """Put messages with a calldate into sms_scheduler."""
    rows = [{name: getattr(message, name) for name in COLUMNS} for message in messages]
    if rows:
        connection.execute(insert(sms_scheduler), rows)


def promote(
    connection: Connection, *, until: datetime, now: datetime, zones: Mapping[str, tzinfo], most: int
) -> dict[str, int]:
    """Move messages due before `until` into the spool with priority 1, at most `most`; return how many by campaign.

    `zones` holds the known campaigns with their time zones; what belongs to others stays where it is. What is due
    after `now` waits in the spool as deferred. In the same transaction promoted_until moves on, never back: from the
    commit on, what is scheduled for before it goes straight into the spool.
    """
    statement = text("UPDATE promotion SET promoted_until = :until WHERE one = 1 AND promoted_until < :until")
    connection.execute(statement.bindparams(bindparam("until", until, type_=Instant)))
    moved: dict[str, int] = {}
    # Campaigns share a batch, so that a neighbour's million rows keep nobody from being on time.
    hungry = [campaign for campaign in _due_campaigns(connection, until) if campaign in zones]
    while hungry and most > 0:
        part = max(most // len(hungry), 1)
        counts = {name: _promote_one(connection, name, until, now, zones[name], part) for name in hungry[:most]}
        for name, count in counts.items():
            moved[name] = moved.get(name, 0) + count
            most -= count
        hungry = [name for name in hungry if counts.get(name, part) == part]
    return moved


def _due_campaigns(connection: Connection, until: datetime) -> list[str]:
    # Two probes of the index for each campaign there is, whatever waits in it.
    statement = text(
        "WITH RECURSIVE head(campaign) AS ("
        " SELECT min(campaign) FROM sms_scheduler"
        " UNION ALL"
        " SELECT (SELECT min(n.campaign) FROM sms_scheduler n WHERE n.campaign > head.campaign)"
        " FROM head WHERE head.campaign IS NOT NULL)"
        " SELECT campaign FROM head"
        " WHERE (SELECT min(s.calldate) FROM sms_scheduler s WHERE s.campaign = head.campaign) < :until"
    ).bindparams(bindparam("until", until, type_=Instant))
    return list(connection.execute(statement).scalars())


def _promote_one(connection: Connection, campaign: str, until: datetime, now: datetime, zone: tzinfo, most: int) -> int:
    skip = " FOR UPDATE SKIP LOCKED" if connection.dialect.name == "postgresql" else ""
    due = connection.execute(
        text(
            "SELECT id, calldate FROM sms_scheduler WHERE campaign = :campaign AND calldate < :until"
            f" ORDER BY calldate, created, id LIMIT :most{skip}"
        )
        .bindparams(bindparam("until", until, type_=Instant))
        .columns(id=MessageId, calldate=Instant),
        {"campaign": campaign, "most": most},
    ).all()
    rows = [
        (number, id_, base_name(calldate, zone), "queued" if calldate <= now else "deferred")
        for number, (id_, calldate) in enumerate(due)
    ]
    if not rows:
        return 0
    columns: Mapping[str, str] = {"number": "int", "id": "uuid", "base": "text", "state": "text"}
    found = f"{rows_of(connection, 'o', **columns)} CROSS JOIN "
    if connection.dialect.name == "postgresql":
        # One by one: a join would be worth reading the whole table to a planner with young statistics.
        found += "LATERAL (SELECT * FROM sms_scheduler WHERE id = o.id LIMIT 1) AS s"
    else:
        found += "sms_scheduler s WHERE s.id = o.id"
    carried = ", ".join(f"s.{name}" for name in COLUMNS)
    # One whose id another has in the spool (others insert too, with ids of their own) waits until that one has gone.
    moved = connection.execute(
        text(
            f"INSERT INTO sms_spool ({CARRIED}, base, state, priority, due_at, due_since, queued_at)"
            f" SELECT {carried}, o.base, o.state, {URGENT}, s.calldate, s.calldate, :now"
            f" FROM {found} ORDER BY o.number ON CONFLICT (id) DO NOTHING RETURNING id"
        )
        .bindparams(bindparam("now", now, type_=Instant))
        .columns(id=MessageId),
        bind_rows(connection, "o", tuple(columns), rows),
    )
    ids = list(moved.scalars())
    connection.execute(
        text(f"DELETE FROM sms_scheduler WHERE {any_of(connection, 'id', 'ids', 'uuid')}"),
        {"ids": bind_list(connection, ids)},
    )
    return len(ids)


def base_name(calldate: datetime, zone: tzinfo) -> str:
    """Return the base of a scheduled message: `Schedule` and its calldate on the campaign's clock."""
    return f"Schedule {calldate.astimezone(zone):%Y-%m-%d %H:%M:%S}"
