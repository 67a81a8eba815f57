"""The command line: `dialerd COMMAND …`.

A command's module is imported when the command is called or its help is asked for, so that `dialerd --help` and shell
completion need not wait for the database's and the engine's libraries.
"""

import os
import sys
from importlib import import_module
from typing import Any

import click

from dialerd import __version__
from dialerd.cli.endings import WrongUsage, open_standard_streams, status_of
from dialerd.cli.options import config_option

__all__ = ["COMMANDS", "main"]

#: Each command's module and the first line of its help, in the order in which a newcomer meets them.
COMMANDS = {
    "demo": ("demo", "Watch SMS and an e-mail go all the way, in a scratch folder."),
    "init": ("setup", "Write a commented configuration to start from."),
    "check": ("setup", "Say whether the configuration is right and the providers answer."),
    "migrate": ("setup", "Bring the database to this version."),
    "run": ("run", "Run the daemon, or send once what is due and stop."),
    "api": ("api", "Serve the HTTP API alone, beside daemons."),
    "send": ("send", "Send one message as soon as its campaign may."),
    "schedule": ("send", "Send one message at a given time."),
    "upload": ("upload", "Load a base: a file with many messages."),
    "uploads": ("upload", "List the bases that were loaded, the newest last."),
    "preview": ("preview", "Show what a message of a campaign would say."),
    "campaigns": ("status", "List the campaigns, pause and resume them."),
    "status": ("status", "Show what waits, what was sent today, and how the providers are."),
    "spool": ("spool", "List, export, hold, release, cancel or resend messages that wait."),
    "repo": ("repo", "List or export what became of messages."),
    "blacklist": ("blacklist", "Say who must not be written to."),
    "bounce": ("bounce", "Take a bounced mail from stdin."),
    "completion": ("completion", "Teach a shell to complete commands and campaigns."),
    "user": ("user", "Say who may use the HTTP API."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and first line, and imports one when it is called."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the names in the order of the table, not of the alphabet."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that `args` begins with, now with its options and arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            command = getattr(import_module(f"dialerd.cli.{COMMANDS[name][0]}"), name)
        return name, command, rest

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the options before the command; wrong ones become one line, as those behind it."""
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise WrongUsage.of(error) from error

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line, or answer a shell that completes one: in our words of the shells, not in click's."""
        if "_DIALERD_COMPLETE" in os.environ:
            import_module("dialerd.cli.completion")
        open_standard_streams()
        try:
            return super().main(*args, **kwargs)
        except OSError as error:  # of what click prints itself, such as help
            status = status_of(error)
            if status is None:
                raise
            sys.exit(status)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what it raises for an operator becomes a line on stderr and the exit status."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise WrongUsage.of(error) from error
        except (Exception, KeyboardInterrupt) as error:
            status = status_of(error)
            if status is None:
                raise
            raise click.exceptions.Exit(status) from error


@click.group(
    cls=LazyGroup,
    commands={name: click.Command(name, short_help=line) for name, (_, line) in COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="New here? Try `dialerd demo`, then `dialerd init config`.",
)
@config_option
@click.version_option(__version__, prog_name="dialerd")
def main() -> None:
    """Send scheduled and bulk SMS and e-mail: each at its time, in its order, at its pace, once.

    Exit status: 0 done, 1 refused or failed, 2 wrong usage or configuration, 75 something outside is down.
    """
