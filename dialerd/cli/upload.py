"""`dialerd upload`: loads a base."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dialerd.cli.completion import campaign_names
from dialerd.cli.frame import Frame, examples, json_option, pass_frame
from dialerd.cli.later import later
from dialerd.cli.output import local, print_json, print_table, progress
from dialerd.model.errors import Refused
from dialerd.model.message import Channel

if TYPE_CHECKING:
    from dialerd import bases
    from dialerd.bases import Loaded
    from dialerd.settings import Settings
    from dialerd.store import Store
    from dialerd.store import status as status_table
    from dialerd.store import uploads as uploads_table
    from dialerd.store.uploads import BadLine
else:
    bases, uploads_table = later("dialerd.bases", "dialerd.store.uploads")
    (status_table,) = later("dialerd.store.status")

__all__ = ["upload", "uploads"]


@click.command()
@examples(
    "dialerd upload clients.csv --check",
    "dialerd upload clients.csv --campaign 'Ventas->' --errors rejected.csv",
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--channel", type=click.Choice(Channel, case_sensitive=False), help="What the lines are; else their campaigns tell."
)
@click.option("--base", metavar="NAME", help="Name of the base.  [default: the file's name]")
@click.option("--campaign", metavar="NAME", shell_complete=campaign_names, help="Campaign of the lines that name none.")
@click.option("--check", is_flag=True, help="Say all that loading would say, and load nothing.")
@click.option("--again", is_flag=True, help="Load the file even if it was loaded within a day.")
@click.option(
    "--errors",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Write all rejected lines there, to be corrected and loaded again.",
)
@json_option
@pass_frame
async def upload(
    frame: Frame,
    file: Path,
    channel: Channel | None,
    base: str | None,
    campaign: str | None,
    check: bool,
    again: bool,
    errors: Path | None,
    as_json: bool,
) -> None:
    """Load a base: a file with many messages.

    One SMS a line is campaign;number;text;priority, one e-mail campaign;address;body;subject;"Var1":"value";priority.
    Campaign and priority (1 goes first, 9999 last) may be empty. Bad lines are left out and shown with the reason; the
    others count all together once the whole file has been read. A file that --errors wrote is loaded by its column of
    lines.
    """
    if errors is not None:
        _refuse_unwritable(errors, file)
    load = _checked if check else _loaded
    async with (
        frame.open_store() as store,
        load(
            store, frame.settings, file,
            channel=channel, base=base, campaign=campaign, again=again, now=datetime.now(UTC),
        ) as (loaded, judged),
    ):  # fmt: skip
        if errors is not None:
            await bases.write_rejected(judged, loaded.upload, file, errors)
    told = [(bad, bases.explained(frame.settings, bad, campaign=campaign)) for bad in loaded.errors]
    _print_json(loaded, told, check=check) if as_json else _print(loaded, told, errors, check=check)
    if not loaded.accepted:
        raise Refused(f"{file}: no line was accepted, {loaded.rejected:,} rejected")


@asynccontextmanager
async def _loaded(store: Store, settings: Settings, file: Path, **options: Any) -> AsyncIterator[tuple[Loaded, Store]]:
    """Load the base, and give what became of it and where its rejected lines are kept."""
    with progress("reading") as show:
        loaded = await bases.load(store, settings, file, on_progress=show, **options)
    with progress("moving into the spool") as show:
        await bases.move(store, clock=lambda: datetime.now(UTC), on_progress=show)
    yield loaded, store


@asynccontextmanager
async def _checked(store: Store, settings: Settings, file: Path, **options: Any) -> AsyncIterator[tuple[Loaded, Store]]:
    """Give what would become of the base, and where its rejected lines are kept meanwhile."""
    with progress("checking") as show:
        async with bases.checked(store, settings, file, on_progress=show, **options) as checked:
            yield checked


def _print(loaded: Loaded, told: list[tuple[BadLine, str | None]], errors: Path | None, *, check: bool) -> None:
    if check and not loaded.already:
        click.echo(f"Base {loaded.base}: {loaded.accepted:,} would be accepted, {loaded.rejected:,} rejected.")
        click.echo("Nothing was loaded.")
    elif loaded.already:
        click.echo(
            f"This file was loaded before, as upload {loaded.upload}: nothing added (--again loads it once more)."
        )
        click.echo(f"Base {loaded.base}: {loaded.accepted:,} accepted and {loaded.rejected:,} rejected then.")
    else:
        click.echo(f"Base {loaded.base}: {loaded.accepted:,} accepted, {loaded.rejected:,} rejected.")
        click.echo(f"Upload {loaded.upload}")
    for bad, why in told:
        click.echo(f"  line {bad.line}: {bad.reason}: {_printable(bad.text)}")
        if why:
            click.echo(f"    {_printable(why)}")
    more = loaded.rejected - len(loaded.errors)
    if more > 0:
        click.echo(f"  … and {more:,} more" + ("" if errors else " (--errors FILE writes all)"))


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _print_json(loaded: Loaded, told: list[tuple[BadLine, str | None]], *, check: bool) -> None:
    print_json(
        {
            "upload": None if check and not loaded.already else loaded.upload,
            "base": loaded.base,
            "accepted": loaded.accepted,
            "rejected": loaded.rejected,
            "already": loaded.already,
            "errors": [
                {"line": bad.line, "reason": bad.reason, "text": bad.text, "explanation": why} for bad, why in told
            ],
        }
    )


def _refuse_unwritable(errors: Path, file: Path) -> None:
    if errors.exists() and file.exists() and errors.samefile(file):
        raise click.UsageError(f"--errors {errors} would overwrite the file that is to be loaded")
    if not errors.parent.is_dir():
        raise click.UsageError(f"--errors {errors}: there is no folder {errors.parent}")


@click.command()
@examples("dialerd uploads", "dialerd uploads clients.csv", "dialerd uploads --state failed --limit 10")
@click.argument("names", metavar="[BASE]...", nargs=-1)
@click.option("--state", type=click.Choice(["loading", "loaded", "failed"]), help="Only uploads in this state.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, metavar="N", help="At most so many.")
@json_option
@pass_frame
async def uploads(frame: Frame, names: tuple[str, ...], state: str | None, limit: int, as_json: bool) -> None:
    """List the bases that were loaded, the newest last.

    Of one that is loading, the lines read so far are counted; of one that failed, none was accepted. Below stands how
    many there are in each state. With BASE: the uploads into these bases, and how many of their messages are in each
    state. Times are UTC.
    """
    async with frame.open_store() as store:
        listed = await store.read(uploads_table.uploads, bases=names, state=state, most=limit)
        counts = await store.read(uploads_table.upload_counts)
        messages = await store.read(status_table.base_counts, list(dict.fromkeys(names))) if names else {}
    if as_json:
        print_json({"uploads": [asdict(one) for one in listed], "counts": counts, "messages": messages})
        return
    print_table(
        ["created", "base", "channel", "state", "accepted", "rejected", "file", "why it failed", "id"],
        [
            (
                local(one.created, UTC),
                one.base,
                one.channel,
                one.state,
                one.accepted,
                one.rejected,
                one.filename if one.filename != one.base else None,
                f"the same file is {one.same_as}" if one.same_as else one.error,
                one.id,
            )
            for one in listed
        ],
        whole=("created", "state"),
    )
    if not names:
        click.echo(", ".join(f"{count:,} {name}" for name, count in counts.items()))
        return
    click.echo()
    rows = [(base, state, count) for base, of_base in messages.items() for state, count in of_base.items()]
    print_table(["base", "messages", "count"], rows, whole=["messages"])
