"""/porthole/: the page in which a form stands, and its script. Both only where [api] origins lists whom to trust.

The form, of another origin, posts {action: "sms", campaign, message, destination} to the window it stands in, by the
Porthole library or by postMessage itself. The script of that window sends it with the token of the user who is logged
in, and posts the answer back. The token never leaves this server's own origin.
"""

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from dialerd.api.context import context_of

__all__ = ["ROUTES"]

HERE = files("dialerd.api.porthole")
FRAME = '<iframe id="form" name="form" title="form" src="{form}" referrerpolicy="origin"></iframe>'


def _origins(request: Request) -> Sequence[str]:
    """Return whom to trust; without anybody there is no such page."""
    origins = context_of(request).api.origins
    if not origins:
        raise HTTPException(404, "[api] origins lists nobody whose forms may send")
    return origins


async def page(request: Request) -> Response:
    """GET /porthole/?form=URL: a page with the form in it, and with a login while nobody is logged in."""
    origins = _origins(request)
    form = request.query_params.get("form", "")
    if form and not _is_of(form, origins):
        raise HTTPException(400, "the form is of none of the origins in [api] origins")
    frame = FRAME.format(form=escape(form)) if form else ""
    html = HERE.joinpath("page.html").read_text("utf-8").replace("<!-- form -->", frame)
    return HTMLResponse(html, headers=_headers(origins))


async def script(request: Request) -> Response:
    """GET /porthole/portal.js: the page's script, with the origins to which it listens."""
    code = HERE.joinpath("portal.js").read_text("utf-8")
    return _asset(request, f"const ORIGINS = {json.dumps(list(_origins(request)))};\n{code}", "text/javascript")


async def style(request: Request) -> Response:
    """GET /porthole/page.css."""
    return _asset(request, HERE.joinpath("page.css").read_text("utf-8"), "text/css")


def _asset(request: Request, content: str, media_type: str) -> Response:
    # Nobody else's page is to run it, or to read the list.
    headers = _headers(_origins(request)) | {"Cross-Origin-Resource-Policy": "same-origin"}
    return Response(content, media_type=media_type, headers=headers)


def _is_of(url: str, origins: Sequence[str]) -> bool:
    """Tell whether a browser would find under this URL a page of one of the origins."""
    # Browsers drop tabs and line ends, read \\ as /, and take what stands before an @ for a user's name.
    if not url.isprintable() or any(letter in url for letter in "\\ ") or "@" in url.partition("?")[0]:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return f"{parts.scheme}://{parts.netloc}" in origins


def _headers(origins: Sequence[str]) -> dict[str, str]:
    listed = " ".join(origins)
    return {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
            f"form-action 'none'; frame-src {listed}; frame-ancestors 'self' {listed}"
        ),
        # A reload of the configuration holds from the next page on.
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


ROUTES = [
    Route("/porthole/", page),
    Route("/porthole/portal.js", script),
    Route("/porthole/page.css", style),
]
