"""Presets: what they fill in, what the provider's table brings, and what is said when something is missing."""

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from dialerd.settings import Answer, HttpProvider, NumberFormat, Settings, load
from dialerd.settings.presets import Shelf
from tests.settings.conftest import Write

Read = Callable[..., Settings]
Problems = Callable[..., list[str]]

NAMES = sorted(
    entry.name.removesuffix(".toml")
    for entry in (resources.files("dialerd") / "drivers" / "presets").iterdir()
    if entry.name.endswith(".toml")
)
TWILIO = '[providers.p]\ndriver = "http"\npreset = "twilio"\n'
OWN = """
about = "ours"
url = "${base_url}/${account}"
query = { to = "${phone}" }
headers = { X-A = "1", X-B = "${account}" }

[parameters]
base_url = { default = "http://gw.example" }
account = { about = "who pays" }
"""


def http(settings: Settings) -> HttpProvider:
    provider = settings.providers["p"]
    assert isinstance(provider, HttpProvider)
    return provider


def own(folder: Path, text: str = OWN, name: str = "ours") -> None:
    (folder / "presets").mkdir(exist_ok=True)
    (folder / "presets" / f"{name}.toml").write_text(text, encoding="utf-8")


def test_all_are_there() -> None:
    """The original's family, and the gateways and clouds that people have."""
    assert set(NAMES) >= {
        "url-get", "url-get-auth", "url-post", "url-post-auth", "dinstar", "twilio", "vonage", "nexmo", "infobip",
        "kannel", "jasmin",
    }  # fmt: skip
    assert Shelf(Path("/nowhere")).names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_is_right(read: Read, name: str) -> None:
    """Each preset is right by itself, says what it is for, and works with a URL, a user and a password."""
    shelf = Shelf(Path("/nowhere"))
    preset = shelf._take(name)
    assert [line for report in shelf.reports for line in report.lines] == []
    assert preset is not None
    assert preset[0].about
    assert preset[0].reference

    extra = "parameters = { base_url = 'http://h', key = 'k' }" if name == "infobip" else ""
    provider = http(
        read(
            f"[providers.p]\ndriver='http'\npreset='{name}'\nurl='http://h/x'\n"
            f"auth={{ user='u', password='p' }}\n{extra}"
        )
    )
    assert provider.url == "http://h/x"
    assert provider.auth is not None
    assert provider.auth.user == "u"


def test_it_fills_in_what_is_absent(read: Read) -> None:
    """What the table has stays; what it lacks comes from the preset, parameters and all."""
    provider = http(
        read(
            TWILIO
            + "parameters = { user = 'AC1', password = { env = 'TOKEN' } }\nnumber_format = 'e164'\ntimeout_s = 3",
            {"TOKEN": "geheim"},
        )
    )
    assert provider.url == "https://api.twilio.com/2010-04-01/Accounts/${account}/Messages.json"
    assert provider.parameters["account"] == "AC1"
    assert provider.form is not None
    assert provider.form["To"] == "${phone}"
    assert (provider.number_format, provider.timeout_s) == (NumberFormat.E164, 3)
    assert provider.success == Answer(status=frozenset({201}))
    assert provider.auth is not None
    assert provider.auth.password is not None
    assert (provider.auth.user, provider.auth.password.get_secret_value()) == ("AC1", "geheim")
    assert provider.filled["auth"] == {"user": "${user}", "password": "${password}"}
    assert "number_format" not in provider.filled
    assert "geheim" not in repr(provider)


def test_user_and_password_may_stand_in_auth(read: Read) -> None:
    """The keys that every provider has are enough: auth brings user and password."""
    provider = http(read(TWILIO + "auth = { user = 'AC1', password = '${no} template' }"))
    assert provider.parameters["account"] == "AC1"
    assert provider.auth is not None
    assert provider.auth.password is not None
    assert provider.auth.password.get_secret_value() == "${no} template"


def test_signatures(read: Read) -> None:
    """Twilio's callbacks are signed with the Auth Token, Vonage's where its secret is given; none is shown."""
    login = "auth = { user = 'AC1', password = 'geheim' }\n"
    for extra, secret in (("", "geheim"), ("parameters = { token = 'token' }", "token")):
        signature = http(read(TWILIO + login + extra)).signature
        assert signature is not None
        assert signature.secret.get_secret_value() == secret
        assert secret not in repr(signature)
    vonage = TWILIO.replace("twilio", "vonage") + login
    assert http(read(vonage)).signature is None
    signature = http(read(vonage + "parameters = { signature_secret = 's' }")).signature
    assert signature is not None
    assert (signature.scheme, signature.secret.get_secret_value()) == ("vonage", "s")
    own_secret = vonage + "signature = { scheme = 'twilio', secret = { env = 'S' } }"
    signature = http(read(own_secret, {"S": "t"})).signature
    assert signature is not None
    assert (signature.scheme, signature.secret.get_secret_value()) == ("twilio", "t")


