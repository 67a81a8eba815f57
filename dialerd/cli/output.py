"""What the commands print: tables for people, plain columns for pipes, JSON for programs, progress on a terminal.

Results go to stdout; progress goes to stderr, and only to a terminal.
"""

from __future__ import annotations

import json
import sys
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, tzinfo
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any, Protocol

import click

from dialerd.cli.later import later

if TYPE_CHECKING:
    import rich.progress as bars
    from rich import cells as widths_of
    from rich import console as consoles
    from rich import table as tables
    from rich import text as texts
else:
    bars, widths_of = later("rich.progress", "rich.cells")
    consoles, tables, texts = later("rich.console", "rich.table", "rich.text")

__all__ = [
    "JsonPages",
    "Pages",
    "Show",
    "TablePages",
    "fitted_table",
    "iso",
    "json_text",
    "local",
    "print_json",
    "print_step",
    "print_table",
    "progress",
]

#: Between two columns of a plain table.
GAP = "  "

#: A column of text may be cut down to this on a terminal.
SHORTEST = 10


def print_json(document: Any) -> None:
    """Print one JSON document; instants as ISO 8601 in UTC."""
    click.echo(json_text(document, indent=2))


def json_text(document: Any, *, indent: int | None = None) -> str:
    """Return JSON for stdout: in ASCII where that is not UTF-8, as JSON has to be (RFC 8259, section 8.1)."""
    speaks_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(document, ensure_ascii=not speaks_utf8, indent=indent, default=_plain)


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None, whole: Collection[str] = ()
) -> None:
    """Print a table: fitted to the terminal, or plain and complete where stdout is a pipe or a file.

    Numbers stand at the right, None is an empty cell. On a terminal long cells are cut, but for the columns in `whole`;
    columns that do not fit beside those before them are left out, and said to be.
    """
    if sys.stdout.isatty():
        console = consoles.Console()
        table, missing = fitted_table(columns, rows, title=title, whole=whole, width=console.width)
        console.print(table)
        if missing:
            console.print(f"(no room for {', '.join(missing)})", style="dim", highlight=False)
    else:
        if title:
            click.echo(title)
        click.echo("\n".join(_plain_lines(columns, rows)))


class Pages(Protocol):
    """Prints a list page by page as it is read, so that one of any length needs little memory."""

    def page(self, some: Sequence[dict[str, Any]]) -> None:
        """Print the next entries."""

    def end(self) -> None:
        """Print what comes last."""


class TablePages:
    """Tables, for people: on a terminal each page is fitted for itself, a pipe gets one header.

    `cells` are the columns with what stands in them for an entry.
    """

    def __init__(self, cells: Mapping[str, Callable[[dict[str, Any]], Any]], *, whole: Collection[str] = ()) -> None:
        self._cells = cells
        self._whole = whole
        self._is_first = True

    def page(self, some: Sequence[dict[str, Any]]) -> None:
        """Print the next entries."""
        columns = list(self._cells)
        rows = [[cell(one) for cell in self._cells.values()] for one in some]
        if self._is_first or sys.stdout.isatty():
            print_table(columns, rows, whole=self._whole)
        else:
            click.echo("\n".join(islice(_plain_lines(columns, rows), 1, None)))
        self._is_first = False

    def end(self) -> None:
        """Print the header, if there was nothing."""
        if self._is_first:
            self.page([])


class JsonPages:
    """One JSON array, an entry a line."""

    def __init__(self) -> None:
        self._before = "[\n"

    def page(self, some: Sequence[dict[str, Any]]) -> None:
        """Print the next entries."""
        for one in some:
            click.echo(f"{self._before}  {json_text(one)}", nl=False)
            self._before = ",\n"

    def end(self) -> None:
        """Close the array."""
        click.echo("[]" if self._before == "[\n" else "\n]")


