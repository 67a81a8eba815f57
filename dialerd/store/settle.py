"""Ends attempts: moves messages from sms_spool to sms_repo, or puts them back with what was learned."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from dialerd.model.message import Status
from dialerd.model.retry import Verdict
from dialerd.store.arrays import any_of, bind_list, bind_rows, rows_of
from dialerd.store.columns import Instant, instant_text

__all__ = ["Ending", "Settlement", "finish_waiting", "give_back", "settle"]

#: An attempt may be settled by the incarnation that made it: while it is under way, or as its late outcome.
OWN_ATTEMPT = "s.incarnation = o.incarnation AND s.attempts = o.attempt AND s.state IN ('sending', 'in_doubt')"

#: What was given back did not count, so the next claim makes an attempt of the same number: at another time.
SAME_CLAIM = "(o.claimed_at IS NULL OR s.claimed_at = o.claimed_at)"

#: What the claim has locked, or an operator names: nobody is sending it.
NOT_SENDING = "s.state <> 'sending'"

KEPT = (
    "id, campaign, destination, data, priority, base, calldate, agent, source, details, attempts, parts, queued_at,"
    " address"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The verdict on one attempt, made by `incarnation`, of the message that stands at `seq`.

    `claimed_at` tells apart claims of the same attempt; None: whichever.
    """

    seq: int
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
    ended = [item for item in settlements if item.verdict.status is not None]
    kept = [item for item in settlements if item.verdict.status is None]
    done = 0
    if ended:
        rows = [
            (
                item.seq,
                item.attempt,
                item.incarnation,
                item.provider,
                item.verdict.status,
                item.verdict.provider_id,
                item.verdict.error,
            )
            for item in ended
        ]
        done += _move(connection, rows, OWN_ATTEMPT, now)
    if kept:
        done += _keep(connection, kept)
    return done


def finish_waiting(connection: Connection, endings: Sequence[Ending], *, now: datetime) -> int:
    """Move messages that nobody is sending to sms_repo; return how many there were."""
    rows = [(ending.seq, 0, None, None, ending.status, None, ending.error) for ending in endings]
    return _move(connection, rows, NOT_SENDING, now) if rows else 0


def _move(
    connection: Connection,
    rows: Sequence[tuple[int, int, str | None, str | None, str | None, str | None, str | None]],
    allowed: str,
    now: datetime,
) -> int:
    columns = {
        "seq": "bigint",
        "attempt": "int",
        "incarnation": "text",
        "provider": "text",
        "status": "text",
        "provider_id": "text",
        "error": "text",
    }
    # An attempt that comes twice ends once, with its first outcome: SQLite's INSERT would take it twice.
    once = list({row[:3]: row for row in reversed(rows)}.values())[::-1]
    outcomes = rows_of(connection, "o", **columns)
    bound = bind_rows(connection, "o", tuple(columns), once)
    kept = ", ".join(f"s.{name}" for name in KEPT.split(", "))
    target = f"INSERT INTO sms_repo ({KEPT}, provider, status, provider_id, error, dateprocessed)"
    dated = bindparam("now", now, type_=Instant)
    if connection.dialect.name == "postgresql":
        statement = (
            f"WITH gone AS (DELETE FROM sms_spool s USING {outcomes} WHERE s.seq = o.seq AND {allowed}"
            f" RETURNING {kept}, o.provider, o.status, o.provider_id, o.error)"
            f" {target} SELECT {KEPT}, provider, status, provider_id, error, :now FROM gone"
        )
        return connection.execute(text(statement).bindparams(dated), bound).rowcount
    # CROSS JOIN keeps SQLite from turning the join around and scanning the spool.
    found = f"FROM {outcomes} CROSS JOIN sms_spool s WHERE s.seq = o.seq AND {allowed}"
    statement = f"{target} SELECT {kept}, o.provider, o.status, o.provider_id, o.error, :now {found}"
    moved = connection.execute(text(statement).bindparams(dated), bound).rowcount
    connection.execute(text(f"DELETE FROM sms_spool WHERE seq IN (SELECT s.seq {found})"), bound)
    return moved


def _keep(connection: Connection, settlements: Sequence[Settlement]) -> int:
    as_bound = instant_text if connection.dialect.name == "sqlite" else lambda instant: instant
    rows = [
        (
            item.seq,
            item.attempt,
            item.incarnation,
            None if item.claimed_at is None else as_bound(item.claimed_at),
            item.verdict.state,
            None if item.verdict.due_at is None else as_bound(item.verdict.due_at),
            item.verdict.error,
            item.verdict.spent,
        )
        for item in settlements
    ]
    columns = {
        "seq": "bigint",
        "attempt": "int",
        "incarnation": "text",
        "claimed_at": "timestamptz",
        "state": "text",
        "due_at": "timestamptz",
        "error": "text",
        "spent": "int",
    }
    # A doubt keeps its incarnation: the late outcome of that same attempt may still end it.
    statement = (
        "UPDATE sms_spool AS s SET state = o.state, due_at = coalesce(o.due_at, s.due_at),"
        " last_error = coalesce(o.error, s.last_error), attempts = s.attempts - 1 + o.spent,"
        " incarnation = CASE WHEN o.state = 'in_doubt' THEN s.incarnation END,"
        " node = CASE WHEN o.state = 'in_doubt' THEN s.node END"
        f" FROM {rows_of(connection, 'o', **columns)} WHERE s.seq = o.seq AND {OWN_ATTEMPT} AND {SAME_CLAIM}"
    )
    return connection.execute(text(statement), bind_rows(connection, "o", tuple(columns), rows)).rowcount


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
