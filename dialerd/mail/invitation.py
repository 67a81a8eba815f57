"""An invitation as mail programs understand it: an iTIP REQUEST (RFC 5546, 6047). Only this file knows icalendar."""

from datetime import UTC, date, datetime, tzinfo
from email.utils import parseaddr
from functools import lru_cache

from icalendar import Calendar, Event, Timezone, vCalAddress

from dialerd.mail.details import Invitation
from dialerd.mail.headers import wire_address

__all__ = ["KIND", "calendar"]

KIND = "text/calendar; method=REQUEST"


def calendar(
    invitation: Invitation, *, uid: str, sender: str, recipient: str, text: str, zone: tzinfo, stamp: datetime
) -> str:
    """Return the calendar that invites `recipient`; without an organizer's address, `sender` (a mailbox) does.

    `text` is what the mail says: of a mail with an invitation, Outlook shows nothing else, and calendars keep it.

    The same arguments give the same text: `uid` is by what a mail program knows the meeting again.
    """
    made = Calendar()
    made.add("prodid", "-//dialerd//EN")
    made.add("version", "2.0")
    made.add("method", "REQUEST")
    begin, end = invitation.begin.astimezone(zone), invitation.end.astimezone(zone)
    if begin.fold or end.fold:
        # Of an hour that comes twice, a wall clock's time means the first (RFC 5545, section 3.3.5).
        begin, end = invitation.begin, invitation.end
    elif zone is not UTC:
        made.add_component(_timezone(zone, begin.year, end.year))
    event = Event()
    event.add("uid", uid)
    event.add("dtstamp", stamp.astimezone(UTC))
    event.add("dtstart", begin)
    event.add("dtend", end)
    event.add("summary", invitation.title)
    if text.strip():
        event.add("description", "\n".join(text.splitlines()))
    event.add("organizer", _person(*_organizer(invitation, sender)))
    attendee = _person("", recipient)
    attendee.params.update({"role": "REQ-PARTICIPANT", "partstat": "NEEDS-ACTION", "rsvp": "TRUE"})
    event.add("attendee", attendee)
    event.add("sequence", 0)
    event.add("status", "CONFIRMED")
    made.add_component(event)
    content: bytes = made.to_ical()
    return content.decode()


@lru_cache(maxsize=64)
def _timezone(zone: tzinfo, first_year: int, last_year: int) -> Timezone:
    """Return what a mail program must know of a zone to read times of these years; takes 10 ms to find out."""
    first, last = date(max(first_year - 1, 1970), 1, 1), date(min(last_year + 2, 9999), 1, 1)
    return Timezone.from_tzinfo(zone, str(zone), first, last)


def _organizer(invitation: Invitation, sender: str) -> tuple[str, str]:
    name, address = parseaddr(sender)
    if invitation.organizer is not None:
        return invitation.name, invitation.organizer
    return invitation.name or name, wire_address(address)


def _person(name: str, address: str) -> vCalAddress:
    person = vCalAddress(f"mailto:{address}")
    if name:
        person.params["cn"] = name
    return person
