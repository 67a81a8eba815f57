"""What the tests with real processes ask for: a site on a database of this version, quickly made."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crash.harness import Databases, Site

__all__ = ["databases", "site_on"]


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Databases:
    """The templates of both kinds; a PostgreSQL is started only if one is asked for."""
    return Databases(tmp_path_factory.mktemp("templates"), lambda: request.getfixturevalue("postgres"))


@pytest.fixture
def site_on(databases: Databases, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Build a site on a database of the given kind: site_on("sqlite", latency_ms=200); its processes end with it."""
    made: list[Site] = []

    def build(kind: str, **given: object) -> Site:
        folder = tmp_path / f"site{len(made)}"
        folder.mkdir()
        made.append(Site(folder, databases.make(kind, folder), **given))
        return made[-1]

    yield build
    for site in made:
        site.close()
        databases.drop(site.url)
