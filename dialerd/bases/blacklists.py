"""Blacklists from outside: `value` or `value;campaign;reason;expires` a line, brought into canonical form."""

import asyncio
import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import TypeAlias

from dialerd import addresses
from dialerd.bases.files import MOST_KEPT, Line, look
from dialerd.bases.lines import ADDRESS_WORDS, CAMPAIGN_WORDS, QUOTED, plain, split_left, unquote
from dialerd.model.calendar import first_instant, parse_when
from dialerd.model.errors import BadAddress, Refused, UnknownCampaign
from dialerd.model.message import Channel
from dialerd.settings import Settings
from dialerd.store import Store
from dialerd.store.blacklist import Entry, add
from dialerd.store.uploads import BadLine

__all__ = ["SAMPLE", "Imported", "blacklist_lines", "blacklist_values", "load_blacklist", "parse_expiry"]

#: Entries of one transaction.
STEP = {"sqlite": 1000, "postgresql": 5000}
#: Rejected lines that are handed out with the result.
SAMPLE = 20

DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
#: An expiry with a `;` after it.
LAST_DAY = re.compile(r";\s*(\d{4}-\d\d-\d\d[^;]*)\Z", re.ASCII)
VALUE_WORDS = ADDRESS_WORDS | {"value", "valor"}

Regions: TypeAlias = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a blacklist file; `errors` are the first few rejected lines."""

    added: int
    rejected: int
    errors: tuple[BadLine, ...]


def blacklist_values(
    settings: Settings, value: str, *, channel: Channel | None = None, campaign: str | None = None
) -> tuple[Channel, tuple[str, ...]]:
    """Return the channel (e-mail if there is an @, unless given) and the canonical forms under which to block a value.

    With a campaign a number is read as of its region. For all campaigns it is read as of every region in use, and they
    must agree; where there are campaigns without a region too, the digits as written are blocked as well, for there
    they are the number. Raises Refused, BadAddress among them, with what to write instead.
    """
    return _values(settings, _regions(settings), value, channel, campaign)


def _values(
    settings: Settings, regions: Regions, value: str, channel: Channel | None, campaign: str | None
) -> tuple[Channel, tuple[str, ...]]:
    if campaign is not None:
        known = settings.campaigns.get(campaign)
        if known is None:
            raise UnknownCampaign(campaign, settings.campaigns)
        if channel not in (None, known.channel):
            raise Refused(f"campaign {campaign} sends {known.channel}, not {channel}")
        return known.channel, (addresses.canonical(value, known.channel, known.region),)
    channel = channel or (Channel.EMAIL if "@" in value else Channel.SMS)
    if channel is Channel.EMAIL:
        return channel, (addresses.canonical(value, channel),)
    return channel, _number_everywhere(regions, value)


def _regions(settings: Settings) -> Regions:
    """Return the regions in use, None for campaigns that have none; that one last: it only adds to the others."""
    used = {campaign.region for campaign in settings.campaigns.values() if campaign.channel is Channel.SMS}
    return tuple(sorted(used or {None}, key=lambda name: name or "~"))


def _number_everywhere(regions: Regions, value: str) -> tuple[str, ...]:
    forms: dict[str, str | None] = {}
    refused: BadAddress | None = None
    for region in regions:
        try:
            forms.setdefault(addresses.canonical(value, Channel.SMS, region), region)
        except BadAddress as error:
            refused = refused or error
    read_by = [region for region in forms.values() if region is not None]
    if len(read_by) > 1:
        raise BadAddress(
            f"{value} is another number in each of {', '.join(read_by)}: write it with + and its country code,"
            " or name the campaign",
            "bad number",
        )
    if not forms:
        assert refused is not None
        raise refused
    return tuple(forms)


def blacklist_lines(settings: Settings, some: Iterable[Entry]) -> Iterator[str]:
    """Yield entries as `load_blacklist` reads them: to the very same entries, with the same settings."""
    regions = _regions(settings)
    for entry in some:
        value = entry.value
        if not _reads_as(settings, regions, entry, value) and _reads_as(settings, regions, entry, f"+{value}"):
            value = f"+{value}"
        expires = entry.expires.isoformat().replace("+00:00", "Z") if entry.expires else ""
        fields = [value, entry.campaign or "", " ".join((entry.reason or "").split()), expires]
        while not fields[-1]:
            del fields[-1]
        line = io.StringIO()
        csv.writer(line, delimiter=";", lineterminator="").writerow(fields)
        yield line.getvalue()


def _reads_as(settings: Settings, regions: Regions, entry: Entry, written: str) -> bool:
    try:
        read = _values(settings, regions, written, entry.channel, entry.campaign)
    except Refused:
        return False
    return read == (entry.channel, (entry.value,))


def parse_expiry(written: str, zone: tzinfo) -> datetime | None:
    """Return until when an entry holds: an instant as everywhere, or a day, to its end. Raises ValueError.

    None: for ever, as is meant by 9999-12-31 and whatever else is the last that a system can write.
    """
    if written.startswith("9999-") or written == "9998-12-31":
        return None
    if not DAY.fullmatch(written):
        return parse_when(written, zone)
    return first_instant(datetime.combine(date.fromisoformat(written) + timedelta(days=1), time()), zone)


async def load_blacklist(
    store: Store,
    settings: Settings,
    path: Path,
    *,
    channel: Channel | None = None,
    campaign: str | None = None,
    now: datetime,
    on_progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Add a file's entries to the blacklist; `campaign` stands where a line names none.

    What was added before an interruption stays; the same file may be read again and again. Raises Refused for a file
    that is no text, and for an unknown campaign.
    """
    if campaign is not None and campaign not in settings.campaigns:
        raise UnknownCampaign(campaign, settings.campaigns)
    file = await asyncio.to_thread(look, path)
    reader = _Reader(settings, channel, campaign)
    steps = reader.steps(file.lines(), STEP[store.dialect])
    added = rejected = 0
    errors: list[BadLine] = []
    step = await asyncio.to_thread(next, steps, None)
    while step is not None:
        entries, bad = step
        # The next lines are read while the database writes these.
        step, _ = await asyncio.gather(asyncio.to_thread(next, steps, None), _add(store, entries, now))
        added += len(entries)
        rejected += len(bad)
        errors += bad[: SAMPLE - len(errors)]
        if on_progress is not None:
            on_progress(added + rejected, max(added + rejected, file.line_count))
    return Imported(added, rejected, tuple(errors))


