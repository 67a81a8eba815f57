"""`delivery` of sms_repo and of parts: what receipts said of them, summed up over the parts of a long SMS."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from dialerd.model.receipt import Delivery, outranks
from dialerd.store.arrays import any_of, bind_list
from dialerd.store.columns import Instant, MessageId

__all__ = ["Said", "record", "sum_up"]

#: As model.receipt.outranks has it.
RANK = "CASE coalesce({0}, '') WHEN 'read' THEN 3 WHEN 'delivered' THEN 2 WHEN 'undelivered' THEN 1 ELSE 0 END"
ARRIVED = "IN ('delivered', 'read')"

#: delivered_at is when it arrived, also after it was read; an error is that of a message that did not arrive.
MESSAGE = (
    "UPDATE sms_repo SET delivery = :delivery,"
    f" delivered_at = CASE WHEN :delivery {ARRIVED} THEN coalesce(delivered_at, :at) END,"
    " error = CASE WHEN :delivery = 'undelivered' THEN coalesce(error, :error)"
    " WHEN delivery = 'undelivered' AND status = 'sent' THEN NULL ELSE error END"
    f" WHERE id = :message AND {RANK.format('delivery')} < {RANK.format(':delivery')}"
)
PART = (
    "UPDATE sms_part SET delivery = :delivery,"
    f" delivered_at = CASE WHEN :delivery {ARRIVED} THEN coalesce(delivered_at, :at) END"
    f" WHERE message = :message AND part = :part AND {RANK.format('delivery')} < {RANK.format(':delivery')}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A receipt's word on a message, or on one part of it (from 1)."""

    message: str
    part: int | None
    delivery: Delivery
    at: datetime
    error: str | None = None


def record(connection: Connection, said: Iterable[Said]) -> None:
    """Write down what receipts say; nothing is ever moved back, whatever their order."""
    best: dict[tuple[str, int], Said] = {}
    for one in said:
        known = best.get((one.message, one.part or 0))
        if known is None or outranks(one.delivery, known.delivery):
            best[one.message, one.part or 0] = one
    # In one order everywhere, so that no two transactions wait for each other.
    in_order = [best[key] for key in sorted(best)]
    _execute(connection, MESSAGE, [one for one in in_order if one.part is None])
    parted = [one for one in in_order if one.part is not None]
    if parted:
        _execute(connection, PART, parted)
        errors = {one.message: one.error for one in parted if one.error}
        sum_up(connection, sorted({one.message for one in parted}), errors=errors)


def sum_up(connection: Connection, messages: Sequence[str], *, errors: Mapping[str, str | None]) -> None:
    """Give messages in sms_repo the delivery that their parts have: undelivered if one is, delivered if all are."""
    if not messages:
        return
    on_postgresql = connection.dialect.name == "postgresql"
    bound = {"messages": bind_list(connection, messages)}
    if on_postgresql:
        # Who records the receipt of another part at this moment, or moves the message here, is waited for.
        for table, column in (("sms_part", "message"), ("sms_repo", "id")):
            known = any_of(connection, column, "messages", "uuid")
            connection.execute(text(f"SELECT 1 FROM {table} WHERE {known} ORDER BY {column} FOR UPDATE"), bound)
    statement = text(
        "SELECT p.message, max(p.delivered_at) AS at,"
        f" sum(CASE WHEN p.delivery {ARRIVED} THEN 1 ELSE 0 END) AS arrived,"
        " sum(CASE WHEN p.delivery = 'undelivered' THEN 1 ELSE 0 END) AS lost,"
        " sum(CASE WHEN p.delivery = 'read' THEN 1 ELSE 0 END) AS read_of,"
        " (SELECT coalesce(r.parts, 1) FROM sms_repo r WHERE r.id = p.message) AS parts"
        f" FROM sms_part p WHERE {any_of(connection, 'p.message', 'messages', 'uuid')} GROUP BY p.message"
    ).columns(message=MessageId, at=Instant)
    whole = []
    for row in connection.execute(statement, bound):
        delivery: Delivery | None = None
        if row.lost:
            delivery = Delivery.UNDELIVERED
        elif row.parts is not None and row.arrived >= row.parts:
            delivery = Delivery.READ if row.read_of else Delivery.DELIVERED
        if row.parts is not None and delivery is not None:
            whole.append(
                Said(message=row.message, part=None, delivery=delivery, at=row.at, error=errors.get(row.message))
            )
    _execute(connection, MESSAGE, sorted(whole, key=lambda one: one.message))


def _execute(connection: Connection, statement: str, said: Sequence[Said]) -> None:
    if not said:
        return
    typed: Any = text(statement).bindparams(bindparam("at", type_=Instant), bindparam("message", type_=MessageId))
    connection.execute(
        typed,
        [
            {
                "message": one.message,
                "part": one.part,
                "delivery": str(one.delivery),
                "at": one.at,
                "error": one.error,
            }
            for one in said
        ],
    )
