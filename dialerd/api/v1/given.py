"""What calls of /v1 have in common: who calls, with what key, and how pages are asked for."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Query, Request

from dialerd.api.callers import user_of
from dialerd.api.context import Context, context_of
from dialerd.model.errors import Refused

__all__ = ["NO_CURSOR", "In", "Key", "Limit", "User", "id_of", "number_of"]

NO_CURSOR = "the cursor is none that a page gave as `next`"


async def _context(request: Request) -> Context:
    """Return the context without the thread in which FastAPI runs plain functions."""
    return context_of(request)


In = Annotated[Context, Depends(_context)]
User = Annotated[str, Depends(user_of)]
Key = Annotated[
    str | None, Header(alias="Idempotency-Key", max_length=200, description="Any text of yours, new for each call.")
]
Limit = Annotated[int, Query(ge=1, le=1000, description="The most of one page.")]


def number_of(cursor: str | None) -> int:
    """Return the number that a page's cursor is; raises Refused for another text."""
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise Refused(NO_CURSOR)
    return int(cursor)


def id_of(cursor: str) -> str:
    """Return the id that a page's cursor is; raises Refused for another text."""
    try:
        return str(UUID(cursor))
    except ValueError:
        raise Refused(NO_CURSOR) from None
