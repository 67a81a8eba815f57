"""The application: its routes, and what becomes of errors."""

import secrets

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount
from starlette.types import ASGIApp

from dialerd import log
from dialerd.api import integra, metrics, probes, v1
from dialerd.api.callers import NotLoggedIn
from dialerd.api.context import Context
from dialerd.api.limits import Limits

__all__ = ["build"]

logger = log.get(__name__)


def build(context: Context) -> ASGIApp:
    """Return the application. Nothing of an error's inside is shown; the log has it under the number that is."""
    app = Starlette(routes=[*integra.ROUTES, *probes.ROUTES, *metrics.ROUTES, Mount("/v1", v1.build(context))])
    app.state.context = context
    app.add_exception_handler(NotLoggedIn, _not_logged_in)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)
    return Limits(app, most_bytes=lambda: int(context.api.max_body_mb * 1_000_000))


async def _not_logged_in(_request: Request, _error: Exception) -> Response:
    return PlainTextResponse("a live token is needed", 401, headers={"WWW-Authenticate": 'Bearer realm="dialerd"'})


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(error.detail, error.status_code, headers=error.headers)


async def _bug(request: Request, error: Exception) -> Response:
    number = secrets.token_hex(6)
    logger.error("api_failed", path=request.url.path, number=number, exc_info=error)
    return JSONResponse({"error": f"an error of the server; its log names it {number}"}, 500)
