"""The rules of time: tables for what is written, and an oracle that walks the clock minute by minute.

The oracle knows a schedule as the set of open minutes of a week, and a moment as what the wall clock shows. It is
run over every distinct clock change of the IANA database since 1970.
"""

import random
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import cache, partial
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dialerd.model.calendar import (
    Dates,
    Window,
    awake,
    first_instant,
    on_date,
    opens_at,
    parse_schedule,
    parse_when,
    parse_window,
    within,
)

ALWAYS = Dates()
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
EVERY_DAY = frozenset(range(7))
DAY_NAMES = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
NEW_YORK = ZoneInfo("America/New_York")


def utc(text: str) -> datetime:
    """Return the instant that `text` shows on a clock in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# What is written


@pytest.mark.parametrize(
    ("text", "days", "start", "end"),
    [
        ("mon-fri;09:00-18:00", {0, 1, 2, 3, 4}, 540, 1080),
        ("sat;10:00-14:00", {5}, 600, 840),
        ("sun;00:00-00:01", {6}, 0, 1),
        ("mon,wed-fri;09:00-18:00", {0, 2, 3, 4}, 540, 1080),
        ("mon,wed,fri;09:00-18:00", {0, 2, 4}, 540, 1080),
        ("sat-mon;09:00-18:00", {5, 6, 0}, 540, 1080),
        ("fri-tue,thu;09:00-18:00", {4, 5, 6, 0, 1, 3}, 540, 1080),
        ("mon-sun;09:00-18:00", set(range(7)), 540, 1080),
        ("sun-sat;09:00-18:00", set(range(7)), 540, 1080),
        ("tue-mon;09:00-18:00", set(range(7)), 540, 1080),
        ("tue-tue;09:00-18:00", {1}, 540, 1080),
        ("mon,mon,sun-tue;09:00-18:00", {6, 0, 1}, 540, 1080),
        ("Mon-FRI;09:00-18:00", {0, 1, 2, 3, 4}, 540, 1080),
        ("  mon - wed ,\tfri ; 09:00 - 18:00 ", {0, 1, 2, 4}, 540, 1080),
        ("mon;00:00-24:00", {0}, 0, 1440),
        ("mon;00:00-23:59", {0}, 0, 1440),
        ("mon;00:00-23:58", {0}, 0, 1438),
        ("mon;23:59-24:00", {0}, 1439, 1440),
        ("mon;23:59-23:59", {0}, 1439, 1440),
        ("mon;23:59-00:01", {0}, 1439, 1),
        ("fri;22:00-02:00", {4}, 1320, 120),
        ("fri;22:00-00:00", {4}, 1320, 0),
    ],
)
def test_window_is_read(text: str, days: set[int], start: int, end: int) -> None:
    """`days;from-to` takes days in lists and ranges that may wrap, and 23:59 or 24:00 as the end of the day."""
    assert parse_window(text) == Window(frozenset(days), start, end)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "expected days;from-to"),
        ("mon-fri 09:00-18:00", "expected days;from-to"),
        ("mon;09:00-18:00;sat", "expected days;from-to"),
        ("mon;", "expected from-to"),
        ("mon;09:00", "expected from-to, such as 09:00-18:00, after the semicolon, not '09:00'"),
        ("mon;09:00-12:00-18:00", "expected from-to"),
        ("mon;09:00–18:00", "expected from-to"),
        (";09:00-18:00", "no day ''"),
        ("mon,;09:00-18:00", "no day ''"),
        ("monday;09:00-18:00", "no day 'monday' in 'monday': expected mon, tue, wed, thu, fri, sat, sun"),
        ("mon-;09:00-18:00", "no day '' in 'mon-'"),
        ("mon-wed-fri;09:00-18:00", "no day 'wed-fri' in 'mon-wed-fri'"),
        ("mon-fry;09:00-18:00", "no day 'fry' in 'mon-fry'"),
        ("1-5;09:00-18:00", "no day '1' in '1-5'"),
        ("mon;9:00-18:00", "expected HH:MM, such as 09:00, not '9:00'"),
        ("mon;09:00-18", "expected HH:MM, such as 09:00, not '18'"),
        ("mon;09:00-18:00:00", "expected HH:MM"),
        ("mon;09:00-", "expected HH:MM, such as 09:00, not ''"),
        ("mon;٠٩:٠٠-18:00", "expected HH:MM"),
        ("mon;09:00-25:00", "hour 25 is outside 0-23 in '25:00'"),
        ("mon;09:00-24:01", "hour 24 is outside 0-23 in '24:01'"),
        ("mon;09:60-18:00", "minute 60 is outside 0-59 in '09:60'"),
        ("mon;24:00-06:00", "cannot begin at 24:00: write 00:00 and the next day"),
        ("mon;24:00-24:00", "cannot begin at 24:00"),
        ("mon;09:00-09:00", "the window 09:00-09:00 is empty: write 00:00-24:00 for the whole day"),
        ("mon;00:00-00:00", "is empty: write 00:00-24:00"),
    ],
)
def test_bad_window_is_explained(text: str, complaint: str) -> None:
    """A window that is none is refused with what is wrong in it and what was expected."""
    with pytest.raises(ValueError, match=re.escape(complaint)):
        parse_window(text)


def test_schedule_is_all_its_entries() -> None:
    """A schedule has one window for each entry, in the order in which they are written."""
    weekdays, saturday = Window(frozenset({0, 1, 2, 3, 4}), 540, 1080), Window(frozenset({5}), 600, 840)

    assert parse_schedule(iter(["mon-fri;09:00-18:00", "sat;10:00-14:00"])) == (weekdays, saturday)
    with pytest.raises(ValueError, match="no day 'xxx'"):
        parse_schedule(["mon-fri;09:00-18:00", "xxx;10:00-14:00"])


GOOD_INSTANTS = [
    ("2026-01-01T10:00:00-03:00", "2026-01-01T13:00:00"),
    ("2026-01-01T10:00:00+05:45", "2026-01-01T04:15:00"),
    ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00"),
    ("2026-01-01T10:00:00.5Z", "2026-01-01T10:00:00.500000"),
    ("2026-01-01T10:00:00.123456789+00:00", "2026-01-01T10:00:00.123456"),
    ("2024-02-29T23:59:59-00:00", "2024-02-29T23:59:59"),
    ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00"),
    ("9998-12-31T23:59:59Z", "9998-12-31T23:59:59"),
]


@pytest.mark.parametrize(("text", "expected"), GOOD_INSTANTS)
def test_instant_with_offset_is_read(text: str, expected: str) -> None:
    """An ISO 8601 instant says its own offset, whatever the zone."""
    assert parse_when(text, NEW_YORK) == utc(expected)
    assert parse_when(text, NEW_YORK).tzinfo is UTC


# The zone, what its clock shows, and the instant: before, inside and after the gap or the fold.
CLOCK_CHANGES = [
    ("America/New_York", "2026-01-15 12:00:00", "2026-01-15T17:00:00"),
    ("America/New_York", "2026-03-08 01:59:59", "2026-03-08T06:59:59"),
    ("America/New_York", "2026-03-08 02:00:00", "2026-03-08T07:00:00"),
    ("America/New_York", "2026-03-08 02:30:00", "2026-03-08T07:00:00"),
    ("America/New_York", "2026-03-08 03:00:00", "2026-03-08T07:00:00"),
    ("America/New_York", "2026-11-01 01:30:00", "2026-11-01T05:30:00"),
    ("America/New_York", "2026-11-01 02:00:00", "2026-11-01T07:00:00"),
    ("America/Santiago", "2024-09-08 00:30:00", "2024-09-08T04:00:00"),
    ("America/Santiago", "2024-04-06 23:30:00", "2024-04-07T02:30:00"),
    ("America/Santiago", "2024-04-07 00:00:00", "2024-04-07T04:00:00"),
    ("Europe/Madrid", "2026-03-29 02:30:00", "2026-03-29T01:00:00"),
    ("Europe/Madrid", "2026-10-25 02:30:00", "2026-10-25T00:30:00"),
    ("Australia/Lord_Howe", "2024-10-06 02:15:00", "2024-10-05T15:30:00"),
    ("Australia/Lord_Howe", "2024-10-06 02:30:00", "2024-10-05T15:30:00"),
    ("Australia/Lord_Howe", "2024-04-07 01:45:00", "2024-04-06T14:45:00"),
    ("Pacific/Apia", "2011-12-29 23:59:59", "2011-12-30T09:59:59"),
    ("Pacific/Apia", "2011-12-30 00:00:00", "2011-12-30T10:00:00"),
    ("Pacific/Apia", "2011-12-30 12:00:00", "2011-12-30T10:00:00"),
    ("Pacific/Apia", "2011-12-31 00:00:00", "2011-12-30T10:00:00"),
    ("Africa/Casablanca", "2024-03-10 02:30:00", "2024-03-10T01:30:00"),
    ("Africa/Casablanca", "2024-04-14 02:30:00", "2024-04-14T02:00:00"),
    ("Asia/Gaza", "2023-04-29 02:30:00", "2023-04-29T00:00:00"),
    ("Asia/Gaza", "2023-10-28 01:30:00", "2023-10-27T22:30:00"),
    ("Africa/Monrovia", "1972-01-07 00:30:00", "1972-01-07T00:44:30"),
    ("UTC", "2026-01-01 00:00:00", "2026-01-01T00:00:00"),
]


@pytest.mark.parametrize(("name", "text", "expected"), CLOCK_CHANGES)
def test_wall_clock_time_is_read(name: str, text: str, expected: str) -> None:
    """A wall-clock time that is skipped is the first instant after the gap, one that comes twice is the first."""
    zone = ZoneInfo(name)

    assert parse_when(text, zone) == utc(expected)
    assert first_instant(datetime.fromisoformat(text).replace(fold=1), zone) == utc(expected)
    assert first_instant(datetime.fromisoformat(text), zone).tzinfo is UTC


def test_gap_ends_on_time() -> None:
    """What is skipped becomes the first instant after the gap to the second, without a stray microsecond."""
    assert first_instant(datetime(2026, 3, 8, 2, 59, 59, 999999), NEW_YORK).isoformat() == "2026-03-08T07:00:00+00:00"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-01",
        "2026-01-01 10:00",
        "2026-01-01T10:00:00",
        "2026-01-01T10:00Z",
        "2026-01-01 10:00:00Z",
        "2026-01-01 10:00:00.5",
        "2026-01-01 10:00:00-03:00",
        "2026-01-01T10:00:00-03",
        "2026-01-01T10:00:00 -03:00",
        "2026-01-01T10:00:00+24:00",
        "2026-01-01T10:00:00+10:60",
        "2026-01-01T10:00:00.Z",
        "20260101T100000Z",
        "2026-W01-4T10:00:00Z",
        "2026-1-1 9:00:00",
        "26-01-01 10:00:00",
        "2026/01/01 10:00:00",
        "01-01-2026 10:00:00",
        " 2026-01-01 10:00:00",
        "2026-01-01 10:00:00\n",
        "2026-01-01  10:00:00",
        "٢٠٢٦-٠١-٠١ 10:00:00",
        "2026-01-01 24:00:00",
        "2026-01-01T24:00:00Z",
        "2026-01-01 10:60:00",
        "2026-12-31T23:59:60Z",
    ],
)
def test_other_ways_to_write_a_time_are_refused(text: str) -> None:
    """A time in neither form is refused with the two forms that are understood."""
    with pytest.raises(ValueError, match="expected YYYY-MM-DD HH:MM:SS, or an ISO 8601 instant with its offset"):
        parse_when(text, UTC)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("2026-02-30 10:00:00", "expected a day of the calendar, not '2026-02-30': day"),
        ("2026-13-01T10:00:00Z", "expected a day of the calendar, not '2026-13-01': month"),
        ("2025-02-29 10:00:00", "expected a day of the calendar"),
        ("1969-12-31 18:59:59", "expected an instant of the years 1970 to 9998 in UTC, not '1969-12-31 18:59:59'"),
        ("1970-01-01T00:00:00+14:00", "expected an instant of the years 1970 to 9998 in UTC"),
        ("0001-01-01 00:00:00", "expected an instant of the years 1970 to 9998 in UTC"),
        ("0001-01-01T00:00:00+01:00", "expected an instant of the years 1970 to 9998 in UTC"),
        ("0000-01-01T00:00:00Z", "expected a day of the calendar"),
        ("9998-12-31 19:00:00", "expected an instant of the years 1970 to 9998 in UTC"),
        ("9999-12-31 23:00:00", "expected an instant of the years 1970 to 9998 in UTC"),
        ("9999-12-31T23:00:00-05:00", "expected an instant of the years 1970 to 9998 in UTC"),
    ],
)
def test_impossible_time_is_explained(text: str, complaint: str) -> None:
    """A day that no calendar has, or a time that no table holds, is refused with the reason."""
    with pytest.raises(ValueError, match=re.escape(complaint)):
        parse_when(text, NEW_YORK)


# When it is open


@pytest.mark.parametrize(
    ("entries", "at", "expected"),
    [  # 2026-01-02 is a Friday
        (["mon-fri;09:00-18:00"], "2026-01-02T08:59:59.999999", False),
        (["mon-fri;09:00-18:00"], "2026-01-02T09:00:00", True),
        (["mon-fri;09:00-18:00"], "2026-01-02T17:59:59.999999", True),
        (["mon-fri;09:00-18:00"], "2026-01-02T18:00:00", False),
        (["mon-fri;09:00-18:00"], "2026-01-03T12:00:00", False),
        (["sat-mon;09:00-18:00"], "2026-01-04T12:00:00", True),
        (["mon-fri;09:00-18:00", "sat;10:00-14:00"], "2026-01-03T10:00:00", True),
        (["mon-fri;09:00-18:00", "sat;10:00-14:00"], "2026-01-03T09:59:00", False),
        (["fri;09:00-12:00", "fri;15:00-18:00"], "2026-01-02T11:59:00", True),
        (["fri;09:00-12:00", "fri;15:00-18:00"], "2026-01-02T12:00:00", False),
        (["fri;09:00-12:00", "fri;15:00-18:00"], "2026-01-02T15:00:00", True),
        (["fri;09:00-23:59"], "2026-01-02T23:59:59.999999", True),
        (["fri;09:00-24:00"], "2026-01-02T23:59:59.999999", True),
        (["fri;09:00-23:58"], "2026-01-02T23:58:00", False),
        (["fri;09:00-24:00"], "2026-01-03T00:00:00", False),
        (["fri;22:00-02:00"], "2026-01-02T21:59:00", False),
        (["fri;22:00-02:00"], "2026-01-02T22:00:00", True),
        (["fri;22:00-02:00"], "2026-01-03T01:59:59", True),
        (["fri;22:00-02:00"], "2026-01-03T02:00:00", False),
        (["fri;22:00-02:00"], "2026-01-02T01:00:00", False),
        (["fri;22:00-02:00"], "2026-01-03T22:00:00", False),
        (["sun;22:00-02:00"], "2026-01-05T01:00:00", True),
        (["fri;22:00-00:00"], "2026-01-02T23:59:59", True),
        (["fri;22:00-00:00"], "2026-01-03T00:00:00", False),
        ([], "2026-01-02T12:00:00", False),
    ],
)
def test_within(entries: list[str], at: str, expected: bool) -> None:
    """`to` is exclusive unless it is the end of the day, and a window past midnight belongs to the day it began on."""
    schedule = parse_schedule(entries)
    moscow = timezone(3 * HOUR)

    assert within(schedule, UTC, utc(at)) is expected
    assert within(schedule, moscow, utc(at) - 3 * HOUR) is expected


def test_no_schedule_is_always() -> None:
    """Without a schedule it is never out of hours."""
    assert within(None, NEW_YORK, utc("2026-01-02T03:00:00"))


@pytest.mark.parametrize(
    ("dates", "at", "expected"),
    [  # Montevideo is at -03:00
        (Dates(), "2026-01-01T12:00:00", True),
        (Dates(start=date(2026, 1, 2)), "2026-01-02T02:59:59", False),
        (Dates(start=date(2026, 1, 2)), "2026-01-02T03:00:00", True),
        (Dates(end=date(2026, 1, 2)), "2026-01-03T02:59:59", True),
        (Dates(end=date(2026, 1, 2)), "2026-01-03T03:00:00", False),
        (Dates(date(2026, 1, 2), date(2026, 1, 2)), "2026-01-02T12:00:00", True),
        (Dates(excluded=frozenset({date(2026, 1, 2)})), "2026-01-02T12:00:00", False),
        (Dates(excluded=frozenset({date(2026, 1, 2)})), "2026-01-02T02:00:00", True),
        (Dates(excluded=frozenset({date(2026, 1, 2)})), "2026-01-03T02:00:00", False),
        (Dates(date(2026, 1, 1), date(2026, 1, 3), frozenset({date(2026, 1, 2)})), "2026-01-03T12:00:00", True),
    ],
)
def test_on_date(dates: Dates, at: str, expected: bool) -> None:
    """On date are the days from start to end, both included, less the excluded ones, by the campaign's own clock."""
    assert on_date(dates, ZoneInfo("America/Montevideo"), utc(at)) is expected


