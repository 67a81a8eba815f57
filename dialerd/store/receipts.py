"""Receipts: each finds the one message that it is about, at a cost that does not grow, or is parked; it never guesses.

A receipt is about a message if it echoes our own id, or if the provider's id, by one of the readings that are set for
that provider, is the id of exactly one message (or part) to that address of the last days. An id so short that a
counter may give it twice proves nothing while another message to that address is on its way: that may be the one. Of
a doubt nobody knows the provider's id: it is ended by our own id, or by a receipt that fits nothing else.
"""

import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import TextualSelect, bindparam, text
from sqlalchemy.engine import Connection

from dialerd.model.receipt import (
    Delivery,
    Receipt,
    ReceiptIds,
    address_of,
    answers_for,
    is_short,
    outranks,
    receipts_for,
    same_address,
)
from dialerd.store.arrays import any_of, bind_list, bind_rows, rows_of
from dialerd.store.columns import Instant, MessageId
from dialerd.store.deliveries import Said, record
from dialerd.store.sent import MOST_LAST_SENT, last_sent
from dialerd.store.settle import end_doubts
from dialerd.store.tables import NAMED, TAIL, parked_receipt

__all__ = ["KEPT", "Received", "Told", "expire_parked", "look_again", "next_look", "receive", "settled"]

#: Receipts come within the validity of an SMS, some days at most (SMPP 3.4, section 5.2.16); so long an id is known by.
KEPT = timedelta(days=14)
#: So many messages of the same id and address are looked at, the newest first.
MOST_CANDIDATES = 5
#: A doubt that is older has its receipt, or gets none any more: it casts no doubt on others.
CONFIRMED_WITHIN = timedelta(days=3)
#: A parked receipt is looked at again after so long, each time five times as long, but at least every hour.
FIRST_LOOK_S, LONGEST_LOOK_S = 2.0, 3600.0
#: What a provider says is cut at so many characters.
LONGEST_ID, LONGEST_ERROR = 200, 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A receipt and how its provider's ids are to be read; `parked` is its number where it has been parked."""

    receipt: Receipt
    reading: ReceiptIds
    parked: int | None = None
    looks: int = 0

    @property
    def own_id(self) -> str | None:
        """Our own id as the tables spell it, if it is one at all."""
        try:
            return str(uuid.UUID(self.receipt.own_id)) if self.receipt.own_id else None
        except ValueError:
            return None


@dataclass(slots=True)
class Received:
    """What became of receipts: matched, parked, or of no more use (on its way, and nobody doubted it)."""

    matched: int = 0
    parked: int = 0
    passed: int = 0


class _Candidate(NamedTuple):
    message: str
    part: int | None
    address: str
    at: datetime


class _Doubt(NamedTuple):
    """A message in the spool that the provider may have."""

    seq: int
    id: str
    state: str
    address: str
    attempts: int
    parts: int
    taken: int
    claimed_at: datetime | None


def receive(connection: Connection, told: Sequence[Told], *, now: datetime) -> Received:
    """Record what receipts say where it belongs, and park those that fit nothing, or several, for now."""
    cleaned = list({_fingerprint(one): one for one in map(_clean, told)}.values())
    matched = _match(connection, cleaned, now)
    left = [one for n, one in enumerate(cleaned) if n not in matched]
    parked = [one for one in left if one.receipt.delivery is not None]
    _park(connection, parked, now)
    return Received(len(matched), len(parked), len(left) - len(parked))


def settled(
    connection: Connection, *, answered: Sequence[tuple[str, str]], messages: Sequence[str], now: datetime
) -> int:
    """Apply the receipts that came too early: of these (provider, its id) and of these messages; return how many."""
    if connection.execute(text("SELECT min(seq) FROM parked_receipt")).scalar() is None:
        return 0
    keys = [(provider, key) for provider, given in answered for key in receipts_for(given)]
    found = {one.parked: one for one in _parked_by_id(connection, keys)}
    own = text(
        f"SELECT {PARKED} FROM parked_receipt WHERE own_id IS NOT NULL"
        f" AND {any_of(connection, 'own_id', 'messages', 'uuid')} ORDER BY seq LIMIT 1000"
    ).columns(**PARKED_TYPES)
    found |= {
        one.parked: one for one in map(_told, connection.execute(own, {"messages": bind_list(connection, messages)}))
    }
    return _apply_parked(connection, list(found.values()), now)


