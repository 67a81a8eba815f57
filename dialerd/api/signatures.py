"""Whether what a provider calls back is signed as it signs: with a secret that only we two know.

Twilio: base64 of HMAC-SHA1 over the URL that it called, as it was given to it, and the fields of a form in the order
of their names; of any other body the query has a digest (https://www.twilio.com/docs/usage/security).
Vonage: a field `sig` beside the others, over `&name=value` in the order of their names, & and = in values replaced by
an underscore; MD5 with the secret behind it, or an HMAC, as the account is set
(https://developer.vonage.com/en/getting-started/concepts/signing-messages).
"""

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from typing import Any

from starlette.requests import Request

from dialerd.api.parameters import query_of
from dialerd.model.lookup import text_of
from dialerd.settings import HttpProvider, SignatureScheme

__all__ = ["is_signed"]

#: An account's method, by how many hexadecimal digits its signature has.
HMACS = {32: hashlib.md5, 40: hashlib.sha1, 64: hashlib.sha256, 128: hashlib.sha512}


def is_signed(request: Request, content: bytes, fields: Mapping[str, Any], provider: HttpProvider) -> bool:
    """Tell whether a call has the provider's own signature; it has where the provider's table asks for none.

    `content` is its body as it came, `fields` are what that holds.
    """
    if provider.signature is None:
        return True
    secret = provider.signature.secret.get_secret_value().encode()
    if provider.signature.scheme is SignatureScheme.TWILIO:
        return _is_twilios(request, content, fields, secret, provider.parameters.get("callback"))
    return _is_vonages(fields or query_of(request), secret)


def _is_twilios(
    request: Request, content: bytes, fields: Mapping[str, Any], secret: bytes, callback: str | None
) -> bool:
    given = request.headers.get("x-twilio-signature", "").encode()
    digest = query_of(request).get("bodySHA256")
    if digest is not None:
        if not hmac.compare_digest(digest.lower().encode(), hashlib.sha256(content).hexdigest().encode()):
            return False
        fields = {}
    behind = "".join(f"{name}{text_of(value)}" for name, value in sorted(fields.items()))
    expected = (
        base64.b64encode(hmac.digest(secret, f"{url}{behind}".encode("utf-8", "replace"), "sha1"))
        for url in _urls(request, callback)
    )
    return any(hmac.compare_digest(given, one) for one in expected)


def _urls(request: Request, callback: str | None) -> Iterator[str]:
    """Yield what the caller may have called: proxies end its TLS, and hide which port and which name it had.

    Whoever does not know the secret gains nothing by a header that names another host.
    """
    if callback:
        yield callback
    path = request.scope["raw_path"].decode("latin-1")
    query = request.scope["query_string"].decode("latin-1")
    tail = f"{path}?{query}" if query else path
    hosts = {request.headers.get(name, "").split(",")[0].strip() for name in ("host", "x-forwarded-host")} - {""}
    for host in sorted(hosts | {host.rpartition(":")[0] for host in hosts if ":" in host}):
        yield f"https://{host}{tail}"
        yield f"http://{host}{tail}"
        if ":" not in host:
            yield f"https://{host}:443{tail}"


def _is_vonages(fields: Mapping[str, Any], secret: bytes) -> bool:
    signed = {name: text_of(value) for name, value in fields.items()}
    given = signed.pop("sig", "").lower()
    # What we put into the URL ourselves may be signed, or not.
    without_key = {name: value for name, value in signed.items() if name != "key"}
    return any(_is_by_vonage(given, one, secret) for one in (signed, without_key))


def _is_by_vonage(given: str, fields: Mapping[str, str], secret: bytes) -> bool:
    flat = str.maketrans("&=", "__")
    text = "".join(f"&{name}={value.translate(flat)}" for name, value in sorted(fields.items()))
    method = HMACS.get(len(given))
    if method is None:
        return False
    # The provider's choice, not ours; the older of its two ways with MD5 is no HMAC.
    told = text.encode("utf-8", "replace")
    expected = [hmac.digest(secret, told, method().name)]
    if len(given) == 32:
        expected.append(hashlib.md5(told + secret, usedforsecurity=False).digest())
    return any(hmac.compare_digest(given.encode("utf-8", "replace"), one.hex().encode()) for one in expected)
