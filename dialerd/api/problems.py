"""Answers that say what went wrong (RFC 9457). Nothing of an error's inside is shown: the log has it, by a number."""

import secrets

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dialerd import log

__all__ = ["Problem", "bug", "cut_off", "http_error", "problem"]

logger = log.get(__name__)


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = "about:blank"
    status: int
    title: str
    detail: str | None = None


def problem(status: int, title: str, detail: str | None = None, **headers: str) -> Response:
    """Return a problem."""
    content = Problem(status=status, title=title, detail=detail).model_dump(exclude_none=True)
    return JSONResponse(content, status, media_type="application/problem+json", headers=headers)


async def http_error(_request: Request, error: Exception) -> Response:
    """Answer what the framework refuses: an unknown path, a method that is not taken, a body that is too large."""
    assert isinstance(error, HTTPException)
    return problem(error.status_code, error.detail, **(error.headers or {}))


async def cut_off(_request: Request, _error: Exception) -> Response:
    """Answer a caller that went away before all of its request had come; nobody hears it."""
    return problem(400, "The request was cut off")


async def bug(request: Request, error: Exception) -> Response:
    """Answer an error of ours."""
    number = secrets.token_hex(6)
    logger.error("api_failed", path=request.url.path, number=number, exc_info=error)
    return problem(500, "An error of the server", f"its log names it {number}")