@pytest.mark.parametrize(
    ("keys", "form", "json", "body"),
    [("form = { tel = '${phone}' }", {"tel": "${phone}"}, None, None), ("json = { t = 1 }", None, {"t": 1}, None),
     ("body = 'x'", None, None, "x")],
)  # fmt: skip
def test_a_body_of_ones_own(read: Read, keys: str, form: Any, json: Any, body: Any) -> None:
    """Who says what the request carries needs no other body from the preset."""
    provider = http(read(f"[providers.p]\ndriver='http'\npreset='url-post'\nurl='http://h'\n{keys}"))
    assert (provider.form, provider.json, provider.body) == (form, json, body)
    assert provider.method == "POST"


def test_headers_of_ones_own(write: Write) -> None:
    """Headers are filled up one by one; an Authorization of the preset gives way to auth."""
    folder = write(
        "[providers.p]\ndriver='http'\npreset='ours'\nheaders={ x-b='2', X-C='3' }\nparameters={ account='a' }\n"
        "[providers.q]\ndriver='http'\npreset='infobip'\nauth={ bearer='b' }\nparameters={ base_url='http://h/' }"
    )
    own(folder)
    settings = load(folder, environ={})
    assert http(settings).headers == {"X-A": "1", "x-b": "2", "X-C": "3"}
    infobip = settings.providers["q"]
    assert isinstance(infobip, HttpProvider)
    assert (infobip.headers, infobip.url) == ({"Accept": "application/json"}, "http://h/sms/3/messages")


def test_presets_of_ones_own(write: Write) -> None:
    """The folder presets/ is looked at first; a changed file is another provider, which a reload replaces."""
    folder = write("[providers.p]\ndriver='http'\npreset='ours'\nparameters={ account='a/b', base_url='https://x:1/' }")
    own(folder)
    before = load(folder, environ={}).providers["p"]
    assert isinstance(before, HttpProvider)
    assert before.url == "https://x:1/${account}"
    assert load(folder, environ={}).providers["p"] == before

    own(folder, OWN.replace("to =", "dest ="))
    assert load(folder, environ={}).providers["p"] != before
    own(folder, 'about = "mine"\nmethod = "PUT"\n', "url-get")
    (folder / "dialerd.toml").write_text("[providers.p]\ndriver='http'\npreset='url-get'\nurl='http://h'")
    assert http(load(folder, environ={})).method == "PUT"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (TWILIO.replace("twilio", "twillio"),
         ["dialerd.toml: providers.p.preset: expected the name of a preset: did you mean 'twilio'? (got 'twillio')"]),
        (TWILIO.replace('"twilio"', "7"), ["dialerd.toml: providers.p.preset: expected"]),
        (TWILIO, ["dialerd.toml: providers.p.parameters.user: expected this key: the Account SID",
                  "dialerd.toml: providers.p.parameters.password: expected this key: the Auth Token"]),
        (TWILIO + "parameters = { user = 'a', password = 'b', acount = 'c' }",
         ["dialerd.toml: providers.p.parameters.acount: unknown key: did you mean account? (got (hidden))"]),
        (TWILIO + "parameters = 'a'", ["dialerd.toml: providers.p.parameters: expected a table"]),
        (TWILIO + "filled = {}\nauth = { user = 'a', password = 'b' }",
         ["dialerd.toml: providers.p.filled: unknown key"]),
        ("[providers.p]\ndriver='http'\npreset='url-get'",
         ["dialerd.toml: providers.p.url: expected this key: the preset url-get leaves it to you"]),
        ("[providers.p]\ndriver='http'\nurl='http://h/${fone}'",
         ["dialerd.toml: providers.p.url: ${fone} stands for nothing: expected one of phone, message, id,"]),
        ("[providers.p]\ndriver='http'\nurl='http://h/'\nquery={ p='${port:int}' }",
         ["dialerd.toml: providers.p.query: ${port:int}: only in json"]),
        ("[providers.p]\ndriver='http'\nurl='http://${phone}.example/'",
         ["dialerd.toml: providers.p.url: ${phone}: a message cannot say which host is asked"]),
        ("[providers.p]\ndriver='http'\nurl='http://h/'\nparameters={ phone='1' }",
         ["dialerd.toml: providers.p.parameters: expected other names than those"]),
    ],
)  # fmt: skip
def test_what_is_wrong(problems: Problems, text: str, lines: list[str]) -> None:
    """Unknown presets, missing and unknown parameters, and placeholders that stand for nothing are named."""
    found = problems(text)
    assert len(found) == len(lines), found
    for line, start in zip(found, lines, strict=True):
        assert line.startswith(start), found


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("about = ", "presets/ours.toml: no valid TOML"),
        ("url = 'http://h'", "presets/ours.toml: about: expected this key"),
        ("about = 'x'\nurls = 'http://h'", "presets/ours.toml: urls: unknown key: did you mean url?"),
        ("about = 'x'\nurl = 'ftp://h'", "presets/ours.toml: url: expected a URL"),
        ("about = 'x'\nquery = { a = '${b}' }", "presets/ours.toml: query: ${b} stands for nothing"),
        ("about = 'x'\n[parameters]\nb = { defalt = 'x' }", "presets/ours.toml: parameters.b.defalt: unknown key"),
    ],
)
def test_a_wrong_preset(write: Write, problems: Problems, text: str, line: str) -> None:
    """A preset of one's own that is wrong is told with its file and key, whether or not anybody uses it."""
    own(write(), text)
    (found,) = problems()
    assert found.startswith(line)
