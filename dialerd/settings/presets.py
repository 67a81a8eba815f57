"""Presets: what is known of a gateway, kept as TOML, so that a provider's table need not say it.

They stand in the package (dialerd/drivers/presets) and in the folder `presets` of the configuration, which wins. A
preset has the keys of an http provider and three more: `about`, `reference` (where the gateway's own documentation is)
and `parameters`, what the provider's table has to bring.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from re import match
from typing import Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from dialerd.model.placeholder import placeholders, substitute
from dialerd.settings.gateway import PresetUrl
from dialerd.settings.problems import SECRET_WORD, Loc, Report
from dialerd.settings.providers import HttpKeys, template_clashes
from dialerd.settings.sources import Hidden, SourceError, parse_toml, read_toml
from dialerd.settings.tables import STRICT, Clash, check
from dialerd.settings.values import Flag, FreeText, Line, Text, nearest

__all__ = ["Shelf", "without_secrets"]

#: Keys of a preset that are not those of a provider.
ABOUT = frozenset({"about", "reference", "parameters"})

#: For a value that is missing, which is told: what uses it is checked all the same.
STAND_IN = "http://host"

#: Of these a request has one: whoever brings one needs no other from the preset.
BODIES = frozenset({"form", "json", "body"})


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Parameter:
    """What a provider's table brings: `default` where it does not, "" where it is `optional`."""

    about: Line = ""
    default: FreeText | None = None
    optional: Flag = False


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Preset(HttpKeys):
    """A preset file."""

    url: PresetUrl | None = Field(default=None, repr=False)
    about: Line
    reference: Text | None = None
    parameters: dict[str, Parameter] = Field(default_factory=dict)

    @staticmethod
    def clashes(given: Mapping[str, Any]) -> Iterator[Clash]:
        """Yield what the keys have against each other."""
        parameters = given.get("parameters")
        yield from template_clashes(given, parameters if isinstance(parameters, dict) else {})


