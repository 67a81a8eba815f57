"""What the crash tests ask for."""

from tests.crash.fixtures import databases, site_on

__all__ = ["databases", "site_on"]
