"""`dialerd status --watch` on a terminal: what matters of the status, in place, and as much as the screen holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dialerd.cli.later import later
from dialerd.cli.output import fitted_table
from dialerd.model.errors import DatabaseGone

if TYPE_CHECKING:
    import asyncio

    from rich import console as consoles
    from rich import live as lives
    from rich import text as texts

    from dialerd.store.status import CampaignStatus, Report
else:
    asyncio, consoles, lives, texts = later("asyncio", "rich.console", "rich.live", "rich.text")

__all__ = ["WATCH_S", "can_watch", "view", "watch"]

WATCH_S = 2.0


def can_watch() -> bool:
    """Tell whether stdout is a terminal on which something can be shown in place."""
    console = consoles.Console()
    return console.is_terminal and not console.is_dumb_terminal


async def watch(ask: Callable[[], Awaitable[Report]]) -> None:
    """Show what `ask` returns anew every WATCH_S, until cancelled; the last answer while the database is away."""
    console = consoles.Console()
    last: Report | None = None
    with lives.Live(console=console, screen=True, auto_refresh=False) as shown:
        while True:
            trouble = None
            try:
                last = await ask()
            except DatabaseGone as error:
                trouble = str(error)
            shown.update(view(last, trouble, now=datetime.now(UTC), size=console.size), refresh=True)
            await asyncio.sleep(WATCH_S)


def view(
    report: Report | None, trouble: str | None, *, now: datetime, size: tuple[int, int]
) -> consoles.RenderableType:
    """Return what fits a screen of so many columns and lines: campaigns with most to do come first."""
    width, height = size
    head = f"dialerd, {now:%Y-%m-%d %H:%M:%S} UTC, every {WATCH_S:g} s until Ctrl-C"
    parts: list[consoles.RenderableType] = [_line(head, "bold")]
    if trouble:
        parts.append(_line(trouble, "red"))
    if report is None:
        return consoles.Group(*parts)
    nodes = [
        f"{node.node} {'alive' if node.alive else 'dead'}, seen {node.beat_age_s:.0f} s ago" for node in report.nodes
    ]
    parts += [_line("; ".join(nodes) or "No daemon is running.", "" if nodes else "yellow"), ""]
    providers = [(name, one.state, one.rate, one.in_flight, one.remark) for name, one in report.providers.items()]
    most = max(1, height // 4)
    table, _ = fitted_table(["provider", "state", "msgs/s", "on the wire", "reason"], providers[:most], width=width)
    parts.append(table)
    if len(providers) > most:
        parts.append(_line(f"… and {len(providers) - most} more", "dim"))
    parts.append("")
    # The table's header and the line that tells of the rest.
    room = max(1, height - len(parts) - min(len(providers), most) - 2)
    busiest = sorted(report.campaigns.items(), key=lambda item: -_work(item[1]))
    rows = [
        (
            name, one.state, one.scheduled, one.queued + one.deferred, one.sending, one.held, one.in_doubt, one.sent,
            one.failed,
        )
        for name, one in busiest[:room]
    ]  # fmt: skip
    columns = ["campaign", "state", "scheduled", "waiting", "sending", "held", "in_doubt", "sent", "failed"]
    table, _ = fitted_table(columns, rows, whole=["state"], width=width)
    parts.append(table)
    if len(busiest) > room:
        parts.append(_line(f"… and {len(busiest) - room} more with less to do", "dim"))
    return consoles.Group(*parts)


def _work(campaign: CampaignStatus) -> int:
    waiting = campaign.scheduled + campaign.queued + campaign.deferred + campaign.sending
    return waiting + campaign.held + campaign.in_doubt


def _line(text: str, style: str) -> consoles.RenderableType:
    return texts.Text(" ".join(text.split()), style=style, no_wrap=True, overflow="ellipsis")
