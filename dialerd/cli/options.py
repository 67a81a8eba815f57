"""Options that mean the same wherever they stand."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ["config_dir", "config_option", "examples", "json_option"]

F = TypeVar("F", bound=Callable[..., Any])

#: Where the folder stands between the option and the command, whichever of them comes first.
CONFIG = "dialerd.config"
DEFAULT = "config"


def config_option(command: F) -> F:
    """Take `--config DIR`, before or after the command; the one nearest to the command's own options counts."""
    return click.option(
        "--config",
        metavar="DIR",
        type=click.Path(path_type=Path, file_okay=False),
        expose_value=False,
        callback=_remember,
        help=f"Folder of the configuration.  [default: $DIALERD_CONFIG, else ./{DEFAULT}]",
    )(command)


def json_option(command: F) -> F:
    """Take `--json`, given to the command as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs to read.")(command)


def examples(*lines: str) -> Callable[[F], F]:
    """Show these lines below the command's help, as they stand. Goes right below `@click.command()`."""

    def add(command: F) -> F:
        # click leaves a paragraph alone that begins with a line of one backspace.
        shown = "".join(f"\n  {line}" for line in lines)
        command.__doc__ = f"{inspect.cleandoc(command.__doc__ or '')}\n\n\b\nExample{'s' * (len(lines) > 1)}:{shown}"
        return command

    return add


def config_dir(context: click.Context) -> Path:
    """Return the folder of the configuration that this call is about."""
    given: Path | None = context.meta.get(CONFIG)
    return given or Path(os.environ.get("DIALERD_CONFIG") or DEFAULT)


def _remember(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.meta[CONFIG] = value
