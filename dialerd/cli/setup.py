"""`dialerd init`, `check` and `migrate`: from nothing to a configuration and a database that are right."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import dialerd
from dialerd.cli.frame import Frame, config_option, examples, json_option, pass_frame
from dialerd.cli.later import later
from dialerd.cli.output import local, print_json, print_table
from dialerd.model.errors import Refused, Unavailable
from dialerd.model.rules import campaign_opens_at, state_of

if TYPE_CHECKING:
    import asyncio
    from importlib import resources
    from importlib.resources.abc import Traversable

    from dialerd import drivers, log
    from dialerd import settings as configuration
    from dialerd import store as database
    from dialerd.settings import Provider, Settings
    from dialerd.store import migrate as migrations
    from dialerd.store import pause as pauses
else:
    asyncio, resources, drivers = later("asyncio", "importlib.resources", "dialerd.drivers")
    configuration, log = later("dialerd.settings", "dialerd.log")
    database, migrations, pauses = later("dialerd.store", "dialerd.store.migrate", "dialerd.store.pause")

__all__ = ["check", "init", "migrate"]

#: A driver has limits of its own; this one is for a probe that forgets them.
PROBE_S = 60


@click.command()
@examples("dialerd init config")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@json_option
@config_option
def init(folder: Path, as_json: bool) -> None:
    """Write a commented configuration to start from.

    It runs as it is: messages go to a file instead of a provider. Nothing is overwritten: if one of the files is there
    already, none is written.
    """
    files = dict(_files(_starter(), Path()))
    there = [str(folder / name) for name in files if (folder / name).exists()]
    if there:
        raise Refused(f"nothing written, since there already is {', '.join(there)}")
    for name, file in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Exclusive: what somebody else has made since is not overwritten either.
        with path.open("xb") as target:
            target.write(file.read_bytes())
        if not as_json:
            click.echo(path)
    if as_json:
        print_json({"written": [str(folder / name) for name in files]})
        return
    click.echo(f"Have a look at them, then: dialerd check --config {folder}")


def _starter() -> Traversable:
    """Return the folder of the files: inside the wheel, or beside the package in a checkout."""
    packed = resources.files(dialerd) / "starter"
    return packed if packed.is_dir() else Path(dialerd.__file__).parent.parent / "config"


def _files(folder: Traversable, under: Path) -> list[tuple[Path, Traversable]]:
    found = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.startswith((".", "__")):
            continue
        if entry.is_dir():
            found += _files(entry, under / entry.name)
        else:
            found.append((under / entry.name, entry))
    return found


@click.command()
@examples("dialerd check", "dialerd check --offline --config /etc/dialerd")
@click.option("--offline", is_flag=True, help="Ask neither the providers nor the database.")
@json_option
@pass_frame
async def check(frame: Frame, offline: bool, as_json: bool) -> None:
    """Say whether the configuration is right and the providers answer.

    All errors of all files are shown at once. Then each provider is asked whether it can be reached (nothing is sent),
    what a preset fills in is shown, and each campaign: open, or why not and when it opens next. Exit status: 2 for a
    wrong configuration, 75 when a provider, the database or a folder of attachments cannot be reached.
    """
    # Why something is away is told once, in the line at the end; the drivers' own warnings would say it before.
    log.set_level("error")
    settings = frame.settings
    away: dict[str, str] = {}
    stopped: set[str] = set()
    answers: dict[str, str | None] = {}
    if not offline:
        try:
            async with frame.open_store() as store:
                stopped = set(await store.read(pauses.paused))
        except Unavailable as error:
            away["database"] = str(error)
        told = await asyncio.gather(*(_probe(provider, settings) for provider in settings.providers.values()))
        answers = dict(zip(settings.providers, told, strict=True))
        away |= {f"provider {name}": reason for name, reason in answers.items() if reason is not None}
        away |= _missing_folders(settings)
    document = _document(settings, answers, stopped, database=away.get("database"), offline=offline)
    print_json(document) if as_json else _print(document, settings)
    if away:
        raise Unavailable("; ".join(f"{what} cannot be reached: {reason}" for what, reason in away.items()))


def _missing_folders(settings: Settings) -> dict[str, str]:
    """Return which campaigns' folders of attachments are not there: mails with attachments would wait for them."""
    return {
        f"campaign {name}'s folder of attachments": f"no folder {campaign.email.attachments}"
        for name, campaign in settings.campaigns.items()
        if campaign.email and campaign.email.attachments and not _is_folder(Path(campaign.email.attachments))
    }


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # one in a folder that we may not look into
        return False


