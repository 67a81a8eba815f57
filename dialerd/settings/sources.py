"""Reads what the configuration is made of: TOML files, and the values that they keep elsewhere.

Any string may instead be `{ env = "NAME" }`, `{ file = "PATH" }` (from the folder of dialerd.toml) or
`{ credential = "NAME" }` (a systemd credential). What came that way is a `Hidden` string from then on.
"""

import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PosixPath
from typing import Any

__all__ = [
    "UNRESOLVED",
    "Hidden",
    "HiddenPath",
    "NoFileError",
    "SourceError",
    "Sources",
    "Unresolved",
    "is_reference",
    "parse_toml",
    "read_text",
    "read_toml",
]

#: The keys that make a table of one key a reference.
PLACES = ("env", "file", "credential")

#: A password, a key or a token is short; a larger file is the wrong one.
LARGEST_VALUE = 64 * 1024


class SourceError(Exception):
    """A file or a value that cannot be had; the text says why and never what stands in it."""


class NoFileError(SourceError):
    """There is no file of that name."""


class Hidden(str):
    """A value that came by reference: used like any string, but its repr does not tell it."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return what stands for the value wherever it might be shown."""
        return "(hidden)"


class HiddenPath(PosixPath):
    """A path that came by reference."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return what stands for the path wherever it might be shown."""
        return "(hidden)"


class Unresolved:
    """Stands where a reference led nowhere, so that only this is reported of it."""


UNRESOLVED = Unresolved()


def is_reference(value: object) -> bool:
    """Return whether `value` is written as `{ env | file | credential = "…" }`."""
    if not isinstance(value, dict) or len(value) != 1:
        return False
    place, name = next(iter(value.items()))
    return place in PLACES and isinstance(name, str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where references lead: the environment, and the folder from which the paths of `file` start."""

    folder: Path
    environ: Mapping[str, str]

    def fetch(self, reference: Mapping[str, str]) -> Hidden:
        """Return the value behind a reference, without the line end of a file or a credential.

        Raises:
            SourceError: there is none, or it cannot be read.
        """
        place, name = next(iter(reference.items()))
        if place == "env":
            if name not in self.environ:
                raise SourceError(f"the environment variable {name!r} is not set")
            return Hidden(self.environ[name])
        return Hidden(_one_line(self._credential(name) if place == "credential" else self._file(name)))

    def _file(self, name: str) -> str:
        path = self.folder / name
        try:
            return read_text(path, LARGEST_VALUE)
        except SourceError as error:
            raise SourceError(f"cannot read the file {str(path)!r}: {error}") from None

    def _credential(self, name: str) -> str:
        folder = self.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise SourceError(f"no credential {name!r}: $CREDENTIALS_DIRECTORY is not set (systemd's LoadCredential=)")
        if "/" in name or name in {"", ".", ".."}:
            raise SourceError(f"expected the name of a credential, not {name!r}")
        try:
            return read_text(Path(folder) / name, LARGEST_VALUE)
        except SourceError as error:
            raise SourceError(f"no credential {name!r} in {folder!r}: {error}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        SourceError: it cannot be read, or is no TOML; then with line and column.
    """
    return parse_toml(read_text(path))


def parse_toml(text: str) -> dict[str, Any]:
    """Return the tables of a TOML document; SourceError as read_toml does."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SourceError(f"no valid TOML: {_with_place(str(error), text)}") from None
    except RecursionError:
        raise SourceError("no valid TOML for us: nested too deeply") from None
    except ValueError as error:  # a number of more digits than Python reads
        raise SourceError(f"no valid TOML for us: {error}") from None


def read_text(path: Path, most: int | None = None) -> str:
    """Return the text of a file of at most `most` bytes.

    Raises:
        SourceError: it is larger, is no regular file or no UTF-8, or cannot be read.
    """
    try:
        status = path.stat()
        # A pipe would be waited for, and a device may never end.
        if not stat.S_ISREG(status.st_mode):
            raise SourceError("it is a folder" if stat.S_ISDIR(status.st_mode) else "it is no regular file")
        if most is not None and status.st_size > most:
            raise SourceError(f"it has {status.st_size} bytes, and {most} are the most that it may have")
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise NoFileError(error.strerror) from None
    except OSError as error:
        raise SourceError(error.strerror or type(error).__name__) from None
    except ValueError:
        raise SourceError("no file can have that name") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise SourceError(f"it is not UTF-8 (at line {line}, byte {column} of the line)") from None


def _one_line(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


def _with_place(message: str, text: str) -> str:
    """Return tomllib's message with line and column also where it only knows the end of the document."""
    if re.search(r"at line \d+, column \d+", message):
        return message
    line = text.count("\n") + 1
    column = len(text) - text.rfind("\n")
    return f"{message.removesuffix('(at end of document)').rstrip()} (at line {line}, column {column}: the end)"
