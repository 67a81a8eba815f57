"""Addresses: what is read, in which form, in which zones, and what is refused with which words."""

import string
import subprocess
import sys
import time
from datetime import UTC
from zoneinfo import ZoneInfo

import email_validator
import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialerd import addresses
from dialerd.addresses import Address, canonical, dialled, read, zones_of
from dialerd.model.errors import BadAddress
from dialerd.model.message import Channel
from dialerd.settings import NumberFormat

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
OWN_CODE = [region for region in REGIONS if addresses._plan(region)]

separators = st.sampled_from(["", " ", "-", ".", "/", "(", ")", "\u00a0", "\u2013", "\u202c", "\t"])
digits = st.text(string.digits, min_size=3, max_size=15)


def number(destination: str, region: str | None = None) -> str:
    """The canonical form of a number."""
    return canonical(destination, Channel.SMS, region)


def mailbox(destination: str) -> str:
    """The canonical form of an e-mail address."""
    return canonical(destination, Channel.EMAIL)


def refusal(destination: str, channel: Channel, region: str | None = None) -> BadAddress:
    """The error with which the address is refused."""
    with pytest.raises(BadAddress) as caught:
        read(destination, channel=channel, region=region)
    return caught.value


def zone(destination: str, region: str | None = None) -> str:
    """The zones of a number."""
    return read(destination, channel=Channel.SMS, region=region, with_zone=True).zone


@st.composite
def near_numbers(draw: st.DrawFn) -> tuple[str, str, str]:
    """A region with a country code of its own, a + or none, and digits close to a number of that region."""
    region = draw(st.sampled_from(OWN_CODE))
    plan = phonenumbers.PhoneMetadata.metadata_for_region(region)
    kind = draw(st.integers(0, phonenumbers.PhoneNumberType.VOICEMAIL))
    example = phonenumbers.example_number_for_type(region, kind) or phonenumbers.example_number(region)
    national = list(phonenumbers.national_significant_number(example))
    for place in draw(st.lists(st.integers(0, len(national) - 1), max_size=4)):
        national[place] = draw(st.sampled_from(string.digits))
    code, trunk = str(plan.country_code), plan.national_prefix or "0"
    before = draw(st.sampled_from(["", "", trunk, code, code, code + trunk, "00" + code, code * 2, "0", "1", "9"]))
    after = draw(st.sampled_from(["", "", "", "0", "7"]))
    return region, draw(st.sampled_from(["", "+"])), before + "".join(national) + after


@pytest.mark.parametrize(
    ("destination", "region", "expected"),
    [
        ("098344484", "UY", "59898344484"),
        ("98344484", "UY", "59898344484"),
        ("59898344484", "UY", "59898344484"),
        ("+59898344484", "UY", "59898344484"),
        ("+598 98 344 484", "UY", "59898344484"),
        ("+598 (0)98-344.484", "UY", "59898344484"),
        ("(+598) 98/344/484", "UY", "59898344484"),
        ("0059898344484", "UY", "59898344484"),
        ("  098 344 484\t", "UY", "59898344484"),
        ("098344484", "uy", "59898344484"),
        ("2 123 1234", "UY", "59821231234"),
        ("+5491123456789", "UY", "5491123456789"),
        ("005491123456789", "UY", "5491123456789"),
        ("11 15-2345-6789", "AR", "5491123456789"),
        ("+390612345678", "UY", "390612345678"),
        ("06 1234 5678", "IT", "390612345678"),
        ("+5215512345678", "MX", "525512345678"),
        ("+521 55 1234 5678", "UY", "525512345678"),
        ("5215512345678", "MX", "525512345678"),
        ("15512345678", "MX", "525512345678"),
        ("5512345678", "MX", "525512345678"),
        ("(212) 555-1234", "US", "12125551234"),
        ("1-212-555-1234", "US", "12125551234"),
        ("+376 712345", "AD", "376712345"),  # six digits are a whole number there
        ("712345", "AD", "376712345"),
        ("098344484", None, "098344484"),
        ("+598 98 344 484", None, "59898344484"),
        ("0059898344484", None, "0059898344484"),
        ("911", None, "911"),
        ("123456789012345", None, "123456789012345"),
        ("+5215512345678", None, "5215512345678"),
        ("59.898.344.484", None, "59898344484"),
        ("\u202a+598\u00a098\u2011344\u2011484\u202c", None, "59898344484"),
        ("＋５９８（９８）３４４４８４", None, "59898344484"),
        ("٠٩٨٣٤٤٤٨٤", "UY", "59898344484"),
        ("०९८३४४४८४", None, "098344484"),
    ],
)
def test_numbers_have_one_canonical_form(destination: str, region: str | None, expected: str) -> None:
    """However somebody of the region writes a number, it becomes its E.164 digits; without a region, its digits."""
    assert number(destination, region) == expected


