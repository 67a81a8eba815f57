"""One e-mail as it goes over the wire."""

from dataclasses import dataclass

__all__ = ["Mail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """What a mail server is given: `sender` (the return path) and `recipient` are bare addresses.

    `mailbox` is the sender as shown, `content` the whole message, its lines ended by CR LF.
    """

    mailbox: str
    sender: str
    recipient: str
    subject: str
    content: bytes

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a server with SMTPUTF8 (RFC 6531) can take it: an address has letters beyond ASCII."""
        return not (self.sender.isascii() and self.recipient.isascii() and self.content.isascii())
