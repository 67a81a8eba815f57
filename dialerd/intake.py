"""Checks a message at the door and puts it where it belongs: the spool, or sms_scheduler."""

import difflib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from dialerd.examine import examine
from dialerd.failpoint import hit
from dialerd.model.calendar import parse_when
from dialerd.model.campaign import Campaign
from dialerd.model.errors import Refused
from dialerd.model.message import BULK, URGENT, State, new_id
from dialerd.settings import Settings
from dialerd.store import Connection, Store
from dialerd.store import scheduler as scheduler_table
from dialerd.store import spool as spool_table
from dialerd.store.blacklist import blocked
from dialerd.store.scheduler import base_name
from dialerd.store.spool import NewMessage

__all__ = ["schedule", "submit"]


async def submit(
    store: Store,
    settings: Settings,
    *,
    campaign: str,
    destination: str,
    data: str,
    priority: int = URGENT,
    agent: str | None = None,
    source: str | None = None,
    details: Mapping[str, Any] | None = None,
    now: datetime,
) -> str:
    """Put a message into the spool and return its id; it stands there when this returns.

    Raises Refused for an unknown campaign, a bad or blacklisted address, a text that cannot be sent.
    """
    if not URGENT <= priority <= BULK:
        raise Refused(f"priority {priority} is outside {URGENT} (first) to {BULK} (last)")
    known = _known(settings, campaign)
    message = _message(
        settings, known, destination, data, priority=priority, agent=agent, source=source, details=details,
        due_at=now, now=now,
    )  # fmt: skip
    await store.transact(_submit, message, known, now=now)
    hit("submit.committed")
    return message.id


async def schedule(
    store: Store,
    settings: Settings,
    *,
    campaign: str,
    destination: str,
    data: str,
    when: str | datetime,
    agent: str | None = None,
    source: str | None = None,
    details: Mapping[str, Any] | None = None,
    now: datetime,
) -> str:
    """Put a message where it waits for its time and return its id.

    `when` is wall-clock time in the campaign's zone (`YYYY-MM-DD HH:MM:SS`) or an ISO 8601 instant with an offset.
    A message for a minute that has been promoted already goes straight into the spool, so that it is on time too.
    Raises Refused as submit does, and for a time that cannot be read.
    """
    known = _known(settings, campaign)
    try:
        calldate = parse_when(when, known.zone) if isinstance(when, str) else when
    except ValueError as error:
        raise Refused(str(error)) from error
    message = _message(
        settings, known, destination, data, priority=URGENT, agent=agent, source=source, details=details,
        due_at=calldate, now=now, base=base_name(calldate, known.zone), calldate=calldate,
        state=State.DEFERRED if calldate > now else State.QUEUED,
    )  # fmt: skip
    await store.transact(_schedule, message, known, now=now)
    hit("submit.committed")
    return message.id


def _known(settings: Settings, name: str) -> Campaign:
    if name in settings.campaigns:
        return settings.campaigns[name]
    close = difflib.get_close_matches(name, settings.campaigns, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(settings.campaigns)) or 'none'}"
    raise Refused(f"unknown campaign {name!r}; {hint}")


def _message(
    settings: Settings, campaign: Campaign, destination: str, data: str, *, details: Mapping[str, Any] | None,
    due_at: datetime, now: datetime, **given: Any,
) -> NewMessage:  # fmt: skip
    for name in ("agent", "source"):
        if given[name] and "\0" in given[name]:
            raise Refused(f"the {name} holds a NUL character")
    examined = examine(campaign, destination, data, details, settings.providers.get(campaign.provider))
    return NewMessage(
        id=new_id(),
        campaign=campaign.name,
        destination=destination.strip(),
        data=data,
        details=dict(details) if details else None,
        due_at=due_at,
        due_since=due_at,
        queued_at=now,
        address=examined.address,
        zone=examined.zone,
        parts=examined.parts,
        **given,
    )


def _submit(connection: Connection, message: NewMessage, campaign: Campaign, *, now: datetime) -> None:
    _refuse_blacklisted(connection, message, campaign, now)
    spool_table.submit(connection, [message])


def _schedule(connection: Connection, message: NewMessage, campaign: Campaign, *, now: datetime) -> None:
    _refuse_blacklisted(connection, message, campaign, now)
    assert message.calldate is not None
    if message.calldate < scheduler_table.promoted_until(connection):
        spool_table.submit(connection, [message])
    else:
        scheduler_table.schedule(connection, [message])


def _refuse_blacklisted(connection: Connection, message: NewMessage, campaign: Campaign, now: datetime) -> None:
    key = (campaign.channel, message.address, campaign.name)
    entry = blocked(connection, [key], now=now).get(key)
    if entry is not None:
        raise Refused(f"the destination is {entry}")
