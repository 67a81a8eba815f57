"""ConfigError: all errors of all files at once, each with its file and key."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dialerd.model.errors import ConfigError
from dialerd.settings import Settings, load

Read = Callable[..., Settings]
Write = Callable[..., Path]
Problems = Callable[..., list[str]]


def test_all_errors_of_all_files_at_once(problems: Problems) -> None:
    """One round tells everything, in the order of the files: broken ones do not hide what else is wrong."""
    main = """
    pasword = "x"
    [daemon]
    drain_s = -1
    lease_s = 1
    [providers.out]
    driver = "discard"
    latency = 3
    [providers.mail]
    driver = "smtp"
    [api]
    listen = "nowhere"
    """
    lines = problems(
        main,
        a='name = "A"\nchannel = "sms"\nprovider = "mail"\nper_second = 0',
        b="name = = 1",
        c='name = "A"\nchannel = "fax"\nprovider = "nobody"\nregion = "XX"',
    )
    assert lines == [
        "dialerd.toml: pasword: unknown key: expected one of daemon, database, inbound, api, providers (got (hidden))",
        "dialerd.toml: daemon.drain_s: expected a number from 0 to 3600 (got -1)",
        "dialerd.toml: daemon.lease_s: expected a number from 2 to 3600 (got 1)",
        "dialerd.toml: api.listen: expected host:port, such as 127.0.0.1:8088 or [::1]:8088, "
        "with a port from 0 to 65535 (got 'nowhere')",
        "dialerd.toml: providers.out.latency: unknown key: did you mean latency_ms? (got 3)",
        "dialerd.toml: providers.mail.host: expected this key: it has no default",
        "campaigns/a.toml: per_second: expected a number from 0.000001 to 1000000 (got 0)",
        "campaigns/a.toml: provider: expected a provider for sms, and this one is for email only (got 'mail')",
        "campaigns/b.toml: no valid TOML: Invalid value (at line 1, column 8)",
        "campaigns/c.toml: channel: expected one of sms, email (got 'fax')",
        "campaigns/c.toml: region: expected a country as two capital letters, such as UY (got 'XX')",
        "campaigns/c.toml: name: expected a name of its own, not that of campaigns/a.toml (got 'A')",
        "campaigns/c.toml: provider: expected a provider of dialerd.toml: 'out', 'mail' (got 'nobody')",
    ]


def test_the_error_says_all_of_it(write: Write) -> None:
    """The text of a ConfigError is its lines, and the command ends with status 2."""
    with pytest.raises(ConfigError) as caught:
        load(write("[daemon]\ndrain_s = -1\nx = 1"), environ={})
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 2
    assert caught.value.exit_status == 2


def test_no_configuration(tmp_path: Path) -> None:
    """A folder that is not there, and one without dialerd.toml, is said by its path."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "nowhere", environ={})
    assert caught.value.problems == [
        f"{tmp_path}/nowhere/dialerd.toml: No such file or directory; `dialerd init DIR` writes one to start from"
    ]
    with pytest.raises(ConfigError, match=r"dialerd\.toml: No such file or directory"):
        load(tmp_path, environ={})


def test_campaigns_are_checked_without_dialerd_toml(write: Write, sms: str) -> None:
    """Where dialerd.toml cannot be read, campaigns are checked all the same, but not held against its providers."""
    folder = write(a=sms + "x = 1")
    (folder / "dialerd.toml").unlink()
    with pytest.raises(ConfigError) as caught:
        load(folder, environ={})
    assert [line.split(": ")[1] for line in caught.value.problems] == [
        "No such file or directory; `dialerd init DIR` writes one to start from",
        "x",
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a = 1\nb =", "line 2, column 4"),
        ("[daemon\n", "line 1, column 8"),
        ("a = 1\na = 2\n", "line 2, column 6"),
        ('a = "x', "line 1, column 7"),
        ("a = '''x\n\n", "line 3, column 1"),
        ("a = 2026-13-45\n", "line 1, column 9"),
        ("ñ = 1", "line 1, column 1"),
    ],
)
def test_syntax_errors(problems: Problems, text: str, place: str) -> None:
    """What is no TOML is said with line and column, also at the end of the file."""
    (line,) = problems(text)
    assert line.startswith("dialerd.toml: no valid TOML: ")
    assert place in line