@pytest.mark.parametrize(
    ("zones", "at", "expected"),
    [
        (["America/New_York"], "2026-01-02T13:00:00", True),
        (["America/Los_Angeles"], "2026-01-02T13:00:00", False),
        (["America/New_York", "America/Los_Angeles"], "2026-01-02T13:00:00", False),
        (["America/Los_Angeles", "America/New_York"], "2026-01-02T13:00:00", False),
        (["America/New_York", "America/Los_Angeles"], "2026-01-02T16:00:00", True),
        (["America/New_York", "America/Los_Angeles"], "2026-01-03T02:30:00", False),
    ],
)
def test_awake(zones: list[str], at: str, expected: bool) -> None:
    """It has to be within the recipient's hours in every zone the number may be in; without a rule it always is."""
    hours = parse_schedule(["mon-sun;08:00-21:00"])

    assert awake(hours, [ZoneInfo(name) for name in zones], utc(at)) is expected
    assert awake(None, [ZoneInfo(name) for name in zones], utc(at)) is True


OPENINGS = [
    ("UTC", ["fri;09:00-18:00"], ALWAYS, "2026-01-02T09:00:00", "2026-01-02T09:00:00"),
    ("UTC", ["fri;09:00-18:00"], ALWAYS, "2026-01-02T17:59:59.999999", "2026-01-02T17:59:59.999999"),
    ("UTC", ["fri;09:00-18:00"], ALWAYS, "2026-01-02T18:00:00", "2026-01-09T09:00:00"),
    ("UTC", ["fri;15:00-18:00", "fri;09:00-12:00"], ALWAYS, "2026-01-02T00:00:00.000001", "2026-01-02T09:00:00"),
    ("UTC", ["fri;09:00-12:00", "fri;15:00-18:00"], ALWAYS, "2026-01-02T13:00:00", "2026-01-02T15:00:00"),
    ("UTC", ["thu;22:00-02:00"], Dates(start=date(2026, 1, 2)), "2026-01-01T12:00:00", "2026-01-02T00:00:00"),
    ("UTC", ["thu;22:00-02:00"], Dates(end=date(2026, 1, 1)), "2026-01-02T00:00:00", None),
    ("UTC", None, Dates(end=date(2026, 1, 1)), "2026-01-02T00:00:00", None),
    ("UTC", None, Dates(date(2026, 1, 3), date(2026, 1, 2)), "2026-01-01T00:00:00", None),
    ("UTC", ["mon;09:00-18:00"], Dates(date(2026, 1, 2), date(2026, 1, 4)), "2026-01-01T00:00:00", None),
    ("Asia/Tokyo", None, Dates(start=date(2026, 1, 2)), "2025-12-31T00:00:00", "2026-01-01T15:00:00"),
    ("Asia/Tokyo", ["sat;04:00-04:30"], Dates(start=date(2026, 1, 3)), "2026-01-02T20:00:00", "2026-01-09T19:00:00"),
    ("Asia/Tokyo", None, Dates(excluded=frozenset({date(2026, 1, 2)})), "2026-01-01T15:00:00", "2026-01-02T15:00:00"),
    ("America/New_York", None, Dates(start=date(2026, 1, 2)), "2025-12-31T00:00:00", "2026-01-02T05:00:00"),
    # 02:00 to 03:00 is skipped: a window that begins there, one that lies there, one that ends there
    ("America/New_York", ["sun;02:30-04:00"], ALWAYS, "2026-03-08T00:00:00", "2026-03-08T07:00:00"),
    ("America/New_York", ["sun;02:00-03:00"], ALWAYS, "2026-03-08T00:00:00", "2026-03-15T06:00:00"),
    ("America/New_York", ["sun;02:30-03:00", "sun;03:30-04:00"], ALWAYS, "2026-03-08T00:00:00", "2026-03-08T07:30:00"),
    # 01:00 to 02:00 comes twice: so does a window inside
    ("America/New_York", ["sun;01:15-01:30"], ALWAYS, "2026-11-01T00:00:00", "2026-11-01T05:15:00"),
    ("America/New_York", ["sun;01:15-01:30"], ALWAYS, "2026-11-01T05:30:00", "2026-11-01T06:15:00"),
    ("America/New_York", ["sun;01:15-01:30"], ALWAYS, "2026-11-01T06:30:00", "2026-11-08T06:15:00"),
    # at midnight back to 23:00 of the day before: into the window's middle, or onto an excluded or last day once more
    ("America/Santiago", ["sat;23:00-23:30"], ALWAYS, "2024-04-07T02:30:00", "2024-04-07T03:00:00"),
    ("America/Santiago", ["sat;22:30-23:30"], ALWAYS, "2024-04-07T02:30:00", "2024-04-07T03:00:00"),
    ("America/St_Johns", None, Dates(end=date(2010, 11, 6)), "2010-11-07T02:30:00", "2010-11-07T02:31:00"),
    ("America/St_Johns", None, Dates(excluded=frozenset({date(2010, 11, 7)})), "2010-11-07T02:30:30",
     "2010-11-07T02:31:00"),
    # at midnight forward to 01:00
    ("America/Santiago", None, Dates(start=date(2024, 9, 8)), "2024-09-07T00:00:00", "2024-09-08T04:00:00"),
    ("America/Santiago", ["sun;00:00-01:00"], ALWAYS, "2024-09-08T00:00:00", "2024-09-15T03:00:00"),
    ("Australia/Lord_Howe", ["sun;02:15-02:45"], ALWAYS, "2024-10-05T00:00:00", "2024-10-05T15:30:00"),
    # there was no 30 December 2011
    ("Pacific/Apia", ["fri;09:00-18:00"], ALWAYS, "2011-12-28T00:00:00", "2012-01-05T19:00:00"),
    ("Pacific/Apia", ["fri;22:00-02:00"], ALWAYS, "2011-12-28T00:00:00", "2011-12-30T10:00:00"),
    ("Pacific/Apia", None, Dates(date(2011, 12, 30), date(2011, 12, 30)), "2011-12-28T00:00:00", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "entries", "dates", "now", "expected"), OPENINGS)