@pytest.mark.parametrize("region", ["UY", None])
@pytest.mark.parametrize(
    ("destination", "why"),
    [
        ("", "no digits"),
        ("   ", "no digits"),
        ("+", "no digits"),
        ("-", "no digits"),
        ("5.49112E+12", "Excel"),
        ("5,49E+10", "Excel"),
        ("5e10", "Excel"),
        (" 5.98983E+10 ", "Excel"),
        ("59898344484.0", "spreadsheet"),
        ("59898344484,00", "spreadsheet"),
        ("0800-FLORES", "letters"),
        ("098344484 int 2", "letters"),
        ("tel:098344484", "letters"),
        ("09834448O", "'O'"),
        ("098344484, 098344485", "','"),
        ("*123#", "'*'"),
        ("098344484²", "'²'"),
        ("098344484;ext=2", "';'"),
        ("098\x00344484", "U+0000"),
        ("098344484\r\n", "U+000D"),
        ("098344484\x1b", "U+001B"),
        ("098\ud83d344484", "U+D83D"),
        ("598+98344484", "before the first digit"),
        ("++59898344484", "before the first digit"),
        ("0" * 65, "65 characters"),
        ("a" * 1_000_000, "1000000 characters"),
    ],
)
def test_what_is_no_number_is_refused(destination: str, why: str, region: str | None) -> None:
    """Letters, exponents, decimals, control characters and the like are refused in words that say so."""
    error = refusal(destination, Channel.SMS, region)

    assert error.reason == "bad number"
    assert why in str(error)
    assert len(str(error)) < 200


@pytest.mark.parametrize(
    ("destination", "region", "why"),
    [
        ("12", None, "3 to 15 digits, not 2"),
        ("1234567890123456", None, "3 to 15 digits, not 16"),
        ("911", "UY", "too short"),
        ("2123", "UY", "short code"),
        ("21234", "UY", "short code"),
        ("098344", "UY", "in UY"),
        ("0983444841", "UY", "in UY"),
        ("5491123456789", "UY", "needs a +"),
        ("+59812345678", "UY", "no range"),
        ("+999123456", "UY", "no country"),
        ("+098344484", "UY", "no country"),
        ("0" * 20, "UY", "too long"),
        ("1", "UY", "too short"),
        ("098344484", "XX", "'XX' is no region"),
    ],
)
def test_numbers_that_cannot_be_reached_are_refused(destination: str, region: str | None, why: str) -> None:
    """With a region a number must be valid in its country's plan; short codes are none; without, the length counts."""
    error = refusal(destination, Channel.SMS, region)

    assert error.reason == "bad number"
    assert why in str(error)


@settings(max_examples=500)
@given(near_numbers())
def test_the_short_way_gives_what_phonenumbers_gives(written: tuple[str, str, str]) -> None:
    """Where the fast reading of a region's own numbers answers, parsing and validating them answers the same."""
    region, plus, text = written
    fast = addresses._usual(plus, text, region)
    if fast is not None:
        parsed = phonenumbers.parse(plus + text, region)

        assert phonenumbers.is_valid_number(parsed)
        assert "+" + fast == phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


@pytest.mark.parametrize("region", OWN_CODE)
def test_the_short_way_reads_each_regions_example(region: str) -> None:
    """The fast reading agrees with phonenumbers on the example of each kind of number, in four spellings."""
    for kind in range(phonenumbers.PhoneNumberType.VOICEMAIL + 1):
        example = phonenumbers.example_number_for_type(region, kind)
        if example is None:
            continue
        e164 = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
        national = phonenumbers.national_significant_number(example)
        dialled = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.NATIONAL)
        for plus, text in (
            ("+", e164[1:]),
            ("", e164[1:]),
            ("", national),
            ("", phonenumbers.normalize_digits_only(dialled)),
        ):
            fast = addresses._usual(plus, text, region)
            if fast is not None:
                parsed = phonenumbers.parse(plus + text, region)

                assert phonenumbers.is_valid_number(parsed)
                assert "+" + fast == phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def test_the_short_way_is_taken() -> None:
    """The usual spellings of a Uruguayan and an Argentine number are read fast."""
    assert all(addresses._usual(plus, text, region) for plus, text, region in [
        ("", "098344484", "UY"), ("", "98344484", "UY"), ("", "59898344484", "UY"), ("+", "59898344484", "UY"),
        ("", "1123456789", "AR"), ("+", "5491123456789", "AR"),
    ])  # fmt: skip


