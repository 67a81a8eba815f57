"""SMS that people send to us: stored once, long ones joined, opt-outs put on the blacklist in the same transaction."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from dialerd.model.campaign import Campaign
from dialerd.model.inbound import InboundRules, Scope, Wish, wish_of
from dialerd.model.message import Channel, new_id
from dialerd.model.receipt import Inbound, address_of
from dialerd.model.text import join
from dialerd.store import blacklist
from dialerd.store.blacklist import Entry
from dialerd.store.columns import Instant, MessageId
from dialerd.store.sent import LastSent, being_sent, last_sent
from dialerd.store.spool import NewMessage, submit
from dialerd.store.tables import sms_inbound

__all__ = ["LONGEST_WAIT", "Door", "Stored", "forget_inbound_parts", "has_open", "join_late", "store"]

#: A provider that did not hear our answer sends an SMS again: within minutes; where it names it, within a day.
REPEATED_WITHIN, NAMED_REPEATED_WITHIN = timedelta(minutes=5), timedelta(days=1)
#: Parts of a long SMS come within seconds; after so long, what there is of it is all there will be.
LONGEST_WAIT = timedelta(minutes=10)
#: A text has at most 255 parts of 153 letters; a phone's name fits into a column of a hostile provider too.
LONGEST_TEXT, LONGEST_NAME = 40_000, 200
#: How an entry of the blacklist begins that its own number has asked for, and may take back.
ASKED = "asked for by SMS: "
#: Halves of surrogate pairs, which no column holds, as characters that no SMS has, until their parts are joined.
HALVES = {0xD800 + n: 0x100000 + n for n in range(0x800)}
WHOLE = {kept: half for half, kept in HALVES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What inbound SMS are judged by.

    `canonical` returns a number as a campaign (or None) spells it; `reply` returns the confirmation to send, by
    (campaign, destination, text), or None where it cannot be sent.
    """

    rules: InboundRules
    campaigns: Mapping[str, Campaign]
    canonical: Callable[[str, Campaign | None], str | None]
    reply: Callable[[Campaign, str, str, datetime], NewMessage | None]


@dataclass(slots=True)
class Stored:
    """How many inbound SMS were stored, were repetitions, wait for their other parts, and what was asked for."""

    stored: int = 0
    repeated: int = 0
    waiting: int = 0
    opted_out: int = 0
    opted_in: int = 0
    replied: int = 0


def store(connection: Connection, some: Sequence[Inbound], door: Door, *, now: datetime) -> Stored:
    """Store inbound SMS, each once; parts of long ones wait until all are there."""
    result = Stored()
    for one in map(_clean, some):
        whole = one if one.parts <= 1 else _joined(connection, one, result)
        if whole is not None:
            _store_one(connection, whole, door, now, result)
    return result


def has_open(connection: Connection) -> bool:
    """Tell whether parts of long SMS wait for others."""
    return connection.execute(text("SELECT min(whole) FROM inbound_part WHERE NOT joined")).scalar() is not None


def join_late(connection: Connection, door: Door, *, now: datetime, most: int) -> Stored:
    """Store what there is of long SMS whose other parts have not come in time."""
    # Also those whose last parts two nodes were given at the same moment: neither has seen the other's.
    table = "inbound_part INDEXED BY ix_inbound_part_open" if connection.dialect.name == "sqlite" else "inbound_part"
    statement = text(
        f"SELECT whole FROM {table} WHERE NOT joined GROUP BY whole"
        " HAVING min(received) < :before OR count(*) >= max(parts) LIMIT :most"
    ).bindparams(bindparam("before", type_=Instant))
    result = Stored()
    for whole in connection.execute(statement, {"before": now - LONGEST_WAIT, "most": most}).scalars().all():
        if not any(row.joined for row in _parts_of(connection, whole)):
            _store_one(connection, _join(connection, whole), door, now, result)
    return result


def forget_inbound_parts(connection: Connection, *, now: datetime, most: int) -> int:
    """Forget parts of joined SMS that no provider repeats any more; return how many."""
    statement = text(
        "DELETE FROM inbound_part WHERE received < :before AND joined AND (whole, part) IN (SELECT whole, part"
        " FROM inbound_part WHERE received < :before AND joined ORDER BY received LIMIT :most)"
    ).bindparams(bindparam("before", type_=Instant))
    return connection.execute(statement, {"before": now - NAMED_REPEATED_WITHIN, "most": most}).rowcount


# -- long ones ---------------------------------------------------------------------------------------------------------

PARTS = "part, parts, provider, phone, recipient, message, provider_id, received, joined"