def test_opens_at(name: str, entries: list[str] | None, dates: Dates, now: str, expected: str | None) -> None:
    """It opens at the first instant from now on that is on date and within the schedule, whatever the clocks do."""
    schedule = None if entries is None else parse_schedule(entries)

    assert opens_at(schedule, dates, ZoneInfo(name), utc(now)) == (expected and utc(expected))


class CountingZone(tzinfo):
    """A zone that counts how often it is asked."""

    def __init__(self) -> None:
        self.questions = 0

    def utcoffset(self, _wall: datetime | None) -> timedelta:
        """Return -03:00, and count."""
        self.questions += 1
        return -3 * HOUR

    def dst(self, _wall: datetime | None) -> timedelta:
        """Return that there is no summer time."""
        return timedelta()

    def tzname(self, _wall: datetime | None) -> str:
        """Return a name."""
        return "-03"


LONG_HOLIDAYS = frozenset(date(2026, 1, 1) + n * DAY for n in range(5000))


@pytest.mark.parametrize(
    ("entries", "dates", "expected", "most_questions"),
    [
        (["fri;09:00-18:00"], Dates(start=date(2999, 1, 1)), "2999-01-04T12:00:00", 300),
        (["fri;09:00-18:00"], Dates(start=date(9999, 12, 31)), "9999-12-31T12:00:00", 300),
        (["mon;09:00-18:00"], Dates(start=date(9999, 12, 31)), None, 300),
        (["mon;09:00-18:00"], Dates(end=date(1999, 1, 1)), None, 300),
        (["mon;09:00-18:00"], Dates(start=date(2999, 1, 1), end=date(2026, 1, 1)), None, 300),
        ([], ALWAYS, None, 10),
        (["mon-fri;09:00-18:00"], Dates(excluded=LONG_HOLIDAYS), "2039-09-12T12:00:00", 50 * len(LONG_HOLIDAYS)),
    ],
)
def test_search_is_bounded(entries: list[str], dates: Dates, expected: str | None, most_questions: int) -> None:
    """A far start, a past end, long holidays or a schedule of nothing cost no walk through the centuries."""
    zone = CountingZone()

    assert opens_at(parse_schedule(entries), dates, zone, utc("2026-01-01T00:00:00")) == (expected and utc(expected))
    assert zone.questions <= most_questions


