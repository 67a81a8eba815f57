"""The kinds of value that a key can have: what is taken, and what is said that was expected.

Nothing is converted by guess: a bool is no number and a number no string. Only whole numbers are taken as numbers.
"""

import difflib
import functools
import re
import ssl
import unicodedata
import zoneinfo
from collections.abc import Callable, Iterable
from datetime import date
from email.utils import parseaddr
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, NamedTuple

from phonenumbers import SUPPORTED_REGIONS
from pydantic import PlainValidator, SecretStr
from pydantic_core import PydanticCustomError

from dialerd.mail.headers import wire_address
from dialerd.model.calendar import Window, parse_window
from dialerd.model.errors import BadAddress
from dialerd.settings.sources import Hidden, HiddenPath

__all__ = [
    "Certificates",
    "Day",
    "Flag",
    "Folder",
    "FreeText",
    "Line",
    "Listen",
    "ListenAt",
    "Mailbox",
    "MaybeEmptySecret",
    "Name",
    "Network",
    "Origin",
    "Pattern",
    "PerSecond",
    "Region",
    "Secret",
    "SigningSecret",
    "Text",
    "TimeWindow",
    "Zone",
    "bare",
    "expected",
    "is_template",
    "nearest",
    "number",
    "one_of",
    "pattern",
    "whole",
    "word",
]

#: RFC 5322's mailbox without its comments and folding; letters of any script.
ADDRESS = r"[^\s@<>()\[\],;:\\\"]+@[^\s@<>()\[\],;:\\\"]+"
#: The serialization of an origin (HTML standard, 7.1.1): no path, and the scheme's own port is left out. IPv6 addresses
#: cannot stand in a Content-Security-Policy (CSP 3, 2.3.1), so not here either.
ORIGIN = re.compile(r"(https?)://[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::([1-9]\d{0,4}))?", re.ASCII)
DEFAULT_PORTS = {"http": ":80", "https": ":443"}
DISPLAY_NAME = r"\"(?:[^\"\\]|\\.)*\"|[^@<>()\[\],;:\\\"]*"
MAILBOX = re.compile(rf"{ADDRESS}|(?:{DISPLAY_NAME})\s*<{ADDRESS}>")


def expected(what: str, detail: str = "") -> PydanticCustomError:
    """Return the error of a value that is not `what`; `detail` may quote it, and is left out where it is hidden."""
    return PydanticCustomError("expected", "{what}", {"what": what, "detail": detail})


def is_template(name: str) -> bool:
    """Tell whether a template can have that name."""
    return 1 <= len(name) <= 200 and "/" not in name and not name.startswith(".")


def nearest(word: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """Return what of `known` was probably meant by `word`, None if nothing is so much like it (1: the same)."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=likeness)), None)


def whole(least: int, most: int) -> PlainValidator:
    """Take whole numbers from `least` to `most`."""

    def check(value: object) -> int:
        if type(value) is not int or not least <= value <= most:
            raise expected(_not_by_reference(value, f"a whole number from {least} to {most}"))
        return value

    return PlainValidator(check)


def number(*, least: float | None = None, above: float = 0, most: float) -> PlainValidator:
    """Take numbers from `least`, or else above `above`, to `most`."""
    what = f"a number above {_plain(above)}, at most {_plain(most)}"
    if least is not None:
        what = f"a number from {_plain(least)} to {_plain(most)}"

    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise expected(_not_by_reference(value, what))
        # Written so that nan, which is neither less nor more, is refused.
        if not (value > above if least is None else value >= least) or not value <= most:
            raise expected(what)
        return float(value)

    return PlainValidator(check)


def _plain(bound: float) -> str:
    return f"{bound:.6f}".rstrip("0").rstrip(".")


def _not_by_reference(value: object, what: str) -> str:
    return f"{what}, and only strings can come by reference" if isinstance(value, Hidden) else what


def word(least: int, most: int, *, lines: bool = False) -> Callable[[object], str]:
    """Return the check for a string of `least` to `most` characters; only with `lines` it may have several."""
    what = f"a string of {f'{least} to' if least else 'at most'} {most} characters"

    def check(value: object) -> str:
        if not isinstance(value, str):
            raise expected("a string")
        if not least <= len(value) <= most:
            raise expected(what, f"it has {len(value)}")
        for char in value:
            if unicodedata.category(char) in {"Cc", "Cs"} and not (lines and char in "\t\r\n"):
                raise expected(f"{what} without control characters", f"it has U+{ord(char):04X}")
        return value

    return check


def one_of(words: type[StrEnum]) -> PlainValidator:
    """Take the words of an enumeration."""

    def check(value: object) -> StrEnum:
        if not isinstance(value, str) or value not in set(words):
            raise expected("one of " + ", ".join(words))
        return words(value)

    return PlainValidator(check)


class Listen(NamedTuple):
    """An address to listen on; printed as `host:port`."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return it as it is written: an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_line = word(0, 1000)
_name = word(1, 200)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise expected(_not_by_reference(value, "true or false"))
    return value


def _secret(least: int) -> PlainValidator:
    check = word(least, 4096)

    def secret(value: object) -> SecretStr:
        return value if isinstance(value, SecretStr) else SecretStr(str(check(value)))

    return PlainValidator(secret)


def _folder(value: object) -> Path:
    if isinstance(value, Path):
        return value
    text = word(1, 4096)(value)
    return HiddenPath(text) if isinstance(text, Hidden) else Path(text)


def _certificates(value: object) -> str:
    what = 'certificates in PEM, such as { file = "ca.pem" }'
    text = word(1, 1_000_000, lines=True)(value)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=str(text))
    except (ssl.SSLError, ValueError):
        raise expected(what) from None
    return text


