"""Bases on their way in: staged in upload_line while the file is read, until all of it counts at once.

An upload is `loading` until its whole file is staged; `finish` is the commit point. Before it nothing of the upload is
ever sent, after it everything is (staged.py).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, TextClause, bindparam, text
from sqlalchemy.engine import Connection, Row

from dialerd.model.errors import Refused
from dialerd.model.message import State
from dialerd.store.arrays import any_of, bind_list, bind_rows, rows_of
from dialerd.store.columns import Instant, MessageId

__all__ = [
    "BadLine",
    "NewLine",
    "Upload",
    "abandon",
    "add_errors",
    "add_lines",
    "bad_lines",
    "begin",
    "fail",
    "finish",
    "has_abandoned",
    "same_upload",
    "sql_of",
    "stage",
    "upload_counts",
    "upload_of",
    "uploads",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that was, or is being, loaded.

    A failed one has an `error`, or the same file is upload `same_as`; if neither is so, its process died.
    """

    id: str
    filename: str
    base: str
    channel: str
    state: str
    accepted: int
    rejected: int
    created: datetime
    finished: datetime | None
    error: str | None = None
    same_as: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLine:
    """A line that has passed intake; `id` becomes the message's."""

    line: int
    fingerprint: bytes
    id: str
    campaign: str
    destination: str
    data: str
    priority: int
    details: Mapping[str, Any] | None
    state: State
    address: str
    zone: str
    parts: int


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was not accepted; `text` is its beginning."""

    line: int
    reason: str
    text: str


SHOWN = "id, filename, base, channel, state, accepted, rejected, created, finished, error, same_as"
TYPES: dict[str, Any] = {"id": MessageId, "created": Instant, "finished": Instant, "same_as": MessageId}

LINE_TYPES = {
    "line": "bigint",
    "fingerprint": "bytea",
    "id": "uuid",
    "campaign": "text",
    "destination": "text",
    "data": "text",
    "priority": "smallint",
    "details": "jsonb",
    "state": "text",
    "address": "text",
    "zone": "text",
    "parts": "int",
}

NOW = bindparam("now", type_=Instant)


def begin(
    connection: Connection, id_: str, *, filename: str, base: str, channel: str, digest: str, since: datetime | None,
    now: datetime,
) -> Upload | None:  # fmt: skip
    """Begin an upload, unless the same file was loaded into the same base after `since`: return that one then.

    One that was registered (store/bases.py) goes on; Refused if it was cancelled meanwhile.
    """
    if since is not None and (earlier := same_upload(connection, digest, base, since)):
        return earlier
    begun = connection.execute(
        sql_of(
            "INSERT INTO upload (id, filename, base, channel, digest, created, touched)"
            " VALUES (:upload, :filename, :base, :channel, :digest, :now, :now) ON CONFLICT (id) DO UPDATE"
            " SET channel = excluded.channel, digest = excluded.digest, touched = excluded.touched"
            " WHERE upload.state = 'loading'",
            NOW,
        ),
        {"upload": id_, "filename": filename, "base": base, "channel": channel, "digest": digest, "now": now},
    ).rowcount
    if not begun:
        raise Refused(_given_up(id_))
    return None


def stage(
    connection: Connection, upload: str, good: Sequence[NewLine], bad: Sequence[BadLine], texts: Mapping[int, str], *,
    now: datetime,
) -> None:  # fmt: skip
    """Stage good lines and keep bad ones; a good line that was there before is kept as `duplicate`, with its text."""
    duplicates = add_lines(connection, upload, good, now=now)
    some = [*bad, *(BadLine(number, "duplicate", texts[number]) for number in duplicates)]
    add_errors(connection, upload, some, now=now)


def add_lines(connection: Connection, upload: str, lines: Sequence[NewLine], *, now: datetime) -> list[int]:
    """Stage lines of an upload that is loading; return those that it had before, which are left out."""
    if not lines:
        return []
    rows = [
        (
            line.line, line.fingerprint, line.id, line.campaign, line.destination, line.data, line.priority,
            None if line.details is None else json.dumps(line.details, ensure_ascii=False),
            line.state, line.address, line.zone, line.parts,
        )
        for line in lines
    ]  # fmt: skip
    names = ", ".join(LINE_TYPES)
    if connection.dialect.name == "postgresql":
        staged = connection.execute(
            sql_of(
                f"INSERT INTO upload_line (upload, {names})"
                f" SELECT :upload, {names} FROM {rows_of(connection, 'o', **LINE_TYPES)} ORDER BY line"
                " ON CONFLICT DO NOTHING"
            ),
            bind_rows(connection, "o", tuple(LINE_TYPES), rows) | {"upload": upload},
        ).rowcount
    else:
        marks = ", ".join("?" * (1 + len(LINE_TYPES)))
        staged = connection.exec_driver_sql(
            f"INSERT INTO upload_line (upload, {names}) VALUES ({marks}) ON CONFLICT DO NOTHING",
            [(upload, *row) for row in rows],
        ).rowcount
    _count(connection, upload, accepted=staged, now=now)
    if staged == len(rows):
        return []
    numbers = [line.line for line in lines]
    present = connection.execute(
        sql_of("SELECT line FROM upload_line WHERE upload = :upload AND line BETWEEN :first AND :last"),
        {"upload": upload, "first": min(numbers), "last": max(numbers)},
    )
    return sorted(set(numbers).difference(present.scalars()))


def add_errors(connection: Connection, upload: str, some: Sequence[BadLine], *, now: datetime) -> None:
    """Keep the rejected lines of an upload that is loading."""
    if some:
        connection.execute(
            sql_of("INSERT INTO upload_error (upload, line, reason, text) VALUES (:upload, :line, :reason, :text)"),
            [{"upload": upload, "line": bad.line, "reason": bad.reason, "text": bad.text} for bad in some],
        )
        _count(connection, upload, rejected=len(some), now=now)


def finish(connection: Connection, upload: str, *, since: datetime | None, now: datetime) -> Upload:
    """Make everything staged count: the commit point. Return the upload as it stands now.

    If the same file came into the same base after `since` while this one was being read, this one fails and the other
    is returned; one of which nothing was accepted fails too.
    """
    # Locked in order, all uploads of this file: of two that finish at once the second sees the first.
    lock = " FOR UPDATE" if connection.dialect.name == "postgresql" else ""
    connection.execute(
        sql_of(
            "SELECT id FROM upload WHERE (digest, base) IN (SELECT digest, base FROM upload WHERE id = :upload)"
            f" ORDER BY id{lock}"
        ),
        {"upload": upload},
    ).all()
    row = _row(connection, upload, ", digest")
    if row.state != "loading":
        raise Refused(_given_up(upload))
    earlier = same_upload(connection, row.digest, row.base, since) if since is not None else None
    if earlier or not row.accepted:
        fail(connection, upload, error=None if earlier else "no line was accepted", same_as=earlier, now=now)
        return earlier or upload_of(connection, upload)
    connection.execute(
        sql_of(
            "UPDATE upload SET state = 'loaded', finished = :now, touched = :now,"
            " after_seq = coalesce((SELECT max(seq) FROM sms_spool), 0),"
            " after_repo_seq = coalesce((SELECT max(seq) FROM sms_repo), 0) WHERE id = :upload",
            NOW,
        ),
        {"upload": upload, "now": now},
    )
    return upload_of(connection, upload)


def fail(
    connection: Connection, upload: str, *, error: str | None = None, same_as: Upload | None = None, now: datetime
) -> bool:
    """Give up an upload that is loading; False if it is loading no more. Its rejected lines are kept.

    `error` and `same_as` say why; without both it was interrupted, and may begin anew.
    """
    statement = sql_of(
        "UPDATE upload SET state = 'failed', accepted = 0, finished = :now, error = :error, same_as = :same_as"
        " WHERE id = :upload AND state = 'loading'",
        NOW,
        bindparam("same_as", type_=MessageId),
    )
    bound = {"upload": upload, "now": now, "error": error, "same_as": same_as.id if same_as else None}
    return connection.execute(statement, bound).rowcount == 1


def has_abandoned(connection: Connection, *, before: datetime) -> bool:
    """Tell whether there is something for `abandon` to do; it only reads."""
    statement = text("SELECT 1 FROM upload WHERE state = 'loading' AND touched < :before LIMIT 1")
    return (
        connection.execute(statement.bindparams(bindparam("before", type_=Instant)), {"before": before}).first()
        is not None
    )


def abandon(connection: Connection, *, before: datetime, now: datetime) -> int:
    """Give up the uploads that showed no sign of life since `before`: their process is dead; return how many."""
    return connection.execute(
        text(
            "UPDATE upload SET state = 'failed', accepted = 0, finished = :now"
            " WHERE state = 'loading' AND touched < :before"
        ).bindparams(NOW, bindparam("before", type_=Instant)),
        {"now": now, "before": before},
    ).rowcount


def upload_of(connection: Connection, upload: str) -> Upload:
    """Return an upload; raises Refused if there is none of this id."""
    return _upload(_row(connection, upload))


def bad_lines(connection: Connection, upload: str, *, after: int = 0, most: int = 1000) -> list[BadLine]:
    """Return the next rejected lines of an upload, in the file's order."""
    found = connection.execute(
        sql_of(
            "SELECT line, reason, text FROM upload_error WHERE upload = :upload AND line > :after"
            " ORDER BY line LIMIT :most"
        ),
        {"upload": upload, "after": after, "most": most},
    )
    return [BadLine(*row) for row in found]


