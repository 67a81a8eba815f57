"""Opens the database as everything but `dialerd migrate` wants it: at this version's tables."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dialerd.model.errors import Refused
from dialerd.store import Store
from dialerd.store.migrate import at_head, migrate

__all__ = ["open_store"]


@asynccontextmanager
async def open_store(url: str, *, may_migrate: bool) -> AsyncIterator[Store]:
    """Open the database, bring it to this version where that is allowed, and close it after.

    Raises Refused where it is not allowed, and DatabaseGone.
    """
    store = Store(url)
    try:
        # Asked first: a command that only reads must not wait for somebody's writing.
        if not await store.read(at_head):
            if not may_migrate:
                raise Refused("the database is not at this version: run `dialerd migrate`")
            await store.transact(migrate)
        yield store
    finally:
        store.close()
