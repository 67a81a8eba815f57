"""The units in systemd/: systemd takes them as they are, they leave little to do harm with, they fit the program."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from dialerd import vitals
from dialerd.cli import main
from tests.peers import program

UNITS = Path(__file__).parent.parent / "systemd"
INSTALLED = "/opt/dialerd/venv/bin/dialerd"
#: Names under which the units run; a template needs an instance.
NAMES = ["dialerd.service", "dialerd@one.service", "dialerd-api.service", "dialerd-catchup.service",
         "dialerd-catchup.timer"]  # fmt: skip
SERVICES = [name for name in NAMES if name.endswith(".service")]


def text(name: str) -> str:
    return (UNITS / name.replace("@one", "@")).read_text()


def values(name: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", text(name), re.MULTILINE)


def analyze(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [program("systemd-analyze"), "--no-pager", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units, as they are but for the program's place: it need not be installed here."""
    for unit in UNITS.iterdir():
        (tmp_path / unit.name).write_text(unit.read_text().replace(INSTALLED, shutil.which("true") or "/bin/true"))
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_systemd_takes_it(installed: Path, name: str) -> None:
    """systemd finds no unknown key, no wrong value and no missing program in it, and warns of nothing."""
    ended = analyze("verify", "--man=no", installed / name)

    assert [] == [line for line in ended.stdout.splitlines() if "dialerd" in line]
    assert 0 == ended.returncode, ended.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_little_is_exposed(installed: Path, name: str) -> None:
    """Its exposure, as systemd reckons it, is below 2.0."""
    ended = analyze("security", "--offline=yes", "--threshold=20", installed / name)

    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", ended.stdout)
    assert found, ended.stdout
    assert float(found[1]) < 2.0
    assert 0 == ended.returncode


@pytest.mark.parametrize("name", SERVICES)
def test_it_calls_what_there_is(name: str) -> None:
    """The command line that it runs is one that dialerd takes."""
    (line,) = values(name, "ExecStart")
    called, *words = shlex.split(line.replace("%i", "one"))

    assert INSTALLED == called
    command = main.resolve_command(main.make_context("dialerd", [], resilient_parsing=True), words)[1]
    assert command is not None
    with command.make_context("run", words[1:], resilient_parsing=True) as context:
        given = context.params
    if "api" in name:
        assert "127.0.0.1:8088" == given["listen"]
    else:
        assert ("one" if "@" in name else None, "catchup" in name) == (given["node"], given["once"])


def test_hardening_is_the_same_everywhere() -> None:
    """What confines one of the services confines all of them."""
    confined = [re.search(r"^UMask=.*?(?=\n\n|\Z)", text(name), re.MULTILINE | re.DOTALL) for name in SERVICES]

    assert 1 == len({found and found[0].strip() for found in confined})
    assert len(str(confined[0] and confined[0][0]).splitlines()) > 20


@pytest.mark.parametrize("name", ["dialerd.service", "dialerd@one.service"])
def test_the_watchdog_waits_for_longer_than_a_check_takes(name: str) -> None:
    """Between two signs of life lie a wait and at most one unanswered question to the database, never a whole limit."""
    (limit,) = values(name, "WatchdogSec")

    assert int(limit) > 2 * (vitals.CHECK_S + vitals.ANSWER_S)
