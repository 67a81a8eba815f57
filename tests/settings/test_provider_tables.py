"""[providers.NAME]: what each driver's table becomes, and what none may say."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dialerd.model.message import Channel
from dialerd.settings import (
    Answer,
    Bind,
    DiscardProvider,
    FileProvider,
    HttpProvider,
    JsonEquals,
    LongSms,
    NumberFormat,
    ProviderId,
    ReceiptIds,
    Security,
    Settings,
    SmppProvider,
    SmtpProvider,
    Tls,
)

Read = Callable[..., Settings]
Problems = Callable[..., list[str]]

HTTP = '[providers.p]\ndriver = "http"\nurl = "https://gw.example/send"\n'
SMPP = '[providers.p]\ndriver = "smpp"\nhost = "h"\nsystem_id = "u"\n'
SMTP = '[providers.p]\ndriver = "smtp"\nhost = "h"\n'


def test_file_and_discard(read: Read) -> None:
    """Both rehearsal drivers take SMS and e-mail and can be slow."""
    providers = read(
        '[providers.a]\ndriver="file"\npath="/x"\nlatency_ms=5\n[providers.b]\ndriver="discard"\nlatency_ms=1.5'
    ).providers
    assert providers["a"] == FileProvider(name="a", path=Path("/x"), latency_ms=5)
    assert providers["b"] == DiscardProvider(name="b", latency_ms=1.5)
    assert providers["a"].channels == providers["b"].channels == set(Channel)
    assert (providers["a"].driver, providers["b"].driver) == ("file", "discard")


def test_keys_of_any_provider(read: Read) -> None:
    """Rate, permits, number format and accepted numbers can be set for every driver."""
    keys = "per_second = 30\nmax_in_flight = 10000\nnumber_format = 'as_is'\naccept = '^598'\n"
    for text in (HTTP, SMPP, SMTP, '[providers.p]\ndriver = "discard"\n'):
        provider = read(text + keys).providers["p"]
        assert (provider.name, provider.per_second, provider.max_in_flight) == ("p", 30, 10_000)
        assert (provider.number_format, provider.accept) == (NumberFormat.AS_IS, "^598")
        default = read(text).providers["p"]
        assert (default.per_second, default.max_in_flight) == (None, 50)
        assert (default.number_format, default.accept) == (NumberFormat.PLUS, None)


def test_smpp_defaults(read: Read) -> None:
    """Host and account are enough for an SMSC."""
    provider = read(SMPP).providers["p"]
    assert isinstance(provider, SmppProvider)
    assert (provider.host, provider.port, provider.system_id, provider.system_type) == ("h", 2775, "u", "")
    assert provider.password.get_secret_value() == ""
    assert (provider.bind, provider.window, provider.binds, provider.tls) == (Bind.TRANSCEIVER, 20, 1, Tls.NONE)
    assert (provider.response_timeout_s, provider.enquire_link_s) == (10, 30)
    assert (provider.source_ton, provider.source_npi, provider.dest_ton, provider.dest_npi) == (None,) * 4
    assert (provider.long, provider.receipts, provider.receipt_ids) == (LongSms.UDH, True, ReceiptIds.AUTO)


def test_smpp_keys(read: Read) -> None:
    """The words of the contract become enumerations."""
    keys = "bind='transmitter+receiver'\ntls='tls'\nlong='payload'\nreceipts=false\nreceipt_ids='hex-dec'\nsource_ton=5"
    provider = read(SMPP + keys).providers["p"]
    assert isinstance(provider, SmppProvider)
    assert (provider.bind, provider.tls, provider.long) == (Bind.BOTH, Tls.TLS, LongSms.PAYLOAD)
    assert (provider.receipts, provider.receipt_ids, provider.source_ton) == (False, ReceiptIds.HEX_DEC, 5)


def test_smtp(read: Read) -> None:
    """A mail server needs its host; a login is user name and password."""
    provider = read(SMTP).providers["p"]
    assert provider == SmtpProvider(name="p", host="h")
    assert isinstance(provider, SmtpProvider)
    assert (provider.port, provider.security, provider.timeout_s) == (587, Security.STARTTLS, 30)
    assert (provider.username, provider.password) == (None, None)
    assert (provider.connections, provider.mails_per_connection) == (10, 100)
    provider = read(SMTP + "username = 'u'\npassword = 'p'\nsecurity = 'tls'").providers["p"]
    assert isinstance(provider, SmtpProvider)
    assert provider.password is not None
    assert (provider.username, provider.password.get_secret_value()) == ("u", "p")


def test_http(read: Read) -> None:
    """Every key of the contract arrives; statuses are sets of numbers."""
    keys = r"""
    method = "POST"
    query = { to = "${phone}" }
    json = { messages = [{ to = "${phone}", n = 1, ok = true }] }
    headers = { X-Account = "4711" }
    auth = { user = "u", password = "p" }
    timeout_s = 2.5
    success = { status = "2xx", body = "^OK", json = { path = "status", equals = 0 } }
    id = { body = 'id=(\S+)' }
    permanent = { status = [400, "404"] }
    throttled = { status = 429 }
    """
    provider = read(HTTP + keys).providers["p"]
    assert isinstance(provider, HttpProvider)
    assert (provider.method, provider.url, provider.query) == ("POST", "https://gw.example/send", {"to": "${phone}"})
    assert provider.json == {"messages": [{"to": "${phone}", "n": 1, "ok": True}]}
    assert (provider.headers, provider.timeout_s) == ({"X-Account": "4711"}, 2.5)
    assert provider.auth is not None
    assert provider.auth.password is not None
    assert (provider.auth.user, provider.auth.password.get_secret_value()) == ("u", "p")
    assert provider.success == Answer(
        status=frozenset(range(200, 300)), body="^OK", json=JsonEquals(path="status", equals=0)
    )
    assert provider.id == ProviderId(body=r"id=(\S+)")
    assert (provider.permanent, provider.throttled) == (
        Answer(status=frozenset({400, 404})),
        Answer(status=frozenset({429})),
    )


def test_http_absent_is_none(read: Read) -> None:
    """What is absent is None, so that a preset or the driver can tell and fill it in."""
    provider = read(HTTP).providers["p"]
    assert isinstance(provider, HttpProvider)
    absent = (provider.preset, provider.method, provider.query, provider.form, provider.json, provider.body)
    assert absent == (None,) * 6
    assert (provider.auth, provider.success, provider.id) == (None, None, None)
    assert (provider.permanent, provider.throttled, provider.headers, provider.timeout_s) == (None, None, {}, 10)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("[providers.p]", ["driver: expected this key: one of file, discard, smpp, http, smtp"]),
        ("[providers.p]\ndriver = 'smp'", ["driver: expected one of file, discard, smpp, http, smtp (got 'smp')"]),
        ("[providers.p]\ndriver = 7", ["driver: expected one of file, discard, smpp, http, smtp (got 7)"]),
        ("[providers.p]\ndriver = ['file']", ["driver: expected one of file, discard, smpp, http, smtp (got an arr"]),
        ("[providers.p]\ndriver = 'file'", ["path: expected this key: it has no default"]),
        ("[providers.p]\ndriver = 'file'\npath = ''",
         ["path: expected a string of 1 to 4096 characters: it has 0 (got '')"]),
        ("[providers.p]\ndriver = 'smpp'", ["host: expected this key: it has no default",
                                            "system_id: expected this key: it has no default"]),
        ("[providers.p]\ndriver = 'smtp'", ["host: expected this key: it has no default"]),
        ("[providers.p]\ndriver = 'http'", ["url: expected this key: only a preset makes it needless"]),
        (HTTP + "name = 'q'", ["name: unknown key: expected one of "]),
        (HTTP + "per_second = 0", ["per_second: expected a number from 0.000001 to 1000000 (got 0)"]),
        (HTTP + "max_in_flight = 0", ["max_in_flight: expected a whole number from 1 to 10000 (got 0)"]),
        (HTTP + "number_format = 'E164'", ["number_format: expected one of plus, e164, national, as_is (got 'E164')"]),
        (HTTP + "accept = '^[0-9'", ["accept: expected a regular expression: unterminated character set at position 1 "
                                     "(got '^[0-9')"]),
        (HTTP + "ca = 'x'", ["ca: expected certificates in PEM, such as { file = \"ca.pem\" } (got "]),
        (HTTP + "method = 'get'", ["method: expected one of GET, POST, PUT, PATCH, DELETE (got 'get')"]),
        (HTTP + "form = { a = 'b' }\nbody = 'c'",
         ["body: expected only one of form, json and body: there is form already"]),
        (HTTP + "query = 'a=b'", ["query: expected a table (got (hidden))"]),
        (HTTP + "query = { a = 1 }", ["query.a: expected a string (got (hidden))"]),
        (HTTP + "json = { at = 2026-01-01 }", ["json: expected what JSON can hold: no dates and times without quotes"]),
        (HTTP + "json = { a = [{ b = nan }] }", ["json: expected what JSON can hold: no nan and no inf"]),
        (HTTP + "headers = { 'a b' = 'c' }", ["headers.\"a b\": expected the name of an HTTP header"]),
        (HTTP + "headers = { a = \"b\\r\\nc: d\" }", ["headers.a: expected a string of at most 1000 characters wi"]),
        (HTTP + "auth = { user = 'u' }", ["auth: expected user and password, or bearer"]),
        (HTTP + "auth = { user = 'u', password = 'p', bearer = 'b' }", ["auth: expected user and password, or bearer"]),
        (HTTP + "charset = 'utf-16'", ["charset: expected a charset that spells ASCII as it is, such as utf-8"]),
        (HTTP + "charset = 'hex'", ["charset: expected a charset that spells ASCII as it is"]),
        (HTTP + "charset = 'latin-1'\nquery = { '€' = 'é' }\nform = { a = '${k}' }\nparameters = { k = '€' }",
         ["query: expected only letters of the charset latin-1, in which query is sent",
          "parameters: expected only letters of the charset latin-1, in which parameters.k is sent"]),
        (HTTP + "charset = 'latin-1'\nbody = '€'\nheaders = { a = '€' }", ["body: expected only letters of the char"]),
        (HTTP + "timeout_s = 0", ["timeout_s: expected a number above 0, at most 3600 (got 0)"]),
        (HTTP + "success = {}", ["success: expected status, body or json"]),
        (HTTP + "success = { status = '2x' }", ["success.status: expected an HTTP status such as 404 or \"2xx\", "]),
        (HTTP + "success = { status = [] }", ["success.status: expected an HTTP status"]),
        (HTTP + "success = { status = 99 }", ["success.status: expected an HTTP status"]),
        (HTTP + "success = { status = true }", ["success.status: expected an HTTP status"]),
        (HTTP + "success = { body = '(' }", ["success.body: expected a regular expression: missing ), untermin"]),
        (HTTP + "success = { json = { path = 'a' } }", ["success.json.equals: expected this key: it has no default"]),
        (HTTP + "success = { json = { path = 'a', equals = [] } }",
         ["success.json.equals: expected a string, a number, true or false, or an array of them (got an array)"]),
        (HTTP + "success = { json = { pat = 'a', equals = 1 } }",
         ["success.json.path: expected this key", "success.json.pat: unknown key: did you mean path? (got 'a')"]),
        (HTTP + "id = {}", ["id: expected one of json, body, header and given"]),
        (HTTP + "id = { json = 'a', header = 'b' }", ["id: expected one of json, body, header and given"]),
        (HTTP + "id = { given = '${phone}' }", ["id.given: expected ${id} or ${seq} (got '${phone}')"]),
        (HTTP + "receipt = { status = 's', delivered = [1], undelivered = [2] }", ["receipt: expected id or ours: "]),
        (HTTP + "inbound = { phone = 'p' }", ["inbound: expected message or hex"]),
        (HTTP + "inbound = { phone = 'p', message = 'm', part = 'n' }", ["inbound: expected reference, part and"]),
        (HTTP + "signature = { scheme = 'x', secret = 'geheim' }",
         ["signature.scheme: expected one of twilio, vonage (got (hidden))"]),
        (HTTP + "id = { body = 'id=.*' }", ["id.body: expected a regular expression with a group around the id"]),
        (HTTP + "id = { header = 'a:b' }", ["id.header: expected the name of an HTTP header (got 'a:b')"]),
        (SMPP + "port = 0", ["port: expected a whole number from 1 to 65535 (got 0)"]),
        (SMPP + "port = '2775'", ["port: expected a whole number from 1 to 65535 (got '2775')"]),
        (SMPP + "port = 70000", ["port: expected a whole number from 1 to 65535 (got 70000)"]),
        (SMPP + "bind = 'receiver'", ["bind: expected one of transceiver, transmitter+receiver, transmitter ("]),
        (SMPP + "tls = true", ["tls: expected one of none, tls (got true)"]),
        (SMPP + "source_ton = 256", ["source_ton: expected a whole number from 0 to 255 (got 256)"]),
        (SMPP + "window = 0", ["window: expected a whole number from 1 to 10000 (got 0)"]),
        (SMPP + "long = 'x'", ["long: expected one of udh, sar, payload (got 'x')"]),
        (SMPP + "receipts = 'yes'", ["receipts: expected true or false (got 'yes')"]),
        (SMPP + "receipt_ids = 'hex'", ["receipt_ids: expected one of auto, same, hex-dec, dec-hex (got 'hex')"]),
        (SMTP + "username = 'u'", ["password: expected this key: username and password go together"]),
        (SMTP + "password = 'u'\nport = 0", ["username: expected this key: username and password go together",
                                             "port: expected a whole number from 1 to 65535 (got 0)"]),
        (SMTP + "security = 'ssl'", ["security: expected one of none, starttls, tls (got 'ssl')"]),
        (SMTP + "connections = 0", ["connections: expected a whole number from 1 to 1000 (got 0)"]),
        ("[providers.p]\ndriver = 'discard'\nlatency_ms = -1",
         ["latency_ms: expected a number from 0 to 3600000 (got -1)"]),
        ("[providers.p]\ndriver = 'discard'\npath = 'x'", ["path: unknown key: "]),
    ],
)  # fmt: skip
def test_wrong_keys(problems: Problems, text: str, lines: list[str]) -> None:
    """A wrong key is one line: file, key, what was expected, and what stands there."""
    found = problems(text)
    assert len(found) == len(lines)
    for line in lines:
        assert any(entry.startswith(f"dialerd.toml: providers.p.{line}") for entry in found), found


@pytest.mark.parametrize(
    "url",
    ["gw.example", "ftp://gw.example", "https://", "https://a b/", "https://[::1/", "http://h:x/", "http://ñ..es/"],
)
def test_wrong_urls(problems: Problems, url: str) -> None:
    """A gateway's URL is http or https and has a host; it may hold a password and is not shown."""
    (line,) = problems(HTTP.replace("https://gw.example/send", url))
    assert (
        line == "dialerd.toml: providers.p.url: expected a URL that begins with https:// or http:// and a host "
        "(got (hidden))"
    )


