"""Exports: rows as CSV or JSON lines, written as they are read, to stdout or into a file."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import IO, Any

import click

from dialerd.cli.output import iso, print_json, progress

__all__ = ["PAGE", "Export", "exporting"]

#: Rows read, and written, at a time.
PAGE = 1_000

#: What a spreadsheet would take for a formula: a text of these beginnings that is no plain number.
FORMULA = re.compile(r"[=+\-@\t\r]")
NUMBER = re.compile(r"[+-]?[0-9 ]+(?:[.,][0-9]+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Export:
    """What was asked for: `form` is csv or jsonl; without `output` it goes to stdout."""

    form: str
    output: Path | None

    async def write(self, columns: Sequence[str], pages: AsyncIterator[Sequence[dict[str, Any]]]) -> None:
        """Write the pages as they come; an output file is there whole, or as it was before."""
        # Not among the lines of an export that goes to the same terminal.
        quiet = self.output is None and sys.stdout.isatty()
        done = 0
        with self._opened() as file, nullcontext() if quiet else progress("exporting") as show:
            if self.form == "csv":
                file.write(_csv([columns]))
            async for rows in pages:
                file.write(_as_csv(columns, rows) if self.form == "csv" else _as_jsonl(rows))
                done += len(rows)
                if show is not None:
                    show(done)
            file.flush()
        if self.output is not None and self.form == "csv":
            click.echo(f"{done:,} written to {self.output}")
        elif self.output is not None:
            print_json({"written": done, "output": str(self.output)})

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        if self.output is None:
            yield sys.stdout.buffer
        elif self.output.exists() and not self.output.is_file():  # a device or a pipe
            with self.output.open("wb") as file:
                yield file
        else:
            with _replaced(self.output.resolve()) as file:
                yield file


def exporting(command: Callable[..., Any]) -> Callable[..., Any]:
    """Take --format, --json and --output, given to the command as one `export`."""

    @wraps(command)
    def run(*args: Any, form: str, as_json: bool, output: Path | None, **kwargs: Any) -> Any:
        if output is not None and not output.parent.is_dir():
            raise click.UsageError(f"--output {output}: there is no folder {output.parent}")
        return command(*args, export=Export("jsonl" if as_json else form, output), **kwargs)

    options: list[Callable[..., Any]] = [
        click.option("--json", "as_json", is_flag=True, help="The same as --format jsonl."),
        click.option(
            "--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True,
            help="CSV, or one JSON object a line.",
        ),
        click.option(
            "--output", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, writable=True),
            help="Write into this file, which is there whole or as it was before.  [default: stdout]",
        ),
    ]  # fmt: skip
    wrapped: Callable[..., Any] = run
    for option in options:
        wrapped = option(wrapped)
    return wrapped


@contextmanager
def _replaced(path: Path) -> Iterator[IO[bytes]]:
    """Give a file beside `path` to write to, which takes its place at the end, or goes if that is not reached."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            if path.exists():
                shutil.copymode(path, part)
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _csv(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _as_csv(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> bytes:
    return _csv([[_cell(row[name]) for name in columns] for row in rows])


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and FORMULA.match(value) and not NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def _as_jsonl(rows: Sequence[dict[str, Any]]) -> bytes:
    return "".join(
        json.dumps({name: iso(value) if isinstance(value, datetime) else value for name, value in row.items()},
                   ensure_ascii=False) + "\n"
        for row in rows
    ).encode()  # fmt: skip
