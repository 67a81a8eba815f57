"""Which message a receipt is about: exactly one, or none; it never guesses.

A receipt is about a message if it echoes our own id, or if the provider's id, by one of the readings that are set for
that provider, is the id of exactly one message (or part) to that address of the last days. An id so short that a
counter may give it twice proves nothing while another message to that address is on its way: that may be the one. Of
a doubt nobody knows the provider's id: it is ended by our own id, or by a receipt that fits nothing else.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.engine import Connection

from dialerd.model.receipt import Delivery, Receipt, address_of, is_short, same_address
from dialerd.store.deliveries import Said, record
from dialerd.store.known import (
    KEPT,
    Doubt,
    Doubts,
    OnItsWay,
    Told,
    candidates_of,
    doubts_of,
    on_its_way_now,
    own_messages,
)
from dialerd.store.sent import MOST_LAST_SENT, last_sent
from dialerd.store.settle import end_doubts

__all__ = ["match"]

#: A doubt that is older has its receipt, or gets none any more: it casts no doubt on others.
CONFIRMED_WITHIN = timedelta(days=3)


def match(connection: Connection, told: Sequence[Told], now: datetime) -> set[int]:
    """Record what those receipts say that fit exactly one message; return which they were, by their place."""
    if not told:
        return set()
    # Read before the candidates: what is on its way now may be settled, and a candidate, by the time they are read.
    on_its_way = on_its_way_now(connection, told)
    doubts = doubts_of(connection, told)
    own = own_messages(connection, told)
    candidates = candidates_of(connection, told, now)
    said: list[Said] = []
    ended: dict[int, tuple[int, str, str | None]] = {}
    matched: set[int] = set()
    for n, one in enumerate(told):
        receipt, of_address = one.receipt, address_of(one.receipt.address)
        message: str | None = None
        part: int | None = None
        doubt: Doubt | None = None
        found = candidates.get(n, [])
        if one.own_id in own:
            where = own[one.own_id]
            mine = [each for each in found if each.message == one.own_id and each.part is not None]
            if len(mine) == 1:
                message, part = one.own_id, mine[0].part
            elif isinstance(where, Doubt):
                doubt = where if _is_taken(where, receipt) else None
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


def _is_taken(doubt: Doubt, receipt: Receipt) -> bool:
    """Tell whether a receipt that echoes our id ends the message's waiting: nobody is trying it, and it has gone.

    Where some parts were taken and others refused, that of one says nothing of the others.
    """
    if doubt.parted or doubt.state == "sending" or not doubt.attempts:
        return False
    if doubt.state == "in_doubt":
        return True
    # It is to be sent again: not if the provider has it, unless it has given it up.
    return doubt.state in {"deferred", "queued"} and receipt.delivery is not Delivery.UNDELIVERED


def _may_be_another(
    one: Told, n: int, address: str | None, on_its_way: "OnItsWay", doubts: "Doubts", now: datetime
) -> bool:
    """Tell whether a receipt with a counter's id may be about a message whose id is not known yet."""
    receipt = one.receipt
    if receipt.provider_id is None or not is_short(receipt.provider_id, one.reading):
        return False
    recent = (doubt for doubt in doubts.of(n) if doubt.claimed_at is None or doubt.claimed_at > now - CONFIRMED_WITHIN)
    doubted = doubts.any if address is None else any(recent)
    return doubted or (receipt.provider, address) in on_its_way


def _only_doubt(
    connection: Connection, provider: str, address: str, doubts: Sequence[Doubt], now: datetime
) -> Doubt | None:
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
