"""`dialerd blacklist`: who must not be written to."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dialerd.cli.completion import campaign_names
from dialerd.cli.frame import Frame, config_option, examples, json_option, pass_frame
from dialerd.cli.later import later
from dialerd.cli.output import JsonPages, Pages, TablePages, iso, json_text, print_json, progress
from dialerd.model.errors import Refused
from dialerd.model.message import Channel

if TYPE_CHECKING:
    from dialerd import bases
    from dialerd.settings import Settings
    from dialerd.store import Connection, Store
    from dialerd.store import blacklist as table
    from dialerd.store.blacklist import Entry
else:
    bases, table = later("dialerd.bases", "dialerd.store.blacklist")

__all__ = ["blacklist"]

F = TypeVar("F", bound=Callable[..., Any])

#: Entries read and shown at a time; tables of people begin anew after so many.
PAGE = 1000
CELLS = {name: itemgetter(name) for name in ("channel", "value", "campaign", "reason", "expires")}


def scope_options(command: F) -> F:
    """Take `--channel` and `--campaign`."""
    command = click.option(
        "--campaign", metavar="NAME", shell_complete=campaign_names, help="Only this campaign.  [default: all]"
    )(command)
    return click.option(
        "--channel",
        type=click.Choice(Channel, case_sensitive=False),
        help="What the value is.  [default: email if it has an @]",
    )(command)


@click.group()
@examples("dialerd blacklist add 098344484 --reason STOP", "dialerd blacklist import blacklist.csv")
@config_option
def blacklist() -> None:
    """Say who must not be written to.

    Numbers and addresses are kept in canonical form: an entry for 098344484 stops messages to +598 98 344 484 as well.
    """


@blacklist.command("add")
@examples(
    "dialerd blacklist add 098344484 --reason STOP",
    "dialerd blacklist add ana@example.com --campaign News --expires 2026-12-31",
)
@click.argument("value")
@scope_options
@click.option("--reason", metavar="R", help="Why, for those who look later.")
@click.option("--expires", metavar="WHEN", help="YYYY-MM-DD (to its end), YYYY-MM-DD HH:MM:SS or an ISO 8601 instant.")
@json_option
@pass_frame
async def add_entry(
    frame: Frame, value: str, channel: Channel | None, campaign: str | None, reason: str | None, expires: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Stop messages to a number or an e-mail address.

    One that stands there already gets the new reason and expiry. WHEN is on the campaign's clocks, or UTC for all.
    """
    settings = frame.settings
    channel, values = bases.blacklist_values(settings, value, channel=channel, campaign=campaign)
    until = _expiry(settings, campaign, expires)
    some = [table.Entry(channel=channel, value=one, campaign=campaign, reason=reason, expires=until) for one in values]
    async with frame.open_store() as store:
        await store.transact(table.add, some, now=datetime.now(UTC))
    _tell(channel, values, campaign, "is blacklisted", as_json)


@blacklist.command("remove")
@examples("dialerd blacklist remove 098344484")
@click.argument("value")
@scope_options
@json_option
@pass_frame
async def remove_entry(frame: Frame, value: str, channel: Channel | None, campaign: str | None, as_json: bool) -> None:
    """Let messages to a number or an e-mail address go again.

    Without --campaign the entry for all campaigns is removed; those for single ones stay.
    """
    values = {value.strip()}
    refused: Refused | None = None
    try:
        channel, canonical = bases.blacklist_values(frame.settings, value, channel=channel, campaign=campaign)
        values.update(canonical)
    except Refused as error:
        # An entry may be older than the configuration; as it is listed it can always be removed.
        refused = error
        channel = channel or (Channel.EMAIL if "@" in value else Channel.SMS)
    async with frame.open_store() as store:
        removed = [one for one in sorted(values) if await store.transact(table.remove, channel, one, campaign=campaign)]
    if not removed:
        raise refused or Refused(f"{value} is not blacklisted for {_scope(campaign)}")
    _tell(channel, removed, campaign, "is no longer blacklisted", as_json)


def _tell(channel: Channel, values: Sequence[str], campaign: str | None, what: str, as_json: bool) -> None:
    if as_json:
        print_json([{"channel": channel, "value": value, "campaign": campaign} for value in values])
    else:
        for value in values:
            click.echo(f"{value} {what} for {_scope(campaign)}.")


