"""What can go wrong with a connection, in an operator's words."""

import os
import socket
import ssl

__all__ = ["NoBind", "reason_of"]


class NoBind(Exception):
    """There is no session to be had, and why; nothing of a message went there."""


def reason_of(error: BaseException) -> str:
    """Return why a connection could not be made, or broke."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"certificate refused: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {error.reason or error}"
        case socket.gaierror():
            return f"no such host: {error.strerror}"
        case UnicodeError():
            return "no such host: its name cannot be spelt"
        case OSError(errno=int(errno)):
            return os.strerror(errno)
    return str(error) or type(error).__name__
