"""HTTP: the calls that existing integrations make, a modern API beside them, and probes."""

from dialerd.api.service import Api

__all__ = ["Api"]
