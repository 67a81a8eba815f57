"""What is computed of a message once, at intake: canonical address, recipient's zones, SMS parts; or why not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dialerd import addresses
from dialerd.mail.wording import check
from dialerd.model.campaign import Campaign
from dialerd.model.errors import BadText
from dialerd.model.message import Channel
from dialerd.model.placeholders import filled, variables_of
from dialerd.model.text import count_parts

__all__ = ["ZONE_NOT_ASKED", "Examined", "examine"]

#: The zone of a message whose campaign has no recipient_hours: nobody has looked it up.
ZONE_NOT_ASKED = "?"


@dataclass(frozen=True, slots=True)
class Examined:
    """Canonical address; the zones the recipient may be in (see addresses.zones_of); number of SMS parts."""

    address: str
    zone: str
    parts: int


def examine(campaign: Campaign, destination: str, data: str, details: Mapping[str, Any] | None) -> Examined:
    """Return what dialerd needs to know of a message before it may wait in the spool.

    Raises BadAddress or BadText (both Refused) with the reason as a base's rejected lines have it.
    """
    asked = campaign.recipient_hours is not None
    address = addresses.read(destination, channel=campaign.channel, region=campaign.region, with_zone=asked)
    zone = address.zone if asked else ZONE_NOT_ASKED
    if "\0" in data:
        raise BadText("the text holds a NUL character, which no provider takes", "bad text")
    if campaign.channel is Channel.EMAIL:
        check(campaign, address.value, data, details)
        return Examined(address.value, zone, 1)
    variables = variables_of(details) if details else {}
    parts = count_parts(filled(data, variables, missing=campaign.missing), campaign.unicode)
    if parts > campaign.max_parts:
        raise BadText(
            f"the text needs {parts} SMS parts, campaign {campaign.name} allows {campaign.max_parts}", "too long"
        )
    return Examined(address.value, zone, parts)
