"""What one table says of another: names that must exist, and fit.

It is asked of the tables as they are written, so that the answer does not wait for their other errors.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dialerd.model.message import Channel
from dialerd.settings.problems import Loc, Report
from dialerd.settings.providers import Provider
from dialerd.settings.sources import Hidden
from dialerd.settings.values import is_template, nearest

__all__ = ["CampaignFile", "check_callers", "check_names", "check_providers", "check_templates"]

#: How many names a problem lists.
MOST_NAMES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignFile:
    """A campaign file with its references resolved; `table` is None if it could not be read."""

    report: Report
    table: dict[str, Any] | None

    def text(self, key: str) -> str | None:
        """Return the string at `key`, None if there is no string."""
        value = (self.table or {}).get(key)
        return value if isinstance(value, str) else None


def check_names(files: Sequence[CampaignFile]) -> None:
    """Report campaigns that have the same name."""
    first: dict[str, CampaignFile] = {}
    for file in files:
        name = file.text("name")
        if name is not None and (earlier := first.setdefault(name, file)) is not file:
            file.report.wrong(("name",), f"a name of its own, not that of {earlier.report.place}", name)


def check_providers(files: Sequence[CampaignFile], providers: Mapping[str, type[Provider] | None]) -> None:
    """Report campaigns whose provider does not exist or delivers on another channel; None is of unknown kind."""
    for file in files:
        given = (file.table or {}).get("provider")
        for name in given if isinstance(given, list) else [given]:
            if isinstance(name, str):
                _check_provider(file, name, providers)


def _check_provider(file: CampaignFile, name: str, providers: Mapping[str, type[Provider] | None]) -> None:
    channel = file.text("channel")
    if name not in providers:
        file.report.wrong(("provider",), f"a provider of dialerd.toml: {_listed(name, providers)}", name)
        return
    kind = providers[name]
    if kind is not None and channel in set(Channel) and channel not in kind.channels:
        takes = " and ".join(sorted(kind.channels))
        file.report.wrong(("provider",), f"a provider for {channel}, and this one is for {takes} only", name)


def check_templates(files: Sequence[CampaignFile], templates: Collection[str]) -> None:
    """Report campaigns whose template has no file; a name that no file has, and a wrong file, are reported as such."""
    for file in files:
        email = (file.table or {}).get("email")
        name = email.get("template") if isinstance(email, dict) else None
        if isinstance(name, str) and is_template(name) and name not in templates:
            file.report.wrong(
                ("email", "template"), f"a file templates/NAME.html or .txt: {_listed(name, templates)}", name
            )


def check_callers(api: Mapping[str, Any], files: Sequence[CampaignFile], report: Report) -> None:
    """Report where [api] and [api.inbound] name a campaign that does not exist or is not for SMS."""
    named = {own: file for file in files if (own := file.text("name")) is not None}
    inbound = api.get("inbound")
    callers: list[tuple[Loc, object]] = [(("api", "campaign"), api.get("campaign"))]
    if isinstance(inbound, dict):
        callers.append((("api", "inbound", "campaign"), inbound.get("campaign")))
    for loc, name in callers:
        if not isinstance(name, str):
            continue
        if name in named:
            if named[name].text("channel") == Channel.EMAIL:
                report.wrong(loc, "a campaign for sms, and this one is for email", name)
        elif len(named) == len(files):  # else it may be in a file that could not be read
            report.wrong(loc, f"the name of a campaign: {_listed(name, named)}", name)


def _listed(name: str, known: Collection[str]) -> str:
    """Return the likely or the known names; those that came by reference are not told."""
    names = [entry for entry in known if not isinstance(entry, Hidden)]
    if not known:
        return "there is none"
    meant = nearest(name, names)
    if meant is not None and not isinstance(name, Hidden):
        return f"did you mean {meant!r}?"
    rest = f" and {len(known) - MOST_NAMES} more" if len(known) > MOST_NAMES else ""
    return ", ".join(repr(entry) for entry in names[:MOST_NAMES]) + rest
