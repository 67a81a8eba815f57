"""How much of a table one transaction may take at once: so many rows, fewer if what stands in them is long."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from sqlalchemy.engine import Connection

__all__ = ["portions", "size_of"]

T = TypeVar("T")

#: Bytes or characters of one transaction's rows: written on SQLite in less than 50 ms, read into little memory.
MOST_CHARACTERS = 1 << 20


def size_of(connection: Connection) -> str:
    """Return the SQL expression for about how much a message takes, in bytes or characters."""
    size = "pg_column_size" if connection.dialect.name == "postgresql" else "length"
    return f"{size}(data) + coalesce({size}(details), 0)"


def portions(rows: Iterable[tuple[T, int]], most: int) -> Iterator[list[T]]:
    """Yield what one transaction may take after the other, of rows with their sizes: at most `most` rows, at least one.

    Their sizes come to MOST_CHARACTERS at most, or it is one row.
    """
    portion: list[T] = []
    characters = 0
    for one, size in rows:
        if portion and (len(portion) == most or characters + size > MOST_CHARACTERS):
            yield portion
            portion, characters = [], 0
        portion.append(one)
        characters += size
    if portion:
        yield portion
