"""Checks a message at the door and puts it where it belongs: the spool, or sms_scheduler."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dialerd.examine import examine, providers_of
from dialerd.failpoint import hit
from dialerd.grouped import Grouped
from dialerd.model.calendar import parse_when, storable
from dialerd.model.campaign import Campaign
from dialerd.model.errors import Refused, UnknownCampaign
from dialerd.model.message import BULK, URGENT, Channel, State, new_id
from dialerd.settings import Settings
from dialerd.store import Connection, Store
from dialerd.store import scheduler as scheduler_table
from dialerd.store import spool as spool_table
from dialerd.store.blacklist import blocked
from dialerd.store.scheduler import base_name
from dialerd.store.spool import NewMessage

__all__ = ["Checked", "Intake", "check_schedule", "check_submit", "put", "schedule", "submit"]


@dataclass(frozen=True, slots=True)
class Checked:
    """A message that has passed every check that needs no database. A scheduled one has a calldate."""

    message: NewMessage
    channel: Channel


def check_submit(
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
) -> Checked:
    """Return a message for the spool.

    Raises Refused for an unknown campaign, a bad address or a text that cannot be sent.
    """
    if not URGENT <= priority <= BULK:
        raise Refused(f"priority {priority} is outside {URGENT} (first) to {BULK} (last)")
    known = _known(settings, campaign)
    message = _message(
        settings, known, destination, data, priority=priority, agent=agent, source=source, details=details,
        due_at=now, now=now,
    )  # fmt: skip
    return Checked(message, known.channel)


def check_schedule(
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
) -> Checked:
    """Return a message for its time, which is wall-clock time in the campaign's zone or an instant with an offset.

    Raises Refused as check_submit does, and for a time that cannot be read.
    """
    known = _known(settings, campaign)
    try:
        calldate = parse_when(when, known.zone) if isinstance(when, str) else storable(when)
    except ValueError as error:
        raise Refused(str(error)) from error
    message = _message(
        settings, known, destination, data, priority=URGENT, agent=agent, source=source, details=details,
        due_at=calldate, now=now, base=base_name(calldate, known.zone), calldate=calldate,
        state=State.DEFERRED if calldate > now else State.QUEUED,
    )  # fmt: skip
    return Checked(message, known.channel)


def put(connection: Connection, some: Sequence[Checked], *, now: datetime) -> list[str | None]:
    """Put messages into the spool, or where they wait for their time; return for each what blacklists it, if anything.

    One for a minute that has been promoted already goes straight into the spool, so that it is on time too.
    """
    keys = [(one.channel, one.message.address, one.message.campaign) for one in some]
    entries = blocked(connection, list(dict.fromkeys(keys)), now=now)
    good = [one.message for one, key in zip(some, keys, strict=True) if key not in entries]
    at_once = [message for message in good if message.calldate is None]
    timed = [(message, message.calldate) for message in good if message.calldate is not None]
    if timed:
        until = scheduler_table.promoted_until(connection)
        at_once += [message for message, calldate in timed if calldate < until]
        scheduler_table.schedule(connection, [message for message, calldate in timed if calldate >= until])
    spool_table.submit(connection, at_once)
    return [entries.get(key) for key in keys]


async def submit(store: Store, settings: Settings, **given: Any) -> str:
    """Put a message into the spool and return its id; it stands there when this returns.

    Takes what check_submit takes. Raises Refused as that does, and for a blacklisted address.
    """
    return await _put_one(store, check_submit(settings, **given), now=given["now"])


async def schedule(store: Store, settings: Settings, **given: Any) -> str:
    """Put a message where it waits for its time and return its id; it stands there when this returns.

    Takes what check_schedule takes. Raises Refused as that does, and for a blacklisted address.
    """
    return await _put_one(store, check_schedule(settings, **given), now=given["now"])


async def _put_one(store: Store, checked: Checked, *, now: datetime) -> str:
    (entry,) = await store.transact(put, [checked], now=now)
    return _accepted(checked, entry)


def _accepted(checked: Checked, entry: str | None) -> str:
    if entry is not None:
        raise Refused(f"the destination is {entry}")
    hit("submit.committed")
    return checked.message.id


class Intake:
    """The door of a server: messages that come in at the same time are put in by one transaction.

    `settings` returns those that hold now; `wake` is called when something stands in the spool.
    """

    def __init__(
        self,
        store: Store,
        *,
        settings: Callable[[], Settings],
        clock: Callable[[], datetime],
        wake: Callable[[], None],
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self.wake = wake
        self._put: Grouped[Checked, str | None] = Grouped(self._put_some)

    async def submit(self, **given: Any) -> str:
        """Put a message into the spool, as submit() does, `now`."""
        return await self._take(check_submit(self._settings(), **given, now=self._clock()))

    async def schedule(self, **given: Any) -> str:
        """Put a message where it waits for its time, as schedule() does, `now`."""
        return await self._take(check_schedule(self._settings(), **given, now=self._clock()))

    async def _take(self, checked: Checked) -> str:
        return _accepted(checked, await self._put(checked))

    async def _put_some(self, some: Sequence[Checked]) -> list[str | None]:
        entries = await self._store.transact(put, some, now=self._clock())
        self.wake()
        return entries


def _known(settings: Settings, name: str) -> Campaign:
    if name in settings.campaigns:
        return settings.campaigns[name]
    raise UnknownCampaign(name, settings.campaigns)


def _message(
    settings: Settings, campaign: Campaign, destination: str, data: str, *, details: Mapping[str, Any] | None,
    due_at: datetime, now: datetime, **given: Any,
) -> NewMessage:  # fmt: skip
    for name in ("agent", "source"):
        if given[name] and "\0" in given[name]:
            raise Refused(f"the {name} holds a NUL character")
    examined = examine(campaign, destination, data, details, providers_of(campaign, settings.providers))
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
