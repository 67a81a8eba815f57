"""What the tests of faults ask for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dialerd.model.campaign import Campaign
from dialerd.model.message import Message
from tests.crash.fixtures import databases, site_on
from tests.crash.harness import Site
from tests.drivers.scripted import ScriptedDriver
from tests.rig import Rig

__all__ = ["databases", "site_on"]


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, site_on: Callable[..., Site]) -> Callable[..., Site]:
    """Build a site on each kind of database in turn: site(latency_ms=200)."""
    return lambda **given: site_on(request.param, **given)


@pytest.fixture
def rig_of(database_url: str, tmp_path: Path) -> Callable[..., Rig]:
    """Build a rig on each database in turn: rig_of(script, *campaigns, max_in_flight=…)."""

    def build(script: Callable[[Message], object] | None = None, *campaigns: Campaign, **given: object) -> Rig:
        driver = ScriptedDriver(script) if script else ScriptedDriver()
        return Rig(database_url, tmp_path, driver, *campaigns, **given)

    return build
