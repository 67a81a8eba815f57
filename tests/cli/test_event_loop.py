"""The event loop on which commands run."""

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, sys
if sys.argv[1] == "without":
    sys.modules["uvloop"] = None  # importing it fails, as where it is not installed
from dialerd.cli import frame

async def tell():
    print(type(asyncio.get_running_loop()).__module__)

frame.run_async(tell())
"""


@pytest.mark.parametrize(("uvloop", "module"), [("with", "uvloop"), ("without", "asyncio.unix_events")])
def test_uvloop_where_it_is_installed(uvloop: str, module: str) -> None:
    """Commands, the daemon among them, run on uvloop where it is installed, and elsewhere without a word on asyncio."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, uvloop], check=True, capture_output=True, text=True)

    assert (module, "") == (done.stdout.strip(), done.stderr)
