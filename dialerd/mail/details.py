"""What a mail's `details` ask for, read with suspicion: rows of other systems may hold any JSON there."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from email.utils import parseaddr
from typing import Any

from dialerd.mail.headers import one_line, wire_address
from dialerd.model.calendar import parse_when
from dialerd.model.errors import BadAddress, BadText
from dialerd.model.placeholders import variables_of

__all__ = ["Details", "Invitation", "read_details"]

MOST_ATTACHMENTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """A meeting: from `begin` to `end`, instants in UTC.

    `organizer` is an address, None for the campaign's sender; `name` is what the organizer is called, "" for the name
    that he has anyway.
    """

    title: str
    organizer: str | None
    name: str
    begin: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What a message asks for beside its body; attachments are paths as they were given."""

    subject: str
    template: str | None
    variables: Mapping[str, Any]
    attachments: tuple[str, ...]
    invitation: Invitation | None


NOTHING = Details(subject="", template=None, variables={}, attachments=(), invitation=None)


def read_details(details: Mapping[str, Any] | None, zone: tzinfo) -> Details:
    """Return what `details` ask for; wall-clock times in them are of that zone.

    Raises BadText where something in it is not what it should be, and says what.
    """
    if not details:
        return NOTHING
    return Details(
        subject=_text(details, "subject"),
        template=_text(details, "template") or None,
        variables=variables_of(details),
        attachments=_attachments(details.get("attachments")),
        invitation=_invitation(details.get("invitation"), zone),
    )


def _text(found: Mapping[str, Any], key: str, within: str = "details") -> str:
    value = found.get(key)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadText(f"{within}.{key} is no text", "bad text")
    return str(value)


def _attachments(found: Any) -> tuple[str, ...]:
    if not found:
        return ()
    paths = [found] if isinstance(found, str) else found
    if not isinstance(paths, list) or not all(isinstance(path, str) and path for path in paths):
        raise BadText("details.attachments is no list of paths", "bad text")
    if len(paths) > MOST_ATTACHMENTS:
        raise BadText(f"{len(paths)} attachments, and {MOST_ATTACHMENTS} are the most", "bad text")
    return tuple(dict.fromkeys(paths))


def _invitation(found: Any, zone: tzinfo) -> Invitation | None:
    if not found:
        return None
    if not isinstance(found, dict):
        raise BadText("details.invitation is no object with title, organizer, from and to", "bad text")
    begin, end = _instant(found, "from", zone), _instant(found, "to", zone)
    if end < begin:
        raise BadText("details.invitation ends before it begins", "bad text")
    name, organizer = _organizer(_text(found, "organizer", "details.invitation"))
    return Invitation(
        title=one_line(_text(found, "title", "details.invitation")),
        organizer=organizer,
        name=name,
        begin=begin,
        end=end,
    )


def _organizer(written: str) -> tuple[str, str | None]:
    """Return name and address as people write them: `Peña, Ana <a@example.com>` without quotes, mailto: before it."""
    organizer = one_line(written)
    if "@" not in organizer:
        # The original's own sample says "Myself".
        return organizer.replace('"', "'"), None
    name, address = parseaddr(organizer)
    if organizer.endswith(">"):
        before, _, bare = organizer.removesuffix(">").rpartition("<")
        if address != bare:
            name, address = before.strip().replace('"', "'"), bare
    elif not name:
        address = organizer
    if address[:7].lower() == "mailto:":
        address = address[7:]
    try:
        return name, wire_address(address)
    except BadAddress as error:
        raise BadText(f"details.invitation.organizer is no e-mail address: {organizer!r}", "bad text") from error


def _instant(found: Mapping[str, Any], key: str, zone: tzinfo) -> datetime:
    try:
        return parse_when(_text(found, key, "details.invitation").strip(), zone)
    except ValueError as error:
        raise BadText(f"details.invitation.{key}: {error}", "bad text") from error
