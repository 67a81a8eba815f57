"""The application: its routes, and what becomes of errors."""

from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount
from starlette.types import ASGIApp

from dialerd.api import callbacks, integra, metrics, porthole, probes, unsubscribe, v1
from dialerd.api.callers import NotLoggedIn, is_known
from dialerd.api.context import Context
from dialerd.api.limits import Limits
from dialerd.api.paths import Paths
from dialerd.api.problems import bug, cut_off, http_error

__all__ = ["build"]


def build(context: Context) -> ASGIApp:
    """Return the application. Nothing of an error's inside is shown; the log has it under the number that is."""
    own = [*integra.ROUTES, *porthole.ROUTES, *probes.ROUTES, *metrics.ROUTES]
    outside = [*callbacks.ROUTES, *unsubscribe.ROUTES]
    app = Starlette(routes=[*own, *outside, Mount("/v1", v1.build(context))])
    app.state.context = context
    app.add_exception_handler(NotLoggedIn, _not_logged_in)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(ClientDisconnect, cut_off)
    app.add_exception_handler(Exception, bug)

    def most_bytes(method: str, path: str) -> int:
        # A base goes to the disk as it comes; what else comes is held in memory.
        is_base = (method, path) == ("POST", "/v1/bases")
        return int((context.api.max_base_mb if is_base else context.api.max_body_mb) * 1_000_000)

    return Limits(Paths(app), most_bytes=most_bytes, knows=partial(is_known, context.users))


async def _not_logged_in(_request: Request, _error: Exception) -> Response:
    return PlainTextResponse("a live token is needed", 401, headers={"WWW-Authenticate": 'Bearer realm="dialerd"'})
