"""Rules of time: weekly windows, dates, and the first instant at which they allow sending.

Instants are aware datetimes in UTC, and only they are added and subtracted: Python subtracts two datetimes of one zone
as wall clocks. What a wall clock shows is a naive datetime here. A zone's clock changes are found by asking for its
offset, so that any `tzinfo` will do; two changes within one day that undo each other would be missed (the IANA
database has none closer than 95 hours).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

__all__ = [
    "EARLIEST",
    "TOO_LATE",
    "Dates",
    "Schedule",
    "Window",
    "awake",
    "first_instant",
    "on_date",
    "opens_at",
    "parse_schedule",
    "parse_when",
    "parse_window",
    "storable",
    "within",
]

#: The order of `datetime.weekday()`.
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
END_OF_DAY = 1440  # minutes
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)

#: What the tables can hold: from the first on, and before the last, so that clocks of all zones can still show it.
EARLIEST, TOO_LATE = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)

#: From this instant on there is a wall clock in every zone; before it Python's calendar may begin too late.
FIRST = datetime(1, 1, 2, tzinfo=UTC)

CLOCK = re.compile(r"(\d\d):(\d\d)", re.ASCII)
WALL = re.compile(r"\d{4}-\d\d-\d\d (?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d", re.ASCII)
INSTANT = re.compile(WALL.pattern.replace(" ", "T") + r"(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Window:
    """Minutes of the wall clock on some days of the week: from `start` (included) to `end` (excluded).

    `days` holds 0 for Monday … 6 for Sunday. `start` and `end` are minutes after midnight, `end` at most 1440;
    `end` < `start` runs past midnight and belongs to the day on which it begins.
    """

    days: frozenset[int]
    start: int
    end: int


Schedule = tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class Dates:
    """The days on which a campaign is on date, both ends included; None where an end is open."""

    start: date | None = None
    end: date | None = None
    excluded: frozenset[date] = frozenset()


def parse_schedule(entries: Iterable[str]) -> Schedule:
    """Return the windows of `entries`, each as for `parse_window`; of none comes a schedule that never opens."""
    return tuple(parse_window(entry) for entry in entries)


def parse_window(text: str) -> Window:
    """Return the window written as `days;from-to`, such as `mon,wed-fri;09:00-18:00`.

    Ranges of days may wrap (`sat-mon`). `to` is exclusive, but 23:59 and 24:00 both mean the end of the day.

    Raises:
        ValueError: what is wrong and what was expected.
    """
    days, semicolon, hours = text.partition(";")
    if not semicolon or ";" in hours:
        raise ValueError(f"expected days;from-to, such as mon-fri;09:00-18:00, with one semicolon, not {text!r}")
    begin, dash, finish = hours.partition("-")
    if not dash or "-" in finish:
        raise ValueError(f"expected from-to, such as 09:00-18:00, after the semicolon, not {hours.strip()!r}")
    start, end = _minute(begin.strip()), _minute(finish.strip())
    if start == END_OF_DAY:
        raise ValueError("a window cannot begin at 24:00: write 00:00 and the next day")
    if end == END_OF_DAY - 1:
        end = END_OF_DAY
    if start == end:
        raise ValueError(f"the window {hours.strip()} is empty: write 00:00-24:00 for the whole day")
    return Window(_days(days), start, end)


def _days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begin = _day(first, part)
        span = (_day(last, part) - begin) % 7 if dash else 0
        days.update((begin + step) % 7 for step in range(span + 1))
    return frozenset(days)


def _day(text: str, part: str) -> int:
    name = text.strip().lower()
    if name not in DAYS:
        raise ValueError(f"no day {text.strip()!r} in {part.strip()!r}: expected {', '.join(DAYS)} or a range: mon-fri")
    return DAYS.index(name)


def _minute(text: str) -> int:
    """Return the minutes after midnight, 0 to 1440, of `HH:MM`."""
    match = CLOCK.fullmatch(text)
    if match is None:
        raise ValueError(f"expected HH:MM, such as 09:00, not {text!r}")
    hour, minute = int(match[1]), int(match[2])
    if minute > 59:
        raise ValueError(f"minute {minute} is outside 0-59 in {text!r}")
    if hour > 23 and text != "24:00":
        raise ValueError(f"hour {hour} is outside 0-23 in {text!r}")
    return 60 * hour + minute


def within(schedule: Schedule | None, zone: tzinfo, now: datetime) -> bool:
    """Return whether the wall clock of `zone` is inside one of the windows; None is always."""
    if schedule is None:
        return True
    wall = _wall(zone, now)
    minute = 60 * wall.hour + wall.minute
    return any(start <= minute < end for start, end in _spans(schedule, wall.weekday()))


def on_date(dates: Dates, zone: tzinfo, now: datetime) -> bool:
    """Return whether the day it is in `zone` is on date. A window past midnight does not carry into the next day."""
    return _covers(dates, _wall(zone, now).date())


def awake(hours: Schedule | None, zones: Sequence[tzinfo], now: datetime) -> bool:
    """Return whether the recipient's clock is within `hours` in every one of the zones it may be in.

    Without a zone nothing speaks against it: name the campaign's where the recipient's is unknown.
    """
    return all(within(hours, zone, now) for zone in zones)


def opens_at(schedule: Schedule | None, dates: Dates, zone: tzinfo, now: datetime) -> datetime | None:
    """Return the first instant from `now` on at which both `within` and `on_date` hold; None if there never is one."""
    if within(schedule, zone, now) and on_date(dates, zone, now):
        return now
    if schedule is not None and not any(window.days and window.start != window.end for window in schedule):
        return None
    try:
        return _next_opening(schedule, dates, zone, now)
    except OverflowError:  # past year 9999
        return None


def first_instant(wall: datetime, zone: tzinfo) -> datetime:
    """Return the instant, in UTC, at which the clocks of `zone` show the naive `wall`.

    Of a time that comes twice it is the first; one that the clocks skip is the first instant after the gap.

    Raises:
        OverflowError: it lies before year 1 or past year 9999 in UTC.
    """
    instant = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if _wall(zone, instant) == wall:
        return instant
    # Of a skipped time, fold 0 reads the offset before the gap (too late an instant), fold 1 the one after it.
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return _first_change(zone, before, instant) or instant


def parse_when(text: str, zone: tzinfo) -> datetime:
    """Return the instant, in UTC, of `YYYY-MM-DD HH:MM:SS` on the clocks of `zone` or of an ISO 8601 one with offset.

    Fractions of a second are cut to microseconds. Skipped and repeated wall-clock times: see `first_instant`.

    Raises:
        ValueError: it is neither, no day of the calendar, or out of what `storable` allows.
    """
    wall = WALL.fullmatch(text)
    if wall is None and INSTANT.fullmatch(text) is None:
        raise ValueError(
            f"expected YYYY-MM-DD HH:MM:SS, or an ISO 8601 instant with its offset such as 2026-01-01T10:00:00-03:00,"
            f" not {text!r}"
        )
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"expected a day of the calendar, not {text[:10]!r}: {error}") from None
    try:
        return storable(when if wall is None else first_instant(when, zone))
    except (ValueError, OverflowError):
        raise ValueError(f"expected an instant of the years 1970 to 9998 in UTC, not {text!r}") from None


def storable(instant: datetime) -> datetime:
    """Return an aware instant in UTC.

    Raises:
        ValueError: it does not lie in the years 1970 to 9998 in UTC.
    """
    if not EARLIEST <= instant < TOO_LATE:
        raise ValueError(f"expected an instant of the years 1970 to 9998 in UTC, not {instant.isoformat()!r}")
    return instant.astimezone(UTC)


def _wall(zone: tzinfo, at: datetime) -> datetime:
    """Return what the clocks of `zone` show; past an end of Python's calendar they stand still there."""
    try:
        return at.astimezone(zone).replace(tzinfo=None)
    except OverflowError:
        return datetime.combine(date.min, time.min) if at < FIRST else datetime.combine(date.max, time.max)


