"""Floor 1: mails, from a message and its campaign to the bytes on the wire, and what comes back of them."""

from dialerd.mail.composer import Composer, check

__all__ = ["Composer", "check"]
