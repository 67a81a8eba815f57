"""The API for new integrations: JSON, problems by RFC 9457, idempotency keys, OpenAPI."""

from dialerd.api.v1.app import build

__all__ = ["build"]
