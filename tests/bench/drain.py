"""Measures how fast queued messages reach sms_repo: the whole engine with the discard driver, beside a bare loop.

    uv run python -m tests.bench.drain [--database sqlite|postgresql|both] [--messages 100000] [--campaigns 20]
                                       [--standing 1000000] [--rounds 3]

The bare loop claims and finishes the same rows with the engine's own hot statements straight on the database's
driver, 500 a batch, no rules, no messages, no provider. Each figure is the median of the rounds, bare loop and engine
in turn. With --standing, so many messages of a closed campaign, as many deferred and as many held ones stand beside,
and a last column says what that costs. Every measurement is a process of its own. PostgreSQL syncs to disk.
"""

import argparse
import asyncio
import json
import os
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import event

from dialerd import log
from dialerd.batch import run_once
from dialerd.examine import Examined
from dialerd.model.campaign import Campaign
from dialerd.model.message import Channel, Status, new_id
from dialerd.model.retry import Verdict
from dialerd.settings import load
from dialerd.store import Store
from dialerd.store.claim import claim
from dialerd.store.migrate import migrate
from dialerd.store.order import Order, Terms
from dialerd.store.settle import Settlement, settle
from tests.postgres import PostgresServer

BATCH = 500
TEXT = "Estimado cliente, su factura vence el 30; evite recargos hoy"
COLUMNS = "id, campaign, destination, data, priority, base, state, due_at, due_since, queued_at, address, zone, parts"


# -- rows ------------------------------------------------------------------------------------------------------------


def rows(messages: int, campaigns: int, standing: int) -> Iterator[tuple[Any, ...]]:
    """Yield the standing rows first, so that the busy ones lie behind them, then those to drain."""
    now = datetime.now(UTC)
    later = now + timedelta(days=30)
    kinds = [("closed", "queued", now), ("c0", "deferred", later), ("c1", "held", now)] if standing else []
    for name, state, due in kinds:
        for _ in range(standing):
            yield _row(name, state, due, now)
    for number in range(messages):
        yield _row(f"c{number % campaigns}", "queued", now, now)


def _row(name: str, state: str, due: datetime, now: datetime) -> tuple[Any, ...]:
    return (new_id(), name, "59898344484", TEXT, 9999, "bench", state, due, due, now, "59898344484", "?", 1)


