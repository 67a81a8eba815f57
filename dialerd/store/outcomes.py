"""Outcomes recorded: attempts are settled, and the receipts that were faster than the settlement find their message."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from dialerd.model.message import Status
from dialerd.store import receipts
from dialerd.store import settle as attempts
from dialerd.store.columns import MessageId
from dialerd.store.deliveries import sum_up
from dialerd.store.settle import Settlement

__all__ = ["settle"]


def settle(connection: Connection, settlements: Sequence[Settlement], *, now: datetime) -> int:
    """Carry out the verdicts on attempts, and apply the receipts that were parked for them; return how many stood.

    From now on what the provider has named is known by its name. While no receipt is parked that costs one probe.
    """
    done = attempts.settle(connection, settlements, now=now)
    if receipts.any_parked(connection):
        _apply_early(connection, settlements, now)
    parted = [
        item.message
        for item in settlements
        if (item.verdict.accepted or (item.parted and item.verdict.status is not None))
        and item.message is not None
        and item.provider is not None
    ]
    if parted:
        _count_parts(connection, settlements)
        sum_up(connection, sorted(parted), errors={})
    return done


def _count_parts(connection: Connection, settlements: Sequence[Settlement]) -> None:
    """Give what was sent the number of parts that it was sent in: rules may have changed since intake counted them."""
    counted = [
        {"message": item.message, "parts": len(item.verdict.accepted)}
        for item in settlements
        if item.verdict.accepted and item.verdict.status is Status.SENT and item.message is not None
    ]
    if counted:
        statement = text(
            "UPDATE sms_repo SET parts = :parts WHERE id = :message AND status = 'sent'"
            " AND coalesce(parts, 0) <> :parts"
        )
        connection.execute(statement.bindparams(bindparam("message", type_=MessageId)), counted)


def _apply_early(connection: Connection, settlements: Sequence[Settlement], now: datetime) -> None:
    """Apply the receipts that came before the settlement of what they are about."""
    answered: list[tuple[str, str]] = []
    messages: list[str] = []
    for item in settlements:
        verdict = item.verdict
        if item.provider is None or item.message is None:
            continue
        names = [verdict.provider_id] if verdict.provider_id is not None else []
        if verdict.accepted:
            names += [name for name in verdict.accepted.values() if name is not None]
        answered += [(item.provider, name) for name in names]
        if names or verdict.bound or verdict.status is Status.SENT:
            messages.append(item.message)
    if answered or messages:
        receipts.settled(connection, answered=answered, messages=messages, now=now)
