"""config/, the configuration to start from: it runs as it is, and shows every key once."""

import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from dialerd.model.errors import ConfigError
from dialerd.settings import ApiSettings, DaemonSettings, DatabaseSettings, FileProvider, WordsSettings, load
from dialerd.settings.campaigns import CampaignTable
from dialerd.settings.providers import PROVIDERS, BaseProvider
from dialerd.settings.tables import keys, nested

CONFIG = Path(__file__).parents[2] / "config"

#: A line of a table that stands there for whoever takes the # away: `# key = value` or `# [table]`.
COMMENTED = re.compile(r"^# (?=(?:\[[a-z.]+\]|[a-z_]+ = .*)$)", re.MULTILINE)
ENVIRON = {"INBOUND_KEY": "k", "GW_PASSWORD": "p", "TWILIO_TOKEN": "t"}


def uncommented(path: Path) -> str:
    """Return a shipped file with every line that is commented out in force."""
    return COMMENTED.sub("", path.read_text(encoding="utf-8"))


def without_strings(line: str) -> str:
    """Return a line of TOML without what stands in quotes, but with its comment."""
    return re.sub(r"\"[^\"]*\"|'[^']*'", "", line)


def inner_tables(table: type) -> Iterator[tuple[str, type]]:
    """Yield the keys that are tables with keys of their own, each kind of table only where it comes first."""
    seen: set[type] = {dict}
    for key, info in keys(table).items():
        inner = nested(info)
        if inner is not None and inner not in seen:
            seen.add(inner)
            yield key, inner


def spelt(table: type, prefix: str = "") -> Iterator[str]:
    """Yield the keys of a table and of the tables in it, dotted."""
    yield from (prefix + key for key in keys(table))
    for key, inner in inner_tables(table):
        if inner is not table:
            yield from spelt(inner, f"{prefix}{key}.")


def lines_of(text: str) -> dict[str, dict[str, list[str]]]:
    """Return for each table the lines of each of its keys, comments included."""
    tables: dict[str, dict[str, list[str]]] = {"": {}}
    table = ""
    for line in text.splitlines():
        if header := re.match(r"\[([a-z.]+)\]", line):
            table = header[1]
            tables[table] = {}
        elif key := re.match(r"([a-z_]+) = ", line):
            tables[table].setdefault(key[1], []).append(line)
    return tables


def shown(lines: dict[str, list[str]], table: type) -> set[str]:
    """Return the keys that the lines of one table show; those of inline tables may stand in the line's comment."""
    found = set(lines)
    for key, inner in inner_tables(table):
        if key not in lines:
            continue
        bare = without_strings(lines[key][0])
        found |= {
            path
            for path in spelt(inner, f"{key}.")
            if re.search(rf"\b{path.rpartition('.')[2]} = ", bare[len(key) + 2 :])
        }
    return found


def test_it_runs_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped folder loads without any environment: SQLite and a file in ./var, no HTTP, three campaigns."""
    monkeypatch.chdir(tmp_path)
    settings = load(CONFIG, environ={})
    assert settings.daemon.state_dir == tmp_path / "var"
    assert settings.database.url == f"sqlite:///{tmp_path}/var/dialerd.db"
    assert settings.api is None
    sandbox = settings.providers["sandbox"]
    assert isinstance(sandbox, FileProvider)
    assert sandbox.path == tmp_path / "var" / "outbox" / "sandbox.jsonl"
    assert {name: (each.channel, each.enabled, each.provider) for name, each in settings.campaigns.items()} == {
        "Novedades": ("email", True, "sandbox"),
        "Recordatorios": ("sms", False, "sandbox"),
        "Ventas->": ("sms", True, "sandbox"),
    }


def test_what_is_commented_out_is_right(tmp_path: Path) -> None:
    """Every line can be put in force; all at once, only what excludes one another is wrong."""
    folder = tmp_path / "config"
    shutil.copytree(CONFIG, folder)
    for path in folder.rglob("*.toml"):
        path.write_text(uncommented(path), encoding="utf-8")
    (folder / "secrets").mkdir()
    (folder / "secrets" / "mail").write_text("p\n")
    trustme.CA().cert_pem.write_to_path(folder / "secrets" / "ca.pem")
    (tmp_path / "cred").mkdir()
    (tmp_path / "cred" / "smsc").write_text("p\n")
    (tmp_path / "cred" / "mail-secret").write_text("sixteen letters!\n")
    environ = {**ENVIRON, "CREDENTIALS_DIRECTORY": str(tmp_path / "cred")}

    with pytest.raises(ConfigError) as caught:
        load(folder, environ=environ)
    assert [line.rpartition("dialerd.toml: ")[2] for line in caught.value.problems] == [
        'providers.smsc.ca: expected tls = "tls" beside it: nothing is encrypted without',
        "providers.gateway.json: expected only one of form, json and body: there is form already",
    ]

    main = folder / "dialerd.toml"
    text = re.sub(r"^(?:json|body) = ", "# ", main.read_text(encoding="utf-8"), flags=re.MULTILINE)
    main.write_text(text.replace('tls = "none"', 'tls = "tls"'), "utf-8")
    settings = load(folder, environ=environ)
    assert settings.api is not None
    assert {provider.driver for provider in settings.providers.values()} == set(PROVIDERS)


def test_commented_lines_are_found() -> None:
    """What looks like a key behind a # is one: no prose is taken for TOML, and no key hides behind another spelling."""
    for path in CONFIG.rglob("*.toml"):
        text = path.read_text(encoding="utf-8")
        tomllib.loads(COMMENTED.sub("", text))
        rest = COMMENTED.sub("", text).splitlines()
        assert not [line for line in rest if re.match(r"#\s*(\[|[\w.-]+\s*=)", line)]


