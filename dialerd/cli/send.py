"""`dialerd send` and `dialerd schedule`: one message from the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from dialerd.cli.completion import campaign_names
from dialerd.cli.frame import Frame, examples, json_option, pass_frame
from dialerd.cli.later import later
from dialerd.cli.output import print_json
from dialerd.model.message import BULK, URGENT

if TYPE_CHECKING:
    from dialerd import intake
else:
    (intake,) = later("dialerd.intake")

__all__ = ["schedule", "send"]

source_option = click.option("--source", metavar="S", help="Caller id or port instead of the campaign's.")


@click.command()
@examples("dialerd send 'Ventas->' 099123456 'Your order is ready.'")
@click.argument("campaign", shell_complete=campaign_names)
@click.argument("destination")
@click.argument("text")
@click.option(
    "--priority",
    type=click.IntRange(URGENT, BULK),
    default=URGENT,
    show_default=True,
    metavar="N",
    help=f"{URGENT} goes first, {BULK} last.",
)
@source_option
@json_option
@pass_frame
async def send(
    frame: Frame, campaign: str, destination: str, text: str, priority: int, source: str | None, as_json: bool
) -> None:
    """Send one message as soon as its campaign may.

    Puts it into the spool and prints its id; `dialerd run` sends it. DESTINATION is a phone number or an e-mail
    address, as the campaign's channel asks.
    """
    async with frame.open_store() as store:
        id_ = await intake.submit(
            store, frame.settings,
            campaign=campaign, destination=destination, data=text, priority=priority, source=source,
            now=datetime.now(UTC),
        )  # fmt: skip
    _print_id(id_, as_json)


@click.command()
@examples(
    "dialerd schedule 'Ventas->' 099123456 'See you!' --at '2026-12-01 09:30:00'",
    "dialerd schedule 'Ventas->' 099123456 'See you!' --at 2026-12-01T12:30:00Z",
)
@click.argument("campaign", shell_complete=campaign_names)
@click.argument("destination")
@click.argument("text")
@click.option("--at", "when", required=True, metavar="WHEN", help="When: see above.")
@source_option
@json_option
@pass_frame
async def schedule(
    frame: Frame, campaign: str, destination: str, text: str, when: str, source: str | None, as_json: bool
) -> None:
    """Send one message at a given time.

    Prints its id. WHEN is wall-clock time where the campaign is, YYYY-MM-DD HH:MM:SS, or an ISO 8601 instant with its
    offset. If the campaign is shut then, the message goes out first when it opens again.
    """
    async with frame.open_store() as store:
        id_ = await intake.schedule(
            store, frame.settings,
            campaign=campaign, destination=destination, data=text, when=when, source=source, now=datetime.now(UTC),
        )  # fmt: skip
    _print_id(id_, as_json)


def _print_id(id_: str, as_json: bool) -> None:
    if as_json:
        print_json({"id": id_})
    else:
        click.echo(id_)
