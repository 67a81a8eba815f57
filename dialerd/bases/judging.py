"""Judges a base's lines: which may wait in the spool, and why the others may not."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from dialerd.addresses import usual
from dialerd.bases.files import MOST_KEPT, Line
from dialerd.bases.lines import PLAIN_SMS, Fields, is_header, read_line
from dialerd.examine import ZONE_NOT_ASKED, examine, providers_of
from dialerd.model.campaign import Bases, Campaign
from dialerd.model.errors import BadAddress, BadText
from dialerd.model.message import Channel, State, new_id
from dialerd.model.text import count_parts
from dialerd.settings import Provider, Settings
from dialerd.store.uploads import BadLine, NewLine

__all__ = ["Batch", "Judge"]

#: One transaction's lines: long ones make fewer.
MOST_CHARACTERS = 1 << 19


@dataclass(slots=True)
class Batch:
    """The next lines of a file.

    Beside each good line stand what it has in common with others that would send the same thing to the same person
    (`fingerprints`), and the whole of it, should it be rejected after all (`texts`).
    """

    size: int = 0
    good: list[NewLine] = field(default_factory=list)
    bad: list[BadLine] = field(default_factory=list)
    fingerprints: list[bytes] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def reject(self, reasons: Mapping[int, str]) -> None:
        """Take out the good lines at these places; once, for they have others then."""
        self.bad += [_bad(self.good[place].line, reason, self.texts[place]) for place, reason in reasons.items()]
        self.good = [line for place, line in enumerate(self.good) if place not in reasons]


class _Ready(NamedTuple):
    """What is the same for all lines of a campaign; `providers` are empty where any number will do for one of them."""

    campaign: Campaign
    providers: tuple[Provider, ...]
    state: State


class Judge:
    """Reads the lines of one base. `campaign` stands where a line names none."""

    def __init__(self, settings: Settings, channel: Channel, campaign: str | None) -> None:
        self._campaigns = {
            name: _ready(known, settings) for name, known in settings.campaigns.items() if known.channel is channel
        }
        #: Of SMS, those whose numbers have a plan and nothing else to be asked of them.
        self._quick = {
            name: (campaign, campaign.region, state)
            for name, (campaign, choosy, state) in self._campaigns.items()
            if channel is Channel.SMS and campaign.region and campaign.recipient_hours is None and not choosy
        }
        self.channel = channel
        self._campaign = campaign

    def batches(self, lines: Iterator[Line], *, most: int) -> Iterator[Batch]:
        """Yield the lines in batches of at most so many, fewer if they are long; a header is left out."""
        batch, characters, first = Batch(), 0, True
        for line in lines:
            header, first = first and is_header(line.text), False
            if header:
                continue
            self._judge(line, batch)
            batch.size += 1
            characters += len(line.text)
            if batch.size == most or characters >= MOST_CHARACTERS:
                yield batch
                batch, characters = Batch(), 0
        if batch.size:
            yield batch

    def _judge(self, line: Line, batch: Batch) -> None:
        number, text, whole = line
        plain = PLAIN_SMS.fullmatch(text) if self._quick and whole else None
        judged: NewLine | str | None = self._accept_plain(number, plain) if plain else None
        if judged is None:
            judged = self._accept(number, read_line(text, self.channel)) if whole else "too long"
        if isinstance(judged, str):
            batch.bad.append(_bad(number, judged, text))
        else:
            batch.good.append(judged)
            batch.fingerprints.append(_fingerprint(judged))
            batch.texts.append(text)

    def _accept_plain(self, number: int, plain: re.Match[str]) -> NewLine | None:
        """Return a plain line of SMS as `_accept` would, at half its cost; None for any that it must look at."""
        name, destination, data, priority = plain.groups()
        known = self._quick.get(name)
        if known is None:
            return None
        campaign, region, state = known
        address = usual(destination, region)
        if address is None or data.isspace():
            return None
        try:
            parts = count_parts(data, campaign.unicode)
        except BadText:
            return None
        if parts > campaign.max_parts:
            return None
        return NewLine(
            number, new_id(), name, destination, data, int(priority), None, state, address, ZONE_NOT_ASKED, parts
        )

    def _accept(self, number: int, fields: Fields) -> NewLine | str:
        """Return the line as it will wait, or the reason why it may not: the first that holds, in their order."""
        name, destination, data, priority, details, fault = fields
        known = self._campaigns.get(name or self._campaign or "")
        if known is None:
            return "unknown campaign"
        campaign, providers, state = known
        try:
            address, zone, parts = examine(campaign, destination, data, details, providers)
        except BadAddress as error:
            return error.reason
        except BadText as error:
            return fault or error.reason
        if fault:
            return fault
        if self.channel is Channel.SMS and (not data or data.isspace()):
            return "empty text"
        return NewLine(
            number, new_id(), campaign.name, destination, data, priority, details, state, address, zone, parts
        )


def _ready(campaign: Campaign, settings: Settings) -> _Ready:
    providers = providers_of(campaign, settings.providers)
    choosy = all(provider.accept is not None for provider in providers)
    return _Ready(campaign, providers if choosy else (), State.HELD if campaign.bases is Bases.HELD else State.QUEUED)


def _bad(number: int, reason: str, text: str) -> BadLine:
    return BadLine(number, reason, text[:MOST_KEPT].replace("\0", ""))


def _fingerprint(line: NewLine) -> bytes:
    """Return 16 bytes that only lines that would send the same thing to the same person have in common.

    What a mail says depends on its subject and variables too.
    """
    told = f"{line.campaign}\0{line.address}\0{line.data}"
    if line.details:
        told += "\0" + json.dumps(line.details, sort_keys=True)
    return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).digest()
