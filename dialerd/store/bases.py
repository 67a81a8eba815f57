"""Bases that come in by the API: each is an upload from the moment on in which its caller is told so."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from dialerd.model.errors import Refused
from dialerd.store.arrays import any_of, bind_list
from dialerd.store.columns import MessageId
from dialerd.store.uploads import NOW, SHOWN, TYPES, Upload, sql_of, upload_of

__all__ = [
    "Behind", "behind", "cancel_loading", "find_upload", "forget_bad_lines", "page_of_uploads", "register", "reopen",
    "touch",
]  # fmt: skip

#: An upload that has failed without a reason was interrupted: it may begin anew, unless somebody cancels it.
INTERRUPTED = "state = 'failed' AND error IS NULL AND same_as IS NULL"


@dataclass(frozen=True, slots=True)
class Behind:
    """The seqs of sms_spool and sms_repo behind which the messages of a loaded base stand."""

    seq: int
    repo_seq: int


def register(connection: Connection, id_: str, *, filename: str, base: str, channel: str, now: datetime) -> None:
    """Note an upload whose file is safe and will be loaded: `loading` from now on. Its channel may turn out another."""
    connection.execute(
        sql_of(
            "INSERT INTO upload (id, filename, base, channel, created, touched)"
            " VALUES (:upload, :filename, :base, :channel, :now, :now)",
            NOW,
        ),
        {"upload": id_, "filename": filename, "base": base, "channel": channel, "now": now},
    )


def find_upload(connection: Connection, id_: str) -> Upload | None:
    """Return an upload, None if there is none of this id."""
    try:
        return upload_of(connection, id_)
    except Refused:
        return None


def behind(connection: Connection, id_: str) -> Behind:
    """Return behind which seqs a base's messages stand; (0, 0) for one that was loaded by an earlier version."""
    row = connection.execute(
        sql_of("SELECT after_seq, after_repo_seq FROM upload WHERE id = :upload"), {"upload": id_}
    ).one()
    return Behind(*row)


def touch(connection: Connection, ids: Sequence[str], *, now: datetime) -> None:
    """Show a sign of life of uploads that wait for their turn."""
    statement = text(
        f"UPDATE upload SET touched = :now WHERE {any_of(connection, 'id', 'ids', 'uuid')} AND state = 'loading'"
    )
    connection.execute(statement.bindparams(NOW), {"ids": bind_list(connection, ids), "now": now})


def cancel_loading(connection: Connection, upload: str, *, error: str, now: datetime) -> bool:
    """Give up, for good, an upload that is loading or waits to begin anew; False if it is neither."""
    statement = sql_of(
        "UPDATE upload SET state = 'failed', accepted = 0, finished = :now, error = :error WHERE id = :upload"
        f" AND (state = 'loading' OR ({INTERRUPTED}))",
        NOW,
    )
    return connection.execute(statement, {"upload": upload, "error": error, "now": now}).rowcount == 1


def forget_bad_lines(connection: Connection, upload: str, *, most: int) -> int:
    """Delete some rejected lines of an interrupted upload: it is going to find them again. Return how many."""
    return connection.execute(
        sql_of(
            "DELETE FROM upload_error WHERE upload = :upload AND line IN (SELECT line FROM upload_error"
            " WHERE upload = :upload ORDER BY line LIMIT :most)"
        ),
        {"upload": upload, "most": most},
    ).rowcount


def reopen(connection: Connection, upload: str, *, now: datetime) -> bool:
    """Let an interrupted upload, of which nothing is left, begin anew; False if it was cancelled meanwhile."""
    statement = sql_of(
        "UPDATE upload SET state = 'loading', moved = :moved, accepted = 0, rejected = 0, finished = NULL,"
        f" touched = :now WHERE id = :upload AND {INTERRUPTED}",
        NOW,
    )
    return connection.execute(statement, {"upload": upload, "now": now, "moved": False}).rowcount == 1


def page_of_uploads(
    connection: Connection, *, base: str | None, state: str | None, before: str | None, most: int
) -> list[Upload]:
    """Return uploads, the newest first, those before `before`: their ids rise with time."""
    given = {"base": base, "state": state, "upload": before}
    conditions = ["base = :base"] if base is not None else []
    conditions += ["state = :state"] if state is not None else []
    conditions += ["id < :upload"] if before is not None else []
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    statement = text(f"SELECT {SHOWN} FROM upload{where} ORDER BY id DESC LIMIT :most")
    if before is not None:
        statement = statement.bindparams(bindparam("upload", type_=MessageId))
    bound = {name: value for name, value in given.items() if value is not None} | {"most": most}
    return [Upload(**row._mapping) for row in connection.execute(statement.columns(**TYPES), bound)]
