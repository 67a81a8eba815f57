"""A mail composed for a test, without an event loop where no file is read."""

from datetime import UTC, datetime
from typing import Any

from dialerd.mail.composer import Composer
from dialerd.model.campaign import Campaign, EmailPart
from dialerd.model.mail import Mail
from dialerd.model.message import Channel, Message
from dialerd.model.outcome import Deferred, Failed, Postponed

__all__ = ["ID", "a_message", "compose", "composed"]

ID = "0192f3c4-0000-7000-8000-000000000001"


def a_message(data: str = "Hola", *, to: str = "juan@example.org", **details: Any) -> Message:
    """Return a claimed mail with these details."""
    return Message(
        id=ID,
        seq=1,
        campaign="Correo",
        channel=Channel.EMAIL,
        destination=to,
        address=to.strip().lower(),
        data=data,
        priority=1,
        base=None,
        calldate=None,
        agent=None,
        source=None,
        details=details,
        queued_at=datetime(2026, 3, 1, 12, 30, 5, 123456, tzinfo=UTC),
        attempt=1,
        parts=1,
    )


def composed(message: Message, email: EmailPart, **campaign: Any) -> Mail | Deferred | Postponed | Failed:
    """Return what becomes of a message that has no files."""
    of = Campaign(name=message.campaign, channel=Channel.EMAIL, provider="p", email=email, **campaign)
    composing = Composer({message.campaign: of}).compose(message)
    try:
        composing.send(None)
    except StopIteration as done:
        result: Mail | Deferred | Postponed | Failed = done.value
        return result
    raise AssertionError("this mail needs an event loop")


def compose(message: Message, email: EmailPart, **campaign: Any) -> Mail:
    """Return the mail of a message that has no files."""
    mail = composed(message, email, **campaign)
    assert isinstance(mail, Mail), mail
    return mail