def test_window_without_minutes_never_opens() -> None:
    """Windows that hold no day or no minute end the search before it begins."""
    zone = CountingZone()
    nothing = (Window(frozenset(), 0, 1440), Window(EVERY_DAY, 540, 540))

    assert opens_at(nothing, ALWAYS, zone, utc("2026-01-01T00:00:00")) is None
    assert zone.questions <= 10


@pytest.mark.parametrize("name", ["America/New_York", "Asia/Tokyo", "UTC"])
@pytest.mark.parametrize("entries", [None, ["mon-sun;13:00-13:30"], ["sat;00:00-24:00"], []])
@pytest.mark.parametrize("now", [datetime.min, datetime(1, 1, 1, 12), datetime(9999, 12, 31, 12), datetime.max])
def test_ends_of_the_calendar(name: str, entries: list[str] | None, now: datetime) -> None:
    """In the years 1 and 9999 all rules have an answer, and an opening past 9999 is none."""
    schedule = None if entries is None else parse_schedule(entries)
    zone, now = ZoneInfo(name), now.replace(tzinfo=UTC)

    for dates in (ALWAYS, Dates(date.min, date.max), Dates(date.max, date.min)):
        open_now = within(schedule, zone, now) and on_date(dates, zone, now)
        opening = opens_at(schedule, dates, zone, now)

        assert (opening == now) is open_now
        assert opening is None or (within(schedule, zone, opening) and on_date(dates, zone, opening))
        if entries and now.year == 1 and dates.end != date.min:
            assert opening is not None
            assert opening - now < 8 * DAY


