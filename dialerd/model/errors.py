"""The errors that leave a function of dialerd; expected results of an attempt are outcomes instead."""

__all__ = ["BadAddress", "BadText", "ConfigError", "DatabaseGone", "DialerdError", "Refused", "Unavailable"]


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
