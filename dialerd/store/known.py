"""What the tables know of the message that a receipt may be about: by our own id, the provider's, or the recipient."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.engine import Connection

from dialerd.model.receipt import Receipt, ReceiptIds, address_of, answers_for, is_short, same_address
from dialerd.store.arrays import any_of, bind_list
from dialerd.store.columns import Instant, MessageId
from dialerd.store.probes import each
from dialerd.store.tables import NAMED, TAIL

__all__ = [
    "KEPT",
    "Candidate",
    "Doubt",
    "Doubts",
    "OnItsWay",
    "Told",
    "candidates_of",
    "doubts_of",
    "on_its_way_now",
    "own_messages",
]

#: Receipts come within the validity of an SMS, some days at most (SMPP 3.4, section 5.2.16); so long an id is known by.
KEPT = timedelta(days=14)
#: So many messages of the same id and address are looked at, the newest first.
MOST_CANDIDATES = 5


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


class Candidate(NamedTuple):
    """A message in sms_repo, or one part (from 1) of a message, that the provider may call as a receipt does."""

    message: str
    part: int | None
    address: str
    at: datetime


class Doubt(NamedTuple):
    """A message in the spool that the provider may have; `parted`: it has named some of its parts."""

    seq: int
    id: str
    state: str
    address: str
    attempts: int
    parts: int
    taken: int
    claimed_at: datetime | None
    parted: bool


class OnItsWay:
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


def on_its_way_now(connection: Connection, told: Sequence[Told]) -> OnItsWay:
    """Return what is being sent, if it matters for one of the receipts.

    These are as many rows as there are permits, however large the spool is.
    """
    asked = any(one.receipt.provider_id is None or is_short(one.receipt.provider_id, one.reading) for one in told)
    if not asked and not has_doubts(connection):
        return OnItsWay([])
    rows = connection.execute(text("SELECT provider, address FROM sms_spool WHERE state = 'sending'"))
    return OnItsWay((provider, address) for provider, address in rows)


def has_doubts(connection: Connection) -> bool:
    # Ordered, so that it is a probe of the doubts' index, also after a night in which all was in doubt.
    statement = "SELECT provider FROM sms_spool WHERE state = 'in_doubt' ORDER BY provider LIMIT 1"
    return connection.execute(text(statement)).first() is not None


def _tail_of(given: str) -> str:
    return TAIL.replace("address", given)


DOUBT = (
    "seq, id, state, address, attempts, coalesce(parts, 1) AS parts, taken, claimed_at,"
    " EXISTS (SELECT 1 FROM sms_part p WHERE p.message = sms_spool.id) AS parted"
)
DOUBT_TYPES: dict[str, Any] = {"id": MessageId, "claimed_at": Instant}


@dataclass(slots=True)
class Doubts:
    """Whether anything is in doubt, and for each receipt, by its place, the doubts of its provider and address."""

    any: bool
    by_place: dict[int, list[Doubt]]

    def of(self, n: int) -> list[Doubt]:
        """Return those of the receipt at this place."""
        return self.by_place.get(n, [])


def doubts_of(connection: Connection, told: Sequence[Told]) -> Doubts:
    """Return what may be doubted of the receipts' providers and addresses; of two, three are as many."""
    if not has_doubts(connection):
        return Doubts(any=False, by_place={})
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
    found: dict[int, list[Doubt]] = {}
    for n, row in each(connection, wanted, {"provider": "text", "address": "text"}, asked, DOUBT_TYPES):
        doubt = Doubt._make(row)
        if same_address(doubt.address, address_of(told[n].receipt.address) or ""):
            found.setdefault(n, []).append(doubt)
    return Doubts(any=True, by_place=found)


def own_messages(connection: Connection, told: Sequence[Told]) -> dict[str | None, "Doubt | bool"]:
    """Return where the messages are whose ids receipts echo: in the spool, or in sms_repo.

    There it is True where the provider has named the parts one by one, so that the message's id alone says too little.
    """
    ids = sorted({one.own_id for one in told if one.own_id is not None})
    if not ids:
        return {}
    lock = " FOR UPDATE" if connection.dialect.name == "postgresql" else ""
    bound = {"ids": bind_list(connection, ids)}
    spooled = text(f"SELECT {DOUBT} FROM sms_spool WHERE {any_of(connection, 'id', 'ids', 'uuid')} ORDER BY seq{lock}")
    found: dict[str | None, Doubt | bool] = {
        row.id: Doubt._make(row) for row in connection.execute(spooled.columns(**DOUBT_TYPES), bound)
    }
    ended = text(
        "SELECT id, EXISTS (SELECT 1 FROM sms_part p WHERE p.message = sms_repo.id) AS parted FROM sms_repo"
        f" WHERE {any_of(connection, 'id', 'ids', 'uuid')}"
    ).columns(id=MessageId)
    return found | {row.id: bool(row.parted) for row in connection.execute(ended, bound)}


def candidates_of(connection: Connection, told: Sequence[Told], now: datetime) -> dict[int, list[Candidate]]:
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
        *each(connection, _named(dialect, with_address=True), keyed | {"address": "text"}, with_address, types),
        *each(connection, _named(dialect, with_address=False), keyed, without, types),
    ]
    found: dict[int, dict[str, list[Candidate]]] = {}
    for n, row in rows:
        candidate = Candidate._make(row)
        address = address_of(told[n].receipt.address)
        if candidate.at > now - KEPT and (address is None or same_address(candidate.address or "", address)):
            found.setdefault(n, {}).setdefault(candidate.message, []).append(candidate)
    return {n: [each for some in by.values() for each in _parts_first(some)] for n, by in found.items()}


def _parts_first(some: Sequence[Candidate]) -> list[Candidate]:
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