async def _add(store: Store, entries: list[Entry], now: datetime) -> None:
    began_s = monotonic()
    await store.transact(add, entries, now=now)
    await store.let_others_write(began_s)


class _Reader:
    """Reads the lines of one blacklist."""

    def __init__(self, settings: Settings, channel: Channel | None, campaign: str | None) -> None:
        self._settings = settings
        self._regions = _regions(settings)
        self._channel = channel
        self._campaign = campaign

    def steps(self, lines: Iterator[Line], size: int) -> Iterator[tuple[list[Entry], list[BadLine]]]:
        """Yield the entries of so many lines at a time, and the lines that are none; a header is left out."""
        first = True
        while chunk := list(islice(lines, size)):
            if first and _is_header(chunk[0].text):
                del chunk[0]
            first = False
            entries: list[Entry] = []
            bad: list[BadLine] = []
            for line in chunk:
                try:
                    entries += self._entries(line)
                except (Refused, ValueError) as error:
                    bad.append(BadLine(line.number, str(error), line.text[:MOST_KEPT].replace("\0", "")))
            yield entries, bad

    def _entries(self, line: Line) -> Iterator[Entry]:
        if not line.whole:
            raise ValueError("the line is too long")
        value, name, reason, expires = _read_line(line.text)
        campaign = name or self._campaign
        channel, values = _values(self._settings, self._regions, value, self._channel, campaign)
        zone = self._settings.campaigns[campaign].zone if campaign else UTC
        until = parse_expiry(expires, zone) if expires else None
        for canonical in values:
            yield Entry(channel=channel, value=canonical, campaign=campaign, reason=reason or None, expires=until)


def _read_line(line: str) -> tuple[str, str, str, str]:
    """Return value, campaign, reason and expiry; what is not there is empty."""
    value, rest = split_left(line)
    campaign, rest = split_left(rest)
    rest = rest or ""
    if quoted := QUOTED.match(rest):
        reason, expires = unquote(quoted), rest[quoted.end() + 1 :].rstrip().removesuffix(";")
    else:
        reason, semicolon, expires = rest.rpartition(";")
        if not semicolon:
            reason, expires = rest, ""
        elif not expires.strip() and (found := LAST_DAY.search(reason)):
            reason, expires = reason[: found.start()], found[1]
    return value.strip(), campaign.strip(), reason.strip(), expires.strip()


def _is_header(line: str) -> bool:
    first, rest = split_left(line)
    second, _ = split_left(rest)
    return plain(first) in VALUE_WORDS and (rest is None or plain(second) in CAMPAIGN_WORDS)
