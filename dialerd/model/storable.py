"""What both databases keep of what comes from outside."""

import math
from typing import Any

__all__ = ["is_storable"]

#: Levels of objects in objects; PostgreSQL and Python take more, nobody means more.
DEEPEST = 50


def is_storable(value: Any, level: int = 0) -> bool:
    """Tell whether both databases take a JSON value.

    No NUL, no half a surrogate pair, no number beyond a float's range, no more than DEEPEST levels.
    """
    match value:
        case str():
            return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
        case float():
            return math.isfinite(value)
        case dict():
            return level < DEEPEST and all(
                is_storable(key) and is_storable(inner, level + 1) for key, inner in value.items()
            )
        case list():
            return level < DEEPEST and all(is_storable(inner, level + 1) for inner in value)
        case _:
            return True
