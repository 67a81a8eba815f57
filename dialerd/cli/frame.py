"""What the commands stand in: the configuration, the database, the event loop.

A command is written as

    @click.command()
    @examples("dialerd greet Ana")
    @click.argument("name")
    @json_option
    @pass_frame
    async def greet(frame: Frame, name: str, as_json: bool) -> None:
        async with frame.open_store() as store:
            …

`pass_frame` brings `--config` along and runs coroutines. Whatever DialerdError a command raises ends as one line on
stderr and its exit status (endings.py).
"""

from __future__ import annotations

import inspect
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dialerd.cli.later import later
from dialerd.cli.options import config_dir, config_option, examples, json_option

if TYPE_CHECKING:
    import asyncio

    from dialerd import interpreter, log, settings
    from dialerd.settings import Settings
    from dialerd.store import Store, opening
else:
    asyncio, log, settings = later("asyncio", "dialerd.log", "dialerd.settings")
    (interpreter,) = later("dialerd.interpreter")
    (opening,) = later("dialerd.store.opening")

__all__ = ["Frame", "config_option", "examples", "json_option", "pass_frame", "run_async"]

T = TypeVar("T")


class Frame:
    """The configuration of one call of the command line, read when first asked for."""

    def __init__(self, config: Path) -> None:
        self.config = config

    @cached_property
    def settings(self) -> Settings:
        """The settings; raises ConfigError with every problem of every file."""
        return self.load()

    def load(self, node: str | None = None, listen: str | None = None) -> Settings:
        """Read the configuration (again), for a node of another name, and to listen elsewhere, if they are given."""
        return settings.load(self.config, node=node, listen=listen)

    @asynccontextmanager
    async def open_store(self) -> AsyncIterator[Store]:
        """Open the database, at this version's tables, and close it after."""
        wanted = self.settings.database
        async with opening.open_store(wanted.url, may_migrate=wanted.migrate) as store:
            interpreter.tune_interpreter()
            yield store


def pass_frame(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command its Frame as first argument, take `--config`, and run it in an event loop if it is async."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        _refuse_broken_text(kwargs)
        log.configure("warning")
        result = command(Frame(config_dir(click.get_current_context())), *args, **kwargs)
        return run_async(result) if inspect.iscoroutine(result) else result

    return config_option(run)


def _refuse_broken_text(given: dict[str, Any]) -> None:
    """Refuse arguments that are no UTF-8; paths may be: files are called as they are."""
    for name, value in given.items():
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and any("\ud800" <= letter <= "\udfff" for letter in text):
                raise click.UsageError(f"{name}: {os.fsencode(text)!r} is not UTF-8")


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; Ctrl-C cancels it and is raised again."""
    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        return runner.run(coroutine)


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # not on every platform
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
