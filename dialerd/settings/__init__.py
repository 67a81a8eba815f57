"""Floor 1: the configuration, read from its folder and checked, all of it or nothing.

`load` is the way in. Every error of every file is one line of one ConfigError; none of them, and no repr, tells a
secret or what came by reference.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic_core import PydanticCustomError

from dialerd.model.campaign import Campaign, TemplateSource
from dialerd.model.errors import ConfigError
from dialerd.model.inbound import InboundRules, plain_word
from dialerd.settings.callbacks import InboundFields, ReceiptFields, Signature, SignatureScheme
from dialerd.settings.campaigns import CampaignTable, campaign_of
from dialerd.settings.gateway import (
    Answer,
    Codings,
    HttpAuth,
    JsonEquals,
    Method,
    Probe,
    ProviderId,
    Scheme,
)
from dialerd.settings.links import CampaignFile, check_callers, check_names, check_providers, check_templates
from dialerd.settings.presets import Shelf, without_secrets
from dialerd.settings.problems import Report
from dialerd.settings.providers import (
    PROVIDERS,
    Alphabet,
    Bind,
    DiscardProvider,
    FileProvider,
    HttpProvider,
    LongSms,
    NumberFormat,
    Provider,
    ReceiptIds,
    Security,
    SmppProvider,
    SmtpProvider,
    Tls,
)
from dialerd.settings.schema import (
    NODE,
    WHAT_NODE,
    ApiSettings,
    DaemonSettings,
    DatabaseSettings,
    InboundSettings,
    WordsSettings,
    default_url,
)
from dialerd.settings.sources import NoFileError, SourceError, Sources, read_toml
from dialerd.settings.tables import check, resolve, unknown_key
from dialerd.settings.templates import read_templates
from dialerd.settings.values import Listen, word

__all__ = [
    "Alphabet",
    "Answer",
    "ApiSettings",
    "Bind",
    "Codings",
    "DaemonSettings",
    "DatabaseSettings",
    "DiscardProvider",
    "FileProvider",
    "HttpAuth",
    "HttpProvider",
    "InboundFields",
    "InboundSettings",
    "JsonEquals",
    "Listen",
    "LongSms",
    "Method",
    "NumberFormat",
    "Probe",
    "Provider",
    "ProviderId",
    "ReceiptFields",
    "ReceiptIds",
    "Scheme",
    "Security",
    "Settings",
    "Signature",
    "SignatureScheme",
    "SmppProvider",
    "SmtpProvider",
    "Tls",
    "load",
    "without_secrets",
]

SECTIONS = ("daemon", "database", "inbound", "api", "providers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration. `api` is None where nothing listens; providers and campaigns go by their names.

    `inbound` is [inbound], with the campaign of [api.inbound]: SMS come in by SMPP too, where nothing listens.
    """

    config_dir: Path
    daemon: DaemonSettings
    database: DatabaseSettings
    inbound: InboundRules = field(default_factory=InboundRules)
    api: ApiSettings | None
    providers: Mapping[str, Provider]
    campaigns: Mapping[str, Campaign]

    def __repr__(self) -> str:
        """Return where it is from and how large it is; the parts have a repr of their own."""
        return f"Settings({str(self.config_dir)!r}, {len(self.providers)} providers, {len(self.campaigns)} campaigns)"


