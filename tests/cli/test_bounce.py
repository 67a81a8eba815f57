"""`dialerd bounce`: a mail server's pipe, which knows 0 for done and 75 for later."""

import json
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from dialerd.store import Store
from tests.cli.calls import PROGRAM, call, configure, documented
from tests.mail.returned import notification

HARD = ("failed", "5.1.1", "smtp; 550 5.1.1 User unknown")


@pytest.fixture
def config(tmp_path: Path, sqlite_url: str) -> Path:
    config = configure(tmp_path, url=sqlite_url)
    mail = config / "campaigns" / "mail.toml"
    mail.write_text(mail.read_text() + 'return_path = "b@example.com"\nbounces_to_blacklist = 1\n')
    return config


def test_a_mail_that_was_sent_and_came_back(config: Path, sqlite_url: str) -> None:
    """Sent under its own return path, a mail that bounces is undelivered, and its address is written to no more."""
    id_ = documented("send", "Mail", "ana@example.com", "Hola", config=config)["id"]
    assert call("run", "--once", config=config).exit_code == 0
    (line,) = (config.parent / "var" / "outbox.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == id_

    with subprocess.Popen(
        [*PROGRAM, "bounce", "--json", "--config", config, "--recipient", f"b+{id_}@example.com"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as pipe:  # fmt: skip
        # As long as the mail that it brings back.
        told, _ = pipe.communicate(notification(HARD, id_="x") + b"x" * 5_000_000)

    assert pipe.returncode == 0
    assert json.loads(told) == {"id": id_, "kind": "hard", "status": "5.1.1", "text": "550 5.1.1 User unknown",
                                "known": True, "blacklisted": True}  # fmt: skip
    with closing(Store(sqlite_url)) as store:
        rows = store.transact_here(lambda c: c.execute(text("SELECT delivery FROM sms_repo")).all())
    assert [tuple(row) for row in rows] == [("undelivered",)]
    assert "blacklisted" in call("send", "Mail", "ana@example.com", "Hola", config=config).stderr


def test_what_is_no_bounce(config: Path) -> None:
    """Other mails are done with at once: nobody gets them back."""
    result = call("bounce", config=config, stdin="Subject: Re: Hola\n\nGracias!\n")

    assert (result.exit_code, result.stdout) == (0, "No bounce of a mail of ours.\n")


def test_later(config: Path, tmp_path: Path) -> None:
    """A database that is away, and a configuration that is wrong, make the mail server bring the mail again."""
    bounce = notification(HARD).decode()
    away = configure(tmp_path / "away", main_file='[database]\nurl = "postgresql://u@127.0.0.1:1/d"\n')
    assert call("bounce", config=away, stdin=bounce).exit_code == 75
    (config / "dialerd.toml").write_text("[daemon]\nnonsense = 1\n")
    assert call("bounce", config=config, stdin=bounce).exit_code == 75
    assert call("bounce", config=tmp_path / "absent", stdin=bounce).exit_code == 75
