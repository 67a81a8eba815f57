"""What an operator does to messages that wait: hold, release, cancel, resend, settle, give another priority.

A selection may be a base of a million messages, so it is worked through in steps: `find` reads the seqs that match, a
page at a time (on both databases that keeps no writer waiting), `act` changes one step's, as far as they still stand as
they were found. What is being sent is never touched.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Connection

from dialerd.model.errors import Refused
from dialerd.model.message import URGENT, State, Status
from dialerd.store.arrays import any_of, bind_list
from dialerd.store.columns import JSON_DETAILS, Instant, MessageId, instant_text
from dialerd.store.settle import Ending, finish_waiting
from dialerd.store.sizes import portions, size_of

__all__ = [
    "CANCEL",
    "COLUMNS",
    "HOLD",
    "RELEASE",
    "RESEND",
    "SCAN",
    "SETTLE_FAILED",
    "SETTLE_SENT",
    "STEP",
    "Found",
    "Selection",
    "Verb",
    "act",
    "cancel_scheduled",
    "find",
    "set_priority",
    "waiting",
    "whereabouts",
]

#: Most messages changed by one transaction, fewer if they are long: SQLite's other writers wait no longer than 50 ms.
STEP = {"sqlite": 500, "postgresql": 5000}

#: Rows of the spool looked at by one reading transaction.
SCAN = 20_000

#: What is shown of a message that waits: what the outside may rely on, in the documented order.
COLUMNS = (
    "id", "campaign", "destination", "data", "priority", "base", "calldate", "agent", "source", "details", "state",
    "due_at", "attempts", "node", "queued_at", "last_error",
)  # fmt: skip
SCHEDULED = "id, campaign, destination, data, calldate, agent, source, details, parts, address"

EXAMPLE_ID = "01935f1e-8c4b-7d0a-9e52-3f6a7b8c9d0e"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which messages are meant: those to which everything that is given applies."""

    ids: tuple[str, ...] = ()
    base: str | None = None
    campaign: str | None = None
    state: State | None = None

    def checked(self) -> "Selection":
        """Return the selection with its ids as the tables spell them; raises Refused if it would mean everything."""
        if not self.ids and self.base is None and self.campaign is None and self.state is None:
            raise Refused("say which messages: ids, --base, --campaign or --state")
        return Selection(
            ids=tuple(dict.fromkeys(_id(given) for given in self.ids)),
            base=self.base,
            campaign=self.campaign,
            state=self.state,
        )


