"""Who calls: by token, or, where providers call that have none, by network address or key."""

import hmac
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.requests import Request
from starlette.types import Scope

from dialerd.api.context import context_of
from dialerd.users import Users

__all__ = ["NotLoggedIn", "address_of", "check_inbound", "is_known", "let_in", "token_of", "user_of"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: What a proxy adds of whom it speaks for (RFC 7239, and what was usual before it).
FORWARDING = ("forwarded", "x-forwarded-for", "x-real-ip", "via", "x-forwarded-host", "x-forwarded-proto")


class NotLoggedIn(Exception):
    """The call needs a live token, and brought none."""


def token_of(request: Request) -> str:
    """Return the token of the header Authorization, as `Basic TOKEN` or `Bearer TOKEN`; empty without one."""
    scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
    return token.strip() if scheme.lower() in {"basic", "bearer"} else ""


async def user_of(request: Request) -> str:
    """Return the user who calls. Raises NotLoggedIn without a live token."""
    token = token_of(request)
    user = await context_of(request).users.user_of(token) if token else None
    if user is None:
        raise NotLoggedIn
    return user


async def is_known(users: Users, scope: Scope) -> bool:
    """Tell whether a call, of which only the head has come, shows a live token."""
    token = token_of(Request(scope))
    return bool(token) and await users.user_of(token) is not None


def address_of(request: Request) -> str:
    """Return the network address of the caller: behind trusted proxies the one that they speak for."""
    peer = _peer(request)
    forwarded = _forwarded(request)
    return str(forwarded or peer or "unknown")


async def let_in(request: Request) -> None:
    """Return for who may tell what comes from outside: as [api.inbound] says, or with a live token.

    Raises NotLoggedIn for anybody else.
    """
    if not check_inbound(request):
        await user_of(request)


def check_inbound(request: Request) -> bool:
    """Tell whether a caller without a token may deliver inbound SMS and receipts, as [api.inbound] says.

    It comes from an address that is allowed, and brings the key where there is one. Anybody can write forwarding
    headers: a request that carries some is judged by the address that a trusted proxy forwards for, and, where none
    tells one, by the key alone.
    """
    inbound = context_of(request).api.inbound
    forwarded = _is_forwarded(request)
    address = _forwarded(request) if forwarded else _peer(request)
    if address is None and not (forwarded and inbound.key is not None):
        return False
    if address is not None and not _is_in(address, inbound.allow):
        return False
    if inbound.key is None:
        return True
    given = request.query_params.get("key", "")
    return hmac.compare_digest(given.encode(), inbound.key.get_secret_value().encode())


def _is_forwarded(request: Request) -> bool:
    return any(name in request.headers for name in FORWARDING)


def _forwarded(request: Request) -> Address | None:
    """Return the rightmost forwarded address that is no trusted proxy; None unless a trusted proxy sent the request."""
    trusted = context_of(request).api.trusted_proxies
    peer = _peer(request)
    if peer is None or not _is_in(peer, trusted):
        return None
    # What stands further left was written by whoever called the last proxy that we trust.
    hops = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    for hop in reversed(hops):
        address = _address(hop.strip())
        if address is None:
            return None
        if not _is_in(address, trusted):
            return address
    return None


def _peer(request: Request) -> Address | None:
    return _address(request.client.host) if request.client else None


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    # What a socket for both families says of a caller that came by IPv4.
    return getattr(address, "ipv4_mapped", None) or address


def _is_in(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
