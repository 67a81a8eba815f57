"""Who must not be written to: entries by channel and canonical address, for one campaign or for all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from dialerd.model.calendar import EARLIEST, TOO_LATE
from dialerd.model.message import Channel
from dialerd.store.arrays import any_of, bind_list, bind_rows, rows_of
from dialerd.store.columns import Instant, instant_text

__all__ = ["Entry", "add", "add_if_new", "blocked", "entries", "remove", "take_back"]

#: What an entry brings, for PostgreSQL's arrays.
TYPES = {"channel": "text", "value": "text", "campaign": "text", "reason": "text", "expires": "timestamptz"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry: `value` is canonical, `campaign` None means all campaigns, `expires` None means never."""

    channel: Channel
    value: str
    campaign: str | None = None
    reason: str | None = None
    expires: datetime | None = None
    created: datetime | None = None


def blocked(
    connection: Connection, asked: Sequence[tuple[Channel, str, str]], *, now: datetime
) -> dict[tuple[Channel, str, str], str]:
    """Return those of (channel, canonical address, campaign) that are blacklisted, each with the entry that says so."""
    if not asked:
        return {}
    statement = text(
        "SELECT channel, value, campaign, reason FROM blacklist WHERE"
        f" {any_of(connection, 'channel', 'channels', 'text')} AND {any_of(connection, 'value', 'addresses', 'text')}"
        " AND (expires IS NULL OR expires > :now)"
    ).bindparams(bindparam("now", type_=Instant))
    found = connection.execute(
        statement,
        {
            "channels": bind_list(connection, list({channel for channel, _, _ in asked})),
            "addresses": bind_list(connection, list({address for _, address, _ in asked})),
            "now": now,
        },
    )
    reasons = {(channel, value, campaign): reason for channel, value, campaign, reason in found}
    if not reasons:
        return {}
    result = {}
    for channel, address, campaign in asked:
        for scope in (campaign, None):
            if (channel, address, scope) in reasons:
                reason = reasons[channel, address, scope]
                where = "all campaigns" if scope is None else f"campaign {scope}"
                result[channel, address, campaign] = f"blacklisted for {where}" + (f": {reason}" if reason else "")
                break
    return result


def add(connection: Connection, some: Sequence[Entry], *, now: datetime) -> None:
    """Add entries in one statement; one that stands there already, or comes twice, gets the later reason and expiry.

    An expiry that no table holds is as good as never, or long over.
    """
    on_postgresql = connection.dialect.name == "postgresql"
    rows = {
        (entry.channel, entry.value, entry.campaign): (
            str(entry.channel), entry.value, entry.campaign, entry.reason,
            until if on_postgresql or until is None else instant_text(until),
        )
        for entry in some
        for until in [_held(entry.expires)]
    }  # fmt: skip
    if not rows:
        return
    statement = text(
        f"INSERT INTO blacklist ({', '.join(TYPES)}, created)"
        f" SELECT {', '.join(TYPES)}, :now FROM {rows_of(connection, 'o', **TYPES)} WHERE true"
        " ON CONFLICT (channel, value, coalesce(campaign, ''))"
        " DO UPDATE SET reason = excluded.reason, expires = excluded.expires"
    )
    bound = bind_rows(connection, "o", tuple(TYPES), list(rows.values()))
    connection.execute(statement.bindparams(bindparam("now", type_=Instant)), bound | {"now": now})


def _held(expires: datetime | None) -> datetime | None:
    return None if expires is None or expires >= TOO_LATE else max(expires, EARLIEST)


def remove(connection: Connection, channel: Channel, value: str, *, campaign: str | None) -> bool:
    """Remove the entry of exactly this scope; False if there is none. Hard bounces of the address are counted anew."""
    statement = text(
        "DELETE FROM blacklist WHERE channel = :channel AND value = :value"
        " AND coalesce(campaign, '') = coalesce(CAST(:campaign AS text), '')"
    )
    found = connection.execute(statement, {"channel": channel, "value": value, "campaign": campaign}).rowcount > 0
    if found and channel is Channel.EMAIL:
        connection.execute(text("DELETE FROM bounce WHERE address = :value AND kind = 'hard'"), {"value": value})
    return found


def entries(
    connection: Connection,
    *,
    after: int = 0,
    most: int = 1000,
    channel: Channel | None = None,
    values: Sequence[str] = (),
    campaign: str | None = None,
) -> Iterator[tuple[int, Entry]]:
    """Yield entries in the order in which they came, with the number to go on from (`after`).

    Those of one channel, with one of these values or of one campaign, where such are given.
    """
    conditions = ["id > :after"]
    conditions += ["channel = :channel"] if channel is not None else []
    conditions += [any_of(connection, "value", "given", "text")] if values else []
    conditions += ["campaign = :campaign"] if campaign is not None else []
    statement = text(
        "SELECT id, channel, value, campaign, reason, expires, created FROM blacklist"
        f" WHERE {' AND '.join(conditions)} ORDER BY id LIMIT :most"
    ).columns(expires=Instant, created=Instant)
    bound = {"after": after, "most": most, "channel": channel and str(channel), "campaign": campaign}
    for row in connection.execute(statement, bound | {"given": bind_list(connection, values)}):
        yield (
            row.id,
            Entry(
                channel=Channel(row.channel),
                value=row.value,
                campaign=row.campaign,
                reason=row.reason,
                expires=row.expires,
                created=row.created,
            ),
        )


def add_if_new(connection: Connection, entry: Entry, *, now: datetime) -> int:
    """Add an entry; one that stands there, and has not expired, stays as it is. Return how many were added."""
    statement = text(
        "INSERT INTO blacklist (channel, value, campaign, reason, created)"
        " VALUES (:channel, :value, :campaign, :reason, :now)"
        " ON CONFLICT (channel, value, coalesce(campaign, ''))"
        " DO UPDATE SET reason = excluded.reason, created = excluded.created, expires = NULL"
        " WHERE blacklist.expires <= excluded.created"
    ).bindparams(bindparam("now", type_=Instant))
    return connection.execute(
        statement,
        {
            "channel": entry.channel,
            "value": entry.value,
            "campaign": entry.campaign,
            "reason": entry.reason,
            "now": now,
        },
    ).rowcount


def take_back(connection: Connection, channel: Channel, value: str, *, campaign: str | None, reason: str) -> int:
    """Remove the entries of a value whose reason begins so: for one campaign and for all, or for all there are."""
    statement = text(
        "DELETE FROM blacklist WHERE channel = :channel AND value = :value AND reason LIKE :reason"
        " AND (CAST(:campaign AS text) IS NULL OR campaign IS NULL OR campaign = :campaign)"
    )
    return connection.execute(
        statement, {"channel": channel, "value": value, "campaign": campaign, "reason": f"{reason}%"}
    ).rowcount