@pytest.mark.parametrize(
    ("channel", "provider", "fits"),
    [
        ("sms", "out", True), ("email", "out", True), ("sms", "smsc", True), ("email", "smsc", False),
        ("sms", "gateway", True), ("email", "gateway", False), ("sms", "mail", False), ("email", "mail", True),
    ],
)  # fmt: skip
def test_channels(write: Write, channel: str, provider: str, fits: bool) -> None:
    """SMPP and HTTP deliver only SMS, smtp only e-mails, file both."""
    email = '[email]\nfrom = "a@example.com"' if channel == "email" else ""
    folder = write(a=f'name = "A"\nchannel = "{channel}"\nprovider = "{provider}"\n{email}')
    if fits:
        assert load(folder, environ={}).campaigns["A"].provider == provider
    else:
        with pytest.raises(ConfigError, match=f"expected a provider for {channel}, and this one is for"):
            load(folder, environ={})


def test_unknown_provider(problems: Problems, sms: str) -> None:
    """A provider that does not exist is told with the likely one, else with those there are."""
    (line,) = problems(a=sms.replace('"out"', '"smcs"'))
    assert line == "campaigns/a.toml: provider: expected a provider of dialerd.toml: did you mean 'smsc'? (got 'smcs')"
    (line,) = problems(a=sms.replace('"out"', '"x"'))
    assert line.endswith("provider of dialerd.toml: 'out', 'smsc', 'gateway', 'mail' (got 'x')")
    (line,) = problems("", a=sms)
    assert line.endswith("expected a provider of dialerd.toml: there is none (got 'out')")


def test_wrong_provider_is_known(problems: Problems, sms: str) -> None:
    """A provider whose table is wrong is not reported as missing too."""
    assert problems("[providers.out]\ndriver = 'fax'", a=sms) == [
        "dialerd.toml: providers.out.driver: expected one of file, discard, smpp, http, smtp (got 'fax')"
    ]


def test_same_name_twice(problems: Problems, sms: str) -> None:
    """Two campaigns of one name: both files are named."""
    assert problems(b=sms, a=sms) == [
        "campaigns/b.toml: name: expected a name of its own, not that of campaigns/a.toml (got 'Ventas->')"
    ]


def test_origins(read: Read, problems: Problems, main: str) -> None:
    """An origin is written as browsers write it: what could never match, or would match all, is wrong."""
    api = '[api]\nlisten = "h:1"\norigins = [{}]\n'
    good = "http://10.0.0.5:8080", "https://forms.example.com", "http://localhost:81", "https://xn--and-6ma.example:80"
    settings = read(main + api.format(", ".join(f'"{one}"' for one in good))).api
    assert settings is not None
    assert good == settings.origins
    for wrong in (
        "*", "null", "https://*", "https://*.example.com", "forms.example.com", "https://forms.example.com/",
        "https://forms.example.com/x", "HTTPS://forms.example.com", "https://Forms.example.com", "https://a.b:443",
        "http://a.b:80", "http://a.b:0", "http://a.b:65536", "http://a.b:", "https://ñandú.example", "http://[::1]:81",
        "https://u@a.b", "https://a.b https://c.d", "https://a.b;script-src", "https://a.b'", "ftp://a.b", "",
    ):  # fmt: skip
        (problem,) = problems(main + api.format(f'"{wrong}"'))
        assert problem.startswith("dialerd.toml: api.origins[0]: expected an origin as browsers write it, such as")