def _spans(schedule: Schedule, weekday: int) -> Iterator[tuple[int, int]]:
    """Yield the minutes (from, to) that are open on a day of the week, those left from the day before included."""
    for window in schedule:
        if window.start <= window.end:
            if weekday in window.days:
                yield window.start, window.end
        else:
            if weekday in window.days:
                yield window.start, END_OF_DAY
            if (weekday - 1) % 7 in window.days:
                yield 0, window.end


def _covers(dates: Dates, day: date) -> bool:
    return (
        (dates.start is None or dates.start <= day)
        and (dates.end is None or day <= dates.end)
        and day not in dates.excluded
    )


def _next_opening(schedule: Schedule | None, dates: Dates, zone: tzinfo, now: datetime) -> datetime | None:
    """Look day by day, and from one clock change to the next: between them, wall clock and instant go together."""
    at = max(now, FIRST)
    if dates.start is not None and dates.start > at.date():
        at = max(at, datetime.combine(dates.start, time(), UTC) - DAY)  # no offset reaches a day
    while dates.end is None or at.date() - dates.end <= DAY:
        wall = _wall(zone, at)
        opening = _opening(schedule, wall) if _covers(dates, wall.date()) else None
        midnight = datetime.combine(wall, time())
        aim = at + ((opening or midnight + DAY) - wall)
        change = _first_change(zone, at, aim)
        if change is None and opening is not None:
            return aim
        at = change or aim
    return None


def _opening(schedule: Schedule | None, wall: datetime) -> datetime | None:
    """Return the first wall-clock time from `wall` on, and on its day, that is inside a window."""
    if schedule is None:
        return wall
    minute = 60 * wall.hour + wall.minute
    starts = [start for start, end in _spans(schedule, wall.weekday()) if minute < end]
    if not starts:
        return None
    return wall if min(starts) <= minute else datetime.combine(wall, time()) + timedelta(minutes=min(starts))


def _first_change(zone: tzinfo, start: datetime, end: datetime) -> datetime | None:
    """Return the first instant after `start`, at latest `end`, with another offset; the two are at most a day apart."""
    offset = _offset(zone, start)
    if _offset(zone, end) == offset:
        return None
    while end - start > TICK:
        middle = start + (end - start) // 2
        if _offset(zone, middle) == offset:
            start = middle
        else:
            end = middle
    return end


def _offset(zone: tzinfo, at: datetime) -> timedelta:
    return _wall(zone, at) - at.replace(tzinfo=None)
