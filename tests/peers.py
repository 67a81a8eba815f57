"""Peers that no Python package brings: mail servers, gateways and tools that continuous integration installs."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

__all__ = ["node_module", "program", "unavailable"]

#: Where Debian keeps what is for administrators; not on everybody's PATH.
MORE_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


#: Where `npm install` was called; its modules are in node_modules there.
MODULES = "DIALERD_TEST_NODE_MODULES"


def node_module(name: str) -> Path:
    """Return the folder of one of npm's modules; without it the test is skipped, but fails where CI is set."""
    folder = Path(os.environ.get(MODULES, "var/node")) / "node_modules" / name
    if not folder.is_dir():
        unavailable(f"no {folder}: `npm install --prefix FOLDER {name}`, and {MODULES}=FOLDER")
    return folder.resolve()


def program(name: str) -> str:
    """Return the path of an installed program; without it the test is skipped, but fails where CI is set."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *MORE_FOLDERS]))
    if found is None:
        unavailable(f"{name} is not installed")
    return found


def unavailable(reason: str) -> NoReturn:
    """Skip the test, or fail where CI is set: continuous integration is to have every peer."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and continuous integration is to have it")
    pytest.skip(reason)
