"""`dialerd run`: the daemon, or one batch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from dialerd.cli.frame import Frame, examples, json_option, pass_frame
from dialerd.cli.later import later
from dialerd.cli.output import print_json, progress
from dialerd.model.errors import Unavailable

if TYPE_CHECKING:
    from dialerd import batch, daemon, log
    from dialerd.batch import Summary
    from dialerd.settings import Settings
else:
    batch, daemon, log = later("dialerd.batch", "dialerd.daemon", "dialerd.log")

__all__ = ["run"]


@click.command()
@examples("dialerd run --config /etc/dialerd", "dialerd run --once")
@click.option("--once", is_flag=True, help="Send what is due now and may go now, then stop.")
@click.option("--node", metavar="NAME", help="This node's name instead of the configuration's.")
@click.option("--no-api", is_flag=True, help="Listen nowhere: `dialerd api` serves the API.")
@json_option
@pass_frame
async def run(frame: Frame, once: bool, node: str | None, no_api: bool, as_json: bool) -> None:
    """Run the daemon, or send once what is due and stop.

    The daemon logs to stderr; SIGTERM drains and stops it, a second one ends it at once, SIGHUP makes it read its
    configuration anew, SIGUSR1 makes it log at debug and, again, at the configured level. With --once,
    only what is due at the start is promoted and sent, without waiting for retries, windows or later dates; that may
    run beside a daemon. It ends with 75 when due messages remain because a provider was down; a signal ends it in
    order, and the next run goes on.
    """
    if as_json and not once:
        raise click.UsageError("--json goes with --once: a daemon prints no result")

    def load() -> Settings:
        found = frame.load(node)
        return replace(found, api=None) if no_api else found

    if not once:
        log.configure("info")
        await daemon.run(load)
        return
    settings = frame.load(node)
    if log.is_journal():
        # Nobody watches: what became of each message is looked up there, as of a daemon's.
        log.set_level(settings.daemon.log_level)
    with progress("sending") as show:
        summary = await batch.run_once(settings, on_progress=show)
    print_json(_document(summary)) if as_json else _print(summary)
    if summary.remaining:
        down = "; ".join(f"{name}: {reason}" for name, reason in summary.down.items())
        raise Unavailable(f"{summary.remaining:,} due messages remain, not taken by {down}")


def _document(summary: Summary) -> dict[str, Any]:
    return {
        "promoted": summary.promoted,
        "rescued": summary.rescued,
        "ended": dict(+summary.ended),
        "remaining": summary.remaining,
        "down": dict(summary.down),
        "stopped": summary.stopped,
    }


def _print(summary: Summary) -> None:
    counts = {"promoted": summary.promoted, "rescued": summary.rescued, **summary.ended}
    told = [f"{n:,} {what}" for what, n in counts.items() if n]
    if summary.stopped:
        told.append("stopped before the end: the next run goes on")
    click.echo(", ".join(told) or ("nothing was sent" if summary.remaining else "nothing was due"))
