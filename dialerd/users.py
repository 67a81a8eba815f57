"""Users of the API: their passwords, the tokens that logins and machines show, and how often one may guess."""

import asyncio
import base64
import hashlib
import secrets
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dialerd import log
from dialerd.grouped import Grouped
from dialerd.model.errors import Refused
from dialerd.store import Store
from dialerd.store import users as table

__all__ = ["Users", "digest_of"]

logger = log.get(__name__)

#: So many wrong passwords within GUESSING_S are let pass for one user, and from one network address.
MOST_GUESSES_OF_USER = 10
MOST_GUESSES_OF_ADDRESS = 50
GUESSING_S = 900.0
#: A hash takes 64 MiB and a fifth of a second: so many are worked out at once.
HASHES_AT_ONCE = 2
SHORTEST_PASSWORD = 8
KEY_PREFIX = "dialerd_"


def digest_of(token: str) -> str:
    """Return what is kept of a token: its SHA-256. Tokens are random, so nobody can guess them back."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class Users:
    """The users of one database. `clock` returns aware UTC; `hasher` says what guessing costs."""

    def __init__(self, store: Store, *, clock: Callable[[], datetime], hasher: PasswordHasher | None = None) -> None:
        self._store = store
        self._clock = clock
        self._hasher = hasher or PasswordHasher()
        self._hashing = asyncio.Semaphore(HASHES_AT_ONCE)
        self._ask: Grouped[str, str | None] = Grouped(self._users_of)
        self._nobody: str | None = None

    # -- users ---------------------------------------------------------------------------------------------------

    async def add(self, name: str, password: str) -> bool:
        """Add a user, or give one that is there a new password; False if he was there. Raises Refused."""
        if not name or ":" in name or not name.isprintable():
            raise Refused("a user's name is one or more letters, without a colon")
        if len(password) < SHORTEST_PASSWORD:
            raise Refused(f"a password has at least {SHORTEST_PASSWORD} characters")
        hashed = await asyncio.to_thread(self._hasher.hash, password)
        return await self._store.transact(table.add_user, name, password=hashed, now=self._clock())

    async def add_key(self, user: str, name: str) -> str:
        """Return a new key with which a machine calls in the user's name; it is shown this once. Raises Refused."""
        key = KEY_PREFIX + secrets.token_urlsafe(32)
        if not await self._store.transact(
            table.add_token, digest_of(key), user=user, name=name, expires=None, now=self._clock()
        ):
            raise Refused(f"there is no user {user!r}; `dialerd user add {user}` makes one")
        return key

    # -- tokens --------------------------------------------------------------------------------------------------

    async def login(self, user: str, password: str, *, address: str, hours: float) -> str:
        """Return a token that lives for so many hours: base64 of `user:uuid`.

        `address` is the caller's network address. Raises Refused for a wrong user or password, and when there have been
        too many of them.
        """
        now = self._clock()
        since = now - timedelta(seconds=GUESSING_S)
        of_user, of_address = await self._store.read(table.failed_logins, user=user, address=address, since=since)
        if of_user >= MOST_GUESSES_OF_USER or of_address >= MOST_GUESSES_OF_ADDRESS:
            logger.warning("login_refused", user=user, address_of_caller=address, reason="too many wrong passwords")
            raise Refused(f"too many wrong passwords: try again in {GUESSING_S / 60:g} minutes")
        hashed = await self._store.read(table.password_of, user)
        if not await self._is_right(hashed, password):
            await self._store.transact(table.note_failed_login, user=user, address=address, now=now)
            logger.warning("login_refused", user=user, address_of_caller=address, reason="wrong user or password")
            raise Refused("wrong user or password")
        token = base64.b64encode(f"{user}:{uuid.uuid4()}".encode()).decode()
        await self._store.transact(
            table.add_token, digest_of(token), user=user, expires=now + timedelta(hours=hours), now=now
        )
        logger.info("logged_in", user=user, address_of_caller=address)
        return token

    async def _is_right(self, hashed: str | None, password: str) -> bool:
        async with self._hashing:
            if self._nobody is None:
                self._nobody = await asyncio.to_thread(self._hasher.hash, secrets.token_urlsafe())
            # A user that nobody knows takes as long as one with another password.
            right = await asyncio.to_thread(self._verified, hashed or self._nobody, password)
        return right and hashed is not None

    def _verified(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return False

    async def logout(self, user: str, token: str, *, address: str) -> bool:
        """End a token; False if it was none of this user's. Keys are ended by `dialerd user` only."""
        ended = await self._store.transact(table.end_token, digest_of(token), user=user)
        if ended:
            logger.info("logged_out", user=user, address_of_caller=address)
        return ended

    async def user_of(self, token: str) -> str | None:
        """Return the user whose live token, or key, this is. The database is asked each time: it ends at once."""
        return await self._ask(digest_of(token))

    async def _users_of(self, digests: Sequence[str]) -> list[str | None]:
        live = await self._store.read(table.live_tokens, list(set(digests)), now=self._clock())
        return [live.get(digest) for digest in digests]

    async def forget_old(self) -> None:
        """Delete what has run out."""
        await self._store.transact(table.forget_old, now=self._clock(), logins_for=timedelta(seconds=GUESSING_S))
