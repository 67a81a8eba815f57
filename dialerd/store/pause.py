"""Campaigns that an operator has paused: on all nodes, over restarts."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from dialerd.store.columns import Instant

__all__ = ["pause_campaign", "paused", "resume_campaign"]


def paused(connection: Connection) -> Mapping[str, str | None]:
    """Return the paused campaigns with the reasons given."""
    return {row.campaign: row.reason for row in connection.execute(text("SELECT campaign, reason FROM pause"))}


def pause_campaign(connection: Connection, campaign: str, *, reason: str | None, now: datetime) -> bool:
    """Pause a campaign; from the commit on no claim takes its messages. False if it was paused already."""
    statement = text(
        "INSERT INTO pause (campaign, reason, since) VALUES (:campaign, :reason, :now) ON CONFLICT DO NOTHING"
    ).bindparams(bindparam("now", type_=Instant))
    return connection.execute(statement, {"campaign": campaign, "reason": reason, "now": now}).rowcount == 1


def resume_campaign(connection: Connection, campaign: str) -> bool:
    """Let a paused campaign go on; False if it was not paused."""
    statement = text("DELETE FROM pause WHERE campaign = :campaign")
    return connection.execute(statement, {"campaign": campaign}).rowcount == 1
