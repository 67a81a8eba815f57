"""Values by reference, and secrets: they arrive, and nothing tells them."""

import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from dialerd.model.errors import ConfigError
from dialerd.settings import FileProvider, HttpProvider, Settings, SmppProvider, SmtpProvider, load

Read = Callable[..., Settings]
Write = Callable[..., Path]
Problems = Callable[..., list[str]]

SECRET = "hunter2-s3cr3t-of-ours"


def everything(settings: Settings) -> str:
    """Return all that a log could show of the settings."""
    parts: list[object] = [settings, settings.daemon, settings.database, settings.api, settings.providers]
    parts += [settings.campaigns, *settings.providers.values(), *settings.campaigns.values()]
    return "\n".join(f"{part} {part!r}" for part in parts)


def test_references_arrive(write: Write, tmp_path: Path) -> None:
    """Any string can come from the environment, a file or a credential; one line end of a file is not part of it."""
    (tmp_path / "cred").mkdir()
    (tmp_path / "cred" / "smsc").write_text(f"{SECRET}1\n")
    folder = write(
        "[database]\nurl = { env = 'DB' }\n"
        "[providers.a]\ndriver = { env = 'DRIVER' }\nhost = { env = 'HOST' }\nsystem_id = 'u'\n"
        "password = { credential = 'smsc' }\n"
        "[providers.b]\ndriver = 'smtp'\nhost = 'h'\nusername = 'u'\npassword = { file = 'secrets/mail' }\n"
        "[providers.c]\ndriver = 'http'\nurl = { file = '/" + str(tmp_path / "url").lstrip("/") + "' }\n",
        a="name = { env = 'NAME' }\nchannel = 'sms'\nprovider = 'a'\nschedule = [{ env = 'WHEN' }]",
    )
    (folder / "secrets").mkdir()
    (folder / "secrets" / "mail").write_text(f"{SECRET}2\r\n")
    (tmp_path / "url").write_text("http://h/\n")
    environ = {"DB": "postgres://h/d", "DRIVER": "smpp", "HOST": "smsc", "NAME": "Ventas", "WHEN": "mon;09:00-10:00",
               "CREDENTIALS_DIRECTORY": str(tmp_path / "cred")}  # fmt: skip
    settings = load(folder, environ=environ)
    assert settings.database.url == "postgresql+psycopg://h/d"
    a, b, c = settings.providers.values()
    assert isinstance(a, SmppProvider)
    assert isinstance(b, SmtpProvider)
    assert isinstance(c, HttpProvider)
    assert b.password is not None
    assert (a.host, a.password.get_secret_value(), b.password.get_secret_value()) == (
        "smsc",
        f"{SECRET}1",
        f"{SECRET}2",
    )
    assert c.url == "http://h/"
    assert settings.campaigns["Ventas"].schedule is not None


def test_references_inside_free_tables(read: Read) -> None:
    """In query, form, json and headers each value can be a reference, at any depth; the table itself is none."""
    provider = read(
        "[providers.p]\ndriver = 'http'\nurl = 'http://h'\nquery = { key = { env = 'K' } }\n"
        "headers = { X-Key = { env = 'K' } }\njson = { a = [{ b = { env = 'K' }, env = 'x' }], file = 'y' }",
        {"K": SECRET},
    ).providers["p"]
    assert isinstance(provider, HttpProvider)
    assert (provider.query, provider.headers) == ({"key": SECRET}, {"X-Key": SECRET})
    assert provider.json == {"a": [{"b": SECRET, "env": "x"}], "file": "y"}