def look_again(connection: Connection, *, now: datetime, most: int) -> tuple[int, int]:
    """Look again at parked receipts whose time has come; return how many there were, and how many found their message.

    That is the second chance of those that were parked while the settlement that names their id was being committed.
    """
    skip = " FOR UPDATE SKIP LOCKED" if connection.dialect.name == "postgresql" else ""
    due = text(
        f"SELECT {PARKED} FROM parked_receipt WHERE look_at <= :now ORDER BY look_at LIMIT :most{skip}"
    ).bindparams(bindparam("now", type_=Instant))
    told = list(map(_told, connection.execute(due.columns(**PARKED_TYPES), {"now": now, "most": most})))
    if not told:
        return 0, 0
    applied = _apply_parked(connection, told, now)
    later = text("UPDATE parked_receipt SET looks = looks + 1, look_at = :at WHERE seq = :seq").bindparams(
        bindparam("at", type_=Instant)
    )
    connection.execute(later, [{"seq": one.parked, "at": _next_look(now, one.looks + 1)} for one in told])
    return len(told), applied


def next_look(connection: Connection) -> datetime | None:
    """Return when the next parked receipt is to be looked at."""
    statement = text("SELECT min(look_at) AS look_at FROM parked_receipt").columns(look_at=Instant)
    look_at: datetime | None = connection.execute(statement).scalar()
    return look_at


def expire_parked(connection: Connection, *, before: datetime, most: int) -> int:
    """Forget receipts that were parked before an instant and never found their message; return how many."""
    statement = text(
        "DELETE FROM parked_receipt WHERE seq IN"
        " (SELECT seq FROM parked_receipt WHERE received < :before ORDER BY received LIMIT :most)"
    ).bindparams(bindparam("before", type_=Instant))
    return connection.execute(statement, {"before": before, "most": most}).rowcount


# -- which message -----------------------------------------------------------------------------------------------------


def _match(connection: Connection, told: Sequence[Told], now: datetime) -> set[int]:
    """Record what those receipts say that fit exactly one message; return which they were, by their place."""
    if not told:
        return set()
    # Read before the candidates: what is on its way now may be settled, and a candidate, by the time they are read.
    on_its_way = _on_its_way(connection, told)
    doubts = _doubts(connection, told)
    own = _own(connection, told)
    candidates = _candidates(connection, told, now)
    said: list[Said] = []
    ended: dict[int, tuple[int, str, str | None]] = {}
    matched: set[int] = set()
    for n, one in enumerate(told):
        receipt, of_address = one.receipt, address_of(one.receipt.address)
        message: str | None = None
        part: int | None = None
        doubt: _Doubt | None = None
        found = candidates.get(n, [])
        if one.own_id in own:
            where = own[one.own_id]
            if isinstance(where, _Doubt):
                doubt = where if _is_taken(where, receipt) else None
            else:
                mine = [each for each in found if each.message == one.own_id and each.part is not None]
                if len(mine) == 1:
                    message, part = one.own_id, mine[0].part
                elif not where:
                    message = one.own_id
        elif one.own_id is None:
            unsure = _may_be_another(one, n, of_address, on_its_way, doubts, now)
            if len(found) == 1 and not unsure:
                message, part = found[0].message, found[0].part
            elif not found and of_address is not None and (receipt.provider, of_address) not in on_its_way:
                doubt = _only_doubt(connection, receipt.provider, of_address, doubts.of(n), now)
        if doubt is not None:
            message = doubt.id
            ended[doubt.seq] = (doubt.seq, receipt.provider, receipt.provider_id)
        if message is not None:
            matched.add(n)
            if receipt.delivery is not None:
                at = receipt.at or now
                said.append(Said(message=message, part=part, delivery=receipt.delivery, at=at, error=receipt.error))
    if ended:
        end_doubts(connection, list(ended.values()), now=now)
    record(connection, said)
    return matched


def _is_taken(doubt: _Doubt, receipt: Receipt) -> bool:
    """Tell whether a receipt that echoes our id ends the message's waiting: nobody is trying it, and it has gone."""
    if doubt.taken or doubt.state == "sending" or not doubt.attempts:
        return False
    if doubt.state == "in_doubt":
        return True
    # It is to be sent again: not if it has arrived.
    return doubt.state in {"deferred", "queued"} and outranks(receipt.delivery, Delivery.UNDELIVERED)


def _may_be_another(
    one: Told, n: int, address: str | None, on_its_way: "_OnItsWay", doubts: "_Doubts", now: datetime
) -> bool:
    """Tell whether a receipt with a counter's id may be about a message whose id is not known yet."""
    receipt = one.receipt
    if receipt.provider_id is None or not is_short(receipt.provider_id, one.reading):
        return False
    recent = (doubt for doubt in doubts.of(n) if doubt.claimed_at is None or doubt.claimed_at > now - CONFIRMED_WITHIN)
    doubted = doubts.any if address is None else any(recent)
    return doubted or (receipt.provider, address) in on_its_way


