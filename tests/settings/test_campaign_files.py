"""campaigns/*.toml: what a campaign becomes, and what no campaign may say."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dialerd.model.calendar import Dates, parse_window
from dialerd.model.campaign import (
    Bases,
    Campaign,
    EmailPart,
    OnDoubt,
    OptOut,
    RetryPolicy,
    TemplateSource,
    UnicodeRule,
)
from dialerd.model.message import Channel
from dialerd.model.placeholders import Missing
from dialerd.settings import Settings, load

Read = Callable[..., Settings]
Write = Callable[..., Path]
Problems = Callable[..., list[str]]

EMAIL = 'name = "N"\nchannel = "email"\nprovider = "out"\n[email]\nfrom = "a@example.com"\n'


def test_smallest_sms_campaign(read: Read, sms: str) -> None:
    """Name, channel and provider are enough; the rest has the contract's defaults."""
    expected = Campaign(name="Ventas->", channel=Channel.SMS, provider="out")
    assert read(a=sms).campaigns["Ventas->"] == expected
    assert (expected.on_doubt, expected.interval_s, expected.schedule) == (OnDoubt.HOLD, None, None)


def test_full_campaign(read: Read) -> None:
    """Every key arrives."""
    text = """
    name = "Full"
    channel = "sms"
    enabled = false
    provider = "out"
    timezone = "America/Montevideo"
    source = "59899000000"
    schedule = ["mon-fri;09:00-18:00", "sat;22:00-02:00"]
    dates = { start = 2026-01-01, end = 2026-12-31, except = [2026-12-25] }
    per_second = 20
    max_in_flight = 7
    expires_s = 86400
    on_doubt = "resend"
    bases = "held"
    retry = { attempts = 3, first_s = 0.5, factor = 1, max_s = 10 }
    recipient_hours = ["mon-sun;08:00-21:00"]
    region = "UY"
    unicode = "transliterate"
    max_parts = 255
    missing = "blank"
    """
    assert read(a=text).campaigns["Full"] == Campaign(
        name="Full",
        channel=Channel.SMS,
        enabled=False,
        provider="out",
        timezone="America/Montevideo",
        zone=ZoneInfo("America/Montevideo"),
        source="59899000000",
        schedule=(parse_window("mon-fri;09:00-18:00"), parse_window("sat;22:00-02:00")),
        dates=Dates(date(2026, 1, 1), date(2026, 12, 31), frozenset({date(2026, 12, 25)})),
        interval_s=0.05,
        max_in_flight=7,
        expires_s=86400,
        on_doubt=OnDoubt.RESEND,
        bases=Bases.HELD,
        retry=RetryPolicy(attempts=3, first_s=0.5, factor=1, max_s=10),
        recipient_hours=(parse_window("mon-sun;08:00-21:00"),),
        region="UY",
        unicode=UnicodeRule.TRANSLITERATE,
        max_parts=255,
        missing=Missing.BLANK,
    )


def test_email_campaign(write: Write) -> None:
    """[email] comes as EmailPart, doubts are resent, and a relative folder begins at the configuration's."""
    more = (
        'reply_to = ["b@example.com", "C <c@example.com>"]\nsubject = "S"\ntemplate = "welcome"\nattachments = "f"\n'
        'max_attachments_mb = 2.5\nheaders = { X-A = "b" }\nunsubscribe = "https://example.com/u"\n'
        'secret = "sixteen letters!"\nunsubscribe_from = "all"\n'
        'return_path = "b@example.com"\nbounces_to_blacklist = 1\n'
    )
    folder = write(a=EMAIL + more)
    (folder / "templates").mkdir()
    (folder / "templates" / "welcome.html").write_text("<p>${name}</p>")
    settings = load(folder, environ={})
    campaign = settings.campaigns["N"]
    assert campaign.on_doubt is OnDoubt.RESEND
    assert campaign.email == EmailPart(
        sender="a@example.com",
        reply_to=("b@example.com", "C <c@example.com>"),
        subject="S",
        headers={"X-A": "b"},
        template="welcome",
        templates={"welcome": TemplateSource(name="welcome", html="<p>${name}</p>")},
        attachments=str(settings.config_dir / "f"),
        max_attachments_mb=2.5,
        unsubscribe="https://example.com/u",
        unsubscribe_from=OptOut.ALL,
        secret="sixteen letters!",
        return_path="b@example.com",
        bounces_to_blacklist=1,
    )
    email = load(write(a=EMAIL + 'attachments = "/srv/f"'), environ={}).campaigns["N"].email
    assert email is not None
    assert email.attachments == "/srv/f"


