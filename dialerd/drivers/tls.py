"""By whom a peer's certificate must be signed."""

import ssl

__all__ = ["verifying"]


def verifying(ca: str | None) -> ssl.SSLContext:
    """Return what verifies certificates: by `ca` (PEM) and nobody else, or by the authorities that this host knows."""
    return ssl.create_default_context(cadata=ca)
