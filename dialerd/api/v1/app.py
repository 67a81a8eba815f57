"""The application under /v1: who may call, its routes, and problems for answers that are none."""

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from dialerd import __version__
from dialerd.api.callers import NotLoggedIn, user_of
from dialerd.api.context import Context
from dialerd.api.problems import Problem, bug, http_error, problem
from dialerd.api.v1 import bases, control, lists, messages
from dialerd.api.v1.docs import docs
from dialerd.model.errors import Refused, Unavailable
from dialerd.store.messages import OtherBody

__all__ = ["build"]

DESCRIPTION = """
Send SMS and e-mail at once or at their time, and see what became of them.

Show a token (from `/Integra/resources/auth/getUserToken`) or a key (`dialerd user key NAME KEY`) with every call:
`Authorization: Bearer …`. Calls that create something take an `Idempotency-Key`: the same call under the same key
within 24 hours is answered the same and does nothing; another one under it is a 409.
"""

BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="A token or a key.")

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": what, "content": {"application/problem+json": {}}}
    for status, what in {
        400: "Refused; the detail says why",
        401: "No live token or key",
        404: "Nothing of this name or id",
        409: "The idempotency key belongs to another call, or it is too late for this",
        413: "The request is too large",
        422: "Members are missing, or not as described",
        503: "The database is away: try again",
    }.items()
}


def build(context: Context) -> FastAPI:
    """Return the application."""
    app = FastAPI(
        title="dialerd",
        version=__version__,
        description=DESCRIPTION,
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses=PROBLEMS,
        # The second one tells programs what the first one asks for.
        dependencies=[Depends(_logged_in), Depends(BEARER)],
        root_path_in_servers=True,
    )
    app.state.context = context
    for router in (messages.router, lists.router, bases.router, control.router):
        app.include_router(router)
    app.add_route("/docs", docs)
    app.add_exception_handler(NotLoggedIn, _not_logged_in)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(OtherBody, _other_body)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, bug)
    return app


async def _logged_in(request: Request, user: Annotated[str, Depends(user_of)]) -> str:
    # What no database keeps is in none: bodies are looked at by their models.
    if any("\0" in value for value in (*request.path_params.values(), *request.query_params.values())):
        raise HTTPException(422, "A parameter holds a NUL character")
    return user


async def _not_logged_in(_request: Request, _error: Exception) -> Response:
    return problem(401, "A live token or key is needed", **{"WWW-Authenticate": 'Bearer realm="dialerd"'})


async def _refused(_request: Request, error: Exception) -> Response:
    return problem(400, "Refused", str(error))


async def _other_body(_request: Request, _error: Exception) -> Response:
    return problem(409, "Another call was made under this Idempotency-Key")


async def _unavailable(_request: Request, _error: Exception) -> Response:
    return problem(503, "The server cannot do this now: try again", **{"Retry-After": "5"})


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    told = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()[:10]]
    return problem(422, "The request is not as described", "; ".join(told))
