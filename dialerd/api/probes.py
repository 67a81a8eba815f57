"""What monitors ask: is it alive, can it work, and how does it go."""

from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dialerd.api.context import context_of
from dialerd.model.errors import DialerdError
from dialerd.store.doubts import old_doubts
from dialerd.store.migrate import at_head
from dialerd.store.scheduler import promoted_until

__all__ = ["ROUTES"]

#: Promotion comes every minute; this is one and a half.
PROMOTED_WITHIN_S = 90.0
#: A doubt that nobody has ended for so long is somebody's work.
OLD_DOUBT_S = 3600.0


async def healthz(_request: Request) -> Response:
    """GET /healthz: 200 while the event loop turns; it asks nobody."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> Response:
    """GET /readyz: 200 when messages are taken and, in a daemon, promoted; 503 with the reasons when not."""
    context = context_of(request)
    problems: list[str] = []
    notes: dict[str, Any] = {}
    if context.health.draining:
        problems.append("draining")
    now = context.clock()
    try:
        if not await context.store.read(at_head):
            problems.append("the database is not at this version")
        else:
            until = await context.store.read(promoted_until)
            if context.health.promoting and now - until > timedelta(seconds=PROMOTED_WITHIN_S):
                problems.append("nothing was promoted for 90 seconds")
            doubts = await context.store.read(old_doubts, before=now - timedelta(seconds=OLD_DOUBT_S))
            if doubts:
                notes["old_doubts"] = doubts
    except DialerdError:
        problems.append("the database does not answer")
    status = {"status": "unavailable" if problems else "ok", "problems": problems, **notes}
    return JSONResponse(status, 503 if problems else 200)


ROUTES = [Route("/healthz", healthz), Route("/readyz", readyz)]