@pytest.mark.parametrize(
    ("keys", "interval_s"),
    [
        ("", None),
        ("between_ms = 0", None),
        ("per_second = 20.0", 0.05),
        ("between_ms = 50", 0.05),
        ("per_second = 100\nbetween_ms = 50", 0.05),
        ("per_second = 2\nbetween_ms = 50", 0.5),
        ("per_second = 0.5\nbetween_ms = 0", 2.0),
    ],
)
def test_pace(read: Read, sms: str, keys: str, interval_s: float | None) -> None:
    """per_second and between_ms say the same thing two ways, and the slower of both wins."""
    assert read(a=sms + keys).campaigns["Ventas->"].interval_s == interval_s


@pytest.mark.parametrize("name", ["Ventas->", "x", "ñ" * 200, "a;b", "两个", "{name}"])
def test_names(read: Read, sms: str, name: str) -> None:
    """A name is any 1 to 200 characters."""
    assert list(read(a=sms.replace("Ventas->", name)).campaigns) == [name]


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ('source = ""', "source: expected a string of 1 to 200 characters: it has 0 (got '')"),
        ('source = "a\\u0000b"', "source: expected a string of 1 to 200 characters without control characters: "
                                 "it has U+0000 (got 'a\\x00b')"),
        ("source = 598", "source: expected a string (got 598)"),
        ("source = true", "source: expected a string (got true)"),
        ("source = { a = 1 }", "source: expected a string (got a table)"),
        ('enabled = "yes"', "enabled: expected true or false (got 'yes')"),
        ("enabled = 1", "enabled: expected true or false (got 1)"),
        ("schedule = 'mon;09:00-10:00'", "schedule: expected an array (got 'mon;09:00-10:00')"),
        ("schedule = []", "schedule: expected at least one window: without the key there is no such rule"),
        ("recipient_hours = []",
         "recipient_hours: expected at least one window: without the key there is no such rule"),
        ("schedule = ['mon;09:00-10:00', 7]", "schedule[1]: expected a string (got 7)"),
        ("schedule = ['mon;25:00-26:00']", "schedule[0]: expected days;from-to, such as mon-fri;09:00-18:00: "
                                           "hour 25 is outside 0-23 in '25:00' (got 'mon;25:00-26:00')"),
        ("dates = 2026-01-01", "dates: expected a table (got 2026-01-01)"),
        ("dates = { start = '2026-01-01' }", "dates.start: expected a date without quotes, such as 2026-12-25 "
                                             "(got '2026-01-01')"),
        ("dates = { end = 2026-01-01T10:00:00 }", "dates.end: expected a date without quotes, such as 2026-12-25 "
                                                  "(got 2026-01-01T10:00:00)"),
        ("dates = { except = 2026-01-01 }", "dates.except: expected an array (got 2026-01-01)"),
        ("dates = { start = 2026-01-02, end = 2026-01-01 }",
         "dates.end: expected a day not before start, 2026-01-02 (got 2026-01-01)"),
        ("dates = { excluded = [] }", "dates.excluded: unknown key: expected one of start, end, except (got an array)"),
        ("per_second = 0", "per_second: expected a number from 0.000001 to 1000000 (got 0)"),
        ("per_second = -1.5", "per_second: expected a number from 0.000001 to 1000000 (got -1.5)"),
        ("per_second = '20'", "per_second: expected a number from 0.000001 to 1000000 (got '20')"),
        ("per_second = true", "per_second: expected a number from 0.000001 to 1000000 (got true)"),
        ("between_ms = -1", "between_ms: expected a number from 0 to 1000000000 (got -1)"),
        ("max_in_flight = 0", "max_in_flight: expected a whole number from 1 to 10000 (got 0)"),
        ("max_in_flight = 10001", "max_in_flight: expected a whole number from 1 to 10000 (got 10001)"),
        ("max_in_flight = 5.0", "max_in_flight: expected a whole number from 1 to 10000 (got 5.0)"),
        ("max_in_flight = true", "max_in_flight: expected a whole number from 1 to 10000 (got true)"),
        ("expires_s = 0", "expires_s: expected a number above 0, at most 1000000000 (got 0)"),
        ("on_doubt = 'Hold'", "on_doubt: expected one of hold, resend (got 'Hold')"),
        ("on_doubt = 1", "on_doubt: expected one of hold, resend (got 1)"),
        ("bases = 'off'", "bases: expected one of active, held (got 'off')"),
        ("unicode = 'ucs2'", "unicode: expected one of auto, gsm7, transliterate (got 'ucs2')"),
        ("max_parts = 0", "max_parts: expected a whole number from 1 to 255 (got 0)"),
        ("max_parts = 256", "max_parts: expected a whole number from 1 to 255 (got 256)"),
        ("region = 'uy'", "region: expected a country as two capital letters, such as UY: did you mean UY? (got 'uy')"),
        ("region = 'ZZ'", "region: expected a country as two capital letters, such as UY (got 'ZZ')"),
        ("retry = 5", "retry: expected a table (got 5)"),
        ("retry = { attempts = 0 }", "retry.attempts: expected a whole number from 1 to 100 (got 0)"),
        ("retry = { attempts = 101 }", "retry.attempts: expected a whole number from 1 to 100 (got 101)"),
        ("retry = { first_s = 0 }", "retry.first_s: expected a number above 0, at most 1000000000 (got 0)"),
        ("retry = { factor = 0.5 }", "retry.factor: expected a number from 1 to 100 (got 0.5)"),
        ("retry = { factor = 101 }", "retry.factor: expected a number from 1 to 100 (got 101)"),
        ("retry = { max_s = -3 }", "retry.max_s: expected a number above 0, at most 1000000000 (got -3)"),
        ("retry = { atempts = 3 }", "retry.atempts: unknown key: did you mean attempts? (got 3)"),
        ("perSecond = 4", "perSecond: unknown key: did you mean per_second? (got 4)"),
        ("'odd key' = 4", '"odd key": unknown key: expected one of name, channel, enabled'),
        ("sender = 'x'", "sender: unknown key: expected one of name"),
    ],
)  # fmt: skip
def test_wrong_keys(problems: Problems, sms: str, keys: str, line: str) -> None:
    """A wrong key is one line: file, key, what was expected, and what stands there."""
    (found,) = problems(a=sms + keys)
    assert found.startswith(f"campaigns/a.toml: {line}")


