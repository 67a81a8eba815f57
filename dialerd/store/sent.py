"""What was last sent to a telephone number, however it is spelt, and what may have been."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.engine import Connection

from dialerd.model.receipt import same_address
from dialerd.store.columns import Instant
from dialerd.store.tables import TAIL

__all__ = ["MOST_LAST_SENT", "LastSent", "being_sent", "last_sent"]

#: So many results are looked at, of all numbers that end alike.
MOST_LAST_SENT = 20


class LastSent(NamedTuple):
    """One SMS that was sent; `address` is canonical. Of one that is still in the spool, when it was claimed."""

    campaign: str
    destination: str
    address: str
    provider: str | None
    delivery: str | None
    dateprocessed: datetime


def last_sent(connection: Connection, number: str) -> list[LastSent]:
    """Return the SMS that were last sent to a number (digits, see model.receipt.address_of), the newest first."""
    # SQLite is told which index: with statistics it may rather read all of sms_repo from its end.
    table = "sms_repo INDEXED BY ix_sms_repo_address" if connection.dialect.name == "sqlite" else "sms_repo"
    tail = TAIL.replace("address", "CAST(:number AS text)")
    statement = text(
        f"SELECT {', '.join(LastSent._fields)} FROM {table} WHERE status = 'sent' AND address NOT LIKE '%@%'"
        f" AND {TAIL} = {tail} ORDER BY seq DESC LIMIT {MOST_LAST_SENT}"
    ).columns(dateprocessed=Instant)
    rows = connection.execute(statement, {"number": number})
    return [LastSent._make(row) for row in rows if same_address(row.address, number)]


def being_sent(connection: Connection, number: str, *, provider: str) -> list[LastSent]:
    """Return the SMS to a number whose outcome is not known yet, or in doubt at this provider, the newest first.

    An answer may come before ours has been recorded, and shows that a doubtful one has arrived. To be asked before
    `last_sent`: what is recorded meanwhile is found there.
    """
    tail = TAIL.replace("address", "CAST(:number AS text)")
    of = (
        "SELECT campaign, destination, address, provider, NULL AS delivery, claimed_at FROM sms_spool"
        " WHERE claimed_at IS NOT NULL"
    )
    statement = text(
        f"SELECT * FROM ({of} AND state = 'sending' AND {TAIL} = {tail} LIMIT {MOST_LAST_SENT}) AS now"
        f" UNION ALL SELECT * FROM ({of} AND state = 'in_doubt' AND provider = :provider AND {TAIL} = {tail}"
        f" LIMIT {MOST_LAST_SENT}) AS doubts"
    ).columns(claimed_at=Instant)
    rows = map(LastSent._make, connection.execute(statement, {"number": number, "provider": provider}))
    known = [row for row in rows if same_address(row.address, number)]
    return sorted(known, key=lambda row: row.dateprocessed, reverse=True)