def _count(connection: Connection, upload: str, *, accepted: int = 0, rejected: int = 0, now: datetime) -> None:
    """Count lines and show a sign of life, which only an upload that is loading may."""
    counted = connection.execute(
        sql_of(
            "UPDATE upload SET accepted = accepted + :accepted, rejected = rejected + :rejected, touched = :now"
            " WHERE id = :upload AND state = 'loading'",
            NOW,
        ),
        {"upload": upload, "accepted": accepted, "rejected": rejected, "now": now},
    ).rowcount
    if not counted:
        raise Refused(_given_up(upload))


def _given_up(upload: str) -> str:
    return f"upload {upload} was given up: nothing was heard of it for too long; load the file again"


def same_upload(connection: Connection, digest: str, base: str, since: datetime) -> Upload | None:
    """Return the last upload of the same file into the same base that was loaded after `since`."""
    row = connection.execute(
        text(
            f"SELECT {SHOWN} FROM upload WHERE digest = :digest AND base = :base AND state = 'loaded'"
            " AND finished >= :since ORDER BY finished DESC, id DESC LIMIT 1"
        )
        .bindparams(bindparam("since", type_=Instant))
        .columns(**TYPES),
        {"digest": digest, "base": base, "since": since},
    ).one_or_none()
    return None if row is None else _upload(row)