def _joined(connection: Connection, one: Inbound, result: Stored) -> Inbound | None:
    """Return the SMS that this part completes, None while others are missing or if it is a repetition."""
    whole = _digest(one.provider, one.phone, one.to, one.reference, one.parts)
    known = _parts_of(connection, whole)
    same = next((row for row in known if row.part == one.part), None)
    if same is not None:
        if _is_repeated(same, one):
            result.repeated += 1
            return None
        # The phone has begun to count anew: what there was of the earlier one goes its own way.
        moved = _digest(whole, same.received.isoformat(), same.part, same.message)
        connection.execute(text("UPDATE inbound_part SET whole = :moved WHERE whole = :whole"),
                           {"whole": whole, "moved": moved})  # fmt: skip
        known = []
    names = ("whole", "part", "parts", "provider", "phone", "recipient", "message", "provider_id", "received")
    added = connection.execute(
        text(
            f"INSERT INTO inbound_part ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"
            " ON CONFLICT (whole, part) DO NOTHING"
        ).bindparams(bindparam("received", type_=Instant)),
        {
            "whole": whole,
            "part": one.part,
            "parts": one.parts,
            "provider": one.provider,
            "phone": one.phone,
            "recipient": one.to,
            "message": one.message,
            "provider_id": one.provider_id,
            "received": one.received,
        },
    ).rowcount
    if not added:
        result.repeated += 1
        return None
    if len(known) + 1 < one.parts:
        result.waiting += 1
        return None
    return _join(connection, whole)


def _is_repeated(known: Any, one: Inbound) -> bool:
    if known.provider_id is not None and one.provider_id is not None and known.provider_id != one.provider_id:
        return False
    return bool(known.message == one.message and one.received - known.received < NAMED_REPEATED_WITHIN)


def _join(connection: Connection, whole: str) -> Inbound:
    rows = _parts_of(connection, whole)
    connection.execute(text("UPDATE inbound_part SET joined = true WHERE whole = :whole"), {"whole": whole})
    first = rows[0]
    return Inbound(
        provider=first.provider,
        phone=first.phone,
        message=join(row.message.translate(WHOLE) for row in rows)[:LONGEST_TEXT],
        received=min(row.received for row in rows),
        to=first.recipient,
        # Its parts are known by themselves: their repetitions do not come as far as this.
        provider_id=whole + min(row.received for row in rows).isoformat(),
    )


def _parts_of(connection: Connection, whole: str) -> Sequence[Any]:
    lock = " FOR UPDATE" if connection.dialect.name == "postgresql" else ""
    statement = text(f"SELECT {PARTS} FROM inbound_part WHERE whole = :whole ORDER BY part{lock}")
    return connection.execute(statement.columns(received=Instant), {"whole": whole}).all()


# -- each --------------------------------------------------------------------------------------------------------------


def _store_one(connection: Connection, one: Inbound, door: Door, now: datetime, result: Stored) -> None:
    id_ = new_id()
    wish = wish_of(one.message, door.rules)
    known = _stored_before(connection, one)
    contrary = None if known is None or wish is None else _contrary(connection, one, wish, door.rules, since=known)
    if known is not None and contrary is None:
        result.repeated += 1
        return
    sent = _last_sent(connection, one)
    campaign = sent[0].campaign if sent else door.rules.campaign
    within = NAMED_REPEATED_WITHIN if one.provider_id is not None else REPEATED_WITHIN
    stored = connection.execute(
        text(
            "INSERT INTO sms_inbound (id, phone, message, received, provider, campaign, recipient, provider_id,"
            " fingerprint) VALUES (:id, :phone, :message, :received, :provider, :campaign, :recipient, :provider_id,"
            " :fingerprint) ON CONFLICT (fingerprint) DO NOTHING"
        ).bindparams(*(bindparam(name, type_=sms_inbound.c[name].type) for name in ("id", "received"))),
        {
            "id": id_,
            "phone": one.phone,
            "message": one.message,
            "received": one.received,
            "provider": one.provider,
            "campaign": campaign,
            "recipient": one.to,
            "provider_id": one.provider_id,
            "fingerprint": _fingerprint(one, _window(one.received, within), contrary),
        },
    ).rowcount
    if not stored:
        result.repeated += 1
        return
    result.stored += 1
    if wish is not None:
        _grant(connection, wish, one, id_, sent, door, now, result, campaign=door.campaigns.get(campaign or ""))


def _stored_before(connection: Connection, one: Inbound) -> datetime | None:
    """Return when the same was stored within the time in which providers repeat; the window before counts too."""
    within = NAMED_REPEATED_WITHIN if one.provider_id is not None else REPEATED_WITHIN
    window = _window(one.received, within)
    statement = text("SELECT received FROM sms_inbound WHERE fingerprint IN (:before, :same, :after)").columns(
        received=Instant
    )
    known = connection.execute(
        statement,
        {
            "before": _fingerprint(one, window - 1),
            "same": _fingerprint(one, window),
            "after": _fingerprint(one, window + 1),
        },
    ).scalars()
    return next((received for received in known if abs(one.received - received) < within), None)


