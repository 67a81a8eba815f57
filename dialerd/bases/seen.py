"""What a base has said already: in a scratch file, so that memory does not grow with the base."""

import sqlite3
from collections.abc import Sequence
from functools import lru_cache

__all__ = ["Seen"]


class Seen:
    """The fingerprints of the lines read so far. SQLite keeps them: in memory while they are few, else in a file."""

    def __init__(self) -> None:
        self._scratch = sqlite3.connect("", isolation_level=None, check_same_thread=False, cached_statements=4)
        for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -8192"):
            self._scratch.execute(f"PRAGMA {setting}")
        self._scratch.execute("CREATE TABLE seen (fingerprint BLOB PRIMARY KEY, turn INTEGER) WITHOUT ROWID")
        self._turn = 0

    def add(self, fingerprints: Sequence[bytes]) -> list[int]:
        """Take the fingerprints of the next lines; return the places of those that came before: all but the first."""
        first = dict(zip(reversed(fingerprints), range(len(fingerprints) - 1, -1, -1), strict=True))
        if not first:
            return []
        self._turn += 1
        # One statement that returns nothing: another thread of ours runs meanwhile, and is asked for its turn once.
        added = self._scratch.execute(_insert(len(first)), [self._turn, *first]).rowcount
        if added == len(fingerprints):
            return []
        marks = ", ".join("?" * len(first))
        before = f"SELECT fingerprint FROM seen WHERE turn < ? AND fingerprint IN ({marks})"  # noqa: S608
        old = {fingerprint for (fingerprint,) in self._scratch.execute(before, [self._turn, *first])}
        return [
            place for place, fingerprint in enumerate(fingerprints) if fingerprint in old or first[fingerprint] != place
        ]


@lru_cache(maxsize=4)
def _insert(count: int) -> str:
    rows = ", ".join([f"(?{n}, ?1)" for n in range(2, count + 2)])
    return f"INSERT OR IGNORE INTO seen VALUES {rows}"  # noqa: S608
