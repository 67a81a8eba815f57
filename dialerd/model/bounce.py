"""What a mail server wrote back of one of our mails."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Bounce", "BounceKind"]


class BounceKind(StrEnum):
    """What a bounce means for the mail, and for its address.

    `hard`: there is no such mailbox, and will be none. `failed`: the mail came back for good, for a reason that is
    not the address's: a full mailbox, a policy, too long a wait. `soft`: the server is still trying. `delivered`: a
    receipt that we had not asked for.
    """

    HARD = "hard"
    FAILED = "failed"
    SOFT = "soft"
    DELIVERED = "delivered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounce:
    """One bounce of the mail of one message; `status` is an enhanced status code (RFC 3463), None if it has none."""

    message_id: str
    kind: BounceKind
    status: str | None
    text: str
