"""What a base has said already: in a scratch file, so that memory does not grow with the base."""

import sqlite3
from collections.abc import Mapping

__all__ = ["Seen"]


class Seen:
    """The fingerprints of the lines read so far. SQLite keeps them: in memory while they are few, else in a file."""

    def __init__(self) -> None:
        self._scratch = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -8192"):
            self._scratch.execute(f"PRAGMA {setting}")
        self._scratch.execute("CREATE TABLE seen (fingerprint BLOB PRIMARY KEY) WITHOUT ROWID")

    def add(self, fingerprints: Mapping[int, bytes]) -> list[int]:
        """Take the fingerprints of the next lines, by number; return those that came before: all but the first."""
        first: dict[bytes, int] = {}
        for number, fingerprint in fingerprints.items():
            first.setdefault(fingerprint, number)
        if not first:
            return []
        insert = f"INSERT OR IGNORE INTO seen VALUES {', '.join(['(?)'] * len(first))} RETURNING fingerprint"  # noqa: S608
        new = {fingerprint for (fingerprint,) in self._scratch.execute(insert, list(first))}
        if len(new) == len(fingerprints):
            return []
        return [
            number
            for number, fingerprint in fingerprints.items()
            if fingerprint not in new or first[fingerprint] != number
        ]