@dataclass(frozen=True, slots=True)
class Verb:
    """What is done to messages in one of the states `of`: a `status` ends them, else `change` is the UPDATE's SET.

    `staged` is the same for lines of a loaded base that stand before the spool yet; empty: it means none of those.
    """

    of: frozenset[State]
    change: str = ""
    staged: str = ""
    status: Status | None = None
    error: str | None = None
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The messages of one page that a verb may touch, in steps for `act`, and how many others matched, by state.

    `last_seq` is where to go on; None after the last page.
    """

    steps: list[list[int]]
    others: dict[State, int]
    last_seq: int | None

    @property
    def seqs(self) -> list[int]:
        """All of them, first in first out."""
        return [seq for step in self.steps for seq in step]


WAITING = frozenset({State.QUEUED, State.DEFERRED})
DOUBTFUL = frozenset({State.IN_DOUBT})

HOLD = Verb(WAITING, "state = 'held'", "state = 'held'")

#: What was loaded as held is due from its release on; a retry or a calldate that lies ahead still counts.
RELEASE = Verb(
    frozenset({State.HELD}),
    "state = CASE WHEN due_at > :now THEN 'deferred' ELSE 'queued' END, due_since = coalesce(due_since, :now)",
    "state = 'queued'",
)
CANCEL = Verb(WAITING | {State.HELD, State.IN_DOUBT}, status=Status.CANCELLED, error="cancelled by operator")

#: The operator knows that the provider has none of it, unless it has said which parts it took.
RESEND = Verb(
    DOUBTFUL,
    "state = 'queued', incarnation = NULL, node = NULL, bound = CASE WHEN taken > 0 THEN bound ELSE '' END",
)
SETTLE_SENT = Verb(DOUBTFUL, status=Status.SENT, error="settled by operator")
SETTLE_FAILED = Verb(DOUBTFUL, status=Status.FAILED, error="settled by operator")


def set_priority(priority: int) -> Verb:
    """Return the verb that gives messages this priority, 1 (first) to 9999 (last)."""
    if not 1 <= priority <= 9999:
        raise Refused(f"a priority is a number from 1 (first) to 9999 (last), not {priority}")
    return Verb(WAITING | {State.HELD}, "priority = :priority", "priority = :priority", priority=priority)


def find(
    connection: Connection, selection: Selection, verb: Verb, *, after_seq: int, up_to_seq: int, most: int = SCAN
) -> Found:
    """Return the next messages of a selection, first in first out, at most `most` that the verb may touch.

    At most SCAN rows are looked at, so a page may be empty before the last one. What came after `up_to_seq` stays out.
    """
    end, is_last = _page_end(connection, selection, after_seq, up_to_seq)
    rows = connection.execute(
        text(
            f"SELECT seq, state, {size_of(connection)} FROM sms_spool WHERE {_condition(connection, selection)}"
            " ORDER BY seq"
        ),
        _bound(connection, selection, after_seq, end),
    )
    meant: list[tuple[int, int]] = []
    others: dict[State, int] = {}
    for seq, state, size in rows:
        if state not in verb.of:
            others[State(state)] = others.get(State(state), 0) + 1
            continue
        meant.append((seq, size))
        if len(meant) == most:
            return Found(list(portions(meant, STEP[connection.dialect.name])), others, seq)
    return Found(list(portions(meant, STEP[connection.dialect.name])), others, None if is_last else end)


def act(connection: Connection, selection: Selection, verb: Verb, seqs: Sequence[int], *, now: datetime) -> int:
    """Do it to those of the messages that still stand in a state it is meant for; return how many these were."""
    on_postgresql = connection.dialect.name == "postgresql"
    states = verb.of if selection.state is None else verb.of & {selection.state}
    still = connection.execute(
        text(
            f"SELECT seq FROM sms_spool WHERE {any_of(connection, 'seq', 'seqs', 'bigint')}"
            f" AND {any_of(connection, 'state', 'states', 'text')} ORDER BY seq{' FOR UPDATE' if on_postgresql else ''}"
        ),
        {"seqs": bind_list(connection, seqs), "states": bind_list(connection, sorted(states))},
    )
    meant = list(still.scalars())
    if verb.status is not None:
        return finish_waiting(connection, [Ending(seq, verb.status, verb.error) for seq in meant], now=now)
    statement = text(f"UPDATE sms_spool SET {verb.change} WHERE {any_of(connection, 'seq', 'seqs', 'bigint')}")
    bound = {"seqs": bind_list(connection, meant), "priority": verb.priority}
    return connection.execute(statement, bound | {"now": now if on_postgresql else instant_text(now)}).rowcount


def cancel_scheduled(connection: Connection, selection: Selection, *, now: datetime) -> int:
    """Move some messages of a selection that are still in sms_scheduler to sms_repo, soonest first; return how many.

    Only ids and the campaign can select them: they have no state, and no base before they are promoted.
    """
    if selection.base is not None or selection.state is not None or not (selection.ids or selection.campaign):
        return 0
    on_postgresql = connection.dialect.name == "postgresql"
    conditions = []
    if selection.ids:
        conditions.append(any_of(connection, "id", "ids", "uuid"))
    if selection.campaign is not None:
        conditions.append("campaign = :campaign")
    found = connection.execute(
        text(
            f"SELECT id, {size_of(connection)} FROM sms_scheduler WHERE {' AND '.join(conditions)} ORDER BY calldate"
            f" LIMIT :most{' FOR UPDATE' if on_postgresql else ''}"
        ).columns(id=MessageId),
        {
            "ids": bind_list(connection, selection.ids),
            "campaign": selection.campaign,
            "most": STEP[connection.dialect.name],
        },
    )
    ids = bind_list(connection, next(portions(((id_, size) for id_, size in found), STEP[connection.dialect.name]), []))
    moved = connection.execute(
        text(
            f"INSERT INTO sms_repo ({SCHEDULED}, priority, status, dateprocessed, attempts, error)"
            f" SELECT {SCHEDULED}, {URGENT}, '{CANCEL.status}', :now, 0, '{CANCEL.error}' FROM sms_scheduler"
            f" WHERE {any_of(connection, 'id', 'ids', 'uuid')} ORDER BY calldate"
        ),
        {"ids": ids, "now": now if on_postgresql else instant_text(now)},
    ).rowcount
    connection.execute(text(f"DELETE FROM sms_scheduler WHERE {any_of(connection, 'id', 'ids', 'uuid')}"), {"ids": ids})
    return moved


def whereabouts(connection: Connection, ids: Sequence[str]) -> dict[str, str]:
    """Return for each id where that message stands, in words."""
    named = any_of(connection, "id", "ids", "uuid")
    statement = text(
        f"SELECT id, 'sms_scheduler' AS place, NULL AS state FROM sms_scheduler WHERE {named}"
        f" UNION ALL SELECT id, 'sms_spool', state FROM sms_spool WHERE {named}"
        f" UNION ALL SELECT id, 'sms_repo', status FROM sms_repo WHERE {named}"
    ).columns(id=MessageId)
    places = {}
    for id_, place, state in connection.execute(statement, {"ids": bind_list(connection, ids)}):
        places[id_] = f"is in {place}" + (f" as {state}" if state else "")
    return {id_: places.get(id_, "is no message here") for id_ in ids}


def waiting(
    connection: Connection, selection: Selection, *, after_seq: int, up_to_seq: int, most: int
) -> tuple[list[dict[str, Any]], int | None]:
    """Return the next messages of a selection (an empty one means all) and where to go on, None after the last page.

    Like `find`, it looks at a bounded number of rows; where texts are long, it returns fewer than `most`.
    """
    end, is_last = _page_end(connection, selection, after_seq, up_to_seq)
    where, bound = _condition(connection, selection), _bound(connection, selection, after_seq, end) | {"most": most}
    sizes = connection.execute(
        text(f"SELECT seq, {size_of(connection)} FROM sms_spool WHERE {where} ORDER BY seq LIMIT :most"), bound
    ).all()
    seqs: list[int] = next(portions(((seq, size) for seq, size in sizes), most), [])
    if not seqs:
        return [], None if is_last else end
    statement = text(f"SELECT {', '.join(COLUMNS)} FROM sms_spool WHERE {where} ORDER BY seq").columns(
        id=MessageId, details=JSON_DETAILS, calldate=Instant, due_at=Instant, queued_at=Instant
    )
    values = [dict(row._mapping) for row in connection.execute(statement, bound | {"end": seqs[-1]})]
    if len(seqs) < len(sizes) or len(sizes) == most:
        return values, seqs[-1]
    return values, None if is_last else end


def _page_end(connection: Connection, selection: Selection, after_seq: int, up_to_seq: int) -> tuple[int, bool]:
    """Return the last seq of the page behind `after_seq`, and whether it is the last page; ids are one page."""
    if selection.ids:
        return up_to_seq, True
    first: int | None = connection.execute(
        text("SELECT min(seq) FROM sms_spool WHERE seq > :after"), {"after": after_seq}
    ).scalar()
    # Seqs without a row between them only make the page shorter.
    end = up_to_seq if first is None else min(first + SCAN - 1, up_to_seq)
    return end, end == up_to_seq


def _condition(connection: Connection, selection: Selection) -> str:
    conditions = ["seq > :after", "seq <= :end"]
    if selection.ids:
        conditions.append(any_of(connection, "id", "ids", "uuid"))
    conditions += [
        f"{name} = :{name}" for name in ("base", "campaign", "state") if getattr(selection, name) is not None
    ]
    return " AND ".join(conditions)


def _bound(connection: Connection, selection: Selection, after_seq: int, end: int) -> dict[str, Any]:
    return {
        "after": after_seq,
        "end": end,
        "ids": bind_list(connection, selection.ids),
        "base": selection.base,
        "campaign": selection.campaign,
        "state": selection.state,
    }


def _id(given: str) -> str:
    try:
        return str(uuid.UUID(given))
    except ValueError:
        raise Refused(f"{given!r} is no message id: they look like {EXAMPLE_ID}") from None
