"""Brings the database to this version's tables; two processes at once are safe."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.engine import Connection

from dialerd.model.errors import Refused

__all__ = ["at_head", "migrate"]

#: Any number that no other program on the same database uses for its advisory locks ("dialerd" as base 36, shortened).
LOCK = 823_543_717


def migrate(connection: Connection) -> bool:
    """Upgrade to the newest version; False if the database stood there already.

    Raises Refused when the database was made by a newer dialerd.
    """
    if connection.dialect.name == "postgresql":
        # An index over a hundred million rows takes longer than any statement of ours may.
        connection.execute(text("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0"))
        # Only so that a second process waits instead of failing; SQLite's BEGIN IMMEDIATE does the same.
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        # Whoever waits for a table keeps all others from it, who come after.
        connection.execute(text("SET LOCAL lock_timeout = '30s'"))
    if at_head(connection):
        return False
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return True


def at_head(connection: Connection) -> bool:
    """Tell whether the database has this version's tables."""
    current = MigrationContext.configure(connection).get_current_revision()
    scripts = ScriptDirectory.from_config(_config())
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise Refused(f"the database was made by a newer dialerd (its version is {current}): upgrade this one")
    return current == scripts.get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config