@pytest.mark.parametrize("url", ["http://h", "https://u:p@h:8443/send?to=${phone}&k={id}", "http://[::1]:80/"])
def test_urls(read: Read, url: str) -> None:
    """Ports, logins and placeholders may stand in a URL."""
    provider = read(HTTP.replace("https://gw.example/send", url)).providers["p"]
    assert isinstance(provider, HttpProvider)
    assert provider.url == url


def test_provider_names(problems: Problems) -> None:
    """A provider has a name that can be shown, and is a table."""
    lines = problems('[providers]\nx = 1\n[providers.""]\ndriver = "discard"\n[providers."a\\nb"]\ndriver = "discard"')
    assert lines == [
        "dialerd.toml: providers.x: expected a table (got 1)",
        'dialerd.toml: providers."": expected as its name a string of 1 to 200 characters',
        'dialerd.toml: providers."a\\nb": expected as its name a string of 1 to 200 characters '
        "without control characters",
    ]
    assert problems("providers = 3") == ["dialerd.toml: providers: expected a table (got 3)"]


def test_a_provider_may_be_called_file(read: Read) -> None:
    """A table in a table's place is that table, also when its only key is called like a reference."""
    providers = read("[providers.file]\ndriver = 'discard'\n[providers.p]\ndriver = 'http'\nurl = 'http://h'\n"
                     "query = { file = 'a' }\nform = { env = 'b' }\n"
                     "headers = { credential = 'c' }").providers  # fmt: skip
    provider = providers["p"]
    assert isinstance(provider, HttpProvider)
    assert (provider.query, provider.form) == ({"file": "a"}, {"env": "b"})
    assert provider.headers == {"credential": "c"}
    assert isinstance(providers["file"], DiscardProvider)
