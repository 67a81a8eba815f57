"""Who may use the API: users with passwords, the tokens they were given, and the logins that failed."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from dialerd.store.arrays import any_of, bind_list
from dialerd.store.columns import Instant

__all__ = [
    "User",
    "add_token",
    "add_user",
    "end_key",
    "end_token",
    "failed_logins",
    "forget_old",
    "live_tokens",
    "note_failed_login",
    "password_of",
    "remove_user",
    "users",
]

NOW = bindparam("now", type_=Instant)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who may use the API. `keys` are the names of the keys that machines use in his name."""

    name: str
    created: datetime
    keys: tuple[str, ...] = ()


def add_user(connection: Connection, name: str, *, password: str, now: datetime) -> bool:
    """Add a user, or give one that is there a new password (hashed already); False if he was there."""
    known = password_of(connection, name) is not None
    connection.execute(
        text(
            "INSERT INTO api_user (name, password, created) VALUES (:name, :password, :now)"
            " ON CONFLICT (name) DO UPDATE SET password = excluded.password"
        ).bindparams(NOW),
        {"name": name, "password": password, "now": now},
    )
    if known:
        # Whoever knew the old password is logged out.
        connection.execute(text('DELETE FROM api_token WHERE "user" = :name AND name IS NULL'), {"name": name})
    return not known


def remove_user(connection: Connection, name: str) -> bool:
    """Remove a user with all his tokens and keys; False if there is none."""
    connection.execute(text('DELETE FROM api_token WHERE "user" = :name'), {"name": name})
    return connection.execute(text("DELETE FROM api_user WHERE name = :name"), {"name": name}).rowcount > 0


def users(connection: Connection) -> list[User]:
    """Return all users by name."""
    keys: dict[str, list[str]] = {}
    for user, name in connection.execute(
        text('SELECT "user", name FROM api_token WHERE name IS NOT NULL ORDER BY "user", name')
    ):
        keys.setdefault(user, []).append(name)
    found = connection.execute(text("SELECT name, created FROM api_user ORDER BY name").columns(created=Instant))
    return [User(name=name, created=created, keys=tuple(keys.get(name, ()))) for name, created in found]


def password_of(connection: Connection, name: str) -> str | None:
    """Return the hash of a user's password; None if there is no such user."""
    found: str | None = connection.execute(
        text("SELECT password FROM api_user WHERE name = :name"), {"name": name}
    ).scalar()
    return found


# -- tokens ----------------------------------------------------------------------------------------------------------


def add_token(
    connection: Connection, digest: str, *, user: str, name: str | None = None, expires: datetime | None, now: datetime
) -> bool:
    """Remember a token by its digest: a login's until `expires`, or, named, a machine's key. False without the user.

    A key takes the place of the user's key of that name.
    """
    if password_of(connection, user) is None:
        return False
    if name is not None:
        end_key(connection, user, name)
    connection.execute(
        text(
            'INSERT INTO api_token (digest, "user", name, created, expires)'
            " VALUES (:digest, :user, :name, :now, :expires)"
        ).bindparams(NOW, bindparam("expires", type_=Instant)),
        {"digest": digest, "user": user, "name": name, "now": now, "expires": expires},
    )
    return True


def end_token(connection: Connection, digest: str, *, user: str) -> bool:
    """Forget a login's token of this user; False if there is none."""
    statement = text('DELETE FROM api_token WHERE digest = :digest AND "user" = :user AND name IS NULL')
    return connection.execute(statement, {"digest": digest, "user": user}).rowcount > 0


def end_key(connection: Connection, user: str, name: str) -> bool:
    """Forget a key of this user; False if there is none of that name."""
    statement = text('DELETE FROM api_token WHERE "user" = :user AND name = :name')
    return connection.execute(statement, {"user": user, "name": name}).rowcount > 0


def live_tokens(connection: Connection, digests: list[str], *, now: datetime) -> dict[str, str]:
    """Return the users of those of the tokens that live, by digest."""
    statement = text(
        f'SELECT digest, "user" FROM api_token WHERE {any_of(connection, "digest", "digests", "text")}'
        " AND (expires IS NULL OR expires > :now)"
    ).bindparams(NOW)
    found = connection.execute(statement, {"digests": bind_list(connection, digests), "now": now})
    return {row.digest: row.user for row in found}


# -- logins ----------------------------------------------------------------------------------------------------------


def note_failed_login(connection: Connection, *, user: str, address: str, now: datetime) -> None:
    """Remember that somebody at this network address gave a wrong password for this user."""
    connection.execute(
        text('INSERT INTO api_failed_login ("user", address, at) VALUES (:user, :address, :now)').bindparams(NOW),
        {"user": user, "address": address, "now": now},
    )


def failed_logins(connection: Connection, *, user: str, address: str, since: datetime) -> tuple[int, int]:
    """Return how many logins failed since then for this user, and how many from this network address."""
    found = connection.execute(
        text(
            'SELECT (SELECT count(*) FROM api_failed_login WHERE "user" = :user AND at > :since),'
            " (SELECT count(*) FROM api_failed_login WHERE address = :address AND at > :since)"
        ).bindparams(bindparam("since", type_=Instant)),
        {"user": user, "address": address, "since": since},
    ).one()
    return found[0], found[1]


def forget_old(connection: Connection, *, now: datetime, logins_for: timedelta) -> None:
    """Delete tokens that have run out and failed logins older than `logins_for`."""
    connection.execute(text("DELETE FROM api_token WHERE expires <= :now").bindparams(NOW), {"now": now})
    connection.execute(
        text("DELETE FROM api_failed_login WHERE at <= :before").bindparams(bindparam("before", type_=Instant)),
        {"before": now - logins_for},
    )
