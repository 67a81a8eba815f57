"""`dialerd bounce`: takes what mail servers write back, from the pipe of the mail server that received it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from dialerd.cli.frame import Frame, examples, json_option, pass_frame
from dialerd.cli.later import later
from dialerd.cli.output import print_json
from dialerd.model.errors import DialerdError, Unavailable

if TYPE_CHECKING:
    from dialerd import returns
else:
    (returns,) = later("dialerd.returns")

__all__ = ["bounce"]

#: What a bounce has to say stands at its beginning; the mail that it brings back may be long.
MOST_BYTES = 1_000_000
CHUNK = 65_536


@click.command()
@examples(
    "dialerd bounce < mail",
    "dialerd bounce --recipient ${recipient}    (argv in Postfix's master.cf)",
)
@click.option("--recipient", metavar="ADDRESS", help="The address it came to.  [default: as its headers have it]")
@json_option
@pass_frame
async def bounce(frame: Frame, recipient: str | None, as_json: bool) -> None:
    """Take a bounced mail from stdin.

    A mail that could not be delivered is `undelivered` in sms_repo from then on; an address whose mails bounce again
    and again goes to the blacklist. What is no bounce is passed over. Exit status for a mail server's pipe: 0 done, 75
    for everything else: it brings the mail again.
    """
    content = _read_all()
    try:
        async with frame.open_store() as store:
            returned = await returns.bounced(
                store, frame.settings, content, recipient=recipient, now=datetime.now(UTC)
            )  # fmt: skip
    except DialerdError as error:
        # A mail server takes every other status for a reason to throw the mail away.
        raise Unavailable(str(error)) from error
    except Exception as error:  # a bug: it is mended, and then the mail comes again
        raise Unavailable(f"{type(error).__name__}: {error}") from error
    _print_json(returned) if as_json else click.echo(_told(returned))


def _read_all() -> bytes:
    """Return the beginning of stdin, and read it to its end: the mail server would take a closed pipe for a failure."""
    stdin = sys.stdin.buffer
    content = stdin.read(MOST_BYTES)
    while stdin.read(CHUNK):
        pass
    return content


def _print_json(returned: returns.Returned) -> None:
    found = returned.bounce
    print_json(
        {
            "id": found and found.message_id,
            "kind": found and found.kind,
            "status": found and found.status,
            "text": found and found.text,
            "known": returned.known,
            "blacklisted": returned.blacklisted,
        }
    )


def _told(returned: returns.Returned) -> str:
    found = returned.bounce
    if found is None:
        return "No bounce of a mail of ours."
    if not returned.known:
        return f"A {found.kind} bounce of message {found.message_id}, which is not in sms_repo (any more)."
    more = " Its address is blacklisted now." if returned.blacklisted else ""
    return f"{found.kind.capitalize()} bounce of message {found.message_id}: {found.status or found.text}.{more}"