def test_clock_stands_still_at_the_ends() -> None:
    """Where Python's calendar has no wall clock any more, it is the last minute of 9999 or the first of year 1."""
    last_minute, first_minute = parse_schedule(["fri;23:59-24:00"]), parse_schedule(["mon;00:00-00:01"])

    assert within(last_minute, ZoneInfo("Asia/Tokyo"), utc("9999-12-31T20:00:00"))
    assert within(first_minute, NEW_YORK, utc("0001-01-01T02:00:00"))


def test_last_window_of_the_calendar() -> None:
    """The very last day is a day like others up to its end."""
    last_friday = parse_schedule(["fri;23:00-24:00"])

    assert opens_at(last_friday, ALWAYS, UTC, utc("9999-12-31T01:00:00")) == utc("9999-12-31T23:00:00")
    assert opens_at(last_friday, ALWAYS, NEW_YORK, utc("9999-12-31T05:00:00")) is None
    assert opens_at(last_friday, ALWAYS, ZoneInfo("Asia/Tokyo"), utc("9999-12-31T01:00:00")) == utc(
        "9999-12-31T14:00:00"
    )


# The oracle


class Change(NamedTuple):
    """The first instant, in UTC, at which a zone has another offset than before."""

    name: str
    at: datetime

    def walls(self) -> tuple[datetime, datetime]:
        """Return what the clock would show at the change, and what it shows."""
        zone = ZoneInfo(self.name)
        before = (self.at - MICROSECOND).astimezone(zone).replace(tzinfo=None) + MICROSECOND
        return before, self.at.astimezone(zone).replace(tzinfo=None)


