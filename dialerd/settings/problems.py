"""The lines that say what is wrong: `FILE: KEY: expected … (got …)`, one for each error, and no secret in any."""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, time
from pathlib import Path

from dialerd.settings.sources import Hidden, Unresolved
from dialerd.settings.values import nearest

__all__ = ["SECRET_WORD", "Loc", "Report"]

#: Where a value stands: the keys that lead to it, and numbers within arrays.
Loc = tuple[str | int, ...]

#: A key that looks like this holds a secret, whatever it is called and wherever it was put by mistake.
SECRET_WORD = re.compile(r"pas|pw|secret|key|token|auth|bearer|credential|url|dsn", re.IGNORECASE)
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
LONGEST_SHOWN = 80
LARGEST_SHOWN = 10**40


@dataclass(slots=True, kw_only=True)
class Report:
    """What is wrong with one file; `path` is shown as it was given."""

    path: Path
    lines: list[str] = field(default_factory=list)

    @property
    def place(self) -> str:
        """The path as it is shown: on one line, whatever it is made of."""
        text = str(self.path)
        return text if text.isprintable() else ascii(text)

    def add(self, loc: Loc, text: str) -> None:
        """Note that `text` is to be said of the key at `loc`, () for the whole file."""
        where = [self.place]
        if loc:
            where.append(_dotted(loc))
        line = ": ".join([*where, text])
        if line not in self.lines:
            self.lines.append(line)

    def wrong(self, loc: Loc, what: str, got: object, *, detail: str = "", hidden: bool = False) -> None:
        """Note that `what` was expected at `loc`; `got` and what `detail` quotes of it are left out where hidden."""
        if isinstance(got, Unresolved):
            return
        if hidden or isinstance(got, Hidden):
            detail = ""
        text = f"expected {what}"
        if detail:
            # Some parsers say themselves what they expected.
            text = detail if detail.startswith("expected ") else f"{text}: {detail}"
        self.add(loc, f"{text} (got {_shown(got, hidden=hidden)})")

    def unknown(self, loc: Loc, known: Collection[str], got: object, *, hidden: bool = False) -> None:
        """Note that the table has no key as the last of `loc`, and which it has."""
        key = str(loc[-1])
        meant = nearest(key, known)
        hint = f"did you mean {meant}?" if meant else f"expected one of {', '.join(known)}"
        # What was misspelt may be a password.
        hidden = hidden or SECRET_WORD.search(f"{key} {meant}") is not None
        value = "" if isinstance(got, Unresolved) else f" (got {_shown(got, hidden=hidden)})"
        self.add(loc, f"unknown key: {hint}{value}")


def _dotted(loc: Loc) -> str:
    text = ""
    for key in loc:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += ("." if text else "") + (
                key if BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=not key.isprintable())
            )
    return text


def _shown(value: object, *, hidden: bool) -> str:
    """Return a value as one short printable line, hidden or not."""
    match value:
        # What is inside may be a secret.
        case dict():
            return "a table"
        case list():
            return "an array"
        case _ if hidden or isinstance(value, Hidden):
            return "(hidden)"
        case bool():
            return "true" if value else "false"
        case date() | time():
            return value.isoformat()
        case int() if abs(value) >= LARGEST_SHOWN:
            return "a number of more than 40 digits"
        case str():
            return repr(value if len(value) <= LONGEST_SHOWN else value[:LONGEST_SHOWN] + "…")
    return repr(value)
