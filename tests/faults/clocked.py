"""A daemon whose wall clock a test sets: so many seconds ahead of the machine's as stand in a file."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dialerd import daemon, log
from dialerd.settings import load

__all__ = ["run"]


def run(config: str, ahead: str) -> None:
    """Run the daemon."""

    def clock() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=float(Path(ahead).read_text()))

    log.configure("info")
    asyncio.run(daemon.run(lambda: load(Path(config)), clock=clock))
