"""Modules that are imported when they are first used.

The engine's libraries take most of a second to import. Help, shell completion and wrong usage need none of them, so a
command's module declares its options without, and names what its body works with like this:

    if TYPE_CHECKING:
        from dialerd import intake
    else:
        (intake,) = later("dialerd.intake")
"""

from importlib import import_module
from typing import Any

__all__ = ["later"]


class _Later:
    """Stands for a module: whoever asks for something in it has it imported."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)


def later(*names: str) -> tuple[Any, ...]:
    """Return a stand-in for each module of these names."""
    return tuple(_Later(name) for name in names)