@plain_dataclass(slots=True)
class Shelf:
    """The presets there are. Each is read once; what is wrong with the configuration's own stands in `reports`."""

    folder: Path
    reports: list[Report] = field(default_factory=list)
    _known: dict[str, tuple[Preset, dict[str, Any]] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read the configuration's own, used or not."""
        try:
            paths = sorted(path for path in self.folder.iterdir() if path.suffix == ".toml" and path.name[0] != ".")
        except FileNotFoundError:
            return
        except OSError as error:
            report = Report(path=self.folder)
            report.add((), error.strerror or type(error).__name__)
            self.reports.append(report)
            return
        for path in paths:
            self._known[path.stem] = self._read(path)

    def names(self) -> list[str]:
        """Return the names of all presets, in alphabetical order."""
        return sorted({*self._known, *(entry.name.removesuffix(".toml") for entry in _packed())})

    def fill(self, given: dict[str, Any], loc: Loc, report: Report) -> dict[str, Any]:
        """Return a provider's table with what its preset fills in, and its parameters complete.

        What the table has is left alone; only `headers`, `parameters`, `coding` and an `auth` of user and password are
        filled up member by member. Without a preset nothing is filled in.
        """
        name = given.get("preset")
        if name is None:
            return _with_host(given)
        if not isinstance(name, str) or not isinstance(given.get("parameters", {}), dict):
            return given  # which is told where the table is checked
        found = self._take(name)
        if found is None:
            if name not in self._known:
                near = nearest(name, self.names())
                what = f"did you mean {near!r}?" if near else f"one of {', '.join(self.names())}"
                report.wrong((*loc, "preset"), f"the name of a preset: {what}", name)
            return given
        preset, raw = found
        fills = {key: value for key, value in raw.items() if key not in ABOUT and key not in given}
        if given.keys() & BODIES:
            fills = {key: value for key, value in fills.items() if key not in BODIES}
        own = given.get("headers", {})
        if "headers" in raw and isinstance(own, dict):
            theirs = {key.lower() for key in own} | ({"authorization"} if "auth" in given else set())
            fills["headers"] = {key: value for key, value in raw["headers"].items() if key.lower() not in theirs}
        if "coding" in raw and isinstance(given.get("coding"), dict):
            fills["coding"] = {key: value for key, value in raw["coding"].items() if key not in given["coding"]}
        login = given.get("auth")
        if "auth" in raw and isinstance(login, dict) and "bearer" not in login:
            # Who brings user and password does not say how the gateway wants to be told them.
            rest = {key: value for key, value in raw["auth"].items() if key not in login and key != "bearer"}
            fills |= {"auth": rest} if rest else {}
        parameters = _parameters(preset, given, fills, loc, report)
        merged = {**fills, **given, "parameters": parameters, "filled": fills}
        for key in ("headers", "coding"):
            if key in fills and isinstance(given.get(key, {}), dict):
                merged[key] = {**fills[key], **given.get(key, {})}
        for table in fills.keys() & {"auth", "signature"}:
            merged[table] = given.get(table, {}) | {
                key: Hidden(substitute(value, parameters)) if isinstance(value, str) and key != "scheme" else value
                for key, value in fills[table].items()
            }
        if "signature" in fills and not merged["signature"]["secret"]:
            # The secret is a parameter that may be absent.
            del merged["signature"]
        if "url" not in merged:
            report.add((*loc, "url"), f"expected this key: the preset {name} leaves it to you")
        return _with_host(merged)

    def _take(self, name: str) -> tuple[Preset, dict[str, Any]] | None:
        if name not in self._known:
            file = next((entry for entry in _packed() if entry.name == f"{name}.toml"), None)
            if file is None:
                return None
            self._known[name] = self._read(file)
        return self._known[name]

    def _read(self, file: Path | Traversable) -> tuple[Preset, dict[str, Any]] | None:
        report = Report(path=Path(str(file)))
        self.reports.append(report)
        try:
            raw = read_toml(file) if isinstance(file, Path) else parse_toml(file.read_text(encoding="utf-8"))
        except SourceError as error:
            report.add((), str(error))
            return None
        raw.pop("driver", None)
        preset = check(Preset, {**raw, "name": file.name.removesuffix(".toml")}, (), report)
        return None if preset is None or report.lines else (preset, raw)


def without_secrets(value: object, key: str = "") -> Any:
    """Return what a preset filled in, for whoever asks; what stands as it is where a secret belongs is hidden."""
    if isinstance(value, Mapping):
        return {name: without_secrets(entry, str(name)) for name, entry in value.items()}
    if isinstance(value, list):
        return [without_secrets(entry, key) for entry in value]
    if isinstance(value, str) and SECRET_WORD.search(key) and key != "url" and next(placeholders(value), None) is None:
        return "(hidden)"
    return value


def _packed() -> list[Traversable]:
    folder = resources.files("dialerd") / "drivers" / "presets"
    return [entry for entry in folder.iterdir() if entry.name.endswith(".toml")]


def _parameters(
    preset: Preset, given: Mapping[str, Any], fills: Mapping[str, Any], loc: Loc, report: Report
) -> dict[str, Any]:
    """Return the parameters with defaults; user and password may stand in `auth`. Only what is used is needed."""
    own = given.get("parameters", {})
    auth = given.get("auth")
    from_auth = {key: auth[key] for key in ("user", "password") if key in auth} if isinstance(auth, dict) else {}
    used = {found.name for found in placeholders({**given, **fills, "parameters": {}, "filled": {}})}
    values = dict(own)
    for key in own:
        if key not in preset.parameters and key not in used:
            known = list(preset.parameters)
            if known:
                report.unknown((*loc, "parameters", key), known, own[key], hidden=True)
            else:
                report.add((*loc, "parameters", key), "unknown key: nothing uses it, and the preset has no parameters")
    # A default can be another parameter, one that stands behind it.
    for key, parameter in preset.parameters.items():
        if key in own:
            continue
        if key in from_auth:
            values[key] = from_auth[key]
        elif parameter.default is not None or parameter.optional:
            values[key] = parameter.default or ""
            used |= {found.name for found in placeholders(values[key])} if key in used else set()
        elif key in used:
            report.add((*loc, "parameters", key), f"expected this key: {parameter.about or 'the preset needs it'}")
            values[key] = STAND_IN
    strings = {key: value for key, value in values.items() if isinstance(value, str)}
    return {
        key: substitute(value, strings) if isinstance(value, str) and key not in own and key not in from_auth else value
        for key, value in values.items()
    }


def _with_host(table: dict[str, Any]) -> dict[str, Any]:
    """Return the table with parameters put into the scheme and host of its URL as they stand."""
    url, parameters = table.get("url"), table.get("parameters")
    if not isinstance(url, str) or not isinstance(parameters, dict):
        return table
    head = match(r"(?:https?://)?(?:\$\{\w+\}|[^/?#])*", url)
    assert head is not None
    strings = {key: value.rstrip("/") if isinstance(value, str) else STAND_IN for key, value in parameters.items()}
    whole = substitute(head[0], strings) + url[head.end() :]
    return {**table, "url": Hidden(whole) if isinstance(url, Hidden) else whole}
