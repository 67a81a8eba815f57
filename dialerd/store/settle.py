"""Ends attempts: moves messages from sms_spool to sms_repo, or puts them back with what was learned."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from dialerd.model.message import Status
from dialerd.model.retry import Verdict
from dialerd.store.arrays import any_of, bind_list, given_rows
from dialerd.store.columns import Instant, MessageId, instant_text
from dialerd.store.parts import TakenParts, keep_parts

__all__ = ["Ending", "Settlement", "end_doubts", "finish_waiting", "give_back", "settle"]

#: An attempt may be settled by the incarnation that made it: while it is under way, or as its late outcome.
OWN_ATTEMPT = "s.incarnation = {incarnation} AND s.attempts = {attempt} AND s.state IN ('sending', 'in_doubt')"

#: What was given back did not count, so the next claim makes an attempt of the same number: at another time.
SAME_CLAIM = "({claimed_at} IS NULL OR s.claimed_at = {claimed_at})"

#: What turns out to have been taken by the provider: a doubt, or what was to be sent once more because of one.
TAKEN_AFTER_ALL = "s.state IN ('in_doubt', 'deferred', 'queued') AND s.attempts > 0"

#: What the claim has locked, or an operator names: nobody is sending it.
NOT_SENDING = "s.state <> 'sending'"

ENDED = {
    "attempt": "int",
    "incarnation": "text",
    "provider": "text",
    "status": "text",
    "provider_id": "text",
    "error": "text",
}
STAYS = {
    "attempt": "int",
    "incarnation": "text",
    "claimed_at": "timestamptz",
    "state": "text",
    "due_at": "timestamptz",
    "error": "text",
    "spent": "int",
    "reference": "int",
    "taken": "int",
    "bound": "boolean",
}
KEPT = (
    "id, campaign, destination, data, priority, base, calldate, agent, source, details, attempts, parts, queued_at,"
    " address"
)
RESULT = f"{KEPT}, provider, status, provider_id, error, dateprocessed"

#: Somebody has put a message into the spool under the id of one that had ended: the later result takes its place.
REPLACES = " ON CONFLICT (id) DO UPDATE SET delivery = NULL, delivered_at = NULL, " + ", ".join(
    f"{name} = excluded.{name}" for name in RESULT.split(", ") if name != "id"
)


@dataclass(slots=True, kw_only=True)  # as Message
class Settlement:
    """The verdict on one attempt, made by `incarnation`, of the message that stands at `seq`.

    `claimed_at` tells apart claims of the same attempt; None: whichever. `message` is its id, for its receipts, and
    `parted` says that some of its parts had been taken at an earlier attempt.
    """

    seq: int
    message: str | None = None
    parted: bool = False
    attempt: int
    incarnation: str
    claimed_at: datetime | None = None
    provider: str | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Ending:
    """A message that ends without an attempt: expired, blocked, cancelled, or impossible to send."""

    seq: int
    status: Status
    error: str | None = None


def settle(connection: Connection, settlements: Sequence[Settlement], *, now: datetime) -> int:
    """Carry out the verdicts on attempts; return how many could still be settled.

    What somebody else has rescued and sent on in the meantime, or an operator has ended, stays as it is.
    """
    ended = [
        (
            item.seq,
            item.attempt,
            item.incarnation,
            item.provider,
            item.verdict.status,
            item.verdict.provider_id,
            item.verdict.error,
        )
        for item in settlements
        if item.verdict.status is not None
    ]
    stays = [
        (
            item.seq,
            item.attempt,
            item.incarnation,
            _spelled(connection, item.claimed_at),
            item.verdict.state,
            _spelled(connection, item.verdict.due_at),
            item.verdict.error,
            item.verdict.spent,
            item.verdict.reference,
            _taken(item.verdict),
            item.verdict.bound,
        )
        for item in settlements
        if item.verdict.status is None
    ]
    partly = [item for item in settlements if item.verdict.accepted and item.provider is not None]
    if partly:
        keep_parts(connection, _taken_parts(connection, partly), now=now)
    moved = sum(_move(connection, rows, OWN_ATTEMPT, now) for rows in _one_a_seq(ended))
    return moved + sum(_keep(connection, rows) for rows in _one_a_seq(stays))


def _taken(verdict: Verdict) -> int | None:
    """Return how many parts need not be sent again, None for as many as before.

    Those under a reference that is not known are of no use to the recipient without the others.
    """
    if verdict.accepted is None:
        return None
    return 0 if verdict.reference is None else len(verdict.accepted)


def _taken_parts(connection: Connection, settlements: Sequence[Settlement]) -> list[TakenParts]:
    """Return what was taken of those attempts that may still be settled, and let nobody end them otherwise."""
    lock = " FOR UPDATE OF s" if connection.dialect.name == "postgresql" else ""
    taken = []
    for rows in _one_a_seq([(item.seq, item.attempt, item.incarnation, item) for item in settlements]):
        given = given_rows(connection, [row[:3] for row in rows], attempt="int", incarnation="text")
        source = f"{given.source} CROSS JOIN " if given.source else ""
        found = connection.execute(
            text(
                f"SELECT s.seq, s.id, s.address, s.destination FROM {source}sms_spool s"
                f" WHERE {given.matches} AND {OWN_ATTEMPT.format(**given.columns)}{lock}"
            ).columns(id=MessageId),
            given.bound,
        )
        by_seq = {row[0]: row[3] for row in rows}
        for seq, id_, address, destination in found.all():
            verdict, provider = by_seq[seq].verdict, by_seq[seq].provider
            taken.append(
                TakenParts(message=id_, provider=provider, address=address or destination, parts=verdict.accepted)
            )
    return taken


def end_doubts(connection: Connection, ended: Sequence[tuple[int, str, str | None]], *, now: datetime) -> int:
    """Move messages of which a receipt says that the provider has them to sms_repo as sent; return how many.

    Each is given by its seq, the provider and the provider's id for it.
    """
    rows = [(seq, 0, None, provider, Status.SENT, provider_id, None) for seq, provider, provider_id in ended]
    return sum(_move(connection, some, TAKEN_AFTER_ALL, now) for some in _one_a_seq(rows))


def finish_waiting(connection: Connection, endings: Sequence[Ending], *, now: datetime) -> int:
    """Move messages that nobody is sending to sms_repo; return how many there were."""
    rows = [(ending.seq, 0, None, None, ending.status, None, ending.error) for ending in endings]
    return sum(_move(connection, some, NOT_SENDING, now) for some in _one_a_seq(rows))


def _one_a_seq(rows: Sequence[tuple[Any, ...]]) -> list[list[tuple[Any, ...]]]:
    """Return the rows in as few lists as it takes to name no seq twice in one, the first first.

    After a commit whose answer got lost, a batch can hold two attempts of one message.
    """
    lists: list[dict[int, tuple[Any, ...]]] = []
    for row in rows:
        free = next((some for some in lists if row[0] not in some), None)
        if free is None:
            lists.append({row[0]: row})
        else:
            free[row[0]] = row
    return [list(some.values()) for some in lists]


def _spelled(connection: Connection, instant: datetime | None) -> str | None:
    """Return an instant as it stands in JSON, so that the database compares it with its own."""
    if instant is None:
        return None
    return instant_text(instant) if connection.dialect.name == "sqlite" else instant.isoformat()


def _move(connection: Connection, rows: Sequence[tuple[Any, ...]], allowed: str, now: datetime) -> int:
    given = given_rows(connection, rows, **ENDED)
    where = f"{given.matches} AND {allowed.format(**given.columns)}"
    kept = ", ".join(f"s.{name}" for name in KEPT.split(", "))
    told = ", ".join(f"{given.columns[name]} AS {name}" for name in ("status", "provider_id", "error"))
    # What ends by an operator, a rescue or its age had its last attempt through somebody, if it had any.
    through = f"coalesce({given.columns['provider']}, CASE WHEN s.attempts > 0 THEN s.provider END) AS provider"
    told = f"{through}, {told}"
    target = f"INSERT INTO sms_repo ({RESULT})"
    dated = bindparam("now", now, type_=Instant)
    if connection.dialect.name == "postgresql":
        statement = (
            f"WITH gone AS (DELETE FROM sms_spool s WHERE {where} RETURNING {kept}, {told})"
            f" {target} SELECT {KEPT}, provider, status, provider_id, error, :now FROM gone{REPLACES}"
        )
        return connection.execute(text(statement).bindparams(dated), given.bound).rowcount
    # CROSS JOIN keeps SQLite from turning the join around and scanning the spool.
    found = f"FROM {given.source} CROSS JOIN sms_spool s WHERE {where}"
    moved = connection.execute(
        text(f"{target} SELECT {kept}, {told}, :now {found}{REPLACES}").bindparams(dated), given.bound
    ).rowcount
    connection.execute(text(f"DELETE FROM sms_spool WHERE seq IN (SELECT s.seq {found})"), given.bound)
    return moved


def _keep(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> int:
    given = given_rows(connection, rows, **STAYS)
    source = f" FROM {given.source}" if given.source else ""
    # A doubt keeps its incarnation: the late outcome of that same attempt may still end it.
    statement = (
        "UPDATE sms_spool AS s SET state = {state}, due_at = coalesce({due_at}, s.due_at),"
        " last_error = coalesce({error}, s.last_error), attempts = s.attempts - 1 + {spent},"
        " incarnation = CASE WHEN {state} = 'in_doubt' THEN s.incarnation END,"
        " node = CASE WHEN {state} = 'in_doubt' THEN s.node END,"
        " first_claimed_at = CASE WHEN {spent} > 0 THEN coalesce(s.first_claimed_at, s.claimed_at)"
        " ELSE s.first_claimed_at END,"
        " reference = coalesce({reference}, s.reference), taken = coalesce({taken}, s.taken),"
        " bound = CASE WHEN {bound} THEN coalesce(s.provider, '') ELSE s.bound END"
        + f"{source} WHERE {given.matches} AND {OWN_ATTEMPT} AND {SAME_CLAIM}"
    ).format(**given.columns)
    return connection.execute(text(statement), given.bound).rowcount


def give_back(connection: Connection, *, incarnation: str, except_seqs: Sequence[int] = ()) -> int:
    """Return to the queue what this incarnation claimed and certainly never started, uncounted; return how many.

    `except_seqs` are the attempts it knows of. The rest was claimed by a transaction whose commit got lost on its way.
    """
    known = any_of(connection, "seq", "known", "bigint")
    return connection.execute(
        text(
            "UPDATE sms_spool SET state = 'queued', attempts = attempts - 1, incarnation = NULL, node = NULL"
            f" WHERE state = 'sending' AND incarnation = :incarnation AND NOT ({known})"
        ),
        {"incarnation": incarnation, "known": bind_list(connection, except_seqs)},
    ).rowcount
