"""What stands between a line's fields: a spreadsheet may say so in a first line of its own, or write tabs.

Excel writes UTF-16 as "Unicode text" only, and that has tabs; `sep=;` is how others tell Excel what to read.
"""

import csv
import io
import re
from collections.abc import Iterator
from itertools import chain

from dialerd.bases.files import Line
from dialerd.model.errors import Refused

__all__ = ["with_semicolons"]

NAMED = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
#: Fields of a line of SMS, and of one of e-mail, whose fifth is JSON and not quoted once more.
SMS, EMAIL = 4, 6


def with_semicolons(lines: Iterator[Line]) -> Iterator[Line]:
    """Return the lines of a base with `;` between their fields: most of them as they are.

    Where tabs part what stands before the first line's first `;`, it and all others have tabs between their fields.
    Raises Refused if a first line `sep=X` names anything but these two.
    """
    first = next(lines, None)
    if first is None:
        return lines
    named = NAMED.fullmatch(first.text.strip(" "))
    if named is None:
        lines = chain([first], lines)
    elif named[1] not in ";\t":
        raise Refused(f"its first line says that {named[1]!r} stands between the fields of a line: save it with ;")
    parted = [part for part in first.text.partition(";")[0].split("\t") if part.strip()]
    separator = named[1] if named else "\t" if len(parted) > 1 else ";"
    return lines if separator == ";" else map(_from_tabs, lines)


def _from_tabs(line: Line) -> Line:
    """Return a line with `;` instead of its tabs; one with fields too many as it is, for no line must be misread."""
    if not line.whole:
        return line
    try:
        (fields,) = csv.reader([line.text], delimiter="\t")
    except (csv.Error, ValueError):
        return line
    while len(fields) > SMS and not fields[-1] and fields[SMS - 1].strip().isdecimal():
        del fields[-1]  # columns that the spreadsheet has and the base has not
    if len(fields) > SMS and len(fields) != EMAIL:
        return line
    variables = [fields.pop(SMS)] if len(fields) == EMAIL else []
    head, tail = _joined(fields[:SMS]), [_joined([field]) for field in fields[SMS:]]
    return line._replace(text=";".join([head, *variables, *tail]))


def _joined(fields: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=";", lineterminator="").writerow(fields)
    # The writer's way to tell one empty field from none.
    return "" if fields == [""] else text.getvalue()
