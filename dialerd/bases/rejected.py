"""Files of rejected lines: written with their reasons, corrected in an editor or a spreadsheet, and loaded again.

    line;reason;text
    2;bad number;"Ventas->;12;Hello!;5"

The third column is the whole line as it stood in the base. Who loads such a file loads its third column.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from dialerd.bases.files import Line, TextFile, look
from dialerd.bases.lines import QUOTED, split_left, unquote
from dialerd.bases.separators import with_semicolons
from dialerd.model.errors import Refused
from dialerd.store import Store
from dialerd.store.uploads import bad_lines

__all__ = ["base_lines", "write_rejected"]

HEADER = ["line", "reason", "text"]

PAGE = 1000


def base_lines(file: TextFile) -> Iterator[Line]:
    """Yield the lines of a base, with `;` between their fields.

    Of a file of rejected lines: what stands in its third column, if anything does.
    """
    lines = with_semicolons(file.lines())
    first = next(lines, None)
    if first is None:
        return
    if not _is_header(first.text):
        yield first
        yield from lines
        return
    for line in lines:
        _, rest = split_left(line.text)
        _, text = split_left(rest)
        text = (text or "").rstrip()
        if quoted := QUOTED.fullmatch(text):
            text = unquote(quoted)
        if text:
            yield line._replace(text=text)


async def write_rejected(store: Store, upload: str, path: Path, target: Path) -> None:
    """Write the rejected lines of an upload of the base `path`, whole and with their reasons.

    A line of a megabyte or more is written without its text: loaded again, a part of it would be sent as if it were
    the whole. Raises Refused if the base is no longer what was loaded.
    """
    lines = base_lines(look(path))
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=";", lineterminator="\n")
        writer.writerow(HEADER)
        last = 0
        while page := await store.read(bad_lines, upload, after=last, most=PAGE):
            for bad in page:
                line = next((line for line in lines if line.number == bad.line), None)
                if line is None or not line.text.replace("\0", "").startswith(bad.text):
                    raise Refused(f"{path} changed since it was loaded: the rest of {target} is missing")
                writer.writerow([bad.line, bad.reason, line.text if line.whole else ""])
            last = page[-1].line


def _is_header(text: str) -> bool:
    fields = []
    rest: str | None = text
    while rest is not None:
        field, rest = split_left(rest)
        fields.append(field.strip().casefold())
    return fields == HEADER
