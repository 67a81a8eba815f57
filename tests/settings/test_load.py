"""load: what a right configuration becomes."""

import logging
import socket
import time
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from ipaddress import ip_network
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from dialerd.model.errors import ConfigError
from dialerd.settings import FileProvider, Listen, Settings, load

Read = Callable[..., Settings]


def test_empty_file_is_enough(write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key of dialerd.toml has a default: ./var, the host's name, SQLite in state_dir, no HTTP."""
    folder = write("")
    (folder / "campaigns").rmdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket, "gethostname", lambda: "box-7")

    settings = load(folder, environ={})

    assert settings.config_dir == folder
    assert settings.daemon.state_dir == tmp_path / "var"
    assert settings.daemon.node == "box-7"
    assert (settings.daemon.drain_s, settings.daemon.lease_s) == (15, 30)
    assert settings.database.url == f"sqlite:///{tmp_path}/var/dialerd.db"
    assert settings.database.migrate is True
    assert settings.api is None
    assert (dict(settings.providers), dict(settings.campaigns)) == ({}, {})


def test_relative_config_dir(write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """config_dir is absolute in the settings, however it was given."""
    write("")
    monkeypatch.chdir(tmp_path)
    assert load(Path("config"), environ={}).config_dir == tmp_path / "config"


def test_node_argument_wins(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """`node=` wins over the file and over a host's name that would not do."""
    assert load(write('[daemon]\nnode = "b"'), node="a", environ={}).daemon.node == "a"
    assert load(write('[daemon]\nnode = "b"'), environ={}).daemon.node == "b"
    monkeypatch.setattr(socket, "gethostname", lambda: "no good")
    assert load(write(""), node="a", environ={}).daemon.node == "a"
    with pytest.raises(ConfigError, match=r"daemon\.node: expected 1 to 63 letters.*no good"):
        load(write(""), environ={})


@pytest.mark.parametrize("node", ["", "-a", "a b", "a/b", "x" * 64, "a\n"])
def test_node_names(write: Callable[..., Path], node: str) -> None:
    """A node's name is 1 to 63 letters, digits, dots, dashes and underscores: it is a file's name too."""
    with pytest.raises(ConfigError, match=r"^--node: expected 1 to 63 letters"):
        load(write(""), node=node, environ={})


def test_state_dir(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file wins over $STATE_DIRECTORY, whose first entry wins over ./var; relative is to where we are."""
    monkeypatch.chdir(tmp_path)
    environ = {"STATE_DIRECTORY": "/var/lib/dialerd:/var/lib/other"}
    assert read("", environ).daemon.state_dir == Path("/var/lib/dialerd")
    assert read('[daemon]\nstate_dir = "/srv/d"', environ).daemon.state_dir == Path("/srv/d")
    assert read('[daemon]\nstate_dir = "d"').daemon.state_dir == tmp_path / "d"
    assert read("", {"STATE_DIRECTORY": ""}).daemon.state_dir == tmp_path / "var"


def test_environment_is_the_default(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `environ` it is the process's environment that counts."""
    monkeypatch.setenv("STATE_DIRECTORY", "/somewhere")
    assert load(write("")).daemon.state_dir == Path("/somewhere")


def test_file_of_file_provider_lies_in_state_dir(read: Read) -> None:
    """A relative path of the file driver begins at state_dir, an absolute one stays."""
    settings = read('[daemon]\nstate_dir = "/s"\n[providers.a]\ndriver="file"\npath="o/a"\n'
                    '[providers.b]\ndriver="file"\npath="/b"')  # fmt: skip
    paths = [provider.path for provider in settings.providers.values() if isinstance(provider, FileProvider)]
    assert paths == [Path("/s/o/a"), Path("/b")]


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("postgresql://u:p@h:5432/d", "postgresql+psycopg://u:p@h:5432/d"),
        ("postgres://h/d", "postgresql+psycopg://h/d"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
        ("postgresql:///d", "postgresql+psycopg:///d"),
        ("postgresql://u@[::1]:6432/d", "postgresql+psycopg://u@[::1]:6432/d"),
        ("postgresql://u@/d?host=h1:1&host=h2:2", "postgresql+psycopg://u@/d?host=h1:1&host=h2:2"),
        ("sqlite:///some.db", "sqlite:///some.db"),
        ("sqlite:////abs/some.db", "sqlite:////abs/some.db"),
    ],
)
def test_database_urls(read: Read, given: str, url: str) -> None:
    """PostgreSQL's usual spellings become the one of psycopg 3; SQLAlchemy reads every URL that is taken."""
    settings = read(f'[database]\nurl = "{given}"\nmigrate = false')
    assert settings.database.url == url
    assert settings.database.migrate is False
    assert make_url(url).render_as_string(hide_password=False)


@pytest.mark.parametrize(
    "given",
    ["mysql://h/d", "sqlite://", "sqlite:///", "sqlite:///:memory:", "/var/x.db", "", "postgresql+psycopg2://h/d",
     "postgresql://h:port/d", "postgresql://h:99999/d", "postgresql:/h/d", "POSTGRESQL://h/d", "sqlite:///a\\nb"],
)  # fmt: skip
def test_database_urls_refused(problems: Callable[..., list[str]], given: str) -> None:
    """Any other database, one that forgets, and a port that is none are refused, saying what is taken."""
    (line,) = problems(f'[database]\nurl = "{given}"')
    assert line.startswith("dialerd.toml: database.url: expected postgresql://user@host/database or sqlite:///path")


def test_strange_state_dir_is_a_right_url(read: Read) -> None:
    """SQLAlchemy finds the default database also where the folder's name has a % or a ?."""
    url = read('[daemon]\nstate_dir = "/s/100%25 sure?"').database.url
    assert make_url(url).database == "/s/100%25 sure?/dialerd.db"
    assert not make_url(url).query


def test_api(read: Read, sms: str) -> None:
    """[api] and [api.inbound] come as numbers, networks and a host with its port."""
    main = """
    [providers.out]
    driver = "discard"
    [api]
    listen = "[::1]:8088"
    token_hours = 0.5
    campaign = "Ventas->"
    trusted_proxies = ["127.0.0.1/32", "10.0.0.0/8"]
    max_body_mb = 1
    [api.inbound]
    allow = []
    key = "k"
    campaign = "Ventas->"
    """
    api = read(main, a=sms).api
    assert api is not None
    assert api.listen == Listen("::1", 8088)
    assert str(api.listen) == "[::1]:8088"
    assert (api.token_hours, api.campaign, api.max_body_mb) == (0.5, "Ventas->", 1)
    assert api.trusted_proxies == (ip_network("127.0.0.1/32"), ip_network("10.0.0.0/8"))
    assert (api.inbound.allow, api.inbound.campaign) == ((), "Ventas->")
    assert api.inbound.key is not None
    assert api.inbound.key.get_secret_value() == "k"


def test_api_defaults(read: Read) -> None:
    """Inbound calls come from this host only, no proxy is trusted, and no key is asked for."""
    api = read('[api]\nlisten = "localhost:0"').api
    assert api is not None
    assert (str(api.listen), api.token_hours, api.campaign, api.max_body_mb) == ("localhost:0", 12, None, 64)
    assert (api.trusted_proxies, api.inbound.key, api.inbound.campaign) == ((), None, None)
    assert api.inbound.allow == (ip_network("127.0.0.0/8"), ip_network("::1/128"))


def test_no_listen_no_api(read: Read, problems: Callable[..., list[str]]) -> None:
    """Without `listen` there is no HTTP, and the rest of [api] is checked all the same."""
    assert read("[api]\ntoken_hours = 1").api is None
    assert problems("[api]\ntoken_hours = 0") == [
        "dialerd.toml: api.token_hours: expected a number above 0, at most 87600 (got 0)"
    ]


def test_campaigns_go_by_name(read: Read, sms: str) -> None:
    """A campaign is found by its name, whatever its file is called; other files beside it are left alone."""
    settings = read(zzz=sms, a=sms.replace("Ventas->", "Otra"))
    folder = settings.config_dir / "campaigns"
    (folder / "readme.txt").write_text("not TOML")
    (folder / "old.toml.bak").write_text("not TOML")
    (folder / ".#a.toml").symlink_to("nobody@host:1")  # emacs' lock
    again = load(settings.config_dir, environ={})
    assert list(again.campaigns) == ["Otra", "Ventas->"]
    assert again.campaigns["Ventas->"].name == "Ventas->"
    assert again == settings


def test_byte_order_mark_and_windows_lines(write: Callable[..., Path], sms: str) -> None:
    """A file saved on Windows loads."""
    folder = write()
    (folder / "campaigns" / "a.toml").write_bytes(b"\xef\xbb\xbf" + sms.replace("\n", "\r\n").encode())
    assert list(load(folder, environ={}).campaigns) == ["Ventas->"]


def test_settings_do_not_change(read: Read) -> None:
    """Nobody can change the settings under a running daemon."""
    settings = read()
    with pytest.raises(FrozenInstanceError):
        settings.daemon.node = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.providers["x"] = settings.providers["out"]  # type: ignore[index]


def test_three_hundred_campaigns(write: Callable[..., Path]) -> None:
    """300 campaigns load well within a second."""
    shipped = (Path(__file__).parents[2] / "config" / "campaigns" / "ventas.toml").read_text(encoding="utf-8")
    texts = {f"c{n}": shipped.replace('"Ventas->"', f'"c{n}"').replace("sandbox", "out") for n in range(300)}
    folder = write(**texts)
    begin = time.process_time()
    settings = load(folder, environ={})
    took_s = time.process_time() - begin
    logging.getLogger(__name__).info("loaded in %.3f s", took_s)
    assert len(settings.campaigns) == 300
    assert took_s < 1