def test_campaign_of_the_api(problems: Problems, main: str, sms: str) -> None:
    """[api] and [api.inbound] name SMS campaigns that exist."""
    api = '[api]\nlisten = "h:1"\ncampaign = "{}"\n[api.inbound]\ncampaign = "{}"\n'
    email = 'name = "N"\nchannel = "email"\nprovider = "out"\n[email]\nfrom = "a@example.com"'
    assert problems(main + api.format("Ventas", "N"), a=sms, b=email) == [
        "dialerd.toml: api.campaign: expected the name of a campaign: did you mean 'Ventas->'? (got 'Ventas')",
        "dialerd.toml: api.inbound.campaign: expected a campaign for sms, and this one is for email (got 'N')",
    ]


def test_campaign_of_the_api_in_a_broken_file(problems: Problems, main: str) -> None:
    """Where a campaign file cannot be read, the campaign may be in it: only the file is reported."""
    assert len(problems(main + '[api]\ncampaign = "A"', a="name =")) == 1


@pytest.mark.parametrize(
    "listen", ["", "h", ":80", "h:", "h:65536", "h:x", "::1:80", "[::1]", "h:80:80", "ü:80", "http://h:80"]
)
def test_listen(problems: Problems, listen: str) -> None:
    """`listen` is host:port."""
    (line,) = problems(f'[api]\nlisten = "{listen}"')
    assert line.startswith("dialerd.toml: api.listen: expected host:port, such as 127.0.0.1:8088 or [::1]:8088")


@pytest.mark.parametrize("network", ["300.0.0.0/8", "10.0.0.1/8", "localhost", "", "::1/129"])
def test_networks(problems: Problems, network: str) -> None:
    """Who is trusted or allowed is an IP network, without bits that would be ignored."""
    lines = problems(f'[api]\ntrusted_proxies = ["::1", "{network}"]\n[api.inbound]\nallow = ["{network}"]')
    expected = "expected an IP address or network, such as 10.0.0.0/8 or ::1/128"
    assert lines[0].startswith(f"dialerd.toml: api.trusted_proxies[1]: {expected}")
    assert lines[1].startswith(f"dialerd.toml: api.inbound.allow[0]: {expected}")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("daemon = 1", "daemon: expected a table (got 1)"),
        ("[[daemon]]", "daemon: expected a table (got an array)"),
        ("database = 'x'", "database: expected a table (got 'x')"),
        ("api = true", "api: expected a table (got true)"),
        ("[api]\ninbound = 1", "api.inbound: expected a table (got 1)"),
        ("[Daemon]", "Daemon: unknown key: did you mean daemon? (got a table)"),
        (
            "[campaigns]",
            "campaigns: unknown key: expected one of daemon, database, inbound, api, providers (got a table)",
        ),
        ("[daemon]\nstat_dir = '/x'", "daemon.stat_dir: unknown key: did you mean state_dir? (got '/x')"),
        ("[daemon]\nstate_dir = ''", "daemon.state_dir: expected a string of 1 to 4096 characters: it has 0 (got '')"),
        ("[daemon]\nnode = 'a b'", "daemon.node: expected 1 to 63 letters, digits, dots, dashes and underscores, "
                                   "a letter or digit first (got 'a b')"),
        ("[daemon]\ndrain_s = 3601", "daemon.drain_s: expected a number from 0 to 3600 (got 3601)"),
        ("[daemon]\nlease_s = '30'", "daemon.lease_s: expected a number from 2 to 3600 (got '30')"),
        ("[database]\nmigrate = 1", "database.migrate: expected true or false (got 1)"),
        ("[api]\nmax_body_mb = 0", "api.max_body_mb: expected a number above 0, at most 4096 (got 0)"),
        ("[api.inbound]\nkey = ''", "api.inbound.key: expected a string of 1 to 4096 characters (got (hidden))"),
    ],
)  # fmt: skip
def test_wrong_keys(problems: Problems, text: str, line: str) -> None:
    """A wrong key is one line: file, key, what was expected, and what stands there."""
    assert problems(text) == [f"dialerd.toml: {line}"]
