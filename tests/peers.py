"""Peers that no Python package brings: mail servers, gateways and tools that continuous integration installs."""

import os
import shutil
from typing import NoReturn

import pytest

__all__ = ["program", "unavailable"]

#: Where Debian keeps what is for administrators; not on everybody's PATH.
MORE_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


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