@cache
def distinct_changes() -> list[Change]:
    """Return one clock change, 1970 to 2037, for each pair of offsets, weekday and time of day of a change."""
    # IANA's changes of these years are at least 167 hours apart, so that six days see each of them.
    start, step, steps = datetime(1970, 1, 1), 6 * DAY, 68 * 61
    moments = [start + n * step for n in range(steps)]
    found: dict[object, Change] = {}
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        offsets = list(map(zone.utcoffset, moments))
        for n in range(1, steps):
            if offsets[n] != offsets[n - 1]:
                change = Change(name, search_change(zone, moments[n - 1] - DAY, moments[n] + DAY))
                before, after = change.walls()
                found.setdefault((before - after, before - change.at.replace(tzinfo=None), *clock_of(before)), change)
    return list(found.values())


def search_change(zone: tzinfo, low: datetime, high: datetime) -> datetime:
    """Return the second between the naive UTC times at which the offset changes."""
    base = low.replace(tzinfo=UTC)
    old = base.astimezone(zone).utcoffset()
    seconds = range(int((high - low).total_seconds()))
    return base + timedelta(
        seconds=bisect_left(
            seconds, True, key=lambda s: (base + timedelta(seconds=s)).astimezone(zone).utcoffset() != old
        )
    )


def clock_of(wall: datetime) -> tuple[int, int]:
    """Return the weekday and the minute of the day."""
    return wall.weekday(), 60 * wall.hour + wall.minute


