"""Measures how many receipts a second the inbox records, and fuzzes their matching with as many as one likes.

    uv run python -m tests.bench.receipts [--database sqlite|postgresql|both] [--receipts 50000] [--at-once 200]
    uv run python -m tests.bench.receipts --fuzz 24000     (messages: each has four to five receipts)

The rate is that of receipts that are put into the inbox by so many callers at once, each of which waits until its own
stands in the database; half are matched, a quarter come twice, a quarter are parked. PostgreSQL syncs to disk.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from dialerd import log
from dialerd.inbox import Inbox
from dialerd.lease import Lease
from dialerd.model.receipt import Delivery, Receipt
from dialerd.settings import load
from dialerd.spool import Spool
from dialerd.store import Store
from dialerd.store.migrate import migrate
from tests.postgres import PostgresServer
from tests.store.conftest import execute
from tests.store.receiving import World

REPO = (
    "INSERT INTO sms_repo (campaign, destination, data, priority, status, dateprocessed, attempts, provider,"
    " provider_id, address) SELECT 'c', 'x', 'x', 1, 'sent', {now}, 1, 'p', n, 59898000000 + n FROM {rising}"
)


def fuzz(url: str, messages: int) -> None:
    """Send, confirm badly, and count the rows that say what was said of another message."""
    store = Store(url)
    store.transact_here(migrate)
    world = World(store, messages=messages, seed=7)
    began = time.perf_counter()
    world.run()
    took = time.perf_counter() - began
    wrong = world.wrong_rows()
    print(f"{world.told:,} receipts of {messages:,} messages in {took:.0f} s: {len(wrong)} on a wrong row")
    print(f"  matched: {world.matched()}")
    store.close()
    if wrong:
        sys.exit(1)


def rate(url: str, receipts: int, at_once: int) -> None:
    """Put receipts into the inbox and print how many a second were recorded."""
    store = Store(url)
    store.transact_here(migrate)
    on_postgresql = store.dialect == "postgresql"
    rising = f"generate_series(1, {receipts}) AS n"
    if not on_postgresql:
        rising = (
            f"(WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {receipts}) SELECT n FROM r)"
        )
    now = "clock_timestamp()" if on_postgresql else "strftime('%Y-%m-%d %H:%M:%f', 'now')"
    execute(store, REPO.format(now=now, rising=rising))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "dialerd.toml").write_text('[providers.p]\ndriver = "smpp"\nhost = "x"\nsystem_id = "x"\n')
        settings = load(Path(folder))
        lease = Lease(store, node="bench", state_dir=Path(folder), lease_s=30)
        inbox = Inbox(Spool(store, lease, clock=utcnow), settings, clock=utcnow)
        ids = [n for n in range(1, receipts // 2) for _ in range(2 if n % 3 == 0 else 1)]
        some = [_receipt(n) for n in [*ids, *range(10**12, 10**12 + receipts - len(ids))]]
        random.Random(1).shuffle(some)
        began = time.perf_counter()
        asyncio.run(_put(inbox, some, at_once))
        took = time.perf_counter() - began
    print(f"{store.dialect}: {len(some):,} receipts, {at_once} at once: {len(some) / took:,.0f}/s")
    store.close()


def _receipt(n: int) -> Receipt:
    return Receipt(provider="p", provider_id=f"{n:010d}", delivery=Delivery.DELIVERED, address=f"+{59898000000 + n}")


async def _put(inbox: Inbox, some: list[Receipt], at_once: int) -> None:
    waiting = iter(some)

    async def caller() -> None:
        for receipt in waiting:
            await inbox.receipt(receipt)

    await asyncio.gather(*(caller() for _ in range(at_once)))


def utcnow() -> datetime:
    """Return the wall clock's time."""
    return datetime.now(UTC)


def main() -> None:
    """Read the arguments, and measure or fuzz."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--receipts", type=int, default=50_000)
    parser.add_argument("--at-once", type=int, default=200)
    parser.add_argument("--fuzz", type=int, metavar="MESSAGES")
    arguments = parser.parse_args()
    log.configure("error")

    def run(url: str) -> None:
        if arguments.fuzz:
            fuzz(url, arguments.fuzz)
        else:
            rate(url, arguments.receipts, arguments.at_once)

    on: dict[str, Callable[[], None]] = {"sqlite": lambda: _on_sqlite(run), "postgresql": lambda: _on_postgresql(run)}
    for database in on if arguments.database == "both" else [arguments.database]:
        on[database]()


def _on_sqlite(run: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run(f"sqlite:///{folder}/bench.db")


def _on_postgresql(run: Callable[[str], None]) -> None:
    with PostgresServer(fsync=True) as server:
        run(server.create_database("bench"))


if __name__ == "__main__":
    main()