@pytest.mark.parametrize("name", ["", "x" * 201, "a\\nb", "a\\u0000", "\\u007f"])
def test_names_refused(problems: Problems, sms: str, name: str) -> None:
    """An empty name, a long one and one with control characters are refused."""
    (line,) = problems(a=sms.replace("Ventas->", name))
    assert line.startswith("campaigns/a.toml: name: expected a string of 1 to 200 characters")
    assert line.isprintable()


@pytest.mark.parametrize(
    "zone", ["America/Montevido", "Montevideo", "../UTC", "/etc/localtime", "America", "", "x\\u0000"]
)
def test_unknown_time_zone(problems: Problems, sms: str, zone: str) -> None:
    """A time zone that the IANA database has not is refused, also where its name is that of a folder or a path."""
    (line,) = problems(a=sms + f'timezone = "{zone}"')
    assert line.startswith("campaigns/a.toml: timezone: expected ")
    if zone == "America/Montevido":
        assert "such as America/Montevideo: did you mean America/Montevideo?" in line


def test_what_every_campaign_needs(problems: Problems) -> None:
    """An empty file is told all that it lacks."""
    assert problems(a="") == [
        "campaigns/a.toml: name: expected this key: it has no default",
        "campaigns/a.toml: channel: expected this key: it has no default",
        "campaigns/a.toml: provider: expected this key: it has no default",
    ]


def test_email_needs_its_table(problems: Problems) -> None:
    """An e-mail campaign has an [email] with a `from`."""
    assert problems(a=EMAIL.partition("[email]")[0]) == [
        'campaigns/a.toml: email: expected this table, at least with from: channel = "email"'
    ]
    assert problems(a=EMAIL.replace('from = "a@example.com"', "")) == [
        "campaigns/a.toml: email.from: expected this key: it has no default"
    ]


def test_sms_has_no_email_table(problems: Problems, sms: str) -> None:
    """An SMS campaign with an [email] was meant otherwise."""
    assert problems(a=sms + '[email]\nfrom = "a@example.com"') == [
        'campaigns/a.toml: email: expected no such table: channel = "sms"'
    ]


