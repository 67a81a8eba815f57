"""`dialerd user`: who may use the API."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from dialerd.cli.frame import Frame, config_option, examples, json_option, pass_frame
from dialerd.cli.later import later
from dialerd.cli.output import print_json, print_table
from dialerd.model.errors import Refused

if TYPE_CHECKING:
    from dialerd import users
    from dialerd.store import users as table
else:
    users, table = later("dialerd.users", "dialerd.store.users")

__all__ = ["user"]


def _now() -> datetime:
    return datetime.now(UTC)


@click.group()
@examples("dialerd user add ana", "dialerd user key ana crm")
@config_option
def user() -> None:
    """Say who may use the HTTP API.

    People log in with a name and a password, machines show a key.
    """


@user.command()
@examples("dialerd user add ana", 'echo "$PASSWORD" | dialerd user add crm')
@click.argument("name")
@json_option
@pass_frame
async def add(frame: Frame, name: str, as_json: bool) -> None:
    """Add a user, or give one a new password.

    The password is asked for twice; where stdin is no terminal, its first line is taken. With a new password every
    token that the user was given ends.
    """
    password = _password()
    async with frame.open_store() as store:
        is_new = await users.Users(store, clock=_now).add(name, password)
    if as_json:
        print_json({"user": name, "new": is_new})
    else:
        click.echo(f"{name} may use the API." if is_new else f"{name} has a new password.")


def _password() -> str:
    if sys.stdin.isatty():
        password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return password
    return sys.stdin.readline().rstrip("\r\n")


@user.command()
@examples("dialerd user remove ana")
@click.argument("name")
@json_option
@pass_frame
async def remove(frame: Frame, name: str, as_json: bool) -> None:
    """Remove a user; all tokens and keys of the user end at once."""
    async with frame.open_store() as store:
        if not await store.transact(table.remove_user, name):
            raise Refused(f"there is no user {name!r}; `dialerd user list` shows them")
    print_json({"user": name, "removed": True}) if as_json else click.echo(f"{name} is removed.")


@user.command()
@examples("dialerd user key ana crm")
@click.argument("name")
@click.argument("key")
@click.option("--end", is_flag=True, help="End the key instead.")
@json_option
@pass_frame
async def key(frame: Frame, name: str, key: str, end: bool, as_json: bool) -> None:
    """Make a key for a machine, and show it this once.

    A key lives until it is ended; a new one of the same name takes its place.
    """
    async with frame.open_store() as store:
        if end:
            if not await store.transact(table.end_key, name, key):
                raise Refused(f"{name} has no key {key!r}; `dialerd user list` shows them")
            ended = {"user": name, "key": key, "ended": True}
            print_json(ended) if as_json else click.echo(f"The key {key} of {name} is ended.")
            return
        made = await users.Users(store, clock=_now).add_key(name, key)
    print_json({"user": name, "key": key, "secret": made}) if as_json else click.echo(made)


@user.command("list")
@examples("dialerd user list")
@json_option
@pass_frame
async def list_(frame: Frame, as_json: bool) -> None:
    """List the users, and how their keys are called."""
    async with frame.open_store() as store:
        found = await store.read(table.users)
    if as_json:
        print_json([{"name": one.name, "created": one.created, "keys": one.keys} for one in found])
    else:
        print_table(
            ("name", "since", "keys"), [(one.name, f"{one.created:%Y-%m-%d}", ", ".join(one.keys)) for one in found]
        )