def _only_doubt(
    connection: Connection, provider: str, address: str, doubts: Sequence[_Doubt], now: datetime
) -> _Doubt | None:
    """Return the doubt that a receipt with an unknown id must be about, None if it may be about something else.

    Of a long SMS each part has a receipt, and one says nothing of the others.
    """
    if len(doubts) != 1 or doubts[0].taken or doubts[0].parts > 1:
        return None
    rows = last_sent(connection, address)
    waiting = any(
        row.provider == provider
        and row.delivery is None
        and row.dateprocessed > now - KEPT
        and same_address(row.address, address)
        for row in rows
    )
    return None if waiting or len(rows) == MOST_LAST_SENT else doubts[0]


class _OnItsWay:
    """What is being sent at this moment, by provider and recipient."""

    def __init__(self, rows: Iterable[tuple[str | None, str | None]]) -> None:
        self._addresses: dict[str | None, dict[str, list[str]]] = {}
        for provider, address in rows:
            if address is not None:
                self._addresses.setdefault(provider, {}).setdefault(address[-4:], []).append(address)

    def __contains__(self, asked: tuple[str, str | None]) -> bool:
        provider, address = asked
        for of_provider in (self._addresses.get(provider, {}), self._addresses.get(None, {})):
            if address is None:
                if of_provider:
                    return True
            elif any(same_address(each, address) for each in of_provider.get(address[-4:], [])):
                return True
        return False


def _on_its_way(connection: Connection, told: Sequence[Told]) -> _OnItsWay:
    # As many rows as there are permits, however large the spool is.
    asked = any(one.receipt.provider_id is None or is_short(one.receipt.provider_id, one.reading) for one in told)
    if not asked and not _has_doubts(connection):
        return _OnItsWay([])
    rows = connection.execute(text("SELECT provider, address FROM sms_spool WHERE state = 'sending'"))
    return _OnItsWay((provider, address) for provider, address in rows)


def _has_doubts(connection: Connection) -> bool:
    # Ordered, so that it is a probe of the doubts' index, also after a night in which all was in doubt.
    statement = "SELECT provider FROM sms_spool WHERE state = 'in_doubt' ORDER BY provider LIMIT 1"
    return connection.execute(text(statement)).first() is not None


def _tail_of(given: str) -> str:
    return TAIL.replace("address", given)


# -- what the tables know ----------------------------------------------------------------------------------------------

DOUBT = "seq, id, state, address, attempts, coalesce(parts, 1) AS parts, taken, claimed_at"
DOUBT_TYPES: dict[str, Any] = {"id": MessageId, "claimed_at": Instant}


@dataclass(slots=True)
class _Doubts:
    """Whether anything is in doubt, and for each receipt, by its place, the doubts of its provider and address."""

    any: bool
    by_place: dict[int, list[_Doubt]]

    def of(self, n: int) -> list[_Doubt]:
        return self.by_place.get(n, [])


def _doubts(connection: Connection, told: Sequence[Told]) -> _Doubts:
    """Return what may be doubted of the receipts' providers and addresses; of two, three are as many."""
    if not _has_doubts(connection):
        return _Doubts(any=False, by_place={})
    asked = [
        (n, one.receipt.provider, address)
        for n, one in enumerate(told)
        if one.own_id is None and (address := address_of(one.receipt.address)) is not None
    ]
    lock = " FOR UPDATE" if connection.dialect.name == "postgresql" else ""
    wanted = (
        f"SELECT {DOUBT} FROM sms_spool WHERE state = 'in_doubt' AND provider = {{provider}}"
        f" AND {TAIL} = {_tail_of('{address}')} LIMIT 3{lock}"
    )
    found: dict[int, list[_Doubt]] = {}
    for n, row in _each(connection, wanted, {"provider": "text", "address": "text"}, asked, DOUBT_TYPES):
        doubt = _Doubt._make(row)
        if same_address(doubt.address, address_of(told[n].receipt.address) or ""):
            found.setdefault(n, []).append(doubt)
    return _Doubts(any=True, by_place=found)