@settings(max_examples=300)
@given(near_numbers())
def test_canonical_numbers_are_stable(written: tuple[str, str, str]) -> None:
    """A canonical number, read as digits without a region or with a + anywhere, is itself."""
    region, plus, text = written
    try:
        value = number(plus + text, region)
    except BadAddress:
        return

    assert value == number(value) == number("+" + value)
    assert value == number("+" + value, region) == number("+" + value, "UY")
    assert 3 <= len(value) <= 15


@given(digits, st.lists(separators, min_size=15, max_size=15), st.sampled_from(["", "+"]))
def test_separators_make_no_difference(text: str, between: list[str], plus: str) -> None:
    """Without a region, any 3 to 15 digits are the address, whatever separates them."""
    written = plus + "".join(map("".join, zip(text, between, strict=False)))

    assert number(written) == text


@given(st.text() | st.text(string.digits + "+-. eE,()/\0x"), st.sampled_from([None, "UY", "AR", "MX", "US", "DE"]))
def test_a_number_is_digits_or_refused(text: str, region: str | None) -> None:
    """Whatever is written, the answer is digits or BadAddress with the reason `bad number`."""
    try:
        value = number(text, region)
    except BadAddress as error:
        assert error.reason == "bad number"  # noqa: PT017 - either is right
    else:
        assert value.isascii()
        assert value.isdigit()


@pytest.mark.parametrize(
    ("destination", "region", "expected"),
    [
        ("098344484", "UY", "America/Montevideo"),
        ("+59898344484", None, "America/Montevideo"),
        ("59898344484", None, ""),
        ("+5215512345678", None, "America/Mexico_City"),
        ("+12125551234", "UY", "America/New_York"),
        ("+80012345678", "UY", ""),
        ("+123", None, ""),
        ("+999123456", None, ""),
        ("+59812345678", None, ""),
    ],
)
def test_zones_of_numbers(destination: str, region: str | None, expected: str) -> None:
    """A number read with a region or behind a + has its zones; one that is unknown or has no place has none."""
    assert zone(destination, region) == expected


def test_a_number_may_be_in_several_zones() -> None:
    """All zones that a number may be in are there, sorted; asking for none gives none."""
    zones = zone("+61412345678", "UY").split("|")

    assert zones == sorted(zones)
    assert {"Australia/Perth", "Australia/Sydney"} <= set(zones)
    assert read("+61412345678", channel=Channel.SMS) == Address("61412345678", "")
    assert all(isinstance(each, ZoneInfo) for each in zones_of("|".join(zones), UTC))


@pytest.mark.parametrize(
    ("written", "region", "plus", "e164", "national"),
    [
        ("099 123-456", "UY", "+59899123456", "59899123456", "099123456"),
        ("+59899123456", None, "+59899123456", "59899123456", "099123456"),
        ("59899123456", None, "+59899123456", "59899123456", "099123456"),
        # A foreign number has no national form here; nor has what no country's plan holds.
        ("+5491152345678", "UY", "+5491152345678", "5491152345678", "+5491152345678"),
        ("+1 201 555 0123", "US", "+12015550123", "12015550123", "2015550123"),
        ("099123456", None, "099123456", "099123456", "099123456"),
        ("1234", None, "1234", "1234", "1234"),
    ],
)
def test_numbers_as_providers_want_them(written: str, region: str | None, plus: str, e164: str, national: str) -> None:
    """One number, four spellings; what is no international number is sent as its digits are, never with a wrong +."""
    address = canonical(written, Channel.SMS, region)
    spelt = {style: dialled(f" {written} ", address, style=style, region=region) for style in NumberFormat}
    assert spelt == {"plus": plus, "e164": e164, "national": national, "as_is": written}


def test_zones_fall_back_on_the_campaigns() -> None:
    """No zone, an unknown one, and a name that is none stand for the default."""
    montevideo = ZoneInfo("America/Montevideo")

    assert zones_of("", UTC) == (UTC,)
    assert zones_of("?", UTC) == (UTC,)
    assert zones_of("America/Montevideo", UTC) == (montevideo,)
    assert zones_of("America/Montevideo|Mars/Olympus|No/Where", UTC) == (montevideo, UTC)
    assert zones_of("../../etc/passwd|America|/etc/passwd|\0", UTC) == (UTC,)


