"""The tests' own PostgreSQL: it keeps what was committed, and it never outlives its test session."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text

from tests.postgres import PostgresServer

OWNER = """
from tests.postgres import PostgresServer
server = PostgresServer()
server.start()
print(server.port, server._home, flush=True)
input()
"""


def test_database_url_is_empty(bare_database_url: str) -> None:
    """Every test starts with a database of its own in which nothing stands."""
    engine = create_engine(bare_database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE message (id integer)"))
        connection.execute(text("INSERT INTO message VALUES (1)"))

        assert connection.execute(text("SELECT id FROM message")).all() == [(1,)]
    engine.dispose()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_outage_keeps_what_was_committed(mode: str) -> None:
    """A server that was stopped or crashed comes back on the same URL with what was committed, also from a template."""
    with PostgresServer() as server:
        url = server.create_database("first").replace("+psycopg", "")
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE message AS SELECT 1 AS id")
        server.stop(mode)  # type: ignore[arg-type]
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)

        server.start()
        copy = server.create_database("second", template="first").replace("+psycopg", "")
        for place in (url, copy):
            with psycopg.connect(place) as connection:
                assert connection.execute("SELECT id FROM message").fetchall() == [(1,)]


def test_server_ends_with_its_owner() -> None:
    """Killed at once, a test session leaves no server and no data behind."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent
    )
    assert owner.stdout is not None
    port, home = owner.stdout.readline().decode().split()
    socket.create_connection(("127.0.0.1", int(port))).close()

    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    give_up_at = time.monotonic() + 30
    # Nobody tells: the one who would has just been killed.
    while Path(home).exists() and time.monotonic() < give_up_at:
        time.sleep(0.02)

    assert not Path(home).exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)))