def _own(connection: Connection, told: Sequence[Told]) -> dict[str | None, "_Doubt | bool"]:
    """Return where the messages are whose ids receipts echo: in the spool, or in sms_repo.

    There it is True where the provider has named the parts one by one, so that the message's id alone says too little.
    """
    ids = sorted({one.own_id for one in told if one.own_id is not None})
    if not ids:
        return {}
    lock = " FOR UPDATE" if connection.dialect.name == "postgresql" else ""
    bound = {"ids": bind_list(connection, ids)}
    spooled = text(f"SELECT {DOUBT} FROM sms_spool WHERE {any_of(connection, 'id', 'ids', 'uuid')} ORDER BY seq{lock}")
    found: dict[str | None, _Doubt | bool] = {
        row.id: _Doubt._make(row) for row in connection.execute(spooled.columns(**DOUBT_TYPES), bound)
    }
    ended = text(
        "SELECT id, EXISTS (SELECT 1 FROM sms_part p WHERE p.message = sms_repo.id) AS parted FROM sms_repo"
        f" WHERE {any_of(connection, 'id', 'ids', 'uuid')}"
    ).columns(id=MessageId)
    return found | {row.id: bool(row.parted) for row in connection.execute(ended, bound)}


def _candidates(connection: Connection, told: Sequence[Told], now: datetime) -> dict[int, list[_Candidate]]:
    """Return for each receipt the messages, or parts, of its address that its provider may call so."""
    with_address: list[tuple[Any, ...]] = []
    without: list[tuple[Any, ...]] = []
    for n, one in enumerate(told):
        receipt, address = one.receipt, address_of(one.receipt.address)
        for key in answers_for(receipt.provider_id, one.reading) if receipt.provider_id is not None else ():
            if address is not None:
                with_address.append((n, receipt.provider, key, address))
            else:
                without.append((n, receipt.provider, key))
    types = {"message": MessageId, "at": Instant}
    keyed, dialect = {"provider": "text", "key": "text"}, connection.dialect.name
    rows = [
        *_each(connection, _named(dialect, with_address=True), keyed | {"address": "text"}, with_address, types),
        *_each(connection, _named(dialect, with_address=False), keyed, without, types),
    ]
    found: dict[int, dict[str, list[_Candidate]]] = {}
    for n, row in rows:
        candidate = _Candidate._make(row)
        address = address_of(told[n].receipt.address)
        if candidate.at > now - KEPT and (address is None or same_address(candidate.address or "", address)):
            found.setdefault(n, {}).setdefault(candidate.message, []).append(candidate)
    return {n: [each for some in by.values() for each in _parts_first(some)] for n, by in found.items()}


def _parts_first(some: Sequence[_Candidate]) -> list[_Candidate]:
    """Return the parts of a message that were found by an id, or else the message itself."""
    parts = {each.part: each for each in some if each.part is not None}
    return list(parts.values()) or list(some[:1])


@cache
def _named(dialect: str, *, with_address: bool) -> str:
    """Return the query for what a provider calls so: one probe of an index each, in sms_repo and in sms_part.

    SQLite is told which index: with statistics of ids that repeat it would read all of sms_repo from its end.
    """
    repo, part = ("sms_repo INDEXED BY ix_sms_repo_named", "sms_part INDEXED BY ix_sms_part_named")
    if dialect != "sqlite":
        repo, part = ("sms_repo", "sms_part")
    where = f"provider_id IS NOT NULL AND provider = {{provider}} AND {NAMED} = {{key}}"
    if with_address:
        where += f" AND {TAIL} = {_tail_of('{address}')}"
    newest, taken = ("ORDER BY seq DESC", "ORDER BY taken_at DESC") if with_address else ("", "")
    return (
        "SELECT * FROM (SELECT id AS message, CAST(NULL AS int) AS part, address, dateprocessed AS at"
        f" FROM {repo} WHERE {where} {newest} LIMIT {MOST_CANDIDATES}) AS of_repo"
        " UNION ALL SELECT * FROM (SELECT message, CAST(part AS int) AS part, address, taken_at AS at"
        f" FROM {part} WHERE {where} {taken} LIMIT {MOST_CANDIDATES}) AS of_part"
    )


def _each(
    connection: Connection, query: str, pg_types: Mapping[str, str], asked: Sequence[tuple[Any, ...]],
    types: Mapping[str, Any],
) -> list[tuple[int, tuple[Any, ...]]]:  # fmt: skip
    """Run a query for each of (n, *values), whose names stand in braces in it; return its rows with their n."""
    if not asked:
        return []
    if connection.dialect.name == "sqlite":
        statement = _for_one(query, tuple(pg_types), tuple(types.items()))
        return [
            (n, tuple(row))
            for n, *values in asked
            for row in connection.execute(statement, dict(zip(pg_types, values, strict=True)))
        ]
    inner = query.format(**{name: f"a.{name}" for name in pg_types})
    given = {"n": "int", **pg_types}
    statement = text(
        f"SELECT found.*, a.n FROM {rows_of(connection, 'a', **given)} CROSS JOIN LATERAL ({inner}) AS found"
    ).columns(**types)
    rows = connection.execute(statement, bind_rows(connection, "a", list(given), asked))
    return [(n, tuple(row)) for *row, n in rows]


