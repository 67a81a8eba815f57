"""`dialerd init` and `check`; `migrate` is in test_main.py."""

from pathlib import Path

import pytest

from dialerd.settings import load
from tests.cli.calls import call, configure, documented, on_terminal, refused

SHUT = "dates = { start = 2999-01-01 }"

# init


def test_init_writes_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files written are a configuration without errors, and are named."""
    monkeypatch.chdir(tmp_path)

    result = call("init", "new/config")

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"dialerd.toml", "ventas.toml"} <= {path.name for path in files}
    *named, last = result.stdout.splitlines()
    assert {path.relative_to(tmp_path) for path in files} == {Path(line) for line in named}
    assert "dialerd check --config new/config" in last
    assert load(Path("new/config")).campaigns
    assert named == [name.replace("json", "new/config") for name in documented("init", "json")["written"]]
    assert 0 == call("check", "--config", "new/config").exit_code


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    """Where one of the files is there already, nothing is written."""
    (tmp_path / "campaigns").mkdir()
    mine = tmp_path / "campaigns" / "ventas.toml"
    mine.write_text("mine")

    assert str(mine) in refused("init", tmp_path)
    assert ("mine", [mine]) == (mine.read_text(), [path for path in tmp_path.rglob("*") if path.is_file()])


# check


@pytest.fixture
def config(tmp_path: Path, bare_database_url: str) -> Path:
    """A configuration with one open, one shut and one disabled campaign."""
    return configure(tmp_path, url=bare_database_url, Shut=SHUT, Off="enabled = false")


def test_check_says_how_things_are(config: Path) -> None:
    """Providers are asked, and each campaign is shown: open, or why not and when it opens."""
    call("campaigns", "pause", "Mail", config=config)

    document = documented("check", config=config)

    assert {"reachable": True, "reason": None} == document["database"]
    assert {"outbox": {"driver": "file", "reachable": True, "reason": None}} == document["providers"]
    states = {name: (one["state"], one["opens_at"]) for name, one in document["campaigns"].items()}
    assert {
        "Ventas->": ("open", None),
        "Shut": ("out_of_date", "2999-01-01T03:00:00Z"),
        "Off": ("disabled", None),
        "Mail": ("paused", None),
    } == states


def test_check_offline_touches_nothing(tmp_path: Path) -> None:
    """Offline, neither provider nor database is asked, and none is made."""
    config = configure(tmp_path, url="postgresql://nobody@127.0.0.1:1/nothing")

    document = documented("check", "--offline", config=config)

    assert (None, None) == (document["database"]["reachable"], document["providers"]["outbox"]["reachable"])
    assert "open" == document["campaigns"]["Ventas->"]["state"]
    assert {"config"} == {path.name for path in tmp_path.iterdir()}


def test_check_ends_with_75_when_something_is_away(tmp_path: Path) -> None:
    """What cannot be reached is named on stderr, in one line, and all the rest is shown nevertheless."""
    (tmp_path / "taken").write_text("")
    broken = f'[providers.broken]\ndriver = "file"\npath = "{tmp_path}/taken/outbox.jsonl"\n'
    broken += '[providers.shut]\ndriver = "smpp"\nhost = "127.0.0.1"\nport = 1\nsystem_id = "x"\n'
    config = configure(tmp_path, url="postgresql://nobody@127.0.0.1:1/nothing", main_file=broken)

    result = call("check", config=config)

    assert 75 == result.exit_code
    (line,) = result.stderr.splitlines()
    assert line.startswith("dialerd: database cannot be reached: ")
    assert "; provider broken cannot be reached: " in line
    assert "; provider shut cannot be reached: " in line
    assert "Database: cannot be reached." in result.stdout
    assert "Ventas->  open" in result.stdout


def test_check_misses_a_folder_of_attachments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A campaign's folder of attachments that is not there is named: its mails would wait."""
    config = configure(tmp_path)
    mail = config / "campaigns" / "mail.toml"
    mail.write_text(mail.read_text() + 'attachments = "contracts"\n')

    result = call("check", config=config)

    assert 75 == result.exit_code
    assert f"campaign Mail's folder of attachments cannot be reached: no folder {config}/contracts" in result.stderr
    (config / "contracts").mkdir()
    assert 0 == call("check", config=config).exit_code
    # Whoever may not look into the folder around it is told the same.
    is_dir = Path.is_dir

    def shut(path: Path) -> bool:
        if path.name == "contracts":
            raise PermissionError(13, "Permission denied")
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", shut)
    assert 75 == call("check", config=config).exit_code


def test_check_names_every_error(tmp_path: Path) -> None:
    """A wrong configuration ends with 2 before anything is asked."""
    config = configure(tmp_path, Broken="per_second = 0\n")

    result = call("check", config=config)

    assert (2, "") == (result.exit_code, result.stdout)
    assert "broken.toml: per_second" in result.stderr


def test_check_shows_what_a_preset_fills_in(tmp_path: Path) -> None:
    """Keys that came from a preset are shown as they would stand in the table, and no secret among them."""
    keys = """
[providers.gateway]
driver = "http"
preset = "ours"
parameters = { account = "geheim4711" }
"""
    config = configure(tmp_path, main_file=keys)
    (config / "presets").mkdir()
    (config / "presets" / "ours.toml").write_text(
        "about = 'ours'\nurl = 'http://h/${account}'\nheaders = { X-Key = 'geheim0815', X-To = '${phone}' }\n"
        "success = { status = [200, 202] }\n[parameters]\naccount = { about = 'who pays' }\n"
    )
    shown = call("check", "--offline", config=config).stdout
    assert "The preset ours fills in for gateway:" in shown
    assert '  url = "http://h/${account}"\n' in shown
    assert '  headers = { X-Key = "(hidden)", X-To = "${phone}" }\n' in shown
    assert "  success = { status = [200, 202] }\n" in shown
    told = documented("check", "--offline", config=config)["providers"]
    assert told["gateway"]["preset"]["name"] == "ours"
    assert told["gateway"]["preset"]["fills"]["success"] == {"status": [200, 202]}
    assert "preset" not in told["outbox"]
    assert "geheim" not in shown + str(told)


def test_check_fits_a_terminal(tmp_path: Path) -> None:
    """Eighty columns are enough, but for the name of a folder."""
    config = configure(tmp_path, Shut=SHUT)

    _, *lines = on_terminal("check", "--config", config)

    assert max(map(len, lines)) <= 80
