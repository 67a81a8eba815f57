"""Shell completion, asked for as the shells do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.calls import call, configure
from tests.peers import program

#: Completes a command line of these words; the last one is what stands before the cursor.
IN_BASH = """\
source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_dialerd_completion dialerd "" ""; printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A `dialerd` on the PATH, and a configuration whose campaigns have difficult names."""
    config = configure(tmp_path, **{"Añejo & Cía, S.A.": ""})
    (config / "campaigns" / "broken.toml").write_text("name = [")
    (tmp_path / "dialerd").write_text(f'#!/bin/sh\nexec {sys.executable} -m dialerd "$@"\n')
    (tmp_path / "dialerd").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "DIALERD_CONFIG": str(config), "LC_ALL": "C.UTF-8", "PYTHONPATH": "."}


def ask(script: str, *args: object, environment: dict[str, str], shell: str) -> list[str]:
    done = subprocess.run(
        [shell, "-c", script, *map(str, args)], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert "" == done.stderr
    return done.stdout.splitlines()


def test_bash_completes(tmp_path: Path, environment: dict[str, str]) -> None:
    """Campaigns are completed from the configuration, quoted so that bash takes a name for a name."""
    source = tmp_path / "source"
    source.write_text(call("completion", "bash").stdout)

    def completed(*words: str) -> list[str]:
        return ask(IN_BASH, "bash", source, "dialerd", *words, environment=environment, shell=program("bash"))

    assert {"schedule", "send", "status", "spool"} == set(completed("s"))
    assert [r"Ventas-\>"] == completed("send", "ven")
    assert ["Ventas->"] == completed("send", "'Ven")
    assert [r"Añejo\ \&\ Cía\,\ S.A."] == completed("spool", "list", "--campaign", "A")
    assert ["Mail"] == completed("campaigns", "pause", "--config", "=", environment["DIALERD_CONFIG"], "M")
    assert ["--campaign"] == completed("repo", "export", "--ca")


def test_fish_completes(environment: dict[str, str]) -> None:
    """Fish shows the names as they are: it quotes them itself."""
    fish = program("fish")
    script = "dialerd completion fish | source; complete --do-complete $argv[1]"

    assert ["Añejo & Cía, S.A."] == ask(script, "dialerd campaigns pause A", environment=environment, shell=fish)
    option = "--campaign\tOnly messages of this campaign."
    assert [option] == ask(script, "dialerd repo export --ca", environment=environment, shell=fish)


def test_zsh_completes(environment: dict[str, str]) -> None:
    """Zsh gets its names from the function that the script defines; compadd is where they go."""
    zsh = program("zsh")
    script = (
        'compdef() { : }; compadd() { print -l -- $completions }; eval "$(dialerd completion zsh)";'
        " words=(dialerd campaigns pause Ven); CURRENT=4; _dialerd_completion"
    )

    assert ["Ventas->"] == ask(script, environment=environment, shell=zsh)
