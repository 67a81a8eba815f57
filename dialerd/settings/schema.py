"""The tables of dialerd.toml: [daemon], [database], [inbound] and [api]. The providers are in providers.py."""

import re
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import Field, PlainValidator
from pydantic.dataclasses import dataclass

from dialerd.model.inbound import OPT_IN, OPT_OUT, Scope, plain_word
from dialerd.settings.tables import STRICT
from dialerd.settings.values import (
    Flag,
    Folder,
    ListenAt,
    Name,
    Network,
    Origin,
    Secret,
    Text,
    expected,
    number,
    one_of,
    word,
)

__all__ = [
    "NODE",
    "WHAT_NODE",
    "ApiSettings",
    "DaemonSettings",
    "DatabaseSettings",
    "InboundSettings",
    "LogLevel",
    "WordsSettings",
    "default_url",
]

NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
WHAT_NODE = "1 to 63 letters, digits, dots, dashes and underscores, a letter or digit first"
POSTGRESQL = re.compile(
    r"(?:postgres|postgresql|postgresql\+psycopg)"
    r"://(?P<rest>(?:[^:/]*(?::[^@]*)?@)?(?:\[[^/?]+\]|[^/:?]+)?(?::(?P<port>[^/?]*))?(?:/[^?]*)?(?:\?.*)?)"
)
SQLITE = re.compile(r"sqlite:///[^?]+(?:\?.*)?")


def _node(value: object) -> str:
    if not isinstance(value, str) or not NODE.fullmatch(value):
        raise expected(WHAT_NODE)
    return value


def _url(value: object) -> str:
    """Return the URL as SQLAlchemy reads it. SQLite in memory is refused: what was accepted must outlive the daemon."""
    what = "postgresql://user@host/database or sqlite:///path/to/file"
    if not isinstance(value, str) or not value.isprintable():
        raise expected(what)
    if found := POSTGRESQL.fullmatch(value):
        port = found["port"]
        if port and not (re.fullmatch(r"\d{1,5}", port, re.ASCII) and int(port) < 65536):
            raise expected(f"{what}, its port a number up to 65535")
        return f"postgresql+psycopg://{found['rest']}"
    if SQLITE.fullmatch(value) and not value.startswith("sqlite:///:memory:"):
        return value
    raise expected(what)


class LogLevel(StrEnum):
    """From which level on the daemon logs."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def default_url(state_dir: Path) -> str:
    """Return the URL of the SQLite database in `state_dir`, an absolute path."""
    path = str(state_dir / "dialerd.db")
    return "sqlite:///" + path.replace("%", "%25").replace("?", "%3F")


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class DaemonSettings:
    """The process: `state_dir` (absolute) holds its files, `node` is its name among the nodes of one database.

    At SIGTERM, attempts get `drain_s` seconds to end. A node that was silent for `lease_s` seconds counts as dead.
    Sending counts as stalled when for `stall_minutes` nothing went though something was due; 0: never.
    """

    state_dir: Folder
    node: Annotated[str, PlainValidator(_node)]
    drain_s: Annotated[float, number(least=0, most=3600)] = 15.0
    lease_s: Annotated[float, number(least=2, most=3600)] = 30.0
    stall_minutes: Annotated[float, number(least=0, most=1440)] = 10.0
    log_level: Annotated[LogLevel, one_of(LogLevel)] = LogLevel.INFO


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class DatabaseSettings:
    """The database: `url` for SQLAlchemy, password included; `migrate`: bring it to this version when it is opened."""

    url: Annotated[str, PlainValidator(_url)] = Field(repr=False)
    migrate: Flag = True


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class InboundSettings:
    """Who may deliver inbound messages and receipts without a token, and which campaign an unasked one belongs to."""

    allow: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
    key: Secret | None = Field(default=None, repr=False)
    campaign: Name | None = None


def _word(value: object) -> str:
    text = word(1, 50)(value)
    if not plain_word(text):
        raise expected("a word with letters or digits")
    return text


Word = Annotated[str, PlainValidator(_word)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class WordsSettings:
    """Which inbound SMS stop messages to their sender, or let them come again, and what is answered."""

    opt_out: tuple[Word, ...] = OPT_OUT
    opt_in: tuple[Word, ...] = OPT_IN
    opt_out_for: Annotated[Scope, one_of(Scope)] = Scope.ALL
    opt_out_reply: Text | None = None
    opt_in_reply: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ApiSettings:
    """HTTP: where it listens, how many hours a token lives, and how large a request, or a base of /v1, may be, in MB.

    `origins` are those of web pages whose forms may send by /porthole/.
    """

    listen: ListenAt
    token_hours: Annotated[float, number(most=87_600)] = 12.0
    campaign: Name | None = None
    trusted_proxies: tuple[Network, ...] = ()
    max_body_mb: Annotated[float, number(most=4096)] = 64.0
    max_base_mb: Annotated[float, number(most=1_000_000)] = 4096.0
    origins: tuple[Origin, ...] = ()
    inbound: InboundSettings = Field(default_factory=InboundSettings)
