"""What every test can ask for: an empty database, on SQLite or on a real PostgreSQL of this very session.

And which tests share a worker.
"""

import shutil
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from dialerd.store import Store
from dialerd.store.migrate import migrate
from tests.postgres import PostgresServer

pytest.register_assert_rewrite("tests.drivers.conformance")

# The machine may be busy with other work: how long an example takes says nothing about the code.
hypothesis.settings.register_profile("dialerd", deadline=None, print_blob=True)
hypothesis.settings.load_profile("dialerd")

numbers = count(1)

#: Modules whose set-up takes long: one worker has all of their tests, and makes it once.
WHOLE = {"tests/drivers/test_postfix.py", "tests/store/test_plans.py", "tests/week/test_week.py"}


class Scheduling(LoadScopeScheduling):
    """Gives a worker a test, or all tests of a module that stays whole; the largest modules go first.

    xdist's own groups are written into the tests' ids, where pytest 9 no longer takes them from.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return module if module in WHOLE else nodeid


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Have tests go to workers in our way where nobody asks for another."""
    return Scheduling(config, log) if config.getvalue("dist") == "loadscope" else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The session's PostgreSQL, started when the first test asks for it."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer) -> str:
    """The name of a PostgreSQL database at this version's tables, to copy: migrating each test's takes far longer."""
    with closing(Store(postgres.create_database("template"), threads=1)) as store:
        store.transact_here(migrate)
    return "template"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database at this version's tables, to copy."""
    path = tmp_path_factory.mktemp("template") / "dialerd.db"
    with closing(Store(f"sqlite:///{path}", threads=1)) as store:
        store.transact_here(migrate)
    return path


@pytest.fixture
def postgres_url(postgres: PostgresServer, postgres_template: str) -> Iterator[str]:
    """A PostgreSQL database at this version's tables with nothing in them, dropped afterwards."""
    name = f"test_{next(numbers)}"
    yield postgres.create_database(name, postgres_template)
    postgres.drop_database(name)


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    """A SQLite database at this version's tables with nothing in them."""
    shutil.copy(sqlite_template, tmp_path / "dialerd.db")
    return f"sqlite:///{tmp_path}/dialerd.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A database at this version's tables with nothing in them, on each kind in turn."""
    url: str = request.getfixturevalue({"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param])
    return url


@pytest.fixture
def bare_postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """A PostgreSQL database without a table, dropped afterwards."""
    name = f"test_{next(numbers)}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture
def bare_sqlite_url(tmp_path: Path) -> str:
    """A SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path}/dialerd.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def bare_database_url(request: pytest.FixtureRequest) -> str:
    """A database without a table, on each kind in turn."""
    kind = {"sqlite": "bare_sqlite_url", "postgresql": "bare_postgres_url"}[request.param]
    url: str = request.getfixturevalue(kind)
    return url