def uploads(connection: Connection, *, bases: Sequence[str] = (), state: str | None = None, most: int) -> list[Upload]:
    """Return the latest uploads, into these bases and in this state if any is given, the newest last."""
    conditions = [any_of(connection, "base", "bases", "text")] if bases else []
    conditions += ["state = :state"] if state else []
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    found = connection.execute(
        text(f"SELECT {SHOWN} FROM upload{where} ORDER BY created DESC, id DESC LIMIT :most").columns(**TYPES),
        {"bases": bind_list(connection, bases), "state": state, "most": most},
    ).all()
    return [_upload(row) for row in reversed(found)]


def upload_counts(connection: Connection) -> dict[str, int]:
    """Return how many uploads are in each state."""
    found = connection.execute(text("SELECT state, count(*) FROM upload GROUP BY state"))
    counts = dict.fromkeys(("loading", "loaded", "failed"), 0)
    counts.update((state, count) for state, count in found)
    return counts


def _row(connection: Connection, upload: str, more: str = "") -> Row[Any]:
    statement = sql_of(f"SELECT {SHOWN}{more} FROM upload WHERE id = :upload").columns(**TYPES)
    row = connection.execute(statement, {"upload": upload}).one_or_none()
    if row is None:
        raise Refused(f"there is no upload {upload}")
    return row


def _upload(row: Row[Any]) -> Upload:
    return Upload(**{name: getattr(row, name) for name in SHOWN.split(", ")})


def sql_of(statement: str, *binds: BindParameter[Any]) -> TextClause:
    """Return a statement about one upload, whose id is bound as :upload."""
    return text(statement).bindparams(bindparam("upload", type_=MessageId), *binds)
