"""Drivers: one for each kind of provider, known by the word that stands in `driver = "…"`."""

from collections.abc import Callable, Mapping
from typing import Any

from dialerd.drivers.base import Driver, Inbox, Listener
from dialerd.drivers.discard import Discard
from dialerd.drivers.file import File
from dialerd.drivers.http import Http
from dialerd.drivers.smpp import Smpp
from dialerd.drivers.smtp import Smtp
from dialerd.model.campaign import Campaign
from dialerd.model.errors import Refused
from dialerd.settings import Provider

__all__ = ["DRIVERS", "Driver", "Inbox", "Listener", "build"]

#: Each takes its own kind of provider, so Any; `build` brings the two together by their common word.
DRIVERS: Mapping[str, Callable[[Any, Mapping[str, Campaign]], Driver]] = {
    "discard": Discard,
    "file": File,
    "http": Http,
    "smpp": Smpp,
    "smtp": Smtp,
}


def build(provider: Provider, campaigns: Mapping[str, Campaign]) -> Driver:
    """Return the driver of one provider; nothing is opened yet. `campaigns` tells it what their mails look like."""
    if provider.driver not in DRIVERS:
        raise Refused(f"provider {provider.name!r}: this version has no driver {provider.driver!r}")
    return DRIVERS[provider.driver](provider, campaigns)
