"""Tasks of the daemon: kept going whatever happens in them, and with errors that callers know."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dialerd import log

__all__ = ["RESTART_S", "kept_up", "plain_errors"]

logger = log.get(__name__)

#: What has failed is begun anew after so long.
RESTART_S = 5.0


async def kept_up(part: Callable[[], Awaitable[Any]]) -> None:
    """Run a part to its end; when a bug ends it, say so and begin anew, so that the other parts go on."""
    while True:
        try:
            await part()
            return
        except Exception:  # the loop that keeps the daemon alive
            logger.exception("part_failed", part=getattr(part, "__qualname__", str(part)))
            await asyncio.sleep(RESTART_S)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raise the first error of a group by itself: callers know our errors, not which tasks they came from."""
    try:
        yield
    except BaseExceptionGroup as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from group