def test_clashes_do_not_wait_for_other_errors(problems: Problems) -> None:
    """What keys have against each other is reported beside what is wrong with one of them."""
    text = (
        'channel = "email"\nprovider = "nobody"\nmax_parts = 0\ndates = { start = 2027-01-01, end = 2026-01-01, x = 1 }'
    )
    lines = "\n".join(problems(a=text))
    for part in ("name:", "email:", "dates.end:", "dates.x:", "max_parts:", "provider: expected a provider"):
        assert part in lines


@pytest.mark.parametrize(
    "address",
    ["a@example.com", "Ventas <a@example.com>", '\\"Ventas, Sur\\" <a@example.com>', "ñandú <ñ@correo.uy>", "a+b@h"],
)
def test_mailboxes(read: Read, address: str) -> None:
    """A sender is one address, with a name or without."""
    email = read(a=EMAIL.replace("a@example.com", address)).campaigns["N"].email
    assert email is not None
    assert email.sender == address.replace("\\", "")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "a@",
        "@b",
        "a@b, c@d",
        "Ventas, Sur <a@b>",
        "a@b c",
        "a@b\\r\\nBcc: c@d",
        "A <a@b",
        "A <a@b> x",
        "<>",
        "A (B) <a@b>",
        "A <<a@b>>",
    ],
)
def test_mailboxes_refused(problems: Problems, address: str) -> None:
    """What is not one address, or would add a header, is refused."""
    (line,) = problems(a=EMAIL.replace("a@example.com", address))
    assert line.startswith("campaigns/a.toml: email.from: expected ")
    assert line.isprintable()


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ('reply_to = "b@example.com"', "reply_to"),
        ('reply_to = ["b@example.com", "b"]', "reply_to[1]"),
        ('subject = "a\\nb"', "subject"),
        ('template = "../secret"', "template"),
        ('template = ""', "template"),
        ('template = "absent"', "template"),
        ('reply_to = ["a@señal..uy"]', "reply_to[0]"),
        ('headers = { Bcc = "x" }', "headers.Bcc"),
        ('headers = { Content-Type = "x" }', "headers.Content-Type"),
        ('headers = { "X A" = "x" }', 'headers."X A"'),
        ('headers = { X-A = "a\\nBcc: b" }', "headers.X-A"),
        ('unsubscribe = "https://example.com/u"', "secret"),
        ('unsubscribe = "https://example.com/u"\nsecret = "fifteen letters"', "secret"),
        ('unsubscribe = "http://example.com/u"\nsecret = "sixteen letters!"', "unsubscribe"),
        ('return_path = "a-name-that-is-by-far-too-long@example.com"', "return_path"),
        ('template = ".hidden"', "template"),
        ('attachments = ""', "attachments"),
        ('attachments = "/a\\u0000"', "attachments"),
        ("To = 1", "To"),
    ],
)
def test_wrong_email_keys(problems: Problems, keys: str, key: str) -> None:
    """What [email] says must be able to stand in a mail, and stay in its folder."""
    (line,) = problems(a=EMAIL + keys)
    assert line.startswith(f"campaigns/a.toml: email.{key}: ")


def test_several_providers(read: Read, sms: str) -> None:
    """A campaign may name several providers, in order; one alone may stand in an array too."""
    several = read(a=sms.replace('"out"', '["smsc", "out", "gateway"]')).campaigns["Ventas->"]
    assert ("smsc", ("out", "gateway"), ("smsc", "out", "gateway")) == (
        several.provider, several.fallbacks, several.providers,
    )  # fmt: skip
    assert read(a=sms.replace('"out"', '["out"]')).campaigns["Ventas->"] == Campaign(
        name="Ventas->", channel=Channel.SMS, provider="out"
    )


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ('["out", "out"]', "expected the name of a provider, or an array of up to 8 names, each once, the first first"),
        ("[]", "expected the name of a provider, or an array of up to 8 names, each once, the first first"),
        ('["out", 1]', "expected the name of a provider, or an array of up to 8 names, each once, the first first"),
        ('["out", "smcs"]', "expected a provider of dialerd.toml: did you mean 'smsc'? (got 'smcs')"),
        ('["out", "mail"]', "expected a provider for sms, and this one is for email only (got 'mail')"),
    ],
)
def test_wrong_providers(problems: Problems, sms: str, value: str, line: str) -> None:
    """Each of several providers must exist and fit, and stand there once."""
    (told,) = problems(a=sms.replace('"out"', value))
    assert told.startswith(f"campaigns/a.toml: provider: {line}")
