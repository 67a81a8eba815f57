"""Reads the address of a recipient: a telephone number or an e-mail address, in one canonical form.

The only file that knows phonenumbers and email-validator. Numbers follow ITU-T E.164 (at most 15 digits, country code
included) and the national plans that phonenumbers carries; addresses follow RFC 5321 and 5322, RFC 6531 and 6532 for
characters other than ASCII.
"""

import re
import unicodedata
from datetime import tzinfo
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

import email_validator
import phonenumbers
from phonenumbers import NumberParseException, PhoneMetadata, PhoneNumber, PhoneNumberFormat, PhoneNumberType
from phonenumbers.timezone import UNKNOWN_TIMEZONE, time_zones_for_number

from dialerd.model.errors import BadAddress
from dialerd.model.message import Channel, NumberFormat

__all__ = ["Address", "canonical", "dialled", "read", "usual", "zones_of"]

#: Longer texts are refused unread: an address has at most 254 octets (RFC 5321, erratum 1690), a number 15 digits.
LONGEST_ADDRESS = 320
LONGEST_NUMBER = 64

# A mail server inside an organisation may well have such a name; whether it exists is for the mail provider to say.
# email-validator's documentation names this list as the place to allow it.
_INTERNAL = {"local", "localhost", "test"}
email_validator.SPECIAL_USE_DOMAIN_NAMES[:] = [
    name for name in email_validator.SPECIAL_USE_DOMAIN_NAMES if name not in _INTERNAL
]
_RESERVED = tuple(mark + name for name in email_validator.SPECIAL_USE_DOMAIN_NAMES for mark in "@.")

# An address that email-validator would only return in lower case: letters, digits and - _ + in parts between dots, no
# label that could be an encoded one (RFC 5890, section 2.3.1: hyphens in third and fourth place).
_is_plain_address = re.compile(
    r"(?=.{3,254}\Z)[a-z0-9_+-]{1,32}(?:\.[a-z0-9_+-]{1,15}){0,2}"
    r"@(?:[a-z0-9](?:-?[a-z0-9]){0,31}\.){1,4}[a-z]{2,32}"
).fullmatch

_SPACES = "\t \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_DASHES = "-\u00ad\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
# What a number copied from an address book brings along unseen.
_INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
_DROPPED = str.maketrans("\uff0b", "+", _SPACES + _DASHES + _INVISIBLE + "./()[]\u00b7\uff08\uff09\uff0e\uff0f")

