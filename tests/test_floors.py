"""The house's own rules, held by tools: floors and doors, lint, and a docstring that states each test's rule."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def tool(*command: str) -> None:
    """Run one of the tools that stand beside this Python; what it says is the failure's text."""
    program = Path(sys.executable).with_name(command[0])
    ended = subprocess.run(
        [program, *command[1:]], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if ended.returncode:
        pytest.fail(f"{' '.join(command)}\n{ended.stdout}", pytrace=False)


def test_imports_go_down() -> None:
    """Imports go down the floors only, and each third party has one door."""
    tool("lint-imports", "--no-logo", "--no-cache")


def test_lint() -> None:
    """ruff's selection holds everywhere; an exception carries its reason."""
    tool("ruff", "check", "--no-cache", "--quiet", ".")


def test_format() -> None:
    """The code is formatted by `ruff format`."""
    tool("ruff", "format", "--no-cache", "--quiet", "--check", ".")


def test_tests_state_their_rule() -> None:
    """Every test says in its docstring which rule it guards."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]

    assert silent == []
