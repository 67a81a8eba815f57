"""`dialerd status` and `dialerd campaigns`: how things are, and an operator's pauses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any

import click

from dialerd.cli import watch as watching
from dialerd.cli.completion import campaign_names
from dialerd.cli.frame import Frame, config_option, examples, json_option, pass_frame
from dialerd.cli.later import later
from dialerd.cli.output import local, print_json, print_table
from dialerd.model.errors import DatabaseGone, UnknownCampaign
from dialerd.model.rules import campaign_opens_at, state_of

if TYPE_CHECKING:
    import asyncio

    from dialerd.model.campaign import Campaign
    from dialerd.settings import Settings
    from dialerd.store import pause as pauses
    from dialerd.store import status as counts
    from dialerd.store.status import NodeStatus, Report
else:
    asyncio, counts, pauses = later("asyncio", "dialerd.store.status", "dialerd.store.pause")

__all__ = ["campaigns", "status"]

WAITING = ("scheduled", "queued", "deferred", "sending", "held", "in_doubt")
DONE = ("sent", "failed", "expired", "blocked", "cancelled")


@click.command()
@examples("dialerd status --watch")
@click.option("--watch", is_flag=True, help=f"Show it anew every {watching.WATCH_S:g} seconds, until Ctrl-C.")
@json_option
@pass_frame
async def status(frame: Frame, watch: bool, as_json: bool) -> None:
    """Show what waits, what was sent today, and how the providers are.

    Per campaign: whether it may send and if not when it opens, what waits, and what was done since midnight where the
    campaign is. Per provider: up, or why not, as the daemons tell. Times are the campaign's.
    """
    if watch and as_json:
        raise click.UsageError("--watch is for people: leave --json or --watch out")
    settings = frame.settings
    async with frame.open_store() as store:

        async def ask() -> Report:
            return await store.read(counts.report, settings.campaigns, list(settings.providers), now=datetime.now(UTC))

        if not watch:
            shown = await ask()
            print_json(asdict(shown)) if as_json else _print(shown, settings)
        elif watching.can_watch():
            await watching.watch(ask)
        else:
            await _print_again(ask, settings)


async def _print_again(ask: Callable[[], Awaitable[Report]], settings: Settings) -> None:
    """Print everything again and again, one below the other, for a pipe or a file."""
    while True:
        try:
            _print(await ask(), settings)
        except DatabaseGone as error:
            click.echo(f"dialerd: {error}", err=True)
        await asyncio.sleep(watching.WATCH_S)


def _print(shown: Report, settings: Settings) -> None:
    zones = {name: _zone(settings.campaigns, name) for name in shown.campaigns}
    each = shown.campaigns.items()
    print_table(
        ["campaign", "state", "opens at", "oldest due"],
        [(name, one.state, local(one.opens_at, zones[name]), local(one.oldest_due, zones[name])) for name, one in each],
        title="Campaigns",
    )
    click.echo()
    rows = [(name, *(getattr(one, column) for column in WAITING)) for name, one in each]
    print_table(["campaign", *WAITING], rows, title="Waiting")
    click.echo()
    rows = [(name, *(getattr(one, column) for column in DONE)) for name, one in each]
    print_table(["campaign", *DONE], rows, title="Since midnight")
    click.echo()
    print_table(
        ["provider", "state", "msgs/s", "on the wire", "reason"],
        [(name, one.state, one.rate, one.in_flight, one.remark) for name, one in shown.providers.items()],
        title="Providers",
    )
    click.echo()
    if shown.nodes:
        print_table(
            ["node", "state", "last seen", "since (UTC)", "process"],
            [_node_row(node) for node in shown.nodes],
            title="Nodes",
        )
    else:
        click.echo("No daemon is running.")
    until = local(shown.promoted_until, UTC)
    click.echo(f"Promoted until {until} UTC." if until else "Nothing was ever promoted.")


def _node_row(node: NodeStatus) -> tuple[str | None, ...]:
    state = "alive" if node.alive else "dead"
    return node.node, state, f"{node.beat_age_s:.0f} s ago", local(node.started, UTC), str(node.pid)


def _zone(campaigns: Mapping[str, Campaign], name: str) -> tzinfo:
    return campaigns[name].zone if name in campaigns else UTC


@click.group(invoke_without_command=True)
@examples("dialerd campaigns", "dialerd campaigns pause 'Ventas->' --reason 'wrong price in the text'")
@json_option
@config_option
@click.pass_context
def campaigns(context: click.Context, as_json: bool) -> None:
    """List the campaigns, pause and resume them.

    Without a command: each campaign's state, and when it opens.
    """
    if context.invoked_subcommand is None:
        context.invoke(_list, as_json=as_json)


@pass_frame
async def _list(frame: Frame, as_json: bool) -> None:
    async with frame.open_store() as store:
        reasons = await store.read(pauses.paused)
    now = datetime.now(UTC)
    listed = {name: _shown(campaign, reasons, now) for name, campaign in sorted(frame.settings.campaigns.items())}
    if as_json:
        print_json({"campaigns": listed})
        return
    print_table(
        ["campaign", "state", "opens at", "channel", "provider", "reason"],
        [
            (
                name,
                one["state"],
                local(one["opens_at"], frame.settings.campaigns[name].zone),
                one["channel"],
                ", ".join([one["provider"], *one["fallbacks"]]),
                one["reason"],
            )
            for name, one in listed.items()
        ],
    )


def _shown(campaign: Campaign, reasons: Mapping[str, str | None], now: datetime) -> dict[str, Any]:
    is_paused = campaign.name in reasons
    return {
        "state": state_of(campaign, paused=is_paused, now=now),
        "opens_at": None if is_paused else campaign_opens_at(campaign, now),
        "channel": campaign.channel,
        "provider": campaign.provider,
        "fallbacks": campaign.fallbacks,
        "paused": is_paused,
        "reason": reasons.get(campaign.name),
    }


@campaigns.command()
@examples("dialerd campaigns pause 'Ventas->' --reason 'wrong price in the text'")
@click.argument("name", shell_complete=campaign_names)
@click.option("--reason", metavar="R", help="Why, for those who look at `dialerd campaigns` later.")
@json_option
@pass_frame
async def pause(frame: Frame, name: str, reason: str | None, as_json: bool) -> None:
    """Stop a campaign on all nodes, until it is resumed.

    Once this command has ended nothing more of it is claimed; at most what was to start within 200 ms still goes.
    """
    _require_known(name, frame.settings.campaigns)
    async with frame.open_store() as store:
        is_new = await store.transact(pauses.pause_campaign, name, reason=reason, now=datetime.now(UTC))
    said = f"{name} is paused." if is_new else f"{name} was paused already."
    print_json({"campaign": name, "paused": True, "changed": is_new}) if as_json else click.echo(said)


@campaigns.command()
@examples("dialerd campaigns resume 'Ventas->'")
@click.argument("name", shell_complete=campaign_names)
@json_option
@pass_frame
async def resume(frame: Frame, name: str, as_json: bool) -> None:
    """Let a paused campaign go on."""
    async with frame.open_store() as store:
        was_paused = await store.transact(pauses.resume_campaign, name)
    if not was_paused:
        # One whose file is gone may still be resumed, so that its name is free of the pause when it comes back.
        _require_known(name, frame.settings.campaigns)
    said = f"{name} goes on." if was_paused else f"{name} was not paused."
    print_json({"campaign": name, "paused": False, "changed": was_paused}) if as_json else click.echo(said)


def _require_known(name: str, known: Mapping[str, Campaign]) -> None:
    if name not in known:
        raise UnknownCampaign(name, known)