@blacklist.command("list")
@examples("dialerd blacklist list --channel email")
@scope_options
@json_option
@pass_frame
async def list_entries(frame: Frame, channel: Channel | None, campaign: str | None, as_json: bool) -> None:
    """Show the entries in the order in which they came."""
    show: Pages = JsonPages() if as_json else TablePages(CELLS, whole=["value"])
    async with frame.open_store() as store:
        async for page in _pages(store, channel, campaign):
            show.page([_shown(entry) for entry in page])
    show.end()


@blacklist.command("export", short_help="Print the entries as `import` reads them.")
@examples("dialerd blacklist export > blacklist.csv")
@scope_options
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line instead.")
@pass_frame
async def export_entries(frame: Frame, channel: Channel | None, campaign: str | None, as_json: bool) -> None:
    """Print the entries as `import` reads them: value;campaign;reason;expires."""
    done = 0
    async with frame.open_store() as store:
        # On a terminal the entries themselves show how far it has come.
        with nullcontext() if sys.stdout.isatty() else progress("exporting") as show:
            async for page in _pages(store, channel, campaign):
                lines = (
                    (json_text(_shown(entry)) for entry in page)
                    if as_json
                    else bases.blacklist_lines(frame.settings, page)
                )
                click.echo("\n".join(lines))
                done += len(page)
                if show is not None:
                    show(done)


@blacklist.command("import", short_help="Add a file's entries.")
@examples("dialerd blacklist import blacklist.csv")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@scope_options
@json_option
@pass_frame
async def import_entries(
    frame: Frame, file: Path, channel: Channel | None, campaign: str | None, as_json: bool
) -> None:
    """Add a file's entries: a value or value;campaign;reason;expires a line.

    --campaign stands where a line names none. Bad lines are left out and shown with the reason. The same file may be
    imported again; what was added before an interruption stays.
    """
    async with frame.open_store() as store:
        with progress("reading") as show:
            imported = await bases.load_blacklist(
                store, frame.settings, file,
                channel=channel, campaign=campaign, now=datetime.now(UTC), on_progress=show,
            )  # fmt: skip
    if as_json:
        errors = [{"line": bad.line, "reason": bad.reason, "text": bad.text} for bad in imported.errors]
        print_json({"added": imported.added, "rejected": imported.rejected, "errors": errors})
    else:
        click.echo(f"{imported.added:,} added, {imported.rejected:,} rejected.")
        for bad in imported.errors:
            shown = "".join(letter if letter.isprintable() else " " for letter in bad.text)
            click.echo(f"  line {bad.line}: {bad.reason}: {shown}")
        if imported.rejected > len(imported.errors):
            click.echo(f"  … and {imported.rejected - len(imported.errors):,} more")
    if not imported.added:
        raise Refused(f"{file}: nothing was added, {imported.rejected:,} rejected")


async def _pages(store: Store, channel: Channel | None, campaign: str | None) -> AsyncIterator[list[Entry]]:
    """Yield the entries of a scope, page by page; read by key, so that nobody waits for us."""
    after = 0
    while page := await store.read(_page, after, channel, campaign):
        after = page[-1][0]
        yield [entry for _, entry in page]


def _page(connection: Connection, after: int, channel: Channel | None, campaign: str | None) -> list[tuple[int, Entry]]:
    return list(table.entries(connection, after=after, most=PAGE, channel=channel, campaign=campaign))


def _shown(entry: Entry) -> dict[str, str | None]:
    return {
        "channel": entry.channel,
        "value": entry.value,
        "campaign": entry.campaign,
        "reason": entry.reason,
        "created": iso(entry.created),
        "expires": iso(entry.expires),
    }


def _expiry(settings: Settings, campaign: str | None, written: str | None) -> datetime | None:
    if written is None:
        return None
    try:
        return bases.parse_expiry(written, settings.campaigns[campaign].zone if campaign else UTC)
    except ValueError as error:
        raise Refused(f"--expires: {error}") from error


def _scope(campaign: str | None) -> str:
    return f"campaign {campaign}" if campaign else "all campaigns"
