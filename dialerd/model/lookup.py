"""Values in what gateways write: where they stand in their JSON or their forms, and how they are compared."""

from collections.abc import Mapping
from typing import Any

__all__ = ["at", "text_of"]


def at(value: Any, path: str) -> Any:
    """Return what stands at a path such as messages.0.id, or in the field of a form of that name; None if nothing does.

    A field that is called so as a whole goes before one that is reached step by step: forms have dots in names.
    """
    if isinstance(value, Mapping) and path in value:
        return value[path]
    for step in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isascii() and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def text_of(value: object) -> str:
    """Return a JSON value as it is compared: 0 and "0" are the same, true and "true" too."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