def load(
    config_dir: Path,
    *,
    node: str | None = None,
    listen: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Return what `config_dir` says: dialerd.toml, and campaigns/*.toml and templates/*, which may be absent.

    `node` and `listen`, that of [api], win over the file's. `environ` stands for the process's environment.

    Raises:
        ConfigError: anything is wrong; all that is.
    """
    environ = os.environ if environ is None else environ
    sources = Sources(folder=config_dir, environ=environ)
    report = Report(path=config_dir / "dialerd.toml")
    main = _read_main(report)
    listing = Report(path=config_dir / "campaigns")
    files = _campaign_files(listing, sources)
    templates, bad_templates = read_templates(config_dir / "templates")

    if main is not None and listen is not None:
        main = _listening(main, listen)
    sections = _sections(main or {}, sources, report)
    daemon = check(DaemonSettings, _with_host(sections["daemon"], node, environ), ("daemon",), report)
    state_dir = daemon.state_dir.absolute() if daemon is not None else Path("/")
    database = check(DatabaseSettings, _with_url(sections["database"], state_dir), ("database",), report)
    words = check(WordsSettings, sections["inbound"], ("inbound",), report)
    if words is not None:
        stopping = {plain_word(one) for one in words.opt_out}
        for n, one in enumerate(words.opt_in):
            if plain_word(one) in stopping:
                # It would stop messages, and never bring them back.
                report.wrong(("inbound", "opt_in", n), "a word that does not stand in opt_out", one)
    api = _api(sections.get("api"), report)
    shelf = Shelf(config_dir / "presets")
    kinds, providers = _providers(sections["providers"], state_dir, sources, shelf, report)
    campaigns = [_campaign(file, sources, templates) for file in files]

    check_names(files)
    check_templates(files, templates)
    if main is not None:
        check_providers(files, kinds)
    if isinstance(sections.get("api"), dict) and not listing.lines:
        check_callers(sections["api"], files, report)

    reports = (report, *shelf.reports, listing, *(file.report for file in files), *bad_templates)
    problems = [line for each in reports for line in each.lines]
    if node is not None and not NODE.fullmatch(node):
        problems.insert(0, f"--node: expected {WHAT_NODE} (got {node!r})")
    if problems or daemon is None or database is None or words is None:
        raise ConfigError(problems)
    return Settings(
        config_dir=config_dir.absolute(),
        daemon=replace(daemon, state_dir=state_dir, node=daemon.node if node is None else node),
        database=database,
        inbound=_rules(words, sections.get("api")),
        api=api,
        providers=MappingProxyType(providers),
        campaigns=MappingProxyType({campaign.name: campaign for campaign in campaigns if campaign is not None}),
    )


def _read_main(report: Report) -> dict[str, Any] | None:
    try:
        return read_toml(report.path)
    except NoFileError as error:
        report.add((), f"{error}; `dialerd init DIR` writes one to start from")
        return None
    except SourceError as error:
        report.add((), str(error))
        return None


def _listening(main: dict[str, Any], listen: str) -> dict[str, Any]:
    api = main.get("api", {})
    return {**main, "api": {**api, "listen": listen}} if isinstance(api, dict) else main


def _read_campaign(report: Report) -> dict[str, Any] | None:
    try:
        return read_toml(report.path)
    except SourceError as error:
        report.add((), str(error))
        return None


def _campaign_files(report: Report, sources: Sources) -> list[CampaignFile]:
    folder = report.path
    try:
        # Editors leave hidden files beside the one they have open.
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".toml" and path.name[0] != ".")
    except OSError as error:
        if not isinstance(error, FileNotFoundError) or folder.is_symlink():
            report.add((), error.strerror or type(error).__name__)
        return []
    return [_campaign_file(path, sources) for path in paths]


def _campaign_file(path: Path, sources: Sources) -> CampaignFile:
    report = Report(path=path)
    raw = _read_campaign(report)
    return CampaignFile(report=report, table=raw and resolve(raw, CampaignTable, (), sources, report))


def _campaign(file: CampaignFile, sources: Sources, templates: Mapping[str, TemplateSource]) -> Campaign | None:
    if file.table is None:
        return None
    table = check(CampaignTable, file.table, (), file.report)
    return campaign_of(table, sources.folder.absolute(), templates) if table is not None else None


def _sections(main: dict[str, Any], sources: Sources, report: Report) -> dict[str, Any]:
    """Return the parts of dialerd.toml, references resolved but in the providers, whose drivers we do not know yet."""
    for key, value in main.items():
        if key not in SECTIONS:
            report.unknown((key,), SECTIONS, value)
    tables = {"daemon": DaemonSettings, "database": DatabaseSettings, "inbound": WordsSettings, "api": ApiSettings}
    found = {key: resolve(main[key], table, (key,), sources, report) for key, table in tables.items() if key in main}
    return {"daemon": {}, "database": {}, "inbound": {}, **found, "providers": main.get("providers", {})}


def _with_host(daemon: object, node: str | None, environ: Mapping[str, str]) -> object:
    if not isinstance(daemon, dict):
        return daemon
    # systemd gives a list where the unit names several.
    state_dir = environ.get("STATE_DIRECTORY", "").split(":")[0] or "var"
    named = node if node is not None and NODE.fullmatch(node) else socket.gethostname()
    return {"state_dir": state_dir, "node": named, **daemon}


def _with_url(database: object, state_dir: Path) -> object:
    return {"url": default_url(state_dir), **database} if isinstance(database, dict) else database


def _rules(words: WordsSettings, api: Mapping[str, Any] | None) -> InboundRules:
    return InboundRules(
        campaign=((api or {}).get("inbound") or {}).get("campaign"),
        opt_out=words.opt_out,
        opt_in=words.opt_in,
        scope=words.opt_out_for,
        opt_out_reply=words.opt_out_reply,
        opt_in_reply=words.opt_in_reply,
    )


def _api(raw: object, report: Report) -> ApiSettings | None:
    """Return the API; None if it has nowhere to listen, and then the rest is checked nevertheless."""
    if raw is None:
        return None
    if isinstance(raw, dict) and "listen" not in raw:
        check(ApiSettings, {**raw, "listen": Listen("", 0)}, ("api",), report)
        return None
    return check(ApiSettings, raw, ("api",), report)


def _providers(
    raw: object, state_dir: Path, sources: Sources, shelf: Shelf, report: Report
) -> tuple[dict[str, type[Provider] | None], dict[str, Provider]]:
    """Return for each provider its kind, None if that is not known, and those that are right."""
    if not isinstance(raw, dict):
        report.wrong(("providers",), "a table", raw)
        return {}, {}
    kinds: dict[str, type[Provider] | None] = {}
    providers: dict[str, Provider] = {}
    for name, table in raw.items():
        kinds[name] = _kind(name, table, sources, report)
        provider = _provider(name, table, kinds[name], sources, shelf, report) if isinstance(table, dict) else None
        if isinstance(provider, FileProvider):
            # The type is kept: what came by reference stays hidden.
            provider = replace(provider, path=type(provider.path)(state_dir / provider.path))
        if provider is not None:
            providers[name] = provider
    return kinds, providers


def _kind(name: str, table: object, sources: Sources, report: Report) -> type[Provider] | None:
    loc = ("providers", name)
    if not isinstance(table, dict):
        report.wrong(loc, "a table", table)
        return None
    if "driver" not in table:
        report.add((*loc, "driver"), f"expected this key: one of {', '.join(PROVIDERS)}")
        return None
    driver = resolve({"driver": table["driver"]}, DiscardProvider, loc, sources, report)["driver"]
    if not isinstance(driver, str) or driver not in PROVIDERS:
        report.wrong((*loc, "driver"), f"one of {', '.join(PROVIDERS)}", driver)
        return None
    return PROVIDERS[driver]


def _provider(
    name: str, table: dict[str, Any], kind: type[Provider] | None, sources: Sources, shelf: Shelf, report: Report
) -> Provider | None:
    loc = ("providers", name)
    try:
        word(1, 200)(name)
    except PydanticCustomError as error:
        report.add(loc, f"expected as its name {error.message()}")
        return None
    if kind is None:
        return None
    given = {key: value for key, value in table.items() if key != "driver"}
    for ours in ("name", "filled"):
        if ours in given:
            unknown_key(kind, (*loc, ours), given.pop(ours), report)
    resolved = resolve(given, kind, loc, sources, report)
    if kind is HttpProvider:
        resolved = shelf.fill(resolved, loc, report)
    return check(kind, {**resolved, "name": name}, loc, report)
