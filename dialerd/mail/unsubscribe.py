"""Links by which a recipient unsubscribes with one click (RFC 8058): made, and known again.

A link's token says which address leaves which campaign, and is signed with the campaign's secret (HMAC-SHA-256), so
that nobody can unsubscribe others. It stays good for ever: mails are kept for years.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256

from dialerd.model.campaign import Campaign, EmailPart
from dialerd.model.errors import Refused

__all__ = ["fields", "link", "read_token", "token"]

#: Bytes of the signature: as many as nobody can try.
SIGNATURE = 16

#: Bytes by which a campaign is known.
MARK = 8

#: What else is ever signed with the same secret begins differently.
PURPOSE = b"unsubscribe\0"

LONGEST_TOKEN = 2000


def link(email: EmailPart, campaign: str, address: str) -> str | None:
    """Return the address of the page where this recipient unsubscribes; None where the campaign has none."""
    if email.unsubscribe is None or email.secret is None:
        return None
    mark = "&" if "?" in email.unsubscribe else "?"
    return f"{email.unsubscribe}{mark}token={token(email.secret, campaign, address)}"


def fields(unsubscribe: str | None) -> dict[str, str]:
    """Return the header fields for a link (RFC 2369 and RFC 8058); none without a link."""
    if unsubscribe is None:
        return {}
    return {"List-Unsubscribe": f"<{unsubscribe}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


def token(secret: str, campaign: str, address: str) -> str:
    """Return what stands in a link for this address (in canonical form) of this campaign."""
    payload = _mark(campaign) + address.encode()
    return f"{_spelled(payload)}.{_spelled(_signature(secret, payload))}"


def read_token(told: str, campaigns: Mapping[str, Campaign]) -> tuple[Campaign, str]:
    """Return the campaign and the canonical address that a token stands for.

    Raises Refused where it is none of ours, or of a campaign that is gone or has another secret now.
    """
    found = _verified(told, campaigns) if len(told) <= LONGEST_TOKEN and told.isascii() else None
    if found is None:
        raise Refused("this link to unsubscribe is not, or no longer, one of ours")
    return found


def _verified(told: str, campaigns: Mapping[str, Campaign]) -> tuple[Campaign, str] | None:
    payload, _, signature = told.partition(".")
    try:
        signed, by = _read(payload), _read(signature)
        address = signed[MARK:].decode()
    except ValueError:
        return None
    for name, campaign in campaigns.items():
        secret = campaign.email.secret if campaign.email is not None else None
        if secret is not None and _mark(name) == signed[:MARK]:
            return (campaign, address) if hmac.compare_digest(by, _signature(secret, signed)) else None
    return None


def _mark(campaign: str) -> bytes:
    """Return what stands for a campaign's name, however long that is: a line of a header has 998 characters at most."""
    return sha256(campaign.encode()).digest()[:MARK]


def _signature(secret: str, payload: bytes) -> bytes:
    return hmac.digest(secret.encode(), PURPOSE + payload, "sha256")[:SIGNATURE]


def _spelled(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")


def _read(text: str) -> bytes:
    content = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    # The decoder passes over what it does not know: only one spelling is ours.
    if _spelled(content) != text:
        raise ValueError
    return content
