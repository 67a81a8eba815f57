"""Invitations: a meeting that mail programs put into the calendar, the same one at every attempt."""

import email
import email.policy
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any
from zoneinfo import ZoneInfo

import icalendar
import pytest

from dialerd.model.campaign import EmailPart
from dialerd.model.outcome import Failed
from tests.mail.composed import ID, a_message, compose, composed

PART = EmailPart(sender="Señora <ventas@example.com>")
MEETING = {
    "title": "Reunión; de ventas,\nanual",
    "organizer": "Ana <ana@example.com>",
    "from": "2026-07-01 09:00:00",
    "to": "2026-07-01 10:30:00",
}


def mail(zone: str = "America/Montevideo", data: str = "<p>Venga</p>", **changes: Any) -> EmailMessage:
    message = a_message(data, to="juan@example.org", invitation=MEETING | changes)
    content = compose(message, PART, zone=ZoneInfo(zone)).content
    assert content == compose(message, PART, zone=ZoneInfo(zone)).content
    assert content.isascii()
    read = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(read, EmailMessage)
    return read


def event(read: EmailMessage) -> Any:
    (part,) = (part for part in read.walk() if part.get_content_type() == "text/calendar")
    (found,) = icalendar.Calendar.from_ical(part.get_content()).walk("VEVENT")
    return found


def test_where_it_stands() -> None:
    """The invitation is the last alternative to text and HTML, a REQUEST, and an .ics file beside them."""
    read = mail()
    alternatives, file = read.iter_parts()

    assert [read.get_content_type(), alternatives.get_content_type()] == ["multipart/mixed", "multipart/alternative"]
    text, html, calendar = alternatives.iter_parts()
    assert [text.get_content_type(), html.get_content_type()] == ["text/plain", "text/html"]
    assert calendar["Content-Type"].params["method"] == "REQUEST"
    assert (file.get_filename(), file.get_content_type()) == ("invite.ics", "application/ics")
    assert file.get_content() == calendar.get_content().encode()
    assert "METHOD:REQUEST" in calendar.get_content().splitlines()


def test_what_it_says() -> None:
    """Who invites whom to what, at times on the campaign's clocks; its UID is the message's."""
    found = event(mail(data="<p>Venga; a las 9,<br>Ana</p>"))

    assert found["uid"] == f"{ID}@example.com"
    assert found["summary"] == "Reunión; de ventas, anual"
    assert (found["organizer"], found["organizer"].params["cn"]) == ("mailto:ana@example.com", "Ana")
    assert found["attendee"] == "mailto:juan@example.org"
    assert found["description"] == "Venga; a las 9,\nAna"
    assert found["dtstart"].params["tzid"] == "America/Montevideo"
    assert found.start.astimezone(UTC) == datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert found.end.astimezone(UTC) == datetime(2026, 7, 1, 13, 30, tzinfo=UTC)
    assert found["dtstamp"].dt == datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)


@pytest.mark.parametrize("hour", [0, 1])
def test_an_hour_that_comes_twice(hour: int) -> None:
    """Both of the hours that come twice when the clocks go back arrive as what they are."""
    begin = datetime(2026, 10, 25, hour, 30, tzinfo=UTC)
    found = event(mail("Europe/Madrid", **{"from": begin.isoformat(), "to": begin.isoformat()}))

    assert found.start.astimezone(UTC) == begin


def test_the_campaign_invites() -> None:
    """Without an organizer, the campaign's sender invites."""
    found = event(mail("UTC", organizer=None))

    assert (found["organizer"], found["organizer"].params["cn"]) == ("mailto:ventas@example.com", "Señora")


@pytest.mark.parametrize("name", ["Myself", 'Ana "la jefa"; ventas, 2'])
def test_a_name_invites(name: str) -> None:
    """An organizer that is a name alone, as in the original's sample, is whose name the campaign's sender bears."""
    found = event(mail("UTC", organizer=name))

    assert found["organizer"] == "mailto:ventas@example.com"
    assert found["organizer"].params["cn"] == name.replace('"', "'")


@pytest.mark.parametrize(
    ("written", "address", "name"),
    [
        ("ana@example.com", "ana@example.com", None),
        ("MAILTO:ana@example.com", "ana@example.com", None),
        ("<ana@example.com>", "ana@example.com", None),
        ("Peña, Ana <ana@example.com>", "ana@example.com", "Peña, Ana"),
        ('"Peña, \\"Ana\\"" <ana@señal.uy>', "ana@xn--seal-hqa.uy", 'Peña, "Ana"'),
    ],
)
def test_organizers_as_people_write_them(written: str, address: str, name: str | None) -> None:
    """An organizer's address, with or without a name, is read in the ways in which people write it."""
    found = event(mail("UTC", organizer=written))

    assert found["organizer"] == f"mailto:{address}"
    assert found["organizer"].params.get("cn") == name


@pytest.mark.parametrize(
    "odd",
    ["x", 5, [1], {"title": "x"}, MEETING | {"from": "tomorrow"}, MEETING | {"to": "2026-06-01 09:00:00"},
     MEETING | {"to": None}, MEETING | {"from": 5}, MEETING | {"title": ["x"]}, MEETING | {"organizer": "nobody@"},
     MEETING | {"organizer": "a@example.com\nATTENDEE:mailto:b@example.com"}],
)  # fmt: skip
def test_odd_invitations(odd: Any) -> None:
    """What is no meeting fails the message, and says what is wrong with it."""
    failed = composed(a_message(invitation=odd), PART)

    assert isinstance(failed, Failed)
    assert "invitation" in failed.error