def test_no_repr_tells_a_secret(read: Read) -> None:
    """Neither repr nor str of the settings or of any part tells a secret or what came by reference."""
    ref = "{ env = 'S' }"
    settings = read(
        f"[daemon]\nstate_dir = {ref}\nnode = {ref}\n"
        f"[database]\nurl = 'postgresql://u:{SECRET}@h/d?password={SECRET}'\n"
        f"[api]\nlisten = '{SECRET}:1'\ncampaign = {ref}\n[api.inbound]\nkey = '{SECRET}'\ncampaign = {ref}\n"
        f"[providers.file]\ndriver = 'file'\npath = {ref}\naccept = {ref}\n"
        f"[providers.a]\ndriver = 'smpp'\nhost = {ref}\nsystem_id = {ref}\npassword = '{SECRET}'\nsystem_type = {ref}\n"
        f"[providers.b]\ndriver = 'smtp'\nhost = {ref}\nusername = {ref}\npassword = '{SECRET}'\n"
        f"[providers.c]\ndriver = 'http'\nurl = 'http://u:{SECRET}@h/?k={SECRET}'\nquery = {{ k = '{SECRET}' }}\n"
        f"headers = {{ Authorization = '{SECRET}' }}\nbody = '{SECRET}'\nauth = {{ bearer = '{SECRET}' }}\n"
        f"parameters = {{ x = '{SECRET}' }}\nsuccess = {{ body = {ref}, json = {{ path = {ref}, equals = {ref} }} }}\n"
        f"id = {{ json = {ref} }}\n"
        f"[providers.d]\ndriver = 'http'\nurl = {ref.replace('S', 'U')}\nform = {{ k = '{SECRET}' }}\n"
        f"auth = {{ user = {ref}, password = {ref} }}\nid = {{ header = {ref} }}\n"
        f"[providers.e]\ndriver = 'http'\nurl = 'http://h'\njson = {{ k = ['{SECRET}', {ref}] }}\n".replace(
            f"listen = '{SECRET}:1'", "listen = { env = 'L' }"
        ),
        {"S": SECRET, "U": f"http://{SECRET}", "L": f"{SECRET}:1"},
        a=f"name = {ref}\nchannel = 'sms'\nprovider = 'file'\nsource = {ref}",
        b=f"name = 'E'\nchannel = 'email'\nprovider = 'file'\n[email]\nfrom = {{ env = 'F' }}\nsubject = {ref}\n"
        f"reply_to = [{{ env = 'F' }}]\nattachments = {ref}\nheaders = {{ X-A = {ref} }}\n"
        f"unsubscribe = 'https://h/'\nsecret = '{SECRET}'".replace("{ env = 'F' }", "'a@b'"),
    )
    assert SECRET not in everything(settings)
    assert settings.daemon.node == SECRET
    assert settings.daemon.state_dir == Path.cwd() / SECRET
    file = settings.providers["file"]
    assert isinstance(file, FileProvider)
    assert file.path == Path.cwd() / SECRET / SECRET
    assert settings.campaigns[SECRET].source == SECRET
    email = settings.campaigns["E"].email
    assert email is not None
    assert (email.subject, email.attachments) == (SECRET, str(settings.config_dir / SECRET))


REFERENCES = """
[daemon]
state_dir = { env = "NUL" }
node = { env = "S" }
drain_s = { env = "S" }
[database]
url = { env = "S" }
migrate = { env = "S" }
[api]
listen = { env = "S" }
token_hours = { env = "S" }
campaign = { env = "S" }
trusted_proxies = [{ env = "S" }]
odd = { env = "S" }
[api.inbound]
allow = { env = "S" }
key = { env = "NUL" }
[providers.a]
driver = "smpp"
host = { env = "NUL" }
system_id = { env = "NUL" }
password = { env = "NUL" }
port = { env = "S" }
bind = { env = "S" }
receipts = { env = "S" }
accept = { env = "BRACKET" }
[providers.b]
driver = { env = "S" }
[providers.c]
driver = "http"
url = { env = "S" }
query = { a = { env = "NUL" } }
method = { env = "S" }
success = { status = { env = "S" }, body = { env = "BRACKET" } }
auth = { env = "S" }
"""
REFERENCES_OF_CAMPAIGN = """
name = { env = "NUL" }
channel = { env = "S" }
provider = { env = "S" }
timezone = { env = "S" }
schedule = [{ env = "S" }]
recipient_hours = { env = "S" }
region = { env = "S" }
per_second = { env = "S" }
dates = { start = { env = "S" } }
[email]
from = { env = "S" }
template = { env = "SLASH" }
odd = { env = "S" }
"""


def test_no_problem_tells_what_came_by_reference(problems: Problems) -> None:
    """A wrong value that came by reference is `(hidden)`, whatever is wrong with it, and no part of it is quoted."""
    environ = {"S": SECRET, "NUL": f"{SECRET}\0", "BRACKET": f"{SECRET}[", "SLASH": f"/{SECRET}"}
    lines = problems(REFERENCES, environ, a=REFERENCES_OF_CAMPAIGN)
    assert len(lines) > 30
    for line in lines:
        assert SECRET[:4] not in line
        assert "(hidden)" in line or "a table" in line or "expected this key" in line or "auth: expected user" in line
    assert (
        "dialerd.toml: database.migrate: expected true or false, and only strings can come by reference"
        in "\n".join(lines)
    )


def test_names_by_reference_are_not_listed(problems: Problems) -> None:
    """Where a problem lists the campaigns there are, those whose name came by reference are not told."""
    environ = {"S": SECRET}
    campaign = "name = { env = 'S' }\nchannel = 'sms'\nprovider = 'out'"
    lines = problems("[providers.out]\ndriver = 'discard'\n[api]\ncampaign = 'Other'", environ, a=campaign, b=campaign)
    assert len(lines) == 1
    assert SECRET not in lines[0]


