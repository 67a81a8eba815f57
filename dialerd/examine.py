"""What is computed of a message once, at intake: canonical address, recipient's zones, SMS parts; or why not."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dialerd import addresses
from dialerd.mail.wording import check
from dialerd.model.campaign import Campaign
from dialerd.model.errors import BadAddress, BadText
from dialerd.model.message import Channel
from dialerd.model.placeholders import filled, variables_of
from dialerd.model.text import count_parts
from dialerd.settings import Provider

__all__ = ["ZONE_NOT_ASKED", "Examined", "accepts", "examine", "number_for", "providers_of"]

#: The zone of a message whose campaign has no recipient_hours: nobody has looked it up.
ZONE_NOT_ASKED = "?"


class Examined(NamedTuple):
    """Canonical address; the zones the recipient may be in (see addresses.zones_of); number of SMS parts."""

    address: str
    zone: str
    parts: int


def examine(
    campaign: Campaign,
    destination: str,
    data: str,
    details: Mapping[str, Any] | None,
    providers: Sequence[Provider] = (),
) -> Examined:
    """Return what dialerd needs to know of a message before it may wait in the spool.

    With the campaign's `providers`, a number that none of them accepts is a bad one. Raises BadAddress or BadText
    (both Refused) with the reason as a base's rejected lines have it.
    """
    asked = campaign.recipient_hours is not None
    address = addresses.read(destination, channel=campaign.channel, region=campaign.region, with_zone=asked)
    zone = address.zone if asked else ZONE_NOT_ASKED
    if "\0" in data:
        raise BadText("the text holds a NUL character, which no provider takes", "bad text")
    if providers and all(provider.accept is not None for provider in providers):
        _check_accepted(providers, campaign, destination, address.value)
    if campaign.channel is Channel.EMAIL:
        check(campaign, address.value, data, details)
        return Examined(address.value, zone, 1)
    full = filled(data, variables_of(details), missing=campaign.missing) if details else data
    parts = count_parts(full, campaign.unicode)
    if parts > campaign.max_parts:
        raise BadText(
            f"the text needs {parts} SMS parts, campaign {campaign.name} allows {campaign.max_parts}", "too long"
        )
    return Examined(address.value, zone, parts)


def _check_accepted(providers: Sequence[Provider], campaign: Campaign, destination: str, address: str) -> None:
    for provider in providers:
        if accepts(provider, campaign, destination, address):
            return
    raise _not_accepted(providers, campaign.channel)


def _not_accepted(providers: Sequence[Provider], channel: Channel) -> BadAddress:
    """Return the refusal, which says in which spelling each provider gets numbers: `accept` is about that one."""
    names = " and ".join(provider.name for provider in providers)
    who, do = (f"providers {names}", "do") if len(providers) > 1 else (f"provider {names}", "does")
    if channel is not Channel.SMS:
        return BadAddress(f"the {who} {do} not accept this address (accept)", "bad address")
    spelt = " and ".join(dict.fromkeys(provider.number_format for provider in providers))
    return BadAddress(f"the {who} {do} not accept this number (accept, with number_format {spelt})", "bad number")


def accepts(provider: Provider, campaign: Campaign, destination: str, address: str) -> bool:
    """Tell whether the provider's `accept` matches the number as it gets it, or an e-mail address."""
    try:
        number_for(provider, campaign.channel, destination, address, campaign.region)
    except BadAddress:
        return False
    return True


def providers_of(campaign: Campaign, providers: Mapping[str, Provider]) -> tuple[Provider, ...]:
    """Return those through which a campaign may send, in their order."""
    return tuple(providers[name] for name in campaign.providers if name in providers)


def number_for(provider: Provider, channel: Channel, destination: str, address: str, region: str | None) -> str:
    """Return the number as the provider wants it (`number_format`); an e-mail address is its canonical form.

    Raises BadAddress when the provider's `accept` does not match it, anywhere in it.
    """
    number = address
    if channel is Channel.SMS:
        number = addresses.dialled(destination, address, style=provider.number_format, region=region)
    if provider.accept is not None and not re.search(provider.accept, number):
        raise _not_accepted([provider], channel)
    return number
