"""`dialerd preview`: what would be sent, and nothing of it sent."""

import email
import email.policy
import json
from pathlib import Path

import pytest

from tests.cli.calls import call, configure, documented, refused

VARIABLES = json.dumps({"name": "Ana & Co"})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A database and a provider that nobody could reach, and a template."""
    main = (
        '[database]\nurl = "postgresql://u@127.0.0.1:1/d"\n'
        '[providers.away]\ndriver = "smtp"\nhost = "127.0.0.1"\nport = 1\n'
    )
    config = configure(tmp_path, main_file=main)
    mail = config / "campaigns" / "mail.toml"
    mail.write_text(mail.read_text().replace('"outbox"', '"away"') + 'subject = "Hola"\ntemplate = "t"\n')
    (config / "templates").mkdir()
    (config / "templates" / "t.html").write_text("<p>Estimada {{name}}</p>")
    return config


def test_a_mail(config: Path) -> None:
    """The mail's fields, parts and text are shown, its variables filled in; no connection is opened for it."""
    result = call("preview", "Mail", "--variables", VARIABLES, "--to", "Juan@Example.org", config=config)

    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        ["From: Ventas <ventas@example.com>", "To: Juan@Example.org", "Subject: Hola", "Part: text/plain, 19 bytes",
         "Part: text/html, 30 bytes", "", "Estimada Ana & Co", ""],
    )  # fmt: skip
    assert not (config.parent / "var").exists()


def test_as_mime(config: Path) -> None:
    """The whole mail is shown as a mail server would get it."""
    shown = call("preview", "Mail", "--variables", VARIABLES, "--mime", config=config).stdout
    read = email.message_from_string(shown, policy=email.policy.default)

    html = read.get_body(("html",))  # type: ignore[attr-defined]
    assert html.get_content().strip() == "<p>Estimada Ana &amp; Co</p>"
    found = documented("preview", "Mail", "--variables", VARIABLES, "--text", "uno", "--subject", "Yo", config=config)
    assert (found["text"], found["html"], found["subject"], found["to"]) == (
        "uno\n",
        None,
        "Yo",
        "somebody@example.com",
    )


def test_an_sms(config: Path) -> None:
    """An SMS is shown with its variables, and with the number of its parts."""
    found = documented("preview", "Ventas->", "--text", "${name}" * 20, "--variables", VARIABLES, config=config)

    assert (found["text"], found["parts"]) == ("Ana & Co" * 20, 1)
    assert documented("preview", "Ventas->", "--text", "ñ ${name}…", config=config)["text"] == "ñ ${name}…"


@pytest.mark.parametrize(
    ("args", "told", "status"),
    [
        (("Nadie",), "unknown campaign", 1),
        (("Mail",), "'name'", 1),
        (("Mail", "--template", "absent"), "'absent'", 1),
        (("Mail", "--text", "x", "--to", "nobody"), "@", 1),
        (("Mail", "--text", "x", "--attach", "a.pdf"), "attachments", 1),
        (("Ventas->",), "--text", 1),
        (("Ventas->", "--text", "${a}", "--variables", VARIABLES), "'a'", 1),
    ],
)
def test_what_cannot_be_shown(config: Path, args: tuple[str, ...], told: str, status: int) -> None:
    """What would fail when it is sent fails here, with the same reason."""
    assert told in refused("preview", *args, config=config, status=status)


@pytest.mark.parametrize("args", [("Mail", "--variables", "{"), ("Mail", "--variables", "[]"), ("Ventas->", "--mime")])
def test_wrong_usage(config: Path, args: tuple[str, ...]) -> None:
    """Variables are a JSON object, and SMS are no mails."""
    assert call("preview", *args, config=config).exit_code == 2