def fitted_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None, whole: Collection[str] = (),
    width: int,
) -> tuple[tables.Table, Sequence[str]]:  # fmt: skip
    """Return a table for a terminal so wide (see print_table), and the columns for which there is no room."""
    cells, right = _cells(columns, rows)
    natural = [max(map(widths_of.cell_len, column)) for column in zip(columns, *cells, strict=True)]
    fixed = [name in whole or at_right for name, at_right in zip(columns, right, strict=True)]
    widths = _fitted(natural, fixed, width)
    table = tables.Table(title=title, title_justify="left", box=None, padding=(0, len(GAP), 0, 0), header_style="bold")
    for name, column_width, at_right in zip(columns, widths, right, strict=False):
        justify: consoles.JustifyMethod = "right" if at_right else "left"
        table.add_column(name, justify=justify, overflow="ellipsis", no_wrap=True, width=column_width)
    for row in cells:
        # As Text: what a campaign is called is no markup.
        table.add_row(*(texts.Text(cell) for cell in row[: len(widths)]))
    return table, columns[len(widths) :]


def print_step(line: str) -> None:
    """Tell what is done now; in colour where a terminal wants that (NO_COLOR, TERM=dumb)."""
    if sys.stdout.isatty():
        consoles.Console().print(texts.Text(f"• {line}", style="cyan"), soft_wrap=True)
    else:
        click.echo(f"• {line}")


class Show(Protocol):
    """Shows how far something has come."""

    def __call__(self, done: int, total: int | None = None) -> None:
        """Show that `done` is done, of `total` if that is known."""


@contextmanager
def progress(label: str) -> Iterator[Show]:
    """Show a progress bar on a terminal while the block runs; the block calls what it gets with how far it has come."""
    if not sys.stderr.isatty():
        yield _show_nothing
        return
    columns = (
        bars.SpinnerColumn(),
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
    )
    with bars.Progress(*columns, console=consoles.Console(stderr=True), transient=True) as shown:
        task = shown.add_task(label, total=None)
        yield lambda done, total=None: shown.update(task, completed=done, total=total)


def _show_nothing(done: int, total: int | None = None) -> None:
    """A pipe is told nothing."""


def iso(instant: datetime | None) -> str | None:
    """Return an instant as ISO 8601 in UTC, with Z."""
    return None if instant is None else instant.isoformat().replace("+00:00", "Z")


def local(instant: datetime | None, zone: tzinfo) -> str | None:
    """Return what a clock of the zone shows at an instant, to the second."""
    if instant is None:
        return None
    try:
        instant = instant.astimezone(zone)
    except OverflowError:  # another system's 9999-12-31: the next day has no date
        pass
    return f"{instant:%Y-%m-%d %H:%M:%S}"


def _cells(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> tuple[list[list[str]], list[bool]]:
    """Return what stands in the cells, and which columns hold numbers."""
    right = [any(isinstance(row[index], int | float) for row in rows) for index in range(len(columns))]
    return [[_cell(value) for value in row] for row in rows], right


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _cell(value: Any) -> str:
    """Return a value on one line, without characters that would act on a terminal."""
    if value is None:
        return ""
    text = f"{value:,}" if isinstance(value, int) else f"{value:.1f}" if isinstance(value, float) else str(value)
    return "".join(character if character.isprintable() else " " for character in text)


def _plain_lines(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """Yield a table's lines, the header first, with every cell as long as it is."""
    cells, right = _cells(columns, rows)
    lines = [list(columns), *cells]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        padded = [
            cell.rjust(width) if at_right else cell.ljust(width)
            for cell, width, at_right in zip(line, widths, right, strict=True)
        ]
        yield GAP.join(padded).rstrip()


def _fitted(natural: list[int], fixed: list[bool], room: int) -> list[int]:
    """Return the widths of the columns that fit: of those not fixed, the widest are cut first, down to SHORTEST."""
    least = [width if is_fixed else min(width, SHORTEST) for width, is_fixed in zip(natural, fixed, strict=True)]
    shown = max(1, bisect_right(list(accumulate(width + len(GAP) for width in least)), room))
    widths = natural[:shown]
    while sum(widths) + len(GAP) * shown > room:
        widest = max(range(shown), key=lambda index: widths[index] - least[index])
        if widths[widest] == least[widest]:
            break
        widths[widest] -= 1
    return widths
