"""The errors that leave a function of dialerd; expected results of an attempt are outcomes instead."""

from collections.abc import Collection
from difflib import get_close_matches

__all__ = [
    "BadAddress",
    "BadText",
    "ConfigError",
    "DatabaseGone",
    "DialerdError",
    "Refused",
    "Unavailable",
    "UnknownCampaign",
]

#: So many campaigns are named where none is like the one that was asked for.
NAMED = 10


class DialerdError(Exception):
    """Something went wrong that its text explains to an operator; the command line ends with `exit_status`."""

    exit_status = 1


class Refused(DialerdError):
    """What was asked cannot be done as asked: the text says why and what to do instead."""


class BadAddress(Refused):
    """A destination that is no number or no e-mail address; `reason` is how a base's rejected line names it."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


class BadText(Refused):
    """A text that cannot be sent; `reason` is how a base's rejected line names it."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


class UnknownCampaign(Refused):
    """No file is about a campaign of this name: the text says which is nearest, or which there are."""

    def __init__(self, name: str, known: Collection[str]) -> None:
        close = get_close_matches(name, known, n=1)
        more = f" and {len(known) - NAMED} more" if len(known) > NAMED else ""
        names = f"known: {', '.join(sorted(known)[:NAMED]) or 'none'}{more}"
        super().__init__(f"unknown campaign {name!r}; " + (f"did you mean {close[0]}?" if close else names))


class ConfigError(DialerdError):
    """The configuration is wrong; `problems` holds one line for each error of all files."""

    exit_status = 2

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Unavailable(DialerdError):
    """Something outside of dialerd is down; the same call may go through later."""

    exit_status = 75


class DatabaseGone(Unavailable):
    """The database does not answer, or cannot write (disk full, locked for too long)."""