_is_number = re.compile(r"(\+?)([0-9]+)").fullmatch
_is_digits = re.compile(r"[0-9]{7,15}").fullmatch
_is_exponential = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?[eE][+-]?[0-9]+").fullmatch
_is_decimal = re.compile(r"\+?[0-9]{6,}[.,]0{1,2}").fullmatch
_CONTROL = re.compile("[\0-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_SUBSCRIBERS = {PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}
_SHORT = 6


class Address(NamedTuple):
    """Where a message goes: `value` in canonical form, and the time zones that the number may be in.

    `zone` holds their IANA names, sorted, with `|` between them; "" when they are unknown or were not asked for.
    """

    value: str
    zone: str


def read(destination: str, *, channel: Channel, region: str | None = None, with_zone: bool = False) -> Address:
    """Return the address that was written; BadAddress says why there is none.

    Numbers become E.164 digits without the plus. With a region they are read as somebody there dials them (098… is
    59898… in UY, + and 00 lead abroad) and must be valid in that country's numbering plan; a number of another country
    needs its +. Short codes are no numbers of a plan: only campaigns without a region can send to them. Without a
    region any 3 to 15 digits are taken as they stand. Separators, Unicode's too, are dropped, and decimal digits of any
    script are read. Mexican numbers with the 1 of before 2019 behind +52 lose it, if a region is given.

    E-mail addresses become lower case, the domain in its ASCII form (RFC 5891). Display names, quoted local parts and
    bracketed domains are refused. Whether the domain exists is not asked.

    Zones are looked up for numbers that were read with a region or begin with +, never for e-mail.
    """
    if channel is Channel.EMAIL:
        return Address(_mailbox(destination), "")
    plus, digits = _digits(destination)
    if not region:
        if not 3 <= len(digits) <= 15:
            raise _bad_number(f"a number has 3 to 15 digits, not {len(digits)}")
        return Address(digits, _zone_of(_international(digits)) if with_zone and plus else "")
    value = _usual(plus, digits, region)
    if value is not None:
        return Address(value, _zone_of(_international(value)) if with_zone else "")
    number = _dialled(plus + digits, region)
    value = phonenumbers.format_number(number, PhoneNumberFormat.E164)[1:]
    return Address(value, _zone_of(number) if with_zone else "")


def usual(destination: str, region: str) -> str | None:
    """Return what `read` makes of digits as they are dialled within their region; None where only that can tell."""
    return _usual("", destination, region) if destination.isdigit() and destination.isascii() else None


def canonical(value: str, channel: Channel, region: str | None = None) -> str:
    """Return the form in which addresses are compared, as `read` does; BadAddress if it is none.

    A number that is canonical already is read again without a region, or with one and a + before it.
    """
    return read(value, channel=channel, region=region).value


def dialled(destination: str, address: str, *, style: NumberFormat, region: str | None = None) -> str:
    """Return a number as a provider wants it; `address` is its canonical form and `destination` what was written.

    plus is +59899123456, e164 59899123456, national 099123456 (for a number of the region's own country; others keep
    their +), as_is what was written. A number that no country has, such as a short code or a national number in a
    campaign without a region, has neither + nor trunk prefix: it stays as its digits are.
    """
    if style is NumberFormat.AS_IS:
        return destination.strip()
    if style is NumberFormat.E164:
        return address
    return _styled(address, style, region)


@lru_cache(maxsize=8192)
def _styled(address: str, style: NumberFormat, region: str | None) -> str:
    if not _is_digits(address):
        return address
    number = _international(address)
    is_certain = region is not None and _usual("+", address, region) is not None
    if number is None or not (is_certain or phonenumbers.is_possible_number(number)):
        return address
    if style is NumberFormat.PLUS:
        return "+" + address
    home = phonenumbers.country_code_for_region(region) if region else number.country_code
    if number.country_code != home:
        return "+" + address
    written = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    return "".join(letter for letter in written if letter in "0123456789")


@lru_cache(maxsize=4096)
def zones_of(zone: str, default: tzinfo) -> tuple[tzinfo, ...]:
    """Return the time zones that Address.zone names, `default` for "" and in place of a name that is unknown here."""
    zones: dict[tzinfo, None] = {}
    for name in zone.split("|"):
        try:
            zones[ZoneInfo(name)] = None
        # KeyError: no such zone; ValueError and OSError: a name that is no name, or a folder's.
        except (KeyError, ValueError, OSError):
            zones[default] = None
    return tuple(zones)


def _mailbox(destination: str) -> str:
    """Return the canonical form of an e-mail address."""
    if len(destination) > LONGEST_ADDRESS:
        raise _bad_address(f"the address has {len(destination)} characters, and 254 are the most that one can have")
    text = destination.strip(_SPACES)
    if text.isascii() and _is_plain_address(plain := text.lower()) and not plain.endswith(_RESERVED):
        return plain
    if not text:
        raise _bad_address("the address is empty")
    if unseen := _CONTROL.search(text):
        raise _bad_address(f"the address holds a control character (U+{ord(unseen[0]):04X})")
    try:
        found = email_validator.validate_email(
            text, check_deliverability=False, globally_deliverable=False, strict=True, allow_display_name=False
        )
    except email_validator.EmailNotValidError as error:
        raise _bad_address(str(error)) from error
    domain = found.ascii_domain.lower()
    if domain != "localhost" and not re.search(r"\.[^.]*[a-z][^.]*\Z", domain):
        raise _bad_address("the part after the @-sign is no domain: it has no period, or ends in a number")
    return unicodedata.normalize("NFC", found.local_part.lower()) + "@" + domain


def _digits(destination: str) -> tuple[str, str]:
    """Return the plus, if there is one, and the ASCII digits of what was written."""
    if len(destination) > LONGEST_NUMBER:
        raise _bad_number(f"the number has {len(destination)} characters, more than any number")
    if destination.isascii() and destination.isdigit():
        return "", destination
    text = destination.strip(_SPACES)
    kept = text.translate(_DROPPED)
    found = _is_number(kept)
    if not found:
        kept = "".join(str(unicodedata.decimal(letter)) if letter.isdecimal() else letter for letter in kept)
        found = _is_number(kept)
    if _is_decimal(text):
        raise _bad_number("the number ends in .0, as a spreadsheet writes decimals: format the column as text")
    if found:
        return found[1], found[2]
    if _is_exponential(text):
        raise _bad_number("the number has an exponent (1.23E+11), as Excel writes long ones: format the column as text")
    if unseen := _CONTROL.search(text):
        raise _bad_number(f"the number holds a control character (U+{ord(unseen[0]):04X})")
    for letter in kept:
        if letter.isalpha():
            raise _bad_number(f"a number has no letters, and this one has {letter!r}")
        if letter not in "+0123456789":
            raise _bad_number(f"a number has digits and separators only, and this one has {letter!r}")
    raise _bad_number("a + can only stand before the first digit" if kept.strip("+") else "the number has no digits")


class _Plan(NamedTuple):
    """The numbering plan of a region that has a country code of its own."""

    code: str
    abroad: re.Pattern[str]
    trunk: re.Pattern[str]
    general: re.Pattern[str]
    #: National numbers that are valid and have no other reading: longer than short codes, without a 0 in front.
    usual: re.Pattern[str]


@lru_cache(maxsize=512)
def _plan(region: str) -> _Plan | None:
    """Return what phonenumbers knows of the region, as few regular expressions; None if it shares its code."""
    plan = PhoneMetadata.metadata_for_region(region)
    if plan is None or plan.general_desc is None:
        return None
    if phonenumbers.COUNTRY_CODE_TO_REGION_CODE[plan.country_code or 0] != (region,):
        return None
    never = r"(?!)"
    general = plan.general_desc.national_number_pattern or never
    kinds = (plan.premium_rate, plan.toll_free, plan.shared_cost, plan.voip, plan.personal_number, plan.pager)
    patterns = []
    for kind in (plan.mobile, plan.fixed_line, *kinds, plan.uan, plan.voicemail):
        if kind and kind.national_number_pattern:
            lengths = "|".join(f"[0-9]{{{n}}}" for n in kind.possible_length or plan.general_desc.possible_length)
            patterns.append(f"(?=(?:{lengths})\\Z)(?:{kind.national_number_pattern})")
    return _Plan(
        code=str(plan.country_code),
        abroad=re.compile(plan.international_prefix or never),
        trunk=re.compile(plan.national_prefix_for_parsing or never),
        general=re.compile(general),
        usual=re.compile(f"(?=[1-9][0-9]{{{_SHORT}}})(?=(?:{general})\\Z)(?:{'|'.join(patterns) or never})"),
    )


def _usual(plus: str, digits: str, region: str) -> str | None:
    """Return the E.164 digits of what `_dialled` would, at a tenth of its cost, for a region's own usual numbers.

    None where its answer is not certain: for anything that could be read in two ways, or that it might refuse.
    """
    plan = _plan(region)
    if plan is None or (not plus and plan.abroad.match(digits)):
        return None
    national = digits
    if digits.startswith(plan.code):
        if not plus and plan.general.fullmatch(digits):
            return None
        national = digits[len(plan.code) :]
    elif plus:
        return None
    if trunk := plan.trunk.match(national):
        if trunk.lastindex or (trunk.end() and national is not digits):
            return None
        national = national[trunk.end() :]
    return plan.code + national if plan.usual.fullmatch(national) else None


def _dialled(text: str, region: str) -> PhoneNumber:
    """Return the number that is reached by dialling this in the region; BadAddress if none is."""
    if region.upper() not in phonenumbers.SUPPORTED_REGIONS:
        raise _bad_number(f"{region!r} is no region of the telephone network")
    try:
        number = _without_mexican_1(phonenumbers.parse(text, region.upper()))
    except NumberParseException as error:
        known = error.error_type != NumberParseException.INVALID_COUNTRY_CODE
        text = "the number is too short or too long" if known else "no country has the code after the +"
        raise _bad_number(text) from error
    if not phonenumbers.is_valid_number(number):
        where = phonenumbers.region_code_for_country_code(number.country_code or 0)
        hint = "" if text.startswith("+") else "; a number of another country needs a + before its country code"
        raise _bad_number(f"there is no such number in {where}: {_flaw(number)}{hint}")
    short = len(phonenumbers.national_significant_number(number)) <= _SHORT
    if short and phonenumbers.number_type(number) not in _SUBSCRIBERS:
        raise _bad_number("this is a short code, which only a campaign without a region can send to")
    return number


def _flaw(number: PhoneNumber) -> str:
    """Say what is wrong with a number that is not valid."""
    match phonenumbers.is_possible_number_with_reason(number):
        case phonenumbers.ValidationResult.TOO_SHORT:
            return "it is too short"
        case phonenumbers.ValidationResult.TOO_LONG:
            return "it is too long"
        case phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY:
            return "its area code is missing"
        case phonenumbers.ValidationResult.INVALID_LENGTH:
            return "it has a wrong number of digits"
        case _:
            return "no range of the numbering plan holds it"


def _international(digits: str) -> PhoneNumber | None:
    """Return the number of these digits behind a +, None if they begin with no country's code."""
    try:
        return _without_mexican_1(phonenumbers.parse("+" + digits))
    except NumberParseException:
        return None


def _without_mexican_1(number: PhoneNumber) -> PhoneNumber:
    """Return a Mexican mobile number as it is since August 2019: without the 1 between +52 and its ten digits."""
    national = number.national_number or 0
    if number.country_code == 52 and 10**10 <= national < 2 * 10**10:
        return PhoneNumber(country_code=52, national_number=national - 10**10)
    return number


def _zone_of(number: PhoneNumber | None) -> str:
    """Return the zones that the number may be in as Address.zone holds them."""
    if number is None:
        return ""
    return "|".join(sorted(set(time_zones_for_number(number)) - {UNKNOWN_TIMEZONE}))


def _bad_number(text: str) -> BadAddress:
    """Return the error for what is no number."""
    return BadAddress(text, "bad number")


def _bad_address(text: str) -> BadAddress:
    """Return the error for what is no e-mail address."""
    return BadAddress(text, "bad address")
