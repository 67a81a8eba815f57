"""Kills many more processes than the tests have time for: `python -m tests.crash --kills 200`."""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from tests.crash.harness import Databases, Site
from tests.crash.kills import SEAMS, Fell, Plan, kill, options_of
from tests.postgres import PostgresServer

ROW = "{:10} {:10} {:>6} {:>9} {:>6} {:>6} {:>7} {:>14}"


def main() -> int:
    """Return the exit status: 1 when anything was lost, sent twice, or otherwise against the contract."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="how many, over all databases")
    parser.add_argument("--seed", type=int, default=None, help="for the same seams and moments again")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    kinds = ["sqlite", "postgresql"] if given.database == "both" else [given.database]
    print(f"{given.kills} kills, seed {seed}", flush=True)

    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dialerd-crash-") as folder, PostgresServer() as server:
        fell = _kill(Path(folder), Databases(Path(folder), lambda: server), kinds, given.kills, random.Random(seed))
    _print(fell)
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if any(one.faults for some in fell.values() for one in some) else 0


def _kill(
    folder: Path, databases: Databases, kinds: list[str], kills: int, chance: random.Random
) -> dict[tuple[str, str], list[Fell]]:
    fell: dict[tuple[str, str], list[Fell]] = defaultdict(list)
    done = number = 0
    while done < kills:
        kind = kinds[done % len(kinds)]
        work = chance.choice(list(SEAMS))
        seam, last = chance.choice(list(SEAMS[work].items()))
        at = None if chance.random() < 0.4 else f"{seam}:{chance.randint(1, last)}"
        latency_ms = chance.choice([0, 200])
        plan = Plan(work=work, at=at, seed=chance.randrange(1_000_000))
        number += 1
        home = folder / str(number)
        home.mkdir()
        # Thousands of slow messages want more hands.
        max_in_flight = 100 if latency_ms and work in ("scheduled", "uploaded") else 20
        site = Site(
            home, databases.make(kind, home),
            latency_ms=latency_ms, max_in_flight=max_in_flight, options=options_of(work),
        )  # fmt: skip
        try:
            one = kill(plan, site)
        finally:
            site.close()
            databases.drop(site.url)
        fell[kind, work].append(one)
        done += one.killed or bool(one.faults)
        for fault in one.faults:
            print(f"{kind}, {latency_ms} ms, {plan}: {fault}", flush=True)
        if one.faults:
            print("kept:", shutil.copytree(home, Path(tempfile.mkdtemp(prefix="dialerd-fault-")) / "site"), flush=True)
        shutil.rmtree(home)
    return fell


def _print(fell: dict[tuple[str, str], list[Fell]]) -> None:
    print(ROW.format("database", "work", "kills", "messages", "lost", "twice", "doubts", "of one at most"))
    every = [one for some in fell.values() for one in some]
    for (kind, work), some in [*sorted(fell.items()), (("all", ""), every)]:
        print(
            ROW.format(
                kind, work, sum(one.killed for one in some), sum(one.messages for one in some),
                sum(one.lost for one in some), sum(one.twice for one in some), sum(one.doubts for one in some),
                max((one.doubts for one in some), default=0),
            )
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
