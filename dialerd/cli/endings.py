"""How a command ends that did not end well: one clear line on stderr, and the exit status."""

import errno
import io
import os
import sys
from pathlib import Path
from typing import IO, Any

import click

from dialerd.model.errors import ConfigError, DialerdError

__all__ = ["INTERRUPTED", "WrongUsage", "open_standard_streams", "status_of"]

#: What shells report of a program that Ctrl-C ended: 128 + SIGINT.
INTERRUPTED = 130

#: What writing to a full disk or a broken one says; stdout has no name that the error would give.
CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def open_standard_streams() -> None:
    """Let stdin, stdout and stderr be something where the caller closed them (`>&-`), and take every character.

    Else the next file that is opened takes the place of one of them, and is written to as if it were it. What a
    Latin-1 terminal cannot show stands there as an escape, as it always does on stderr.
    """
    for name, stream in (("stdin", sys.stdin), ("stdout", sys.stdout), ("stderr", sys.stderr)):
        if stream is None:
            # The lowest free descriptor, in this order: the stream's own. Left open until the process ends.
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, Path(os.devnull).open("r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


class WrongUsage(click.ClickException):
    """The command line cannot be understood: told in one line, with where to look."""

    exit_code = 2

    @classmethod
    def of(cls, error: click.UsageError) -> click.ClickException:
        """Return what click says as one line; a group without a command shows its help, as it is."""
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            return error
        command = error.ctx.command_path if error.ctx else "dialerd"
        text = error.format_message().rstrip(".")
        if isinstance(error, click.NoSuchOption) and not error.option_name.startswith("--"):
            text += "; if it is no option, put `--` before it"
        return cls(f"{text[:1].lower()}{text[1:]} (see `{command} --help`)")

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line."""
        click.echo(f"dialerd: {' '.join(self.message.split())}", file=file, err=file is None)


def status_of(error: BaseException) -> int | None:
    """Tell the operator about `error` and return the exit status; None for what is not ours to explain."""
    match error:
        case KeyboardInterrupt():
            return INTERRUPTED
        case ConfigError():
            _say(*error.problems)
        case DialerdError():
            _say(str(error))
        # A closed pipe is no news; click ends quietly then. One without a file's name is a bug: let it be seen.
        case OSError(filename=str(name), strerror=str(reason)) if error.errno != errno.EPIPE:
            _say(f"{name}: {reason}")
            return 1
        case OSError(strerror=str(reason)) if error.errno in CANNOT_WRITE:
            _say(f"the output cannot be written: {reason}")
            _forget_output()
            return 1
        case _:
            return None
    return error.exit_status


def _forget_output() -> None:
    """Let what could not be written go nowhere: Python would try again at its exit, and end with another status."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _say(*lines: str) -> None:
    for line in lines:
        click.echo(f"dialerd: {line}", err=True)