@cache
def open_week(entries: tuple[str, ...]) -> frozenset[tuple[int, int]]:
    """Return the (weekday, minute) pairs that are open, counted one by one."""
    week = set()
    for entry in entries:
        days, hours = entry.split(";")
        begin, finish = (60 * int(clock[:2]) + int(clock[3:]) for clock in hours.split("-"))
        if finish == 1439:
            finish = 1440
        for name in days.split(","):
            day, minute = DAY_NAMES.index(name), begin
            while minute != finish:
                week.add((day, minute))
                minute += 1
                if minute == 1440 and finish != 1440:
                    day, minute = (day + 1) % 7, 0
    return frozenset(week)


class Oracle:
    """Every minute from 48 hours before a change to 48 hours after it, and what its clock shows."""

    STEPS = tuple(n * MINUTE for n in range(-48 * 60, 48 * 60 + 1))

    def __init__(self, change: Change) -> None:
        self.zone = ZoneInfo(change.name)
        self.minutes = [change.at + step for step in self.STEPS]
        self.walls = [minute.astimezone(self.zone) for minute in self.minutes]
        self.clocks = [clock_of(wall) for wall in self.walls]

    def open_minutes(self, entries: Iterable[str], dates: Dates = ALWAYS) -> list[bool]:
        """Return for each of the minutes whether it is open."""
        week = open_week(tuple(entries))
        in_hours = [clock in week for clock in self.clocks]
        if dates == ALWAYS:
            return in_hours
        pairs = zip(in_hours, self.walls, strict=True)
        return [is_in and self.covers(dates, wall.date()) for is_in, wall in pairs]

    def is_open(self, entries: Iterable[str], dates: Dates, at: datetime) -> bool:
        """Return whether any instant is open."""
        wall = at.astimezone(self.zone)
        return clock_of(wall) in open_week(tuple(entries)) and self.covers(dates, wall.date())

    @staticmethod
    def covers(dates: Dates, day: date) -> bool:
        """Return whether a day is on date."""
        too_early = dates.start is not None and day < dates.start
        too_late = dates.end is not None and day > dates.end
        return not too_early and not too_late and day not in dates.excluded


def assert_first_opening(
    opening: datetime | None, now: datetime, first: datetime | None, is_open: Callable[[datetime], bool]
) -> None:
    """Check `opening` against `first`, the oracle's first open minute from `now` on."""
    if opening is None:
        assert first is None
        return
    assert opening >= now
    assert is_open(opening)
    assert opening == now or not is_open(opening - MICROSECOND)
    assert first is None or opening <= first


def clock(minute: int) -> str:
    """Return HH:MM of the minute of the day."""
    return f"{minute // 60:02}:{minute % 60:02}"


@st.composite
def cases(draw: st.DrawFn) -> tuple[Change, list[str], Dates, datetime]:
    """Draw a change, a schedule and dates that like to have their ends near it, and a now."""
    change = draw(st.sampled_from(distinct_changes()))
    near = st.sampled_from([60 * wall.hour + wall.minute for wall in change.walls()])
    minutes = st.one_of(
        st.integers(0, 1439), st.builds(lambda m, by: (m + by) % 1440, near, st.integers(-70, 70)), st.just(0)
    )
    near_days = sorted({(wall.weekday() + by) % 7 for wall in change.walls() for by in (-1, 0, 1)})
    days = st.lists(st.sampled_from([*range(7), *near_days, *near_days]), min_size=1, max_size=4, unique=True)
    entries = []
    for _ in range(draw(st.integers(1, 3))):
        begin = min(draw(minutes), 1438)
        finish = draw(minutes | st.just(1440))
        finish += finish == begin
        names = ",".join(DAY_NAMES[day] for day in draw(days))
        entries.append(f"{names};{clock(begin)}-{clock(finish)}")
    today = change.at.date()
    some_day = st.integers(-3, 3).map(lambda by: today + by * DAY)
    dates = Dates(draw(st.none() | some_day), draw(st.none() | some_day), draw(st.frozensets(some_day, max_size=2)))
    now = change.at + draw(
        st.one_of(
            st.integers(-48 * 60, 47 * 60).map(lambda m: m * MINUTE),
            st.timedeltas(min_value=-48 * HOUR, max_value=47 * HOUR),
            st.timedeltas(min_value=-3 * HOUR, max_value=3 * HOUR),
        )
    )
    return change, entries, dates, now