def _day(value: object) -> date:
    # A TOML date and time is a date to isinstance.
    if type(value) is not date:
        raise expected("a date without quotes, such as 2026-12-25")
    return value


def pattern(value: object) -> str:
    """Return `value` if it is a regular expression."""
    text = word(1, 4096, lines=True)(value)
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise expected("a regular expression", str(error)) from None
    return text


def _window(value: object) -> Window:
    if isinstance(value, Window):
        return value
    entry = _line(value)
    try:
        return parse_window(entry)
    except ValueError as error:
        raise expected("days;from-to, such as mon-fri;09:00-18:00", str(error)) from None


def _zone(value: object) -> str:
    name = _name(value)
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        meant = nearest(name, _zones())
        raise expected(
            "a time zone of the IANA database, such as America/Montevideo", f"did you mean {meant}?" if meant else ""
        ) from None
    return name


@functools.cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _region(value: object) -> str:
    region = _line(value)
    if region not in SUPPORTED_REGIONS:
        upper = region.upper()
        raise expected(
            "a country as two capital letters, such as UY",
            f"did you mean {upper}?" if upper in SUPPORTED_REGIONS else "",
        )
    return region


def _mailbox(value: object) -> str:
    text = _name(value)
    if not MAILBOX.fullmatch(text):
        raise expected('one address, such as sales@example.com, or "Sales" <sales@example.com>')
    return _with_a_domain(text)


def bare(value: object) -> str:
    """Return `value` if it is an address without a name."""
    text = _name(value)
    if not re.fullmatch(ADDRESS, text):
        raise expected("one address, such as bounces@example.com")
    return _with_a_domain(text)


def _with_a_domain(mailbox: str) -> str:
    try:
        wire_address(parseaddr(mailbox)[1])
    except BadAddress as error:
        raise expected("an address with a domain that can be", str(error)) from None
    return mailbox


def _network(value: object) -> IPv4Network | IPv6Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    text = _line(value)
    try:
        return ip_network(text)
    except ValueError as error:
        raise expected("an IP address or network, such as 10.0.0.0/8 or ::1/128", str(error)) from None


def _listen(value: object) -> Listen:
    if isinstance(value, Listen):
        return value
    text = _line(value)
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([\w.-]+)):(\d{1,5})", text, re.ASCII)
    if found is None or int(found[3]) > 65535:
        raise expected("host:port, such as 127.0.0.1:8088 or [::1]:8088, with a port from 0 to 65535")
    host = found[1] or found[2]
    return Listen(Hidden(host) if isinstance(value, Hidden) else host, int(found[3]))


def _origin(value: object) -> str:
    text = _line(value)
    found = ORIGIN.fullmatch(text)
    if found is None or int(found[2] or 1) > 65535 or text.endswith(DEFAULT_PORTS[found[1]]):
        raise expected(
            "an origin as browsers write it, such as https://forms.example.com or http://10.0.0.5:8080",
            "scheme, host and port, in small letters, without the scheme's own port and without / at the end",
        )
    return text


#: A string on one line, empty or not.
Line = Annotated[str, PlainValidator(_line)]
#: What something is called.
Name = Annotated[str, PlainValidator(_name)]
Certificates = Annotated[str, PlainValidator(_certificates)]
#: A string that may have several lines, but begins with something.
Text = Annotated[str, PlainValidator(word(1, 100_000, lines=True))]
#: A string that may have several lines, and may be empty.
FreeText = Annotated[str, PlainValidator(word(0, 100_000, lines=True))]
Flag = Annotated[bool, PlainValidator(_flag)]
Secret = Annotated[SecretStr, _secret(1)]
MaybeEmptySecret = Annotated[SecretStr, _secret(0)]
#: What signs links that many people get: a shorter one can be found by trying.
SigningSecret = Annotated[SecretStr, _secret(16)]
Folder = Annotated[Path, PlainValidator(_folder)]
Day = Annotated[date, PlainValidator(_day)]
Pattern = Annotated[str, PlainValidator(pattern)]
TimeWindow = Annotated[Window, PlainValidator(_window)]
Zone = Annotated[str, PlainValidator(_zone)]
Region = Annotated[str, PlainValidator(_region)]
Mailbox = Annotated[str, PlainValidator(_mailbox)]
Network = Annotated[IPv4Network | IPv6Network, PlainValidator(_network)]
#: Where a web page comes from, as browsers write it.
Origin = Annotated[str, PlainValidator(_origin)]
ListenAt = Annotated[Listen, PlainValidator(_listen)]
#: How many a second; its inverse, the seconds between two, stays a number one can wait for.
PerSecond = Annotated[float, number(least=0.000001, most=1_000_000)]
