"""Says what loading a base would do, without doing it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from dialerd.bases.loading import Loaded, load
from dialerd.model.message import Channel
from dialerd.settings import Settings
from dialerd.store import Store
from dialerd.store.migrate import migrate

__all__ = ["checked"]


@asynccontextmanager
async def checked(
    store: Store,
    settings: Settings,
    path: Path,
    *,
    channel: Channel | None = None,
    base: str | None = None,
    campaign: str | None = None,
    again: bool = False,
    now: datetime,
    on_progress: Callable[[int, int], None] | None = None,
) -> AsyncIterator[tuple[Loaded, Store]]:
    """Give what `load` would return, and the database in which its rejected lines stand; `store` is only read.

    The base is loaded into a scratch database, so that it is judged by the very same code in memory that does not grow
    with it; the temporary folder needs about as much room as the file.
    """
    with TemporaryDirectory(prefix="dialerd-check-") as folder:
        scratch = Store(f"sqlite:///{folder}/check.db", threads=2)
        try:
            await scratch.transact(migrate)
            loaded = await load(
                scratch, settings, path,
                channel=channel, base=base, campaign=campaign, again=again, now=now, on_progress=on_progress,
                judged_by=store,
            )  # fmt: skip
            yield loaded, store if loaded.already else scratch
        finally:
            scratch.close()
