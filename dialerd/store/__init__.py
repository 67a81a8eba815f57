"""The only folder that knows SQL: Store carries plain functions over to worker threads, one transaction each."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import exc
from sqlalchemy.engine import Connection

from dialerd.failpoint import hit
from dialerd.model.errors import DatabaseGone
from dialerd.store.engine import open_engine

__all__ = ["Connection", "Store"]

P = ParamSpec("P")
T = TypeVar("T")

#: PostgreSQL's serialization failure and deadlock: the transaction was rolled back whole and may simply run again.
RUN_AGAIN = {"40001", "40P01"}
MOST_RUNS = 5
#: How long SQLite's other writers find the place free after a step of long work, for each second that it took.
BREATH = 0.25
#: SQLite's transactions are short: a thread of ours that is in one for so long is itself what hangs.
LONGEST_TRANSACTION_S = 60.0

#: SQLSTATE classes that speak of the server, not of our statement: connection, resources (disk full), operator
#: intervention, system error; and the two of waiting too long for a lock and of a standby that cannot write.
SERVER_TROUBLE = ("08", "53", "57", "58")
SERVER_TROUBLE_CODES = {"55P03", "25006"}

#: The server lets our user not do this (not yet, or not any more): for an operator to mend, not a fault of ours.
NOT_ALLOWED = "42501"

SQLITE_TROUBLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
}

#: What to do about it, where that is known.
SQLITE_HINTS = {
    sqlite3.SQLITE_READONLY: "; its file and the folder around it must be writable, even to read",
    sqlite3.SQLITE_CANTOPEN: "; its folder must be there and be writable",
}


class Store:
    """The database, for asyncio code: `await store.transact(function, …)` runs function(connection, …).

    Functions of this folder take a Connection first, serve one purpose and return values, never rows. Errors of the
    database itself arrive as DatabaseGone: nothing of that transaction stands then, unless the connection broke in
    the very commit.
    """

    def __init__(self, url: str, *, threads: int = 6) -> None:
        self._engine = open_engine(url, pool_size=threads)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="store")
        # SQLite has one writer; queueing for it here is fair and wakes at once, its own busy wait is neither.
        self._writer = threading.Lock() if self.dialect == "sqlite" else None
        #: Since when a thread of ours has held SQLite's lock.
        self._writing_since: float | None = None
        self._asked: threading.Thread | None = None

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    async def transact(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run one function in one writing transaction on a worker thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(self.transact_here, function, *args, **kwargs))

    async def read(self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one function that only reads, on a worker thread; on SQLite it waits for no writer."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(self.read_here, function, *args, **kwargs))

    def transact_here(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run one function in one writing transaction on this thread: for code that runs in a thread of its own."""
        for run in range(1, MOST_RUNS + 1):
            try:
                with translated_errors(), self._writer_turn(), self._engine.begin() as connection:
                    if self._writer is not None:
                        self._writing_since = time.monotonic()
                    result = function(connection, *args, **kwargs)
                    hit(f"{getattr(function, '__name__', 'transaction')}.written")
                    return result
            except _RunAgain as error:
                if run == MOST_RUNS:
                    raise DatabaseGone(f"gave up after {run} deadlocks: {error}") from error
        raise AssertionError("unreachable")

    def read_here(self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one function that only reads on this thread: for code that runs in a thread of its own."""
        try:
            with translated_errors(), self._engine.connect() as connection:
                reading = connection.execution_options(reading=True)
                return function(reading, *args, **kwargs)
        except _RunAgain as error:
            raise DatabaseGone(f"the database cancelled a query: {error}") from error

    async def let_others_write(self, began_s: float) -> None:
        """Between two steps of long work, the last begun at `began_s` (time.monotonic()): leave room for others.

        The place of SQLite's one writer stays free for a while: other processes look for it now and then only.
        """
        if self._writer is not None:
            await asyncio.sleep(BREATH * (time.monotonic() - began_s))

    @contextmanager
    def _writer_turn(self) -> Iterator[None]:
        if self._writer is None:
            yield
        else:
            with self._writer:
                try:
                    yield
                finally:
                    self._writing_since = None

    async def answers(self, function: Callable[[Connection], object], *, within_s: float) -> bool:
        """Tell whether the database takes one transaction of `function` within so many seconds, beside all others.

        It waits neither for a free worker nor for its turn, so it tells also when threads of ours hang: then it is not
        the database's fault.
        """
        since = self._writing_since
        if since is not None and time.monotonic() - since > LONGEST_TRANSACTION_S:
            return True
        if self._asked is not None and self._asked.is_alive():
            return False
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bool] = loop.create_future()

        def tell(answered: bool) -> None:
            if not answer.done():
                answer.set_result(answered)

        def ask() -> None:
            try:
                with translated_errors(), self._engine.begin() as connection:
                    function(connection)
                answered = True
            except _RunAgain:
                answered = True
            except DatabaseGone:
                answered = False
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(tell, answered)

        # A thread that hangs must not be waited for when the process ends.
        self._asked = threading.Thread(target=ask, name="answers", daemon=True)
        self._asked.start()
        try:
            async with asyncio.timeout(within_s):
                return await answer
        except TimeoutError:
            return False

    def close(self) -> None:
        """Wait for what runs and close every connection."""
        self._threads.shutdown(wait=True)
        self._engine.dispose()


class _RunAgain(Exception):
    """The database asks to run the whole transaction again."""


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn the database's own troubles into DatabaseGone; errors of our statements pass as they are."""
    try:
        yield
    except exc.TimeoutError as error:
        raise DatabaseGone("no connection to the database became free in time") from error
    except exc.DBAPIError as error:
        reason = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
        if getattr(error.orig, "sqlstate", None) in RUN_AGAIN:
            raise _RunAgain(reason) from error
        if getattr(error.orig, "sqlstate", None) == NOT_ALLOWED:
            raise DatabaseGone(
                f"the database does not let us: {reason}; its user must own the tables, and be allowed to make them"
            ) from error
        if _is_trouble(error):
            hint = SQLITE_HINTS.get(_sqlite_code(error.orig), "")
            raise DatabaseGone(f"the database does not answer: {reason}{hint}") from error
        # What PostgreSQL says below its first line quotes the row: numbers and texts of people.
        error.args = (f"({type(error.orig).__name__}) {reason}",)
        if error.orig is not None:
            error.orig.args = (reason,)
        raise


def _is_trouble(error: exc.DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return _sqlite_code(cause) in SQLITE_TROUBLE
    state: str | None = getattr(cause, "sqlstate", None)
    if state is None:
        return isinstance(error, (exc.OperationalError, exc.InterfaceError))
    return state.startswith(SERVER_TROUBLE) or state in SERVER_TROUBLE_CODES


def _sqlite_code(cause: BaseException | None) -> int:
    """Return SQLite's primary result code, the low byte (https://sqlite.org/rescode.html); 0 for other errors."""
    return (getattr(cause, "sqlite_errorcode", 0) or 0) & 0xFF
