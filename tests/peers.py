"""Peers that no Python package brings: mail servers, gateways and tools that continuous integration installs."""

import os
import shutil

import pytest

__all__ = ["program"]

#: Where Debian keeps what is for administrators; not on everybody's PATH.
MORE_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def program(name: str) -> str:
    """Return the path of an installed program; without it the test is skipped, but fails where CI is set."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *MORE_FOLDERS]))
    if found is None:
        missing = f"{name} is not installed"
        if os.environ.get("CI"):
            pytest.fail(f"{missing}, and continuous integration is to install it")
        pytest.skip(missing)
    return found
