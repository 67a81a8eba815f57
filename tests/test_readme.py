"""The README: what it tells a newcomer to type works, and what it shows of the tree is there."""

import re
import shlex
from pathlib import Path

import click
import pytest

from dialerd.cli import main

ROOT = Path(__file__).parent.parent
FENCED = re.compile(r"^(`{3,})[^\n`]*\n(.*?)^\1`*[ \t]*$", re.MULTILINE | re.DOTALL)

#: From a fresh clone, with Python and pip only.
SETUP = (
    "python3 -m pip install -q --target .uv uv && .uv/bin/uv run dialerd demo",
    "python3 -m pip install -q --target .uv uv && .uv/bin/uv run pytest",
)


def blocks() -> list[str]:
    return [match[2] for match in FENCED.finditer((ROOT / "README.md").read_text())]


def tree_paths() -> list[str]:
    """Return the paths of the first block that shows the tree: indented names, what they are for after two spaces."""
    (tree, *_) = [block for block in blocks() if re.search(r"^\W*dialerd/", block, re.MULTILINE)]
    paths: list[str] = []
    parents: list[tuple[int, str]] = [(-1, "")]
    for line in tree.splitlines():
        text = line.lstrip(" │├└─|`-")
        if not text:
            continue
        depth = len(line) - len(text)
        while parents[-1][0] >= depth:
            parents.pop()
        folder = parents[-1][1]
        first, *others = re.split(r"\s{2,}", text)
        names = [first, *(other for other in others if re.fullmatch(r"[\w-]+\.\w+|[A-Z]+", other))]
        paths += [f"{folder}{name}" for name in names]
        if first.endswith("/"):
            parents.append((depth, f"{folder}{first}"))
    return paths


def commands() -> list[str]:
    """Return every `dialerd …` that the README tells to type."""
    return [
        shown[1]
        for block in blocks()
        for line in block.replace("\\\n", " ").splitlines()
        if (shown := re.match(r"(?:\$ )?(?:.* && )?(?:\.uv/bin/uv run )?dialerd (.+)", line.strip()))
    ]


@pytest.mark.parametrize("line", SETUP)
def test_setup(line: str) -> None:
    """The two ways to begin stand there as one line each, to be copied."""
    assert any(line in block.splitlines() for block in blocks())


def test_tree() -> None:
    """Every path that the tree shows is there."""
    paths = tree_paths()

    assert paths
    assert [path for path in paths if not any(ROOT.glob(path.rstrip("/")))] == []


def test_commands() -> None:
    """Every command that is shown is taken as it stands, down to its subcommand and its options."""
    troubles = {command: _trouble(_words(command)) for command in commands()}

    assert troubles
    assert {command: trouble for command, trouble in troubles.items() if trouble} == {}


def test_unknown_commands() -> None:
    """The check itself finds what the command line does not know."""
    assert _trouble(["fly"])
    assert _trouble(["demo", "--no-such-option"])
    assert _trouble(["spool", "fly"])


def _words(command: str) -> list[str]:
    """Return what the shell would hand over, up to a pipe or a redirection."""
    words = shlex.split(command, comments=True)
    end = next((index for index, word in enumerate(words) if re.match(r"\d?[|;&<>]", word)), len(words))
    return words[:end]


def _trouble(words: list[str]) -> str | None:
    """Return what click says against these words, without running anything."""
    command: click.Command = main
    try:
        context = command.make_context("dialerd", words)
        while isinstance(command, click.Group) and (rest := [*context._protected_args, *context.args]):
            name, found, rest = command.resolve_command(context, rest)
            assert found is not None
            command, context = found, found.make_context(name, rest, parent=context)
    except click.exceptions.Exit:
        return None
    except click.UsageError as error:
        # A value such as a file's name is an example; it need not be there.
        is_example = isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter)
        return None if is_example else error.format_message()
    return None
