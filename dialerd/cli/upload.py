"""`dialerd upload`: loads a base."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dialerd.cli.completion import campaign_names
from dialerd.cli.frame import Frame, examples, json_option, pass_frame
from dialerd.cli.later import later
from dialerd.cli.output import print_json, progress
from dialerd.model.errors import Refused
from dialerd.model.message import Channel

if TYPE_CHECKING:
    from dialerd import bases
    from dialerd.bases import Loaded
    from dialerd.store import Store
    from dialerd.store import uploads as uploads_table
else:
    bases, uploads_table = later("dialerd.bases", "dialerd.store.uploads")

__all__ = ["upload"]

PAGE = 1000


@click.command()
@examples(
    "dialerd upload clients.csv",
    "dialerd upload clients.csv --campaign 'Ventas->' --errors rejected.csv",
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--channel", type=click.Choice(Channel, case_sensitive=False), help="What the lines are; else their campaigns tell."
)
@click.option("--base", metavar="NAME", help="Name of the base.  [default: the file's name]")
@click.option("--campaign", metavar="NAME", shell_complete=campaign_names, help="Campaign of the lines that name none.")
@click.option("--again", is_flag=True, help="Load the file even if it was loaded within a day.")
@click.option(
    "--errors",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Write all rejected lines there: number; reason; line.",
)
@json_option
@pass_frame
async def upload(
    frame: Frame,
    file: Path,
    channel: Channel | None,
    base: str | None,
    campaign: str | None,
    again: bool,
    errors: Path | None,
    as_json: bool,
) -> None:
    """Load a base: a file with many messages.

    One SMS a line is campaign;number;text;priority, one e-mail campaign;address;body;subject;"Var1":"value";priority.
    Campaign and priority (1 goes first, 9999 last) may be empty. Bad lines are left out and shown with the reason; the
    others count all together once the whole file has been read.
    """
    if errors is not None:
        _refuse_unwritable(errors, file)
    async with frame.open_store() as store:
        with progress("reading") as show:
            loaded = await bases.load(
                store, frame.settings, file,
                channel=channel, base=base, campaign=campaign, again=again, now=datetime.now(UTC), on_progress=show,
            )  # fmt: skip
        with progress("moving into the spool") as show:
            await bases.move(store, clock=lambda: datetime.now(UTC), on_progress=show)
        if errors is not None:
            await _write_errors(store, loaded.upload, errors)
    _print_json(loaded) if as_json else _print(loaded, errors)
    if not loaded.accepted:
        raise Refused(f"{file}: no line was accepted, {loaded.rejected:,} were rejected")


def _print(loaded: Loaded, errors: Path | None) -> None:
    if loaded.already:
        click.echo(
            f"This file was loaded before, as upload {loaded.upload}: nothing added (--again loads it once more)."
        )
        click.echo(f"Base {loaded.base}: {loaded.accepted:,} accepted and {loaded.rejected:,} rejected then.")
    else:
        click.echo(f"Base {loaded.base}: {loaded.accepted:,} accepted, {loaded.rejected:,} rejected.")
        click.echo(f"Upload {loaded.upload}")
    for bad in loaded.errors:
        shown = "".join(letter if letter.isprintable() else " " for letter in bad.text)
        click.echo(f"  line {bad.line}: {bad.reason}: {shown}")
    more = loaded.rejected - len(loaded.errors)
    if more > 0:
        click.echo(f"  … and {more:,} more" + ("" if errors else " (--errors FILE writes all)"))


def _print_json(loaded: Loaded) -> None:
    print_json(
        {
            "upload": loaded.upload,
            "base": loaded.base,
            "accepted": loaded.accepted,
            "rejected": loaded.rejected,
            "already": loaded.already,
            "errors": [{"line": bad.line, "reason": bad.reason, "text": bad.text} for bad in loaded.errors],
        }
    )


def _refuse_unwritable(errors: Path, file: Path) -> None:
    if errors.exists() and file.exists() and errors.samefile(file):
        raise click.UsageError(f"--errors {errors} would overwrite the file that is to be loaded")
    if not errors.parent.is_dir():
        raise click.UsageError(f"--errors {errors}: there is no folder {errors.parent}")


async def _write_errors(store: Store, upload_id: str, errors: Path) -> None:
    with errors.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=";", lineterminator="\n")
        writer.writerow(["line", "reason", "text"])
        last = 0
        while page := await store.read(uploads_table.bad_lines, upload_id, after=last, most=PAGE):
            writer.writerows((bad.line, bad.reason, bad.text) for bad in page)
            last = page[-1].line
