"""`dialerd repo`: what became of messages, listed or exported."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

import click

from dialerd.cli.completion import campaign_names
from dialerd.cli.exporting import PAGE, Export, exporting
from dialerd.cli.frame import Frame, config_option, examples, json_option, pass_frame
from dialerd.cli.later import later
from dialerd.cli.output import local, print_json, print_table
from dialerd.model.calendar import first_instant, parse_when
from dialerd.model.message import Status

if TYPE_CHECKING:
    from dialerd.settings import Settings
    from dialerd.store import Store
    from dialerd.store import repo as table
    from dialerd.store.repo import Filters
else:
    (table,) = later("dialerd.store.repo")

__all__ = ["repo"]

DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


@click.group()
@examples(
    "dialerd repo list --status failed",
    "dialerd repo export --campaign 'Ventas->' --date 2026-06-01 > sent.csv",
)
@config_option
def repo() -> None:
    """List or export what became of messages."""


def filtering(command: Callable[..., Any]) -> Callable[..., Any]:
    """Take --campaign, --base, --status, --date, --since and --until."""
    options: list[Callable[..., Any]] = [
        click.option("--until", metavar="WHEN", help="Processed before this instant, or on this day at the latest."),
        click.option("--date", "day", metavar="YYYY-MM-DD", help="Processed on this day."),
        click.option("--since", metavar="WHEN", help="Processed at this instant or day, or later."),
        click.option("--status", type=click.Choice([s.value for s in Status]), help="Only what ended like this."),
        click.option("--base", metavar="NAME", help="Only messages of this base."),
        click.option(
            "--campaign", metavar="NAME", shell_complete=campaign_names, help="Only messages of this campaign."
        ),
    ]
    for option in options:
        command = option(command)
    return command


@repo.command("list")
@examples("dialerd repo list --campaign 'Ventas->' --status failed --since 2026-06-01")
@filtering
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, metavar="N", help="At most so many.")
@json_option
@pass_frame
async def list_(frame: Frame, limit: int, as_json: bool, **given: str | None) -> None:
    """List the latest results, the newest last.

    WHEN is YYYY-MM-DD or 'YYYY-MM-DD HH:MM:SS', on the clock of the campaign given, else in UTC; or an ISO 8601 instant
    with its offset. Times are shown on the same clock.
    """
    filters, zone = _filters(frame.settings, **given)
    results: list[dict[str, Any]] = []
    async with frame.open_store() as store:
        first, last = await store.read(table.bounds, filters)
        before: int | None = last + 1
        while before is not None and len(results) < limit:
            got = await store.read(
                table.page_back, filters, before_seq=before, down_to_seq=first, most=limit - len(results)
            )
            results += got.rows
            before = got.next_seq
    results.reverse()
    if as_json:
        print_json(results)
        return
    rest = ("campaign", "destination", "status", "error", "delivery", "provider", "base", "id")
    print_table(
        ["processed", *rest],
        [(local(one["dateprocessed"], zone), *(one[name] for name in rest)) for one in results],
        whole=("processed", "status", "delivery", "id"),
    )


@repo.command(short_help="Write results as CSV or JSON lines.")
@examples(
    "dialerd repo export --campaign 'Ventas->' --since 2026-06-01 > sent.csv",
    "dialerd repo export --base offers.csv --output offers-results.csv",
    "dialerd repo export --format jsonl --status failed | jq .error",
)
@filtering
@exporting
@pass_frame
async def export(frame: Frame, export: Export, **given: str | None) -> None:
    """Write results to stdout or into a file, oldest first, as they are read.

    WHEN is as for `dialerd repo list`. Instants are ISO 8601 in UTC. CSV is UTF-8 with a header line; a text that a
    spreadsheet would run as a formula (it begins with = + - @, and is no number) gets a ' before it. JSON lines hold
    every text as it is.
    """
    filters, _ = _filters(frame.settings, **given)
    async with frame.open_store() as store:
        await export.write(table.COLUMNS, _pages(store, filters))


async def _pages(store: Store, filters: Filters) -> AsyncIterator[list[dict[str, Any]]]:
    first, last = await store.read(table.bounds, filters)
    after: int | None = first - 1
    while after is not None:
        got = await store.read(table.page, filters, after_seq=after, up_to_seq=last, most=PAGE)
        yield got.rows
        after = got.next_seq


def _filters(
    settings: Settings, *, campaign: str | None, base: str | None, status: str | None, day: str | None,
    since: str | None, until: str | None,
) -> tuple[Filters, tzinfo]:  # fmt: skip
    """Return the filters, and the zone in which dates without an offset are read."""
    zone = settings.campaigns[campaign].zone if campaign and campaign in settings.campaigns else UTC
    if day is not None:
        if since is not None or until is not None:
            raise click.UsageError("--date is a whole day: leave it or --since and --until out")
        if not DAY.fullmatch(day):
            raise click.BadParameter(f"expected YYYY-MM-DD, not {day!r}", param_hint="--date")
        since = until = day
    filters = table.Filters(
        campaign=campaign,
        base=base,
        status=Status(status) if status else None,
        since=None if since is None else _instant("--since", since, zone, days=0),
        until=None if until is None else _instant("--until", until, zone, days=1),
    )
    return filters, zone


def _instant(option: str, given: str, zone: tzinfo, *, days: int) -> datetime:
    """Return the instant meant; of a whole day the midnight so many days later."""
    try:
        day = date.fromisoformat(given) if len(given) == len("YYYY-MM-DD") else None
        if day is None:
            return parse_when(given, zone)
        return first_instant(datetime.combine(day, time()) + timedelta(days=days), zone)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f"{error}" if "expected" in str(error) else f"expected YYYY-MM-DD, not {given!r}",
                                 param_hint=option) from error  # fmt: skip
