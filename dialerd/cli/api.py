"""`dialerd api`: the HTTP API alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dialerd.cli.frame import Frame, examples, pass_frame
from dialerd.cli.later import later

if TYPE_CHECKING:
    from dialerd import entrance, log
else:
    entrance, log = later("dialerd.entrance", "dialerd.log")

__all__ = ["api"]


@click.command()
@examples("dialerd api --config /etc/dialerd", "dialerd api --listen 0.0.0.0:8088")
@click.option("--listen", metavar="HOST:PORT", help="Where to listen, instead of [api] listen.")
@pass_frame
async def api(frame: Frame, listen: str | None) -> None:
    """Serve the HTTP API alone, beside daemons.

    It sends nothing: what it takes stands in the database, and the daemons on the same one send it. They listen too
    where [api] has a `listen`; leave that out, and give it here, or run them with --no-api. SIGTERM lets requests under
    way end, SIGHUP makes it read its configuration anew.
    """
    log.configure("info")
    await entrance.run(lambda: frame.load(listen=listen))
