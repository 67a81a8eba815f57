"""Failpoints: the crash tests' way of dying at a chosen place, and nothing at all in production."""

import os
import signal
import subprocess
import sys

import pytest

from dialerd import failpoint

PROGRAM = """
from dialerd.failpoint import hit
for name in ("claimed", "sent", "claimed", "sent", "claimed"):
    print(name, flush=True)
    hit(name)
"""


@pytest.mark.parametrize(("wanted", "lines"), [("claimed", 1), ("claimed:1", 1), ("sent", 2), ("claimed:3", 5)])
def test_hit_kills(wanted: str, lines: int) -> None:
    """The process ends by SIGKILL at exactly the hit that was asked for."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"DIALERD_FAILPOINT": wanted},
        capture_output=True,
        check=False,
    )

    assert (ended.returncode, len(ended.stdout.split())) == (-signal.SIGKILL, lines)


@pytest.mark.parametrize("environment", [{}, {"DIALERD_FAILPOINT": "settled"}, {"DIALERD_FAILPOINT": "sent:3"}])
def test_hit_passes(environment: dict[str, str]) -> None:
    """A place that was not asked for, or not so late, is passed."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | environment, capture_output=True, check=False
    )

    assert (ended.returncode, len(ended.stdout.split())) == (0, 5)


def test_hit_is_idle() -> None:
    """Without the variable a hit is an empty function."""
    assert failpoint.hit is failpoint._ignore
