"""How an http provider lets us in, and what of it nobody may read."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

from dialerd.model.placeholder import OF_MESSAGE
from dialerd.settings import HttpProvider, Scheme
from dialerd.settings.sources import Hidden

__all__ = ["authorization_of", "secrets_of", "without_login", "without_private"]

#: A name that sounds like a secret's.
SECRET_WORD = re.compile(r"pas|pw|secret|key|token|auth|bearer|credential", re.IGNORECASE)

#: A phone number, in whatever groups; two are taken for the same when so many of their last digits are.
NUMBER = re.compile(r"\+?\(?\d[\d ().\-/]{5,}\d")
SAME = 7


def without_login(url: str) -> tuple[str, tuple[str, str] | None]:
    """Return a URL without fragment and without user and password, its host in ASCII (RFC 3490), and these two."""
    parts = urlsplit(url)
    login = None
    host = parts.netloc.rpartition("@")[2]
    if not host.isascii():
        host = host.encode("idna").decode()
    if parts.username is not None:
        login = (parts.username, parts.password or "")
    return parts._replace(netloc=host, fragment="").geturl(), login


def authorization_of(provider: HttpProvider, login: tuple[str, str] | None) -> str | None:
    """Return the header for Bearer (RFC 6750) or Basic (RFC 7617, in UTF-8); digests are another's work."""
    auth = provider.auth
    if auth is not None and auth.bearer is not None:
        return f"Bearer {auth.bearer.get_secret_value()}"
    if auth is not None and auth.scheme is Scheme.BASIC and auth.password is not None:
        login = (auth.user or "", auth.password.get_secret_value())
    elif auth is not None:
        return None
    return f"Basic {_basic(*login)}" if login is not None else None


def _basic(user: str, password: str) -> str:
    return b64encode(f"{user}:{password}".encode()).decode()


def secrets_of(provider: HttpProvider, login: tuple[str, str] | None) -> tuple[str, ...]:
    """Return what no error may repeat: credentials, parameters, and what stands under a name that sounds like one."""
    found = {value for key, value in provider.parameters.items() if key not in OF_MESSAGE}
    if login is not None:
        found |= {login[1], _basic(*login)}
    if provider.auth is not None:
        for secret in (provider.auth.password, provider.auth.bearer):
            if secret is not None:
                found |= {secret.get_secret_value(), _basic(provider.auth.user or "", secret.get_secret_value())}
    _, _, url_query = (provider.url or "").partition("?")
    for part in (dict(parse_qsl(url_query)), provider.query, provider.form, provider.json, provider.headers):
        found |= set(_secret_words(part))
    return tuple(sorted((value for value in found if len(value) > 2), key=len, reverse=True))


def _secret_words(value: object, name: str = "") -> Iterator[str]:
    """Yield what stands under such a name or came by reference, and its last word: the first may be a scheme."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _secret_words(entry, key)
    elif isinstance(value, list):
        for entry in value:
            yield from _secret_words(entry, name)
    elif isinstance(value, Hidden) or (isinstance(value, str) and SECRET_WORD.search(name)):
        yield value
        yield from value.split()[-1:]


def without_private(text: str, private: Sequence[str]) -> str:
    """Return what a gateway says without what nobody may read, however it spells that."""
    for one in private:
        # As it is, and as a page, a JSON or a URL would repeat it.
        spellings = {one, json.dumps(one)[1:-1], escape(one), quote(one, "", errors="replace")}
        for spelling in spellings | {quote_plus(one, errors="replace")}:
            if len(spelling) > 3:
                text = text.replace(spelling, "…")
            elif spelling:
                text = re.sub(rf"(?<!\w){re.escape(spelling)}(?!\w)", "…", text)
    ends = {_digits(one)[-SAME:] for one in private if NUMBER.fullmatch(one)}
    return NUMBER.sub(lambda found: "…" if any(end in _digits(found[0]) for end in ends) else found[0], text)


def _digits(number: str) -> str:
    return "".join(filter(str.isdigit, number))