@cache
def _for_one(query: str, names: tuple[str, ...], types: tuple[tuple[str, Any], ...]) -> TextualSelect:
    return text(query.format(**{name: f":{name}" for name in names})).columns(**dict(types))


# -- parked ------------------------------------------------------------------------------------------------------------

PARKED = "seq, provider, reading, provider_id, own_id, delivery, address, at, error, looks"
PARKED_TYPES: dict[str, Any] = {"own_id": MessageId, "at": Instant}


def _park(connection: Connection, told: Sequence[Told], now: datetime) -> None:
    rows = [
        {
            "fingerprint": _fingerprint(one),
            "provider": one.receipt.provider,
            "reading": one.reading,
            "provider_id": one.receipt.provider_id,
            "own_id": one.own_id,
            "delivery": one.receipt.delivery,
            "address": one.receipt.address,
            "at": one.receipt.at,
            "error": one.receipt.error,
            "received": now,
            "look_at": _next_look(now, 0),
        }
        for one in told
    ]
    if rows:
        names = tuple(rows[0])
        statement = text(
            f"INSERT INTO parked_receipt ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"
            " ON CONFLICT (fingerprint) DO NOTHING"
        )
        types = [bindparam(name, type_=parked_receipt.c[name].type) for name in names]
        connection.execute(statement.bindparams(*types), rows)


def _apply_parked(connection: Connection, told: Sequence[Told], now: datetime) -> int:
    matched = _match(connection, told, now)
    if matched:
        connection.execute(
            text(f"DELETE FROM parked_receipt WHERE {any_of(connection, 'seq', 'seqs', 'bigint')}"),
            {"seqs": bind_list(connection, [told[n].parked for n in sorted(matched)])},
        )
    return len(matched)


def _parked_by_id(connection: Connection, keys: Sequence[tuple[str, str]]) -> list[Told]:
    query = (
        f"SELECT {PARKED} FROM parked_receipt WHERE provider_id IS NOT NULL AND provider = {{provider}}"
        f" AND {NAMED} = {{key}} LIMIT 20"
    )
    asked = [(n, *key) for n, key in enumerate(dict.fromkeys(keys))]
    rows = _each(connection, query, {"provider": "text", "key": "text"}, asked, PARKED_TYPES)
    return [_told(row) for _, row in rows]


def _told(row: Any) -> Told:
    seq, provider, reading, provider_id, own_id, delivery, address, at, error, looks = row
    return Told(
        receipt=Receipt(
            provider=provider, provider_id=provider_id, own_id=own_id,
            delivery=None if delivery is None else Delivery(delivery), address=address, at=at, error=error,
        ),
        reading=ReceiptIds(reading),
        parked=seq,
        looks=looks,
    )  # fmt: skip


def _next_look(now: datetime, looks: int) -> datetime:
    return now + timedelta(seconds=min(FIRST_LOOK_S * 5 ** min(looks, 10), LONGEST_LOOK_S))


# -- what a provider may write ----------------------------------------------------------------------------------------


def _clean(one: Told) -> Told:
    """Return a receipt as a table can hold it, whatever the provider wrote."""
    receipt = one.receipt
    return replace(
        one,
        receipt=replace(
            receipt,
            provider_id=_storable(receipt.provider_id, LONGEST_ID) or None,
            own_id=_storable(receipt.own_id, LONGEST_ID),
            address=_storable(receipt.address, LONGEST_ID),
            error=_storable(receipt.error, LONGEST_ERROR),
            at=receipt.at if receipt.at and receipt.at.tzinfo and 1970 < receipt.at.year < 9000 else None,
        ),
    )


def _storable(given: str | None, longest: int) -> str | None:
    if given is None:
        return None
    return given.replace("\0", "").encode("utf-8", "replace").decode().strip()[:longest]


def _fingerprint(one: Told) -> str:
    receipt = one.receipt
    said = (receipt.provider, receipt.provider_id, one.own_id, receipt.delivery, receipt.address)
    return hashlib.sha256(repr(said).encode()).hexdigest()
