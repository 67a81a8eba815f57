"""`dialerd demo`: a handful of messages through the real engine, in a scratch folder."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dialerd.cli.frame import Frame, config_option, examples, json_option, run_async
from dialerd.cli.later import later
from dialerd.cli.output import local, print_json, print_step, print_table
from dialerd.model.errors import Refused
from dialerd.model.message import Channel

if TYPE_CHECKING:
    import tempfile

    from dialerd import addresses, bases, batch, intake, log, settings
    from dialerd.store import Store
    from dialerd.store import blacklist as blacklist_table
    from dialerd.store import repo as repo_table
else:
    tempfile, log, settings = later("tempfile", "dialerd.log", "dialerd.settings")
    addresses, bases, batch, intake = later("dialerd.addresses", "dialerd.bases", "dialerd.batch", "dialerd.intake")
    blacklist_table, repo_table = later("dialerd.store.blacklist", "dialerd.store.repo")

__all__ = ["demo"]

SMS, MAIL = "Reminders", "Newsletter"
REGION = "UY"
OPTED_OUT = "098 765 432"

MAIN_FILE = """\
[daemon]
state_dir = {state_dir}

[providers.outbox]
driver = "file"                  # writes messages to a file instead of sending them
path = "outbox.jsonl"
"""

CAMPAIGN_FILES = {
    "reminders.toml": f"""\
name = "{SMS}"
channel = "sms"
provider = "outbox"
timezone = "America/Montevideo"
region = "{REGION}"
""",
    "newsletter.toml": f"""\
name = "{MAIL}"
channel = "email"
provider = "outbox"
timezone = "America/Montevideo"

[email]
from = "Demo <demo@example.com>"
subject = "Hello from dialerd"
""",
}

BASE = f"""\
{SMS};099 123 456;Your appointment is at ten. ¡Hasta luego!;
{SMS};+598 94 111 222;Yours is at eleven; please bring your papers.;10
{SMS};12;A number that nobody can have.;
{SMS};{OPTED_OUT};Somebody who asked not to be written to.;
"""


@click.command()
@examples("dialerd demo", "dialerd demo --keep /tmp/dialerd-demo")
@click.option(
    "--keep", metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
    help="Leave everything in this new folder, to look around in.",
)  # fmt: skip
@json_option
@config_option
def demo(keep: Path | None, as_json: bool) -> None:
    """Watch SMS and an e-mail go all the way, in a scratch folder.

    Schedules, uploads and sends a handful of messages through the real engine and shows what became of them. Nothing
    leaves this machine: the provider is a file.
    """
    log.configure("warning")
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="dialerd-demo-") as folder:
            run_async(_play(Path(folder), as_json))
    else:
        if keep.exists() and any(keep.iterdir()):
            raise Refused(f"{keep} is not empty: --keep wants a new folder")
        run_async(_play(keep.absolute(), as_json))
    if as_json:
        return
    click.echo()
    if keep is None:
        click.echo("Next: `dialerd demo --keep DIR` leaves all this to look at, `dialerd init config` begins your own.")
    else:
        click.echo(f"Next: look around with `dialerd status --config {shlex.quote(str(keep / 'config'))}`,")
        click.echo("or begin your own with `dialerd init config`.")


async def _play(folder: Path, as_json: bool) -> None:
    say: Callable[..., None] = (lambda *_: None) if as_json else print_step
    frame = Frame(_write_configuration(folder))
    async with frame.open_store() as store:
        await _bring_in(store, frame, folder, say)
    say("Sending what is due, as `dialerd run --once` does …")
    await batch.run_once(frame.settings)
    async with frame.open_store() as store:
        first, last = await store.read(repo_table.bounds, repo_table.Filters())
        got = await store.read(repo_table.page, repo_table.Filters(), after_seq=first - 1, up_to_seq=last, most=100)
    results = got.rows
    outbox = _outbox(frame)
    if as_json:
        print_json({"repo": results, "outbox": outbox})
    else:
        _show(frame, results, outbox)


def _write_configuration(folder: Path) -> Path:
    config = folder / "config"
    (config / "campaigns").mkdir(parents=True)
    # A JSON string is a TOML string too.
    main_file = MAIN_FILE.format(state_dir=json.dumps(str(folder / "var"), ensure_ascii=False))
    (config / "dialerd.toml").write_text(main_file, encoding="utf-8")
    for name, content in CAMPAIGN_FILES.items():
        (config / "campaigns" / name).write_text(content, encoding="utf-8")
    (folder / "base.csv").write_text(BASE, encoding="utf-8")
    return config


async def _bring_in(store: Store, frame: Frame, folder: Path, say: Callable[..., None]) -> None:
    """Schedule, send, blacklist and upload, as the commands of these names do."""
    known = frame.settings
    zone = known.campaigns[SMS].zone
    now = datetime.now(UTC)
    for when, text in ((now, "Scheduled for this very minute."), (now + timedelta(hours=1), "Scheduled for later.")):
        wall = f"{when.astimezone(zone):%Y-%m-%d %H:%M:%S}"
        say(f"Scheduling an SMS for {wall} in {known.campaigns[SMS].timezone} …")
        await intake.schedule(store, known, campaign=SMS, destination="099 123 456", data=text, when=wall, now=now)
    say("Sending an e-mail …")
    await intake.submit(
        store, known, campaign=MAIL, destination="ana@example.com", data="Good to see you. Ñandú!", now=now
    )
    say(f"Blacklisting {OPTED_OUT}, who has asked for it …")
    entry = blacklist_table.Entry(
        channel=Channel.SMS, value=addresses.canonical(OPTED_OUT, Channel.SMS, REGION), reason="asked for it"
    )
    await store.transact(blacklist_table.add, [entry], now=now)
    say("Uploading a base of four lines …")
    loaded = await bases.load(store, known, folder / "base.csv", now=now)
    say(f"  {loaded.accepted} accepted, {loaded.rejected} rejected:")
    for bad in loaded.errors:
        say(f"  line {bad.line}: {bad.reason}")


def _outbox(frame: Frame) -> list[dict[str, Any]]:
    provider = frame.settings.providers["outbox"]
    assert isinstance(provider, settings.FileProvider)
    path = Path(provider.path)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _show(frame: Frame, results: list[dict[str, Any]], outbox: list[dict[str, Any]]) -> None:
    click.echo()
    print_table(
        ["processed", "campaign", "destination", "status", "base"],
        [
            (
                local(one["dateprocessed"], frame.settings.campaigns[one["campaign"]].zone),
                one["campaign"],
                one["destination"],
                one["status"],
                one["base"],
            )
            for one in results
        ],
        title="What became of them (sms_repo)",
    )
    click.echo()
    print_table(
        ["priority", "channel", "destination", "text"],
        [(str(one["priority"]), one["channel"], one["destination"], one["data"]) for one in outbox],
        title="What a provider would have got, in this order (outbox.jsonl)",
    )
    click.echo()
    click.echo("One SMS waits in sms_scheduler for its time.")
