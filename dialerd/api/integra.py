"""The calls that existing integrations make, under their old paths: status 200, and what became of it in the body.

What failed says `ERROR` or `0`, and why in the header X-Dialerd-Error. Only a missing or dead token is a 401.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dialerd import log
from dialerd.addresses import canonical
from dialerd.api.callers import address_of, let_in, token_of, user_of
from dialerd.api.context import context_of
from dialerd.api.incoming import Job
from dialerd.api.parameters import object_of, parameters_of
from dialerd.model.errors import DialerdError, Refused, Unavailable
from dialerd.model.message import Channel
from dialerd.model.receipt import Inbound

__all__ = ["ROUTES"]

logger = log.get(__name__)

Parameters = Mapping[str, str]
Answer = Callable[[Request, Parameters], Awaitable[Response]]


def _failing_as(
    body: str, *, read: Callable[[Request], Awaitable[Parameters]] | None = None
) -> Callable[[Answer], Callable[[Request], Awaitable[Response]]]:
    """Read a call's parameters, and answer with `body` and the reason when it is refused."""
    read = read or _storable_parameters

    def wrap(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def call(request: Request) -> Response:
            try:
                return await answer(request, await read(request))
            except DialerdError as error:
                return _failure(body, error)

        return call

    return wrap


def _failure(body: str, error: DialerdError) -> Response:
    reason = str(error) if not isinstance(error, Unavailable) else "the server cannot do this now: try again"
    # A header is one line of Latin-1.
    header = " ".join(reason.split()).encode("latin-1", "replace").decode("latin-1")[:500]
    return PlainTextResponse(body, headers={"X-Dialerd-Error": header})


async def _storable_parameters(request: Request) -> Parameters:
    given = await parameters_of(request)
    for name, value in given.items():
        if "\0" in value:
            raise Refused(f"{name!r} holds a NUL character")
    return given


def _needed(given: Parameters, *names: str) -> tuple[str, ...]:
    missing = [name for name in names if not given.get(name, "").strip()]
    if missing:
        raise Refused(f"missing: {', '.join(missing)}")
    return tuple(given[name] for name in names)


def _campaign(request: Request, given: Parameters) -> str:
    name = given.get("campaign", "").strip() or context_of(request).api.campaign
    if not name:
        raise Refused("missing: campaign")
    return name


# -- tokens ----------------------------------------------------------------------------------------------------------


@_failing_as("0")
async def get_user_token(request: Request, given: Parameters) -> Response:
    """POST auth/getUserToken: the token as a JSON string."""
    context = context_of(request)
    user, password = _needed(given, "user", "password")
    token = await context.users.login(user, password, address=address_of(request), hours=context.api.token_hours)
    return JSONResponse(token)


@_failing_as("0")
async def end_session(request: Request, given: Parameters) -> Response:
    """POST auth/EndSession: the token is dead from then on."""
    users = context_of(request).users
    # Some clients send the token with the quotes in which they got it, others in the header only.
    token = given.get("token", "").strip().strip('"') or token_of(request)
    if not token:
        raise Refused("missing: token")
    user = given.get("user", "").strip() or await users.user_of(token)
    if user is None or not await users.logout(user, token, address=address_of(request)):
        raise Refused("no such token of this user lives")
    return PlainTextResponse("1")


# -- SMS -------------------------------------------------------------------------------------------------------------


async def _send_sms(request: Request, given: Parameters) -> str:
    await user_of(request)
    destination, message = _needed(given, "destination", "message")
    return await context_of(request).intake.submit(
        campaign=_campaign(request, given),
        destination=destination,
        data=message,
        agent=given.get("agent") or None,
        source=given.get("source") or None,
    )


@_failing_as("ERROR")
async def send_sms(request: Request, given: Parameters) -> Response:
    """POST SMS/SendSMS: into the spool with priority 1."""
    await _send_sms(request, given)
    return PlainTextResponse("OK")


async def send_sms_v2(request: Request) -> Response:
    """POST SMS/SendSMSv2: the same, and the answer names the message."""
    try:
        return JSONResponse({"id": await _send_sms(request, await _storable_parameters(request))})
    except Unavailable:
        return JSONResponse({"error": "the server cannot do this now: try again"}, 503)
    except DialerdError as error:
        return JSONResponse({"error": str(error)}, 400)


@_failing_as("0")
async def schedule_dialer_sms(request: Request, given: Parameters) -> Response:
    """POST SMS/ScheduleDialerSMS: one message at its time."""
    await user_of(request)
    sms = object_of(_needed(given, "sms")[0], "sms")
    texts = {name: _text(sms, name) for name in ("calldate", "campaign", "destination", "data", "agent", "source")}
    calldate, destination, data = _needed(texts, "calldate", "destination", "data")
    await context_of(request).intake.schedule(
        campaign=_campaign(request, texts),
        destination=destination,
        data=data,
        when=calldate.strip(),
        agent=texts["agent"] or None,
        source=texts["source"] or None,
    )
    return PlainTextResponse("1")


def _text(found: Mapping[str, Any], name: str) -> str:
    """Return a member as text: numbers come without quotes, too."""
    value = found.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Refused(f"{name} is no text")
    return str(value)


# What somebody wrote to us is kept as far as it can be, whatever is in it.
@_failing_as("ERROR", read=parameters_of)
async def receive_url_sms(request: Request, given: Parameters) -> Response:
    """GET InboundSMS/ReceiveURLSMS: an SMS that somebody sent to us."""
    await let_in(request)
    (phone,) = _needed(given, "phone")
    context = context_of(request)
    await context.inbox.inbound(
        Inbound(provider="api", phone=phone, message=given.get("message", ""), received=context.clock())
    )
    return PlainTextResponse("OK")


# -- bases -----------------------------------------------------------------------------------------------------------


@_failing_as("0")
async def upload_base(request: Request, given: Parameters) -> Response:
    """POST SMS/uploadbase: a base of SMS; it loads in the background."""
    return await _take_file(request, given, "base", Channel.SMS, given.get("campaign", "").strip() or None)


@_failing_as("0")
async def upload_dialer_base(request: Request, given: Parameters) -> Response:
    """POST DialersResources/uploadDialerBase: a base of e-mails, of SMS if `channel` says so."""
    channel = _channel(given, Channel.EMAIL)
    return await _take_file(request, given, "base", channel, given.get("dialer", "").strip() or None)


@_failing_as("0")
async def upload_blacklist(request: Request, given: Parameters) -> Response:
    """POST DialersResources/uploadMultiChannelBlacklist: who must not be written to."""
    wanted = given.get("filter", "").strip().lower()
    if wanted == "subject":
        raise Refused("filter=subject is not supported: only addresses can be blacklisted")
    if wanted not in ("", "email", "phone"):
        raise Refused(f"unknown filter {wanted!r}: email or phone")
    default = Channel.SMS if wanted == "phone" else Channel.EMAIL
    return await _take_file(request, given, "blacklist", _channel(given, default), None)


def _channel(given: Parameters, default: Channel) -> Channel:
    name = given.get("channel", "").strip().lower()
    try:
        return Channel(name) if name else default
    except ValueError:
        raise Refused(f"unknown channel {name!r}: sms or email") from None


async def _take_file(
    request: Request, given: Parameters, kind: str, channel: Channel, campaign: str | None
) -> Response:
    user = await user_of(request)
    context = context_of(request)
    filename, encoded = _needed(given, "filename", "fileb64")
    known = context.settings().campaigns
    if campaign is not None and campaign not in known:
        raise Refused(f"unknown campaign {campaign!r}")
    if campaign is not None and known[campaign].channel is not channel:
        raise Refused(f"campaign {campaign} sends {known[campaign].channel}, not {channel}")
    declared = given.get("cant", "").strip()
    job = Job(
        kind=kind,
        filename=filename.strip(),
        channel=channel,
        campaign=campaign,
        by=given.get("user", "").strip() or user,
        declared=int(declared) if declared.isascii() and declared.isdigit() and len(declared) < 19 else None,
    )
    id_ = await context.incoming.put(job, _decoded(encoded))
    logger.info("file_taken", file=id_, kind=kind, channel=channel, campaign=campaign, user=user)
    return PlainTextResponse("1")


def _decoded(encoded: str) -> bytes:
    # Clients forget to encode `+`, which a form then reads as a space; others send a whole data: URL.
    text = encoded.partition(",")[2] if encoded.startswith("data:") else encoded
    text = "".join(text.replace(" ", "+").split())
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=None, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(f"fileb64 is no base64: {error}") from error
    if not content:
        raise Refused("the file is empty")
    return content


# -- e-mail ----------------------------------------------------------------------------------------------------------


async def send_email(request: Request) -> Response:
    """POST Forms/sendEmail: one e-mail. 200 with its guid, 400 for wrong parameters, 500 when it cannot be kept."""
    try:
        await user_of(request)
        given = object_of(await request.body(), "the body")
        guid = await _submit_mail(request, given)
    except Unavailable:
        return JSONResponse({"error": "the server cannot do this now: try again"}, 500)
    except DialerdError as error:
        return JSONResponse({"error": str(error)}, 400)
    return JSONResponse({"guid": guid})


async def _submit_mail(request: Request, given: Mapping[str, Any]) -> str:
    context = context_of(request)
    campaign, to = _needed({name: _text(given, name) for name in ("campaign", "to")}, "campaign", "to")
    known = context.settings().campaigns.get(campaign.strip())
    if known is not None and known.channel is not Channel.EMAIL:
        raise Refused(f"campaign {known.name} sends {known.channel}, not email")
    canonical(to, Channel.EMAIL)
    details = {
        "subject": _text(given, "subject") or None,
        "template": _text(given, "template") or None,
        "variables": _mapping(given, "variables"),
        "attachments": _texts(given, "attachments"),
        "invitation": _mapping(given, "schedule"),
    }
    return await context.intake.submit(
        campaign=campaign.strip(),
        destination=to,
        data=_text(given, "body"),
        details={name: value for name, value in details.items() if value},
    )


def _mapping(given: Mapping[str, Any], name: str) -> dict[str, str]:
    value = given.get(name) or {}
    if not isinstance(value, dict):
        raise Refused(f"{name} is no JSON object")
    return {key: str(one) if isinstance(one := value[key], float) else _text(value, key) for key in value}


def _texts(given: Mapping[str, Any], name: str) -> list[str]:
    value = given.get(name) or []
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise Refused(f"{name} is no list of texts")
    return value


SMS = "/Integra/resources/SMS"
DIALERS = "/IntegraChannels/resources/DialersResources"

ROUTES = [
    Route("/Integra/resources/auth/getUserToken", get_user_token, methods=["POST"]),
    Route("/Integra/resources/auth/EndSession", end_session, methods=["POST"]),
    Route(f"{SMS}/SendSMS", send_sms, methods=["POST"]),
    Route(f"{SMS}/SendSMSv2", send_sms_v2, methods=["POST"]),
    Route(f"{SMS}/ScheduleDialerSMS", schedule_dialer_sms, methods=["POST"]),
    Route(f"{SMS}/uploadbase", upload_base, methods=["POST"]),
    Route("/Integra/resources/InboundSMS/ReceiveURLSMS", receive_url_sms, methods=["GET"]),
    Route(f"{DIALERS}/uploadDialerBase", upload_dialer_base, methods=["POST"]),
    Route(f"{DIALERS}/uploadMultiChannelBlacklist", upload_blacklist, methods=["POST"]),
    Route("/IntegraChannels/resources/Forms/sendEmail", send_email, methods=["POST"]),
]
