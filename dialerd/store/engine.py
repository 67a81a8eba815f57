"""Opens the database: the settings that make SQLite and PostgreSQL keep what they promise."""

import json
import select
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event, exc
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from dialerd.model.errors import DatabaseGone

__all__ = ["open_engine"]

BUSY_S = 30


def open_engine(url: str, *, pool_size: int = 6) -> Engine:
    """Return an engine on `url`; connections are made when first asked for.

    Raises DatabaseGone when the folder of a SQLite file cannot be made.
    """
    parsed = make_url(url)
    return _sqlite(parsed, pool_size) if parsed.get_backend_name() == "sqlite" else _postgresql(parsed, pool_size)


def _sqlite(url: URL, pool_size: int) -> Engine:
    if url.database and url.database != ":memory:":
        folder = Path(url.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseGone(f"cannot make the folder {folder} for the database: {error.strerror}") from error
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=4,
        # Parameters are texts and numbers of people: they belong into no error message.
        hide_parameters=True,
        json_deserializer=_forgiving_json,
        connect_args={"timeout": BUSY_S, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: Any) -> None:
        # BEGIN is ours: in the driver's own mode 55 of 80 concurrent updates were lost without an error.
        connection.isolation_level = None
        # Other systems insert too, some of them in Latin-1: such a text must not stop the claim that reads it.
        connection.text_factory = _forgiving_text
        cursor = connection.cursor()
        _write_ahead(cursor)
        # With NORMAL a power cut loses commits, and a lost claim is a message sent twice.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA cache_size = -16384")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Switch the file to its write-ahead log.

    Of two processes that do so at once, one may be told without a wait that the file is locked.
    """
    give_up_at = time.monotonic() + BUSY_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                raise
            time.sleep(0.01)
        else:
            return


def _forgiving_text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _forgiving_json(text: str | bytes) -> Any:
    """Read JSON; what is nested too deeply or holds too long a number for Python comes back as text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text if isinstance(text, str) else _forgiving_text(text)


def _postgresql(url: URL, pool_size: int) -> Engine:
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=4,
        pool_timeout=10,
        pool_recycle=1800,
        pool_use_lifo=True,
        hide_parameters=True,
        json_deserializer=_forgiving_json,
        # No prepared statements: their generic plans are made for the spool of five minutes ago, and pgbouncer's
        # transaction mode does not know them.
        connect_args={
            "connect_timeout": 5,
            "application_name": "dialerd",
            "prepare_threshold": None,
            # A server that has vanished without a word is noticed within a minute, not after a quarter of an hour.
            "keepalives_idle": 20,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,
        },
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, record: ConnectionPoolEntry) -> None:
        record.info["is_new"] = True
        # Not as start-up `options`: pgbouncer 1.18 refuses connections that carry them.
        with connection.cursor() as cursor:
            cursor.execute(
                "SET TIME ZONE 'UTC'; SET statement_timeout = '60s'; SET lock_timeout = '30s'; "
                "SET idle_in_transaction_session_timeout = '15s'"
            )
        connection.commit()

    @event.listens_for(engine, "checkout")
    def _checked_out(connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        # Unasked a server says no more than that it goes. To ask it (pre-ping) costs a round trip each transaction.
        if not record.info.pop("is_new", False) and (connection.closed or _can_be_read(connection.fileno())):
            raise exc.InvalidatePoolError

    return engine


def _can_be_read(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
