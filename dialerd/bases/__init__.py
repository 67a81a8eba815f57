"""Reads base and blacklist files line by line and loads them: in bounded memory, and a base whole or not at all."""

from dialerd.bases.blacklists import Imported, blacklist_lines, blacklist_values, load_blacklist, parse_expiry
from dialerd.bases.checking import checked
from dialerd.bases.explaining import explained
from dialerd.bases.files import MOST_KEPT
from dialerd.bases.loading import Loaded, load, reason_of, start_over
from dialerd.bases.moving import move, tidy
from dialerd.bases.rejected import write_rejected

__all__ = [
    "MOST_KEPT",
    "Imported",
    "Loaded",
    "blacklist_lines",
    "blacklist_values",
    "checked",
    "explained",
    "load",
    "load_blacklist",
    "move",
    "parse_expiry",
    "reason_of",
    "start_over",
    "tidy",
    "write_rejected",
]
