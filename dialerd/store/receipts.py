"""Receipts: recorded where they belong, at a cost that does not grow, or parked until that is known."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from dialerd.model.receipt import Delivery, Receipt, ReceiptIds, receipts_for
from dialerd.store.arrays import any_of, bind_list
from dialerd.store.columns import Instant, MessageId
from dialerd.store.known import KEPT, Told
from dialerd.store.matching import match
from dialerd.store.probes import each
from dialerd.store.tables import NAMED, parked_receipt

__all__ = ["KEPT", "Received", "Told", "any_parked", "expire_parked", "look_again", "next_look", "receive", "settled"]

#: A parked receipt is looked at again after so long, each time five times as long, but at least every hour.
FIRST_LOOK_S, LONGEST_LOOK_S = 2.0, 3600.0
#: What a provider says is cut at so many characters.
LONGEST_ID, LONGEST_ERROR = 200, 500


@dataclass(slots=True)
class Received:
    """What became of receipts: matched, parked, or of no more use (on its way, and nobody doubted it)."""

    matched: int = 0
    parked: int = 0
    passed: int = 0


def receive(connection: Connection, told: Sequence[Told], *, now: datetime) -> Received:
    """Record what receipts say where it belongs, and park those that fit nothing, or several, for now."""
    cleaned = list({_fingerprint(one): one for one in map(_clean, told)}.values())
    matched = match(connection, cleaned, now)
    left = [one for n, one in enumerate(cleaned) if n not in matched]
    parked = [one for one in left if one.receipt.delivery is not None]
    _park(connection, parked, now)
    return Received(len(matched), len(parked), len(left) - len(parked))


def any_parked(connection: Connection) -> bool:
    """Tell whether receipts wait for their message to become known."""
    return connection.execute(text("SELECT min(seq) FROM parked_receipt")).scalar() is not None


def settled(
    connection: Connection, *, answered: Sequence[tuple[str, str]], messages: Sequence[str], now: datetime
) -> int:
    """Apply the receipts that came too early: of these (provider, its id) and of these messages; return how many."""
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
    matched = match(connection, told, now)
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
    rows = each(connection, query, {"provider": "text", "key": "text"}, asked, PARKED_TYPES)
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