async def _probe(provider: Provider, settings: Settings) -> str | None:
    """Return why a provider cannot be reached; None if it can."""
    campaigns = {name: one for name, one in settings.campaigns.items() if provider.name in one.providers}
    driver = drivers.build(provider, campaigns)
    try:
        async with asyncio.timeout(PROBE_S):
            await driver.probe()
    except (Unavailable, TimeoutError) as error:
        return str(error) or f"no answer within {PROBE_S} s"
    finally:
        await driver.close()
    return None


def _document(
    settings: Settings, answers: dict[str, str | None], stopped: set[str], *, database: str | None, offline: bool
) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "database": {"reachable": None if offline else database is None, "reason": database},
        "providers": {
            name: {
                "driver": provider.driver,
                "reachable": None if offline else answers[name] is None,
                "reason": answers.get(name),
                **_preset(provider),
            }
            for name, provider in settings.providers.items()
        },
        "campaigns": {
            name: {
                "state": state_of(campaign, paused=name in stopped, now=now),
                "opens_at": None if name in stopped else campaign_opens_at(campaign, now),
                "provider": campaign.provider,
                "fallbacks": campaign.fallbacks,
            }
            for name, campaign in settings.campaigns.items()
        },
    }


def _preset(provider: Provider) -> dict[str, Any]:
    """Return what a provider's preset is and fills in, nothing where there is none."""
    if not isinstance(provider, configuration.HttpProvider) or provider.preset is None:
        return {}
    return {"preset": {"name": provider.preset, "fills": configuration.without_secrets(provider.filled)}}


def _print(document: dict[str, Any], settings: Settings) -> None:
    answer = {None: "not asked", True: "can be reached", False: "cannot be reached"}
    click.echo(f"The configuration in {settings.config_dir} is right.")
    click.echo(f"Database: {answer[document['database']['reachable']]}.")
    click.echo()
    print_table(
        ["provider", "driver", "answer", "reason"],
        [(name, one["driver"], answer[one["reachable"]], one["reason"]) for name, one in document["providers"].items()],
        title="Providers",
    )
    click.echo()
    for name, one in document["providers"].items():
        if "preset" in one:
            click.echo(f"The preset {one['preset']['name']} fills in for {name}:")
            for key, value in one["preset"]["fills"].items():
                click.echo(f"  {key} = {_as_toml(value)}")
            click.echo()
    print_table(
        ["campaign", "state", "opens at", "provider"],
        [
            (name, one["state"], local(one["opens_at"], settings.campaigns[name].zone), _providers(one))
            for name, one in document["campaigns"].items()
        ],
        title="Campaigns",
    )


def _as_toml(value: object) -> str:
    """Return a value as it would stand in the provider's table."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_as_toml(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_as_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _providers(campaign: dict[str, Any]) -> str:
    return ", ".join([campaign["provider"], *campaign["fallbacks"]])


@click.command()
@examples("dialerd migrate --config /etc/dialerd")
@json_option
@pass_frame
async def migrate(frame: Frame, as_json: bool) -> None:
    """Bring the database to this version.

    Other commands do it by themselves unless `migrate = false` stands in [database]. Two at once are safe.
    """
    store = database.Store(frame.settings.database.url)
    try:
        was_behind = await store.transact(migrations.migrate)
    finally:
        store.close()
    said = "The database is at this version now." if was_behind else "The database was at this version already."
    print_json({"changed": was_behind}) if as_json else click.echo(said)
