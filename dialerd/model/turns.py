"""Turns: how campaigns that wait with the same priority share what may be claimed."""

from collections.abc import Mapping

__all__ = ["share"]


def share(total: int, wanted: Mapping[str, int]) -> dict[str, int]:
    """Return how much of `total` each name gets, in the given order of turns; no name gets more than it wanted.

    All get the same as long as they want it; what one leaves goes to the others, and what cannot be divided to those
    whose turn comes first.
    """
    given: dict[str, int] = {}
    hungry = {name: most for name, most in wanted.items() if most > 0}
    while total > 0 and hungry:
        each = max(total // len(hungry), 1)
        for name in list(hungry):
            if total == 0:
                break
            part = min(each, hungry[name], total)
            given[name] = given.get(name, 0) + part
            total -= part
            hungry[name] -= part
            if hungry[name] == 0:
                del hungry[name]
    return given
