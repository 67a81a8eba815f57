"""Judges a base's lines: which may wait in the spool, and why the others may not."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dialerd.bases.files import MOST_KEPT, Line
from dialerd.bases.lines import Fields, is_header, read_line
from dialerd.examine import examine, providers_of
from dialerd.model.campaign import Bases
from dialerd.model.errors import BadAddress, BadText
from dialerd.model.message import Channel, State, new_id
from dialerd.settings import Settings
from dialerd.store.uploads import BadLine, NewLine

__all__ = ["Batch", "Judge"]

#: One transaction's lines: at most 50 ms on SQLite, of which the long ones make fewer.
MOST_LINES = 1000
MOST_CHARACTERS = 1 << 19


@dataclass(slots=True)
class Batch:
    """The next lines of a file. `texts` holds the beginning of each good line, should it be rejected after all."""

    size: int = 0
    good: list[NewLine] = field(default_factory=list)
    bad: list[BadLine] = field(default_factory=list)
    texts: dict[int, str] = field(default_factory=dict)

    def reject(self, reasons: Mapping[int, str]) -> None:
        """Take out the good lines of these numbers."""
        self.bad += [BadLine(number, reason, self.texts[number]) for number, reason in reasons.items()]
        self.good = [line for line in self.good if line.line not in reasons]


class Judge:
    """Reads the lines of one base. `campaign` stands where a line names none."""

    def __init__(self, settings: Settings, channel: Channel, campaign: str | None) -> None:
        self._campaigns = {name: known for name, known in settings.campaigns.items() if known.channel is channel}
        self._providers = settings.providers
        self.channel = channel
        self._campaign = campaign

    def batches(self, lines: Iterator[Line]) -> Iterator[Batch]:
        """Yield the lines in batches that fit one transaction; a header is left out."""
        batch, characters, first = Batch(), 0, True
        for line in lines:
            header, first = first and is_header(line.text), False
            if header:
                continue
            self._judge(line, batch)
            batch.size += 1
            characters += len(line.text)
            if batch.size == MOST_LINES or characters >= MOST_CHARACTERS:
                yield batch
                batch, characters = Batch(), 0
        if batch.size:
            yield batch

    def _judge(self, line: Line, batch: Batch) -> None:
        text = line.text[:MOST_KEPT].replace("\0", "")
        judged = self._accept(line.number, read_line(line.text, self.channel)) if line.whole else "too long"
        if isinstance(judged, str):
            batch.bad.append(BadLine(line.number, judged, text))
        else:
            batch.good.append(judged)
            batch.texts[line.number] = text

    def _accept(self, number: int, fields: Fields) -> NewLine | str:
        """Return the line as it will wait, or the reason why it may not: the first that holds, in their order."""
        name = fields.campaign or self._campaign
        campaign = self._campaigns.get(name) if name else None
        if campaign is None:
            return "unknown campaign"
        try:
            providers = providers_of(campaign, self._providers)
            examined = examine(campaign, fields.destination, fields.data, fields.details, providers)
        except BadAddress as error:
            return error.reason
        except BadText as error:
            return fields.fault or error.reason
        if fields.fault:
            return fields.fault
        if self.channel is Channel.SMS and not fields.data.strip():
            return "empty text"
        return NewLine(
            line=number,
            fingerprint=_fingerprint(campaign.name, examined.address, fields),
            id=new_id(),
            campaign=campaign.name,
            destination=fields.destination,
            data=fields.data,
            priority=fields.priority,
            details=fields.details,
            state=State.HELD if campaign.bases is Bases.HELD else State.QUEUED,
            address=examined.address,
            zone=examined.zone,
            parts=examined.parts,
        )


def _fingerprint(campaign: str, address: str, fields: Fields) -> bytes:
    """Return what two lines that would send the same thing to the same person have in common.

    What a mail says depends on its subject and variables too.
    """
    told = [campaign, address, fields.data]
    if fields.details:
        told.append(json.dumps(fields.details, sort_keys=True))
    return hashlib.blake2b("\0".join(told).encode("utf-8", "surrogatepass"), digest_size=16).digest()
