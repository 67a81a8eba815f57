"""Measures how fast a base of SMS comes from its file into sms_spool, beside a bare load of ready-made rows.

    uv run python -m tests.bench.upload [--database sqlite|postgresql|both] [--lines 1000000] [--campaigns 20]
                                        [--rounds 1] [--held]

Each line is read, its number checked against the numbering plan, its SMS parts counted, staged and moved, as `dialerd
upload` does it. The bare load puts the same rows, made beforehand, straight into the spool: with COPY on PostgreSQL,
which syncs to disk, in batches of 1,000 on SQLite. Every measurement is a process of its own; each figure is the
median of the rounds. With --held the campaigns keep what is uploaded.
"""

import argparse
import asyncio
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import psycopg

from dialerd import bases, log
from dialerd.interpreter import tune_interpreter
from dialerd.settings import Settings, load
from dialerd.store import Store
from dialerd.store.migrate import migrate
from tests.bench.drain import COLUMNS, TEXT, figures_of, print_figures, rows, stamped
from tests.postgres import PostgresServer

BATCH = 1000


def write_base(path: Path, lines: int, campaigns: int) -> None:
    """Write a base: a number of its own on each line, and texts that differ by what is filled in."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(lines):
            file.write(f"c{number % campaigns};09{1_000_000 + number % 9_000_000};{TEXT}, cuota {number};5\n")


def load_with_dialerd(arguments: argparse.Namespace) -> None:
    """Load as `dialerd upload` does."""
    log.configure("info")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder)
        (config / "campaigns").mkdir()
        (config / "dialerd.toml").write_text(
            f'[daemon]\nstate_dir = "{folder}/var"\n[database]\nurl = "{arguments.url}"\n'
            '[providers.null]\ndriver = "discard"\n'
        )
        for number in range(arguments.campaigns):
            (config / "campaigns" / f"c{number}.toml").write_text(
                f'name = "c{number}"\nchannel = "sms"\nprovider = "null"\nregion = "UY"\n'
                f'bases = "{"held" if arguments.held else "active"}"\n'
            )
        settings = load(config)
    tune_interpreter()
    began, started = time.perf_counter(), time.process_time()
    accepted, staged_s = asyncio.run(_load(settings, arguments))
    seconds = time.perf_counter() - began
    print(f"read and staged in {staged_s:.1f} s, moved in {seconds - staged_s:.1f} s", file=sys.stderr)
    print_figures(seconds, accepted, cpu_before_s=started)


async def _load(settings: Settings, arguments: argparse.Namespace) -> tuple[int, float]:
    began = time.perf_counter()
    store = Store(arguments.url)
    loaded = await bases.load(store, settings, arguments.file, now=datetime.now(UTC))
    staged_s = time.perf_counter() - began
    moved = await bases.move(store, clock=lambda: datetime.now(UTC))
    store.close()
    return min(loaded.accepted, moved), staged_s


def load_bare(arguments: argparse.Namespace) -> None:
    """Put the rows straight into the spool."""
    began, started = time.perf_counter(), time.process_time()
    some = rows(arguments.lines, arguments.campaigns, 0)
    if arguments.url.startswith("sqlite"):
        file = sqlite3.connect(arguments.url.removeprefix("sqlite:///"))
        file.execute("PRAGMA synchronous = FULL")
        marks = ", ".join("?" * len(COLUMNS.split(", ")))
        while batch := [stamped(row) for row in islice(some, BATCH)]:
            with file:
                file.executemany(f"INSERT INTO sms_spool ({COLUMNS}) VALUES ({marks})", batch)
        file.close()
    else:
        with (
            psycopg.connect(arguments.url.replace("+psycopg", ""), autocommit=True) as connection,
            connection.cursor() as cursor,
            cursor.copy(f"COPY sms_spool ({COLUMNS}) FROM STDIN") as copy,
        ):
            for row in some:
                copy.write_row(row)
    print_figures(time.perf_counter() - began, arguments.lines, cpu_before_s=started)


def measured(kind: str, url: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.upload", "--child", kind, "--url", url, "--file", str(arguments.file)]
    command += ["--campaigns", str(arguments.campaigns), "--lines", str(arguments.lines)]
    return figures_of(command + ["--held"] * arguments.held, arguments.lines)


def compare(database: str, arguments: argparse.Namespace, server: PostgresServer | None) -> None:
    """Print one database's table."""
    found: dict[str, list[dict[str, float]]] = {"bare": [], "dialerd": []}
    for round_ in range(arguments.rounds):
        for kind, figures in found.items():
            with tempfile.TemporaryDirectory() as folder:
                name = f"bench_{kind}_{round_}"
                url = f"sqlite:///{folder}/bench.db" if server is None else server.create_database(name)
                store = Store(url)
                store.transact_here(migrate)
                store.close()
                figures.append(measured(kind, url, arguments))
                if server is not None:
                    server.drop_database(name)
    print(f"\n{database}: {arguments.lines:,} lines, {arguments.campaigns} campaigns, {arguments.rounds} rounds")
    print(f"{'':12}{'lines/s':>9}{'of bare':>9}{'CPU s/1,000':>13}{'peak MiB':>10}")
    bare = statistics.median(f["messages"] / f["seconds"] for f in found["bare"])
    for kind, figures in found.items():
        rate = statistics.median(f["messages"] / f["seconds"] for f in figures)
        cpu = statistics.median(1000 * f["cpu_s"] / f["messages"] for f in figures)
        print(f"{kind:12}{rate:9,.0f}{rate / bare:9.2f}{cpu:13.4f}{max(f['peak_mib'] for f in figures):10.0f}")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--campaigns", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--held", action="store_true", help="the campaigns keep what is uploaded")
    parser.add_argument("--child", choices=["bare", "dialerd"], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        {"bare": load_bare, "dialerd": load_with_dialerd}[arguments.child](arguments)
        return
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}")
    with tempfile.TemporaryDirectory() as folder:
        arguments.file = Path(folder) / "base.csv"
        write_base(arguments.file, arguments.lines, arguments.campaigns)
        if arguments.database in {"sqlite", "both"}:
            compare("SQLite", arguments, None)
        if arguments.database in {"postgresql", "both"}:
            with PostgresServer(fsync=True) as server:
                compare("PostgreSQL", arguments, server)


if __name__ == "__main__":
    main()