def test_every_zone_of_phonenumbers_is_known_here() -> None:
    """The legacy names that phonenumbers gives are in the time zone database that Python finds (PyPI's tzdata)."""
    from phonenumbers.tzdata import TIMEZONE_DATA

    names = {name for zones in TIMEZONE_DATA.values() for name in zones} - {"Etc/Unknown"}

    assert not [name for name in names if zones_of(name, UTC) == (UTC,) and name not in {"Etc/UTC", "UTC"}]


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        ("ana@example.com", "ana@example.com"),
        ("Ana.Perez+Promo@EXAMPLE.Com", "ana.perez+promo@example.com"),
        (" ana@example.com\u00a0", "ana@example.com"),
        ("o'brien&co@example.com", "o'brien&co@example.com"),
        ("JOSÉ@example.com", "josé@example.com"),
        ("jose\u0301@example.com", "josé@example.com"),
        ("ana@EXÄMPLE.com", "ana@xn--exmple-cua.com"),
        ("ana@XN--exmple-cua.com", "ana@xn--exmple-cua.com"),
        ("ana@mail.example.test", "ana@mail.example.test"),
        ("ana@correo.local", "ana@correo.local"),
        ("root@localhost", "root@localhost"),
        ("a" * 64 + "@example.com", "a" * 64 + "@example.com"),
    ],
)
def test_addresses_have_one_canonical_form(destination: str, expected: str) -> None:
    """An e-mail address is lower case, composed, with the ASCII form of its domain."""
    assert mailbox(destination) == expected
    assert mailbox(expected) == expected
    assert read(destination, channel=Channel.EMAIL, region="UY", with_zone=True) == Address(expected, "")


@pytest.mark.parametrize(
    ("destination", "why"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("ana", "@"),
        ("@example.com", "before the @"),
        ("ana@", "after the @"),
        ("ana@example", "no period"),
        ("ana@10.0.0.1", "ends in a number"),
        ("ana@[10.0.0.1]", "bracket"),
        ("ana@example..com", "period"),
        ("ana@-example.com", "hyphen"),
        ("ana..perez@example.com", "period"),
        ("ana@example.invalid", "special-use"),
        ("ana perez@example.com", "SPACE"),
        ("ana@example.com, eva@example.com", "after the @"),
        ("Ana <ana@example.com>", "display name"),
        ("<ana@example.com>", "display name"),
        ('"ana perez"@example.com', "Quoting"),
        ("ana@example.com\r\nBcc: eva@example.com", "U+000D"),
        ("ana@example.com\n", "U+000A"),
        ("ana\0@example.com", "U+0000"),
        ("an\ud83da@example.com", "U+D83D"),
        ("ana@xn--a.com", ""),
        ("a" * 65 + "@example.com", "too long"),
        ("a" * 60 + "@" + "b.c" * 70 + ".com", "too long"),
        ("a" * 1_000_000, "1000000 characters"),
        ("098344484", "@"),
    ],
)
def test_what_is_no_address_is_refused(destination: str, why: str) -> None:
    """Display names, second addresses, header lines, limits: the refusal says what is wrong."""
    error = refusal(destination, Channel.EMAIL)

    assert error.reason == "bad address"
    assert why in str(error)


@settings(max_examples=500)
@given(st.from_regex(r"[A-Za-z0-9_.+-]{1,20}@([A-Za-z0-9-]{1,8}\.){1,3}([A-Za-z]{1,5}|test|arpa)", fullmatch=True))
def test_the_short_way_gives_what_email_validator_gives(text: str) -> None:
    """A plain address is read without email-validator, which would accept it and only change its case."""
    if addresses._is_plain_address(text.lower()) and not text.lower().endswith(addresses._RESERVED):
        found = email_validator.validate_email(text, check_deliverability=False, strict=True)

        assert f"{found.local_part}@{found.ascii_domain}".lower() == mailbox(text) == text.lower()


@given(st.emails() | st.text() | st.from_regex(r"[^@]+@[^@]+\.[^@]+"))
def test_an_address_is_stable_or_refused(text: str) -> None:
    """Whatever is written, the answer is BadAddress, or an address of one line that reads as itself."""
    try:
        value = mailbox(text)
    except BadAddress as error:
        assert error.reason == "bad address"  # noqa: PT017 - either is right
    else:
        assert mailbox(value) == value
        assert value == value.strip()
        assert len(value.splitlines()) == 1


def test_long_texts_are_refused_at_once() -> None:
    """A megabyte in the place of an address costs nothing."""
    started = time.monotonic()
    for unit in ("9", "a", "+", "\u0663", "@", "a@"):
        for channel in Channel:
            refusal(unit * 1_000_000, channel, "UY")

    assert time.monotonic() - started < 1


def test_the_large_tables_of_phonenumbers_stay_unread() -> None:
    """Neither geocoder nor carrier, which take 160 MB and seconds, come in with addresses."""
    code = "import dialerd.addresses, sys; print([m for m in sys.modules if 'geodata' in m or 'carrier' in m])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout.strip() == "[]"
