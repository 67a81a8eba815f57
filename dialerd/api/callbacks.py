"""What providers call back: receipts at /receipts/PROVIDER, SMS that people send to us at /inbound/PROVIDER.

PROVIDER is what its table is called in dialerd.toml. The tables `receipt` and `inbound` of its preset say where the
body, or the query, tells what. It is answered once all of it stands in the database: what is not recorded is a 503,
and the provider tells it again.
"""

import asyncio
import binascii
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dialerd import log
from dialerd.api.callers import NotLoggedIn, address_of, let_in
from dialerd.api.context import context_of
from dialerd.api.parameters import body_of, octets_of, query_of
from dialerd.api.problems import problem
from dialerd.api.signatures import is_signed
from dialerd.drivers.smpp.deliveries import text_of as text_of_octets
from dialerd.model.errors import Refused, Unavailable
from dialerd.model.lookup import at, text_of
from dialerd.model.receipt import Delivery, Inbound, Receipt
from dialerd.settings import HttpProvider, InboundFields, ReceiptFields

__all__ = ["ROUTES"]

logger = log.get(__name__)

#: Most of one body: providers bring a hundred or so.
MOST_AT_ONCE = 5000

T = TypeVar("T")
Fields = TypeVar("Fields", ReceiptFields, InboundFields)


class _Wrong(Exception):
    """The call is answered with a status of its own, and the reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


async def receipts(request: Request) -> Response:
    """GET or POST /receipts/PROVIDER: what became of messages that it took."""
    return await _take(request, lambda one: one.receipt, _receipt, context_of(request).inbox.receipt)


async def inbound(request: Request) -> Response:
    """GET or POST /inbound/PROVIDER: SMS that people sent to us."""
    now = context_of(request).clock()

    def read(name: str, entry: Any, fields: InboundFields) -> Inbound | None:
        if fields.message is not None and isinstance(entry, dict) and (charset := _text(entry, fields.charset)):
            entry = entry | _spelt(fields.message, octets_of(request, fields.message), charset)
        return _inbound(name, entry, fields, now)

    return await _take(request, lambda one: one.inbound, read, context_of(request).inbox.inbound)


async def _take(
    request: Request,
    table_of: Callable[[HttpProvider], Fields | None],
    read: Callable[[str, Mapping[str, Any], Fields], T | None],
    keep: Callable[[T], Awaitable[None]],
) -> Response:
    """Answer a call: let in, signed, read by the provider's table, kept."""
    name: str = request.path_params["provider"]
    provider = context_of(request).settings().providers.get(name)
    try:
        await let_in(request)
        fields = table_of(provider) if isinstance(provider, HttpProvider) else None
        if not isinstance(provider, HttpProvider) or fields is None:
            _refuse(404, "No provider of this name calls this back")
        content = await request.body()
        body = await body_of(request)
        if not is_signed(request, content, body, provider):
            _refuse(403, "The provider's signature is missing, or wrong")
        found = [read(name, entry, fields) for entry in _entries(query_of(request) | body, fields.each)]
    except (NotLoggedIn, Refused, _Wrong) as error:
        reason = "not allowed by [api.inbound]" if isinstance(error, NotLoggedIn) else str(error)
        # What is no name of ours may be anything.
        known = name if provider is not None else "unknown"
        logger.warning("callback_refused", provider=known, reason=reason, address_of_caller=address_of(request))
        if isinstance(error, NotLoggedIn):
            raise
        return problem(error.status if isinstance(error, _Wrong) else 400, str(error))
    good = [one for one in found if one is not None]
    if len(good) < len(found):
        logger.warning("callback_unreadable", provider=name, count=len(found) - len(good))
        if not good:
            return problem(400, "What the provider's table looks for is not there")
    try:
        await asyncio.gather(*map(keep, good))
    except Unavailable:
        return problem(503, "The server cannot do this now: try again", **{"Retry-After": "5"})
    kind = "text/xml" if fields.answer.startswith("<") else "text/plain"
    return PlainTextResponse(fields.answer, media_type=kind)


