"""Staged lines on their way out of upload_line: into the spool once their upload is loaded, nowhere if it failed.

An operator's hand reaches them too: what is said of a base is true of its lines that are not in the spool yet.

Each line stands in upload_line or in sms_spool, and changes over in one transaction. `moved` says that nothing of an
upload is staged any more.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from dialerd.store.arrays import any_of, bind_list
from dialerd.store.columns import Instant, MessageId
from dialerd.store.operate import Selection, Verb
from dialerd.store.uploads import sql_of

__all__ = ["Step", "act_staged", "discard", "failed_unmoved", "move", "unmoved"]

#: Characters of one step's lines: a step of long mails takes no longer than one of many short SMS.
MOST_CHARACTERS = 1 << 20


CARRIED = "id, campaign, destination, data, priority, source, details, state, address, zone, parts"
ENDED = "id, campaign, destination, data, priority, source, details, address, parts"


@dataclass(frozen=True, slots=True)
class Step:
    """What one transaction took away: how many lines, and the last of them."""

    count: int
    last: int


def failed_unmoved(connection: Connection) -> list[str]:
    """Return the failed uploads of which something may still be staged (see discard)."""
    return _ids(connection, "failed")


def unmoved(connection: Connection) -> list[str]:
    """Return the loaded uploads that do not wholly stand in the spool yet, first come first."""
    return _ids(connection, "loaded")


def discard(connection: Connection, upload: str, *, after: int = 0, most: int) -> Step:
    """Delete the next staged lines of a failed upload; `after` and a count of 0 are as for move."""
    if not _lock_unmoved(connection, upload, "failed"):
        return Step(0, after)
    step = _next_step(connection, upload, after, most)
    _delete(connection, upload, after, step)
    return step


def move(connection: Connection, upload: str, *, after: int = 0, most: int, now: datetime) -> Step:
    """Move the next staged lines of a loaded upload into the spool, in the file's order.

    Pass the last line moved as `after`: on PostgreSQL deleted rows are in the way until a vacuum. A count of 0 means
    that none is left. Those who do it at once take turns, for the order's sake.
    """
    if not _lock_unmoved(connection, upload, "loaded"):
        return Step(0, after)
    step = _next_step(connection, upload, after, most)
    if step.count:
        carried = ", ".join(f"l.{name}" for name in CARRIED.split(", "))
        statement = sql_of(
            f"INSERT INTO sms_spool ({CARRIED}, base, due_at, due_since, queued_at)"
            f" SELECT {carried}, u.base, :now, CASE WHEN l.state <> 'held' THEN :now END, :now"
            " FROM upload_line l CROSS JOIN upload u"
            " WHERE l.upload = :upload AND l.line > :after AND l.line <= :last AND u.id = :upload"
            " ORDER BY l.line",
            bindparam("now", type_=Instant),
        )
        with _unchecked(connection):
            connection.execute(statement, {"upload": upload, "after": after, "last": step.last, "now": now})
    _delete(connection, upload, after, step)
    return step


def act_staged(
    connection: Connection, upload: str, selection: Selection, verb: Verb, *, after: int = 0, most: int, now: datetime
) -> tuple[Step, int]:
    """Do it to the next staged lines of a loaded upload; return how far that went, and how many it was done to.

    Of the selection, campaign and state count here; `after` and a step's count of 0 are as for move.
    """
    if not _lock_unmoved(connection, upload, "loaded"):
        return Step(0, after), 0
    step = _next_step(connection, upload, after, most)
    if not step.count:
        return step, 0
    chosen = f"upload = :upload AND line > :after AND line <= :last AND {any_of(connection, 'state', 'states', 'text')}"
    if selection.campaign is not None:
        chosen += " AND campaign = :campaign"
    states = verb.of if selection.state is None else verb.of & {selection.state}
    bound = {
        "upload": upload, "after": after, "last": step.last, "campaign": selection.campaign,
        "states": bind_list(connection, sorted(states)), "priority": verb.priority, "now": now,
        "status": verb.status and str(verb.status), "error": verb.error,
    }  # fmt: skip
    if verb.status is None:
        statement = sql_of(f"UPDATE upload_line SET {verb.staged} WHERE {chosen}")
        return step, connection.execute(statement, bound).rowcount
    ended = connection.execute(
        sql_of(
            f"INSERT INTO sms_repo ({ENDED}, base, status, error, attempts, dateprocessed, queued_at)"
            f" SELECT {ENDED}, (SELECT base FROM upload WHERE id = :upload), :status, :error, 0, :now, :now"
            f" FROM upload_line WHERE {chosen} ORDER BY line",
            bindparam("now", type_=Instant),
        ),
        bound,
    ).rowcount
    connection.execute(sql_of(f"DELETE FROM upload_line WHERE {chosen}"), bound)
    return step, ended


def _ids(connection: Connection, state: str) -> list[str]:
    statement = text("SELECT id FROM upload WHERE state = :state AND NOT moved ORDER BY finished, id")
    return list(connection.execute(statement.columns(id=MessageId), {"state": state}).scalars())


def _lock_unmoved(connection: Connection, upload: str, state: str) -> bool:
    """Make this transaction the only one that takes lines of an upload away; False if none is left."""
    lock = " FOR UPDATE" if connection.dialect.name == "postgresql" else ""
    statement = sql_of(f"SELECT 1 FROM upload WHERE id = :upload AND state = :state AND NOT moved{lock}")
    return connection.execute(statement, {"upload": upload, "state": state}).first() is not None


def _next_step(connection: Connection, upload: str, after: int, most: int) -> Step:
    """Return how far one transaction may go: `most` lines, fewer if they are long."""
    size = "pg_column_size" if connection.dialect.name == "postgresql" else "length"
    next_lines = (
        f"SELECT line, {size}(data) + coalesce({size}(details), 0) AS size FROM upload_line"
        " WHERE upload = :upload AND line > :after ORDER BY line LIMIT :most"
    )
    bound = {"upload": upload, "after": after, "most": most}
    whole = connection.execute(sql_of(f"SELECT count(*), max(line), sum(size) FROM ({next_lines}) AS l"), bound).one()
    if (whole[2] or 0) <= MOST_CHARACTERS:
        return Step(whole[0], whole[1] or after)
    count, last, characters = 0, after, 0
    for line, length in connection.execute(sql_of(next_lines), bound):
        characters += length
        if count and characters > MOST_CHARACTERS:
            break
        count, last = count + 1, line
    return Step(count, last)


@contextmanager
def _unchecked(connection: Connection) -> Iterator[None]:
    """Insert without SQLite's CHECKs, which are half the cost of a row: what is staged has passed intake.

    They are there for rows that others insert.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
    try:
        yield
    finally:
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = OFF")


def _delete(connection: Connection, upload: str, after: int, step: Step) -> None:
    """Delete one step's lines; note it when there was nothing left."""
    if step.count:
        statement = sql_of("DELETE FROM upload_line WHERE upload = :upload AND line > :after AND line <= :last")
        connection.execute(statement, {"upload": upload, "after": after, "last": step.last})
    else:
        connection.execute(sql_of("UPDATE upload SET moved = true WHERE id = :upload"), {"upload": upload})