def _contrary(connection: Connection, one: Inbound, wish: Wish, rules: InboundRules, *, since: datetime) -> str | None:
    """Return the SMS by which somebody has wished the contrary since: to wish the same again is no repetition then.

    None: there is none, or the provider names what it delivers, and by that name it is the same.
    """
    if one.provider_id is not None:
        return None
    statement = text(
        "SELECT id, message FROM sms_inbound WHERE received >= :since AND phone = :phone"
        " ORDER BY received DESC, id DESC LIMIT 100"
    ).bindparams(bindparam("since", type_=Instant))
    said = connection.execute(statement.columns(id=MessageId), {"since": since, "phone": one.phone})
    last = next(((row.id, wished) for row in said if (wished := wish_of(row.message, rules))), None)
    return last[0] if last is not None and last[1] is not wish else None


def _window(received: datetime, within: timedelta) -> int:
    return int(received.timestamp() // within.total_seconds())


def _fingerprint(one: Inbound, window: int, contrary: str | None = None) -> str:
    said = (one.provider, one.provider_id, one.phone, one.to, one.reference, one.message, window)
    return _digest(*said, contrary) if contrary is not None else _digest(*said)


def _digest(*said: object) -> str:
    return hashlib.sha256(repr(said).encode("utf-8", "replace")).hexdigest()


def _last_sent(connection: Connection, one: Inbound) -> list[LastSent]:
    """Return what was last sent to who wrote, the newest first, one for each spelling of the number."""
    number = address_of(one.phone)
    if number is None:
        return []
    found: dict[str, LastSent] = {}
    for each in (*being_sent(connection, number, provider=one.provider), *last_sent(connection, number)):
        found.setdefault(each.address, each)
    return list(found.values())


# -- wishes ------------------------------------------------------------------------------------------------------------


def _grant(
    connection: Connection, wish: Wish, one: Inbound, id_: str, sent: Sequence[LastSent], door: Door, now: datetime,
    result: Stored, *, campaign: Campaign | None,
) -> None:  # fmt: skip
    """Put the number on the blacklist, or take it off, and confirm it if something has changed."""
    rules = door.rules
    scope = campaign.name if rules.scope is Scope.CAMPAIGN and campaign is not None else None
    # As messages to it are spelt, and as they would be: a campaign without a region takes numbers as they stand.
    spellings = {door.canonical(one.phone, campaign), *(each.address for each in sent)} - {None}
    word = one.message.strip()[:50]
    changed = 0
    for value in sorted(str(each) for each in spellings):
        if wish is Wish.OPT_OUT:
            entry = Entry(channel=Channel.SMS, value=value, campaign=scope, reason=f"{ASKED}{word}")
            changed += blacklist.add_if_new(connection, entry, now=now)
        else:
            changed += blacklist.take_back(connection, Channel.SMS, value, campaign=scope, reason=ASKED)
    if not changed:
        return
    if wish is Wish.OPT_OUT:
        result.opted_out += 1
    else:
        result.opted_in += 1
    answer = rules.opt_out_reply if wish is Wish.OPT_OUT else rules.opt_in_reply
    if answer is None or campaign is None:
        return
    destination = sent[0].destination if sent and sent[0].campaign == campaign.name else one.phone
    message = door.reply(campaign, destination, answer, now)
    if message is not None:
        submit(connection, [message])
        connection.execute(
            text("UPDATE sms_spool SET answers = :answers WHERE id = :id").bindparams(
                *(bindparam(name, type_=sms_inbound.c.id.type) for name in ("answers", "id"))
            ),
            {"answers": id_, "id": message.id},
        )
        result.replied += 1


def _clean(one: Inbound) -> Inbound:
    """Return an SMS as a table can hold it, whatever the provider wrote."""
    parts = one.parts if 1 <= one.part <= one.parts <= 255 else 1
    return replace(
        one,
        phone=_storable(one.phone, LONGEST_NAME) or "",
        message=_storable(one.message.translate(HALVES) if parts > 1 else one.message, LONGEST_TEXT) or "",
        received=one.received if one.received.tzinfo is not None else one.received.replace(tzinfo=UTC),
        to=_storable(one.to, LONGEST_NAME),
        provider_id=_storable(one.provider_id, LONGEST_NAME) or None,
        part=one.part if parts > 1 else 1,
        parts=parts,
    )


def _storable(given: str | None, longest: int) -> str | None:
    if given is None:
        return None
    return given.replace("\0", "").encode("utf-8", "replace").decode()[:longest]