def apia(entries: list[str], dates: Dates) -> tuple[Change, list[str], Dates, datetime]:
    """Return the case of the day that Samoa left out."""
    at = utc("2011-12-30T10:00:00")
    return Change("Pacific/Apia", at), entries, dates, at - 40 * HOUR


@given(case=cases())
@example(case=apia(["fri;09:00-18:00"], Dates(end=date(2011, 12, 30))))
@example(case=apia(["fri;22:00-01:00"], ALWAYS))
@settings(deadline=None, max_examples=100)
def test_within_agrees_with_the_oracle(case: tuple[Change, list[str], Dates, datetime]) -> None:
    """Around every clock change, `within` and `on_date` hold in the open minutes of the wall clock and in no other."""
    change, entries, dates, _now = case
    schedule, oracle = parse_schedule(entries), Oracle(change)

    assert [within(schedule, oracle.zone, minute) for minute in oracle.minutes] == oracle.open_minutes(entries)
    assert [on_date(dates, oracle.zone, minute) for minute in oracle.minutes[::7]] == [
        oracle.covers(dates, wall.date()) for wall in oracle.walls[::7]
    ]


@given(case=cases())
@example(case=apia(["fri;09:00-18:00"], Dates(end=date(2011, 12, 30))))
@example(case=apia(["fri;22:00-01:00"], ALWAYS))
@settings(deadline=None, max_examples=200)
def test_opening_agrees_with_the_oracle(case: tuple[Change, list[str], Dates, datetime]) -> None:
    """Around every clock change, `opens_at` is the first open instant, and None only where none comes."""
    change, entries, dates, now = case
    oracle = Oracle(change)
    minutes = zip(oracle.minutes, oracle.open_minutes(entries, dates), strict=True)
    first = next((minute for minute, is_open in minutes if is_open and minute >= now), None)

    opening = opens_at(parse_schedule(entries), dates, oracle.zone, now)

    assert_first_opening(opening, now, first, partial(oracle.is_open, entries, dates))
    assert opening is not None or dates.end is not None


FIXED_SCHEDULES = [
    ["mon,tue,wed,thu,fri,sat,sun;02:15-02:45", "sun,mon,sat;00:00-00:30"],
    ["sun,mon,tue;23:30-01:30", "sat;22:00-23:59"],
    ["mon,wed,fri,sun;00:30-02:30", "sat,sun;03:00-24:00"],
    ["tue,thu,sat;09:00-18:00", "fri;01:00-00:59"],
]


def flips(open_minutes: list[bool]) -> list[int]:
    """Return the indices at which it opens or closes."""
    return [n for n, (was, is_now) in enumerate(pairwise(open_minutes), 1) if was is not is_now]


def test_every_distinct_change() -> None:
    """At each distinct clock change of the IANA database, what opens and closes does so when the wall clock says."""
    changes = distinct_changes()
    dice = random.Random(1)
    for change in changes:
        oracle = Oracle(change)
        for entries in FIXED_SCHEDULES:
            open_minutes, schedule = oracle.open_minutes(entries), parse_schedule(entries)
            edges = [n + by for n in flips(open_minutes) for by in (-1, 0)]
            middle = len(oracle.minutes) // 2

            for n in {*edges, *range(0, len(oracle.minutes), 97), *range(middle - 5, middle + 6)}:
                assert within(schedule, oracle.zone, oracle.minutes[n]) is open_minutes[n], (change, entries, n)
            for n in [0, middle - 1, middle, *edges, dice.randrange(len(oracle.minutes) - 60)]:
                now = oracle.minutes[n] + dice.choice([0, 1, 30]) * timedelta(seconds=1)
                later = n if now == oracle.minutes[n] else n + 1
                first = oracle.minutes[open_minutes.index(True, later)] if True in open_minutes[later:] else None
                opening = opens_at(schedule, ALWAYS, oracle.zone, now)
                assert opening is not None, (change, entries, now)
                assert_first_opening(opening, now, first, partial(oracle.is_open, entries, ALWAYS))

    assert len(changes) > 400


def test_first_instant_at_every_distinct_change() -> None:
    """What the clocks show once is that instant, what they show twice the first, and what they skip the change."""
    for change in distinct_changes():
        zone, (before, after) = ZoneInfo(change.name), change.walls()
        # the times of the clock in the order in which they come, from 3 hours before its fold or gap
        span = abs(after - before) + 3 * HOUR
        shown: dict[datetime, datetime] = {}
        for n in range(-int(span / MINUTE) // 5, int(span / MINUTE) // 5 + 1):
            at = change.at + 5 * n * MINUTE
            shown.setdefault(at.astimezone(zone).replace(tzinfo=None), at)

        for wall, at in shown.items():
            assert first_instant(wall, zone) == at, (change, wall)
        while before < after:
            assert first_instant(before, zone) == change.at, (change, before)
            before += 13 * MINUTE
