"""Doubts that nobody has ended."""

from datetime import datetime

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from dialerd.store.columns import Instant

__all__ = ["old_doubts"]


def old_doubts(connection: Connection, *, before: datetime) -> dict[str, int]:
    """Return by campaign how many messages have been in doubt since before that instant."""
    statement = text(
        "SELECT campaign, count(*) AS n FROM sms_spool WHERE state = 'in_doubt' AND claimed_at < :before"
        " GROUP BY campaign ORDER BY campaign"
    ).bindparams(bindparam("before", type_=Instant))
    return {row.campaign: row.n for row in connection.execute(statement, {"before": before})}