def stamped(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row with its instants as SQLite has them."""
    return tuple(str(value.replace(tzinfo=None)) if isinstance(value, datetime) else value for value in row)


def fill(url: str, messages: int, campaigns: int, standing: int) -> None:
    """Make the tables and load the rows as fast as the database takes them."""
    store = Store(url)
    store.transact_here(migrate)
    store.close()
    some = rows(messages, campaigns, standing)
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as file:
            marks = ", ".join("?" * 13)
            file.executemany(f"INSERT INTO sms_spool ({COLUMNS}) VALUES ({marks})", map(stamped, some))
        file.close()
        return
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        with connection.cursor() as cursor, cursor.copy(f"COPY sms_spool ({COLUMNS}) FROM STDIN") as copy:
            for row in some:
                copy.write_row(row)
        connection.execute("VACUUM ANALYZE sms_spool")
        connection.execute("CHECKPOINT")


# -- what is measured ------------------------------------------------------------------------------------------------


def drain_with_engine(url: str, campaigns: int, log_level: str) -> int:
    """Drain with the engine as `dialerd run --once` does; return how many messages were sent.

    At info there is a line for each attempt, as the daemon writes it; at warning there is none.
    """
    log.configure(log_level)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder)
        (config / "campaigns").mkdir()
        (config / "dialerd.toml").write_text(
            f'[daemon]\nstate_dir = "{folder}/var"\n[database]\nurl = "{url}"\n'
            '[providers.null]\ndriver = "discard"\nmax_in_flight = 2000\n'
        )
        for name in (*(f"c{n}" for n in range(campaigns)), "closed"):
            enabled = "false" if name == "closed" else "true"
            (config / "campaigns" / f"{name}.toml").write_text(
                f'name = "{name}"\nchannel = "sms"\nprovider = "null"\nenabled = {enabled}\n'
            )
        settings = load(config)
        began = time.perf_counter()
        summary = runner(run_once(settings))
        print_figures(time.perf_counter() - began, summary.ended["sent"])
    return summary.ended["sent"]


def runner(coroutine: Any) -> Any:
    """Run on the loop that the daemon uses."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(coroutine)
    return uvloop.run(coroutine)


def drain_bare(url: str, campaigns: int) -> int:
    """Drain with the engine's hot statements on the driver itself, one after the other; return how many there were."""
    read_candidates, mark, finish = captured(url, campaigns)
    lite = url.startswith("sqlite")
    connection: Any = (
        sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        if lite
        else psycopg.connect(url.replace("+psycopg", ""), prepare_threshold=None)
    )
    if lite:
        connection.execute("PRAGMA synchronous = FULL")
    cursor = connection.cursor()
    done = 0
    began = time.perf_counter()
    while True:
        if lite:
            cursor.execute("BEGIN IMMEDIATE")
        taken = []
        for statement, parameters in read_candidates:
            taken += cursor.execute(statement, parameters).fetchall()
        seqs = [row[0] for row in taken]
        if not seqs:
            break
        bound = json.dumps(seqs) if lite else seqs
        cursor.execute(mark[0], replaced(mark[1], {"seqs": bound}))
        connection.commit()
        if lite:
            cursor.execute("BEGIN IMMEDIATE")
            outcomes: Any = json.dumps([[seq, 1, "bare", "null", "sent", None, None] for seq in seqs])
        else:
            outcomes = json.dumps({str(seq): [1, "bare", "null", "sent", None, None] for seq in seqs})
        for statement, parameters in finish:
            cursor.execute(statement, replaced(parameters, {"given": outcomes, "given_seqs": seqs}))
        connection.commit()
        done += len(seqs)
    print_figures(time.perf_counter() - began, done)
    return done


Statement = tuple[str, Any]


def captured(url: str, campaigns: int) -> tuple[list[Statement], Statement, list[Statement]]:
    """Return the engine's statements that read candidates, mark them as sending and finish them, with parameters.

    One claim and one settlement are really made, and rolled back.
    """
    store = Store(url)
    seen: list[Statement] = []
    now = datetime.now(UTC)
    names = [f"c{number}" for number in range(campaigns)]
    terms = {n: Terms(Campaign(name=n, channel=Channel.SMS, provider="null"), BATCH) for n in names}
    order = Order(
        provider="null", provider_interval_s=None, incarnation="bare", node="bare", now=now, permits=BATCH,
        terms=terms, awake=lambda _c, _z: True, examine=lambda *_: Examined("1", "?", 1),
    )  # fmt: skip

    def once(connection: Any) -> None:
        @event.listens_for(connection, "before_cursor_execute")
        def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
            seen.append((statement, parameters))

        claimed = claim(connection, order)
        verdict = Verdict(status=Status.SENT)
        settle(
            connection,
            [
                Settlement(seq=m.seq, attempt=m.attempt, incarnation="bare", provider="null", verdict=verdict)
                for m, _ in claimed.messages
            ],
            now=now,
        )
        connection.rollback()

    with store._engine.connect() as connection:
        once(connection)
    store.close()
    candidates = [s for s in seen if "ORDER BY priority, seq LIMIT" in s[0]]
    mark = next(s for s in seen if "state = 'sending', attempts = attempts + 1" in s[0])
    finish = [s for s in seen if "sms_repo" in s[0] or s[0].startswith("DELETE FROM sms_spool")]
    if url.startswith("sqlite"):
        # Positions instead of names: the lists are the only JSON there is.
        mark = (mark[0], named(mark[1], "seqs"))
        finish = [(statement, named(parameters, "given")) for statement, parameters in finish]
    return candidates, mark, finish


def named(parameters: tuple[Any, ...], name: str) -> list[Any]:
    """Return positional parameters with each list (as JSON) replaced by its name."""
    return [name if isinstance(value, str) and value.startswith("[") else value for value in parameters]


def replaced(parameters: Any, new: dict[str, Any]) -> Any:
    """Return parameters with those named in `new` exchanged."""
    if isinstance(parameters, dict):
        return parameters | {name: value for name, value in new.items() if name in parameters}
    return [new.get(value, value) if isinstance(value, str) else value for value in parameters]


def print_figures(seconds: float, messages: int, *, cpu_before_s: float = 0) -> None:
    """Print this process's figures as one JSON line, without the CPU time that it had used before."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "messages": messages,
        "seconds": seconds,
        "cpu_s": usage.ru_utime + usage.ru_stime - cpu_before_s,
        "peak_mib": usage.ru_maxrss / 1024,
    }
    print(json.dumps(figures), flush=True)


# -- the comparison --------------------------------------------------------------------------------------------------


def measured(kind: str, url: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.drain", "--child", kind, "--url", url]
    command += ["--campaigns", str(arguments.campaigns), "--log-level", arguments.log_level]
    return figures_of(command, arguments.messages)


def figures_of(command: list[str], messages: int) -> dict[str, float]:
    """Return what print_figures says at the end of a process, which has to have sent so many messages."""
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    figures: dict[str, float] = json.loads(output.splitlines()[-1])
    if figures["messages"] != messages:
        raise SystemExit(f"{' '.join(command)}: {figures['messages']} of {messages} messages")
    return figures


def compare(database: str, arguments: argparse.Namespace, server: PostgresServer | None) -> None:
    """Print one database's table."""
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for round_ in range(arguments.rounds):
        for standing in sorted({0, arguments.standing}):
            for kind in ("bare", "engine"):
                with tempfile.TemporaryDirectory() as folder:
                    if server is None:
                        url = f"sqlite:///{folder}/bench.db"
                    else:
                        url = server.create_database(f"bench_{kind}_{standing}_{round_}")
                    fill(url, arguments.messages, arguments.campaigns, standing)
                    found.setdefault((kind, standing), []).append(measured(kind, url, arguments))
                    if server is not None:
                        server.drop_database(f"bench_{kind}_{standing}_{round_}")
    print(f"\n{database}: {arguments.messages:,} messages, {arguments.campaigns} campaigns, {arguments.rounds} rounds")
    print(f"{'':34}{'messages/s':>11}{'of bare':>9}{'CPU s/1,000':>13}{'peak MiB':>10}")
    for (kind, standing), figures in sorted(found.items(), key=lambda item: item[0][1]):
        rate = statistics.median(f["messages"] / f["seconds"] for f in figures)
        bare = statistics.median(f["messages"] / f["seconds"] for f in found["bare", standing])
        cpu = statistics.median(1000 * f["cpu_s"] / f["messages"] for f in figures)
        peak = max(f["peak_mib"] for f in figures)
        beside = f", {3 * standing:,} beside" if standing else ""
        print(f"{kind + beside:34}{rate:11,.0f}{rate / bare:9.2f}{cpu:13.3f}{peak:10.0f}")
    if arguments.standing:
        alone, beside = (
            statistics.median(f["messages"] / f["seconds"] for f in found["engine", standing])
            for standing in (0, arguments.standing)
        )
        print(f"the engine beside standing rows: {beside / alone:.2f} of its rate alone")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--campaigns", type=int, default=20)
    parser.add_argument("--standing", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--log-level", choices=list(log.LEVELS), default="info")
    parser.add_argument("--child", choices=["bare", "engine"], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        if arguments.child == "bare":
            drain_bare(arguments.url, arguments.campaigns)
        else:
            drain_with_engine(arguments.url, arguments.campaigns, arguments.log_level)
        return
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}")
    if arguments.database in {"sqlite", "both"}:
        compare("SQLite", arguments, None)
    if arguments.database in {"postgresql", "both"}:
        with PostgresServer(fsync=True) as server:
            compare("PostgreSQL", arguments, server)


if __name__ == "__main__":
    main()
