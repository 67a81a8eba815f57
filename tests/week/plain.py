"""A plain model of the rules, written apart from the engine: minute by minute, and from the contract's words only.

`Rules` says of every instant whether a message may go; `Judge` (judge.py) asks it about what happened.
"""

import tomllib
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from tests.week.scenario import BEGAN, ENDED, Planned, Scenario

__all__ = ["Rules", "Span", "Spans", "cut", "merged", "seconds"]

#: From (included) to (excluded), in seconds since the week began.
Span = tuple[float, float]
Spans = list[Span]

MINUTES = [BEGAN + timedelta(minutes=number) for number in range(int((ENDED - BEGAN).total_seconds()) // 60)]
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

#: In which zones a number may be: Uruguay, Germany, Portugal's mobiles (the islands' too), Manhattan, Lebanon.
ZONES = {
    "+598": ["America/Montevideo"],
    "+49": ["Europe/Berlin"],
    "+351": ["Europe/Lisbon", "Atlantic/Azores"],
    "+1212": ["America/New_York"],
    "+961": ["Asia/Beirut"],
}


def seconds(when: datetime) -> float:
    """Return an instant as seconds since the week began."""
    return (when - BEGAN).total_seconds()


def cut(spans: Spans, away: Spans) -> Spans:
    """Return what of `spans` lies in none of `away`; the spans of each are in order and do not overlap."""
    left: Spans = []
    for begin, end in spans:
        at = begin
        for gone, back in away[bisect_right(away, at, key=lambda span: span[1]) :]:
            if gone >= end:
                break
            if at < gone:
                left.append((at, gone))
            at = max(at, back)
        if at < end:
            left.append((at, end))
    return left


def merged(spans: Spans) -> Spans:
    """Return the same time in order, as few spans."""
    result: Spans = []
    for begin, end in sorted(spans):
        if result and begin <= result[-1][1]:
            result[-1] = result[-1][0], max(end, result[-1][1])
        else:
            result.append((begin, end))
    return result


@cache
def walls(zone: str) -> Sequence[datetime]:
    """Return what the clocks of a zone show at each minute of the week."""
    return [minute.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for minute in MINUTES]


def in_hours(entries: Sequence[str], wall: datetime) -> bool:
    """Tell whether a wall clock shows a time in one of the windows `days;from-to`."""
    now = 60 * wall.hour + wall.minute
    today, yesterday = wall.weekday(), (wall.weekday() - 1) % 7
    for entry in entries:
        days, hours = entry.split(";")
        begin, end = (60 * int(clock[:2]) + int(clock[3:]) for clock in hours.split("-"))
        end += end == 23 * 60 + 59
        if begin < end and today in _days(days) and begin <= now < end:
            return True
        if begin > end and ((today in _days(days) and begin <= now) or (yesterday in _days(days) and now < end)):
            return True
    return False


@cache
def _days(written: str) -> frozenset[int]:
    found: set[int] = set()
    for part in written.split(","):
        first, _, last = part.partition("-")
        number = DAYS.index(first)
        found.add(number)
        while last and DAYS[number] != last:
            number = (number + 1) % 7
            found.add(number)
    return frozenset(found)


class Rules:
    """What each campaign's file, the operators and the recipients' clocks allow."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.files: dict[str, dict[str, Any]] = {
            name: tomllib.loads(lines) for name, lines in scenario.campaigns.items()
        }

    def interval_s(self, campaign: str) -> float:
        """Return the least seconds between two messages of a campaign, 0 for no limit."""
        file = self.files[campaign]
        return max(file.get("between_ms", 0) / 1000, 1 / file["per_second"] if "per_second" in file else 0)

    def ready_at(self, message: Planned) -> float | None:
        """Return from when on a message is due, None for one whose base nobody released."""
        if message.base is not None and self.files[message.campaign].get("bases") == "held":
            released = self.scenario.released.get(message.base)
            return None if released is None else seconds(released)
        if message.calldate is None:
            return seconds(message.came)
        return max(seconds(message.came), seconds(self.calldate(message)))

    def expires_at(self, message: Planned) -> float:
        """Return when a message has waited too long: since its calldate, or since it came or was released."""
        due = self.ready_at(message)
        if message.calldate is not None:
            due = seconds(self.calldate(message))
        return (due or 0) + self.files[message.campaign].get("expires_s", float("inf"))

    def calldate(self, message: Planned) -> datetime:
        """Return the calldate's instant: of a time that comes twice the first, of a skipped one the gap's end."""
        return _instant(message.calldate or "", self.files[message.campaign].get("timezone", "UTC"))

    def spans(self, message: Planned) -> Spans:
        """Return when this message's campaign is open and its recipient awake."""
        file = self.files[message.campaign]
        zones: tuple[str, ...] = ()
        if "recipient_hours" in file:
            known = [zones for prefix, zones in ZONES.items() if message.destination.startswith(prefix)]
            zones = tuple(known[0] if known else [file["timezone"]])
        stops = [
            (seconds(begin), seconds(end))
            for name, begin, end in [*self.scenario.pauses, *self.scenario.disabled]
            if name == message.campaign
        ]
        return _open_spans(self.scenario.campaigns[message.campaign], zones, tuple(merged(stops)))


@cache
def _instant(written: str, zone: str) -> datetime:
    wall = datetime.fromisoformat(written)
    if wall.tzinfo is not None:
        return wall
    wanted = wall.replace(second=0)
    # No zone is further ahead of UTC.
    first = wanted.replace(tzinfo=UTC) - timedelta(hours=15)
    for minute in (first + timedelta(minutes=number) for number in range(30 * 60)):
        shown = minute.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        if shown == wanted:
            return minute + timedelta(seconds=wall.second)
        if shown > wanted:
            return minute
    raise AssertionError(written)


@cache
def _open_spans(lines: str, zones: tuple[str, ...], stops: tuple[Span, ...]) -> Spans:
    file = tomllib.loads(lines)
    spans: Spans = []
    if not file.get("enabled", True):
        return spans
    for number, wall in enumerate(walls(file.get("timezone", "UTC"))):
        if (
            _on_date(file.get("dates", {}), wall)
            and ("schedule" not in file or in_hours(file["schedule"], wall))
            and all(in_hours(file["recipient_hours"], walls(zone)[number]) for zone in zones)
        ):
            if spans and spans[-1][1] == 60 * number:
                spans[-1] = spans[-1][0], 60 * (number + 1)
            else:
                spans.append((60 * number, 60 * (number + 1)))
    return cut(spans, list(stops))


def _on_date(dates: dict[str, Any], wall: datetime) -> bool:
    day = wall.date()
    return (
        ("start" not in dates or dates["start"] <= day)
        and ("end" not in dates or day <= dates["end"])
        and day not in dates.get("except", [])
    )
