"""HTTP: the calls that existing integrations make, a modern API beside them, and probes."""

from dialerd.api.app import build
from dialerd.api.context import Context, Health
from dialerd.api.server import Server

__all__ = ["Context", "Health", "Server", "build"]