WRITTEN = """
[database]
url = "mysql://u:hunter2-s3cr3t@h/d"
[api]
key = "hunter2-s3cr3t"
[api.inbound]
key = "hunter2-s3cr3t\\u0000"
kye = "hunter2-s3cr3t"
[providers.a]
driver = "smpp"
host = "h"
system_id = "u"
password = "hunter2-s3cr3t\\n"
clave = "hunter2-s3cr3t"
[providers.b]
driver = "smtp"
host = "h"
pasword = "hunter2-s3cr3t"
[providers.c]
driver = "http"
url = "hunter2-s3cr3t"
query = { a = ["hunter2-s3cr3t"] }
headers = { Authorization = "hunter2-s3cr3t\\r" }
body = "hunter2-s3cr3t\\u0000"
auth = { bearer = "hunter2-s3cr3t\\u0000", tocken = "hunter2-s3cr3t" }
apikey = "hunter2-s3cr3t"
[providers.d]
driver = "http"
form = "hunter2-s3cr3t"
auth = "hunter2-s3cr3t"
json = "hunter2-s3cr3t"
[providers.e]
password = "hunter2-s3cr3t"
"""


def test_no_problem_tells_a_secret(problems: Problems) -> None:
    """A password that is wrong, misspelt or in the wrong place is not shown."""
    lines = problems(WRITTEN, a="name = 'A'\nchannel = 'sms'\nprovider = 'a'\npassword = 'hunter2-s3cr3t'")
    assert len(lines) >= 17
    assert SECRET[:6] not in "\n".join(lines)
    assert "dialerd.toml: providers.b.pasword: unknown key: did you mean password? (got (hidden))" in lines


def test_unknown_keys_beside_secrets(problems: Problems) -> None:
    """In a table with secrets an unknown key's value is shown only where the key is surely another one misspelt."""
    main = "[providers.p]\ndriver = 'smtp'\nhost = 'h'\nprot = 25\nclave = 1234\n[providers.q]\ndriver = 'http'\n"
    assert problems(main + "url = 'http://h'\nbodyy = 'x'") == [
        "dialerd.toml: providers.p.prot: unknown key: did you mean port? (got 25)",
        "dialerd.toml: providers.p.clave: unknown key: expected one of per_second, max_in_flight, number_format, "
        "accept, driver, host, port, security, ca, username, password, connections, "
        "connections_per_domain, mails_per_connection, timeout_s (got (hidden))",
        "dialerd.toml: providers.q.bodyy: unknown key: did you mean body? (got (hidden))",
    ]


def test_no_traceback_tells_a_secret(write: Write) -> None:
    """The error has no cause that would print what it was given."""
    with pytest.raises(ConfigError) as caught:
        load(write(WRITTEN), environ={})
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("reference", "environ", "text"),
    [
        ("{ env = 'NOPE' }", {}, "the environment variable 'NOPE' is not set"),
        ("{ env = '' }", {}, "the environment variable '' is not set"),
        ("{ file = 'no/such' }", {}, "cannot read the file '{folder}/no/such': No such file or directory"),
        ("{ file = '.' }", {}, "cannot read the file '{folder}': it is a folder"),
        ("{ file = '/dev/zero' }", {}, "cannot read the file '/dev/zero': it is no regular file"),
        ('{ file = "a\\u0000" }', {}, "cannot read the file '{folder}/a\\x00': no file can have that name"),
        ("{ file = 'loop' }", {}, "cannot read the file '{folder}/loop': Too many levels of symbolic links"),
        ("{ file = 'latin' }", {},
         "cannot read the file '{folder}/latin': it is not UTF-8 (at line 2, byte 3 of the line)"),
        ("{ file = 'large' }", {}, "cannot read the file '{folder}/large': it has 65537 bytes, and 65536 are the most "
                                   "that it may have"),
        ("{ credential = 'c' }", {},
         "no credential 'c': $CREDENTIALS_DIRECTORY is not set (systemd's LoadCredential=)"),
        ("{ credential = 'c' }", {"CREDENTIALS_DIRECTORY": "/run/nope"},
         "no credential 'c' in '/run/nope': No such file or directory"),
        ("{ credential = '../c' }", {"CREDENTIALS_DIRECTORY": "/run"}, "expected the name of a credential, not '../c'"),
    ],
)  # fmt: skip
def test_references_that_lead_nowhere(write: Write, reference: str, environ: dict[str, str], text: str) -> None:
    """What a reference names and is not there is one line that names it, and no second one about the value."""
    folder = write(f"[daemon]\nnode = {reference}\n[api]\nlisten = {reference}")
    (folder / "loop").symlink_to("loop")
    (folder / "latin").write_bytes(b"a\nb \xf1\n")
    (folder / "large").write_bytes(b"x" * 65537)
    with pytest.raises(ConfigError) as caught:
        load(folder, environ=environ)
    text = text.replace("{folder}", str(folder))
    assert caught.value.problems == [
        f"{folder}/dialerd.toml: daemon.node: {text}",
        f"{folder}/dialerd.toml: api.listen: {text}",
    ]


@pytest.mark.parametrize("value", ["{ env = 5 }", "{ env = 'A', file = 'B' }", "{ envy = 'A' }", "{}"])
def test_what_is_no_reference(problems: Problems, value: str) -> None:
    """A table that is not exactly one of the three references is no string."""
    assert problems(f"[daemon]\nnode = {value}") == [
        "dialerd.toml: daemon.node: expected 1 to 63 letters, digits, dots, dashes and underscores, "
        "a letter or digit first (got a table)"
    ]