def _refuse(status: int, reason: str) -> NoReturn:
    raise _Wrong(status, reason)


def _entries(told: Mapping[str, Any], each: str | None) -> Iterable[Any]:
    """Return what a body brings, one by one. Raises _Wrong where there is no such array."""
    if each is None:
        return [told]
    entries = at(told, each)
    if not isinstance(entries, list):
        _refuse(400, f"There is no array {each}")
    if len(entries) > MOST_AT_ONCE:
        _refuse(413, f"More than {MOST_AT_ONCE} at once")
    return entries


# -- reading ---------------------------------------------------------------------------------------------------------


def _text(entry: Mapping[str, Any], path: str | None) -> str | None:
    """Return a value as text; None where there is none, and where it is a table or an array."""
    value = at(entry, path) if path is not None else None
    return None if value is None or isinstance(value, dict | list) else text_of(value)


def _receipt(provider: str, entry: Any, fields: ReceiptFields) -> Receipt | None:
    """Return one receipt; None if it does not say which message it is about, and what became of it."""
    if not isinstance(entry, dict):
        return None
    provider_id, own_id, status = (_text(entry, path) for path in (fields.id, fields.ours, fields.status))
    if not (provider_id or own_id) or not status:
        return None
    delivery = next(
        (
            delivery
            for delivery, words in (
                (Delivery.DELIVERED, fields.delivered),
                (Delivery.UNDELIVERED, fields.undelivered),
                (Delivery.READ, fields.read),
            )
            if status.lower() in {text_of(word).lower() for word in words}
        ),
        None,
    )
    return Receipt(
        provider=provider,
        provider_id=provider_id,
        own_id=own_id,
        delivery=delivery,
        address=_text(entry, fields.address),
        at=_instant(_text(entry, fields.at)),
        error=_text(entry, fields.error) if delivery is Delivery.UNDELIVERED else None,
    )


def _instant(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text or "")
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _inbound(provider: str, entry: Any, fields: InboundFields, now: datetime) -> Inbound | None:
    """Return one SMS, or one part of it; None if it does not say who sent it, and what."""
    if not isinstance(entry, dict):
        return None
    phone, message = _text(entry, fields.phone), _message(entry, fields)
    if not phone or not phone.strip() or message is None:
        return None
    reference, part, parts = (_text(entry, path) for path in (fields.reference, fields.part, fields.parts))
    split = _number(part), _number(parts)
    return Inbound(
        provider=provider,
        phone=phone.strip(),
        message=message,
        received=now,
        to=_text(entry, fields.to),
        provider_id=_text(entry, fields.id),
        # Which parts belong together is all that it is for.
        reference=zlib.crc32(reference.encode("utf-8", "replace")) if reference else None,
        part=split[0] if reference else 1,
        parts=split[1] if reference else 1,
    )


def _message(entry: Mapping[str, Any], fields: InboundFields) -> str | None:
    if fields.hex is None:
        return _text(entry, fields.message)
    try:
        octets = binascii.unhexlify(_text(entry, fields.hex) or "-")
    except (binascii.Error, ValueError):
        return None
    return text_of_octets(octets, _number(_text(entry, fields.coding), 0))


def _spelt(name: str, octets: bytes, charset: str) -> dict[str, str]:
    """Return a parameter in a charset; nothing where that is none, or the parameter is not there."""
    try:
        return {name: octets.decode(charset, "replace")} if octets else {}
    except LookupError:
        return {}


def _number(text: str | None, otherwise: int = 1) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 4 else otherwise


BOTH = ["GET", "POST"]

ROUTES = [
    Route("/receipts/{provider:path}", receipts, methods=BOTH),
    Route("/inbound/{provider:path}", inbound, methods=BOTH),
]