def test_every_key_is_shown_once() -> None:
    """The keys of the shipped files are the keys there are, each documented once, with its default or its meaning."""
    main = lines_of(uncommented(CONFIG / "dialerd.toml"))
    campaign = lines_of(uncommented(CONFIG / "campaigns" / "ventas.toml"))[""]
    email = lines_of(uncommented(CONFIG / "campaigns" / "novedades.toml"))["email"]
    assert set(main) == {"", "daemon", "database", "inbound", "api", "api.inbound", "providers.sandbox",
                         "providers.null", "providers.smsc", "providers.gateway", "providers.mail"}  # fmt: skip
    common = set(keys(BaseProvider))

    assert shown(main["daemon"], DaemonSettings) == set(spelt(DaemonSettings))
    assert shown(main["database"], DatabaseSettings) == set(spelt(DatabaseSettings))
    assert shown(main["inbound"], WordsSettings) == set(spelt(WordsSettings))
    assert set(main["api"]) | {"inbound"} | {f"inbound.{key}" for key in main["api.inbound"]} == set(spelt(ApiSettings))
    for name, driver in {
        "sandbox": "file",
        "null": "discard",
        "smsc": "smpp",
        "gateway": "http",
        "mail": "smtp",
    }.items():
        lines = main[f"providers.{name}"]
        assert lines["driver"][0].startswith(f'driver = "{driver}"')
        own = set(spelt(PROVIDERS[driver])) - (common if name != "sandbox" else set())
        assert shown(lines, PROVIDERS[driver]) == own
    assert shown(campaign, CampaignTable) == {key for key in spelt(CampaignTable) if not key.startswith("email")}
    assert {f"email.{key}" for key in email} == {key for key in spelt(CampaignTable) if key.startswith("email.")}

    for table in (*main.values(), campaign, email):
        assert all(len(lines) == 1 for lines in table.values())


def test_every_key_is_explained() -> None:
    """Each key has its comment, but for those that their names explain and the alternatives of the line above."""
    bare = {"name", "host", "port", "json", "body", "password"}
    tables: list[dict[str, Any]] = [*lines_of(uncommented(CONFIG / "dialerd.toml")).values()]
    tables.append(lines_of(uncommented(CONFIG / "campaigns" / "ventas.toml"))[""])
    tables.append({**lines_of(uncommented(CONFIG / "campaigns" / "novedades.toml"))["email"], "from": ["#"]})
    for table in tables:
        for key, (line,) in table.items():
            assert key in bare or "#" in without_strings(line), line


def test_defaults_that_are_shown_are_the_defaults(tmp_path: Path) -> None:
    """A commented line that shows a default shows the right one: putting it in force changes nothing."""
    shows = {
        "campaigns/ventas.toml": {"enabled", "on_doubt", "bases", "retry", "unicode", "max_parts"},
        "dialerd.toml": {
            "drain_s",
            "lease_s",
            "stall_minutes",
            "log_level",
            "migrate",
            "max_in_flight",
            "number_format",
            "latency_ms",
        },
    }
    folder = tmp_path / "config"
    shutil.copytree(CONFIG, folder)
    before = load(folder, environ={})
    for name, wanted in shows.items():
        path = folder / name
        text, count = re.subn(
            rf"^# (?=(?:{'|'.join(wanted)}) = )", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE
        )
        path.write_text(text, encoding="utf-8")
        assert count == len(wanted) + (name == "dialerd.toml")  # latency_ms of file and discard
    assert load(folder, environ={}) == before


def test_defaults_of_peers_that_are_shown_are_the_defaults() -> None:
    """The tables of smpp, http and smtp show their defaults, where they have one that is a plain value."""
    tables = tomllib.loads(uncommented(CONFIG / "dialerd.toml"))["providers"]
    examples = {
        "host",
        "driver",
        "source_ton",
        "source_npi",
        "dest_ton",
        "dest_npi",
        "password",
        "coding",
        "headers",
        "parameters",
    }
    for name in ("smsc", "gateway", "mail"):
        for key, info in keys(PROVIDERS[tables[name]["driver"]]).items():
            if key in tables[name] and key not in examples and not info.is_required() and info.default is not None:
                assert tables[name][key] == info.get_default(call_default_factory=True), key
