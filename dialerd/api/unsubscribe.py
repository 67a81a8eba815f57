"""/unsubscribe?token=…: where the links in mails lead. A POST acts (RFC 8058), a GET shows a button that makes one.

Programs that look at mails follow every link, so that a GET must do nothing. Whoever has the link may unsubscribe:
its token is signed, and stands for one address of one campaign.
"""

from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from dialerd.api.context import context_of
from dialerd.api.parameters import parameters_of
from dialerd.mail.unsubscribe import read_token
from dialerd.model.errors import Refused, Unavailable
from dialerd.returns import unsubscribe

__all__ = ["ROUTES"]

PAGE = """\
<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 15vh auto; padding: 0 1rem; }}
button {{ font: inherit; padding: .5rem 1.5rem; cursor: pointer; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{text}</p>
{form}</body>
</html>
"""
#: It is posted to the address it came from, whatever proxies make of that.
FORM = """\
<form method="post">
<input type="hidden" name="List-Unsubscribe" value="One-Click">
<button>{button}</button>
</form>
"""
#: Nothing is fetched from anywhere, and the token in the address is told to nobody.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

WORDS = {
    "es": {
        "ask": ("Cancelar la suscripción", "¿No quiere recibir más estos correos en {address}?"),
        "done": ("Listo", "No enviaremos más estos correos a {address}."),
        "wrong": ("Enlace no válido", "Este enlace no es nuestro, o ya no vale."),
        "away": ("Ahora no es posible", "Pruebe otra vez dentro de unos minutos, por favor."),
        "button": ("Cancelar la suscripción", ""),
    },
    "en": {
        "ask": ("Unsubscribe", "Do you want no more of these mails at {address}?"),
        "done": ("Done", "We will send no more of these mails to {address}."),
        "wrong": ("This link is not valid", "It is not, or no longer, one of ours."),
        "away": ("Not possible now", "Please try again in a few minutes."),
        "button": ("Unsubscribe", ""),
    },
}


async def ask(request: Request) -> Response:
    """GET: a page with a button; nothing is changed."""
    try:
        _, address = read_token(request.query_params.get("token", ""), context_of(request).settings().campaigns)
    except Refused:
        return _page(request, "wrong", 400)
    return _page(request, "ask", 200, address)


async def act(request: Request) -> Response:
    """POST: the address that the token stands for gets no more mails; again, it changes nothing."""
    context = context_of(request)
    try:
        token = (await parameters_of(request)).get("token", "")
        entry = await unsubscribe(context.store, context.settings(), token, now=context.clock())
    except Refused:
        return _page(request, "wrong", 400)
    except Unavailable:
        return _page(request, "away", 503)
    return _page(request, "done", 200, entry.value)


def _page(request: Request, what: str, status: int, address: str = "") -> Response:
    language = _language(request.headers.get("accept-language", ""))
    words = WORDS[language]
    title, text = words[what]
    form = FORM.format(button=words["button"][0]) if what == "ask" else ""
    page = PAGE.format(language=language, title=title, text=text.format(address=escape(address)), form=form)
    return HTMLResponse(page, status, headers=HEADERS | ({"Retry-After": "60"} if status == 503 else {}))


def _language(accepted: str) -> str:
    """Return the first language of ours that a browser names (they name the one they want most first), else English."""
    named = (entry.partition(";")[0].strip().lower().partition("-")[0] for entry in accepted.split(","))
    return next((language for language in named if language in WORDS), "en")


ROUTES = [
    Route("/unsubscribe", ask, methods=["GET"]),
    Route("/unsubscribe", act, methods=["POST"]),
]
