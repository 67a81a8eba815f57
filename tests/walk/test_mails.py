"""The walk of mails with all that can be in them: from a base, from `details` or another system's row to the wire."""

import asyncio
import email
import email.policy
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from dialerd import bases, batch, daemon, intake
from dialerd.model.errors import Refused
from dialerd.settings import Settings, load
from dialerd.store import Store
from dialerd.store.migrate import migrate
from tests.cli.calls import configure

BASE = """\
Mail;ana@example.com;;;"name":"Ana <b>","amount":"1,50";1
Mail;juan@example.com;;Su deuda, ${name};"name":"Juan Ñandú","amount":2;2
Mail;eva@example.com;<p>Para ti, ${name}: $5</p>;;"name":"Eva & Co";3
Mail;luz@example.com;Sin nada que llenar: ${name};;;4
Mail;sin@example.com;;;"name":"Sin";5
Mail;vacia@example.com;Hola ${nombre};;"name":"x";6
"""


class Office:
    """A configuration with a template and files, its database, and what the file driver has got."""

    def __init__(self, folder: Path, url: str) -> None:
        config = configure(folder, url=url)
        (config / "templates").mkdir()
        (config / "templates" / "bill.html").write_text("<p>Hola {{ name }}</p>\n<p>Debe <b>${amount}</b></p>\n")
        (folder / "files").mkdir()
        (folder / "files" / "factura.pdf").write_bytes(b"%PDF")
        mail = config / "campaigns" / "mail.toml"
        more = f'subject = "Factura"\ntemplate = "bill"\nattachments = "{folder / "files"}"\n'
        mail.write_text(mail.read_text() + more + 'return_path = "b@example.com"\nheaders = { X-List = "Añá" }\n')
        self.settings: Settings = load(config, environ={})
        self.outbox = folder / "var" / "outbox.jsonl"
        self.store = Store(url)
        self.store.transact_here(migrate)

    def insert(self, destination: str, data: str, details: Any, campaign: str = "Mail") -> None:
        """Put a row into the spool as other systems do."""
        statement = text(
            "INSERT INTO sms_spool (campaign, destination, data, priority, details)"
            " VALUES (:campaign, :to, :data, 1, CAST(:details AS JSON))"
            if self.store.dialect == "postgresql"
            else "INSERT INTO sms_spool (campaign, destination, data, priority, details)"
            " VALUES (:campaign, :to, :data, 1, :details)"
        )
        row = {"campaign": campaign, "to": destination, "data": data, "details": json.dumps(details)}
        self.store.transact_here(lambda connection: connection.execute(statement, row))

    def errors(self) -> dict[str, str]:
        """Return what sms_repo says of each destination that failed."""
        statement = text("SELECT destination, error FROM sms_repo WHERE status = 'failed'")
        return self.store.transact_here(lambda c: {row.destination: row.error for row in c.execute(statement)})

    def lines(self) -> dict[str, dict[str, Any]]:
        """Return what the provider has got, by destination."""
        found = [json.loads(line) for line in self.outbox.read_text().splitlines()] if self.outbox.exists() else []
        return {line["destination"]: line for line in found}


@pytest.fixture
def office(tmp_path: Path, database_url: str) -> Iterator[Office]:
    laid_out = Office(tmp_path, database_url)
    with closing(laid_out.store):
        yield laid_out


def read(line: dict[str, Any]) -> EmailMessage:
    message = email.message_from_string(line["mime"], policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def said(line: dict[str, Any], kind: str = "plain") -> str | None:
    body = read(line).get_body((kind,))
    return str(body.get_content()).replace("\r\n", "\n").strip() if body is not None else None


async def test_a_base_with_a_template(office: Office, tmp_path: Path) -> None:
    """Each line becomes its own mail: by the template where it has no body, its variables filled in either way."""
    (tmp_path / "base.csv").write_text(BASE)
    now = datetime.now(UTC)
    loaded = await bases.load(office.store, office.settings, tmp_path / "base.csv", now=now)
    assert (loaded.accepted, [bad.line for bad in loaded.errors]) == (4, [5, 6])
    assert (await batch.run_once(office.settings)).ended["sent"] == 4

    lines = office.lines()
    ana, juan, eva, luz = (lines[f"{name}@example.com"] for name in ("ana", "juan", "eva", "luz"))
    assert said(ana, "html") == "<p>Hola Ana &lt;b&gt;</p>\n<p>Debe <b>1,50</b></p>"
    assert said(ana) == "Hola Ana <b>\n\nDebe 1,50"
    assert (ana["subject"], ana["from"], ana["data"]) == ("Factura", "Ventas <ventas@example.com>", "")
    assert (juan["subject"], read(juan)["Subject"]) == ("Su deuda, Juan Ñandú", "Su deuda, Juan Ñandú")
    assert said(eva, "html") == "<p>Para ti, Eva &amp; Co: $5</p>"
    assert (said(eva), said(luz)) == ("Para ti, Eva & Co: $5", "Sin nada que llenar: ${name}")
    assert said(luz, "html") is None
    assert read(ana)["X-List"] == "Añá"
    assert all(line["mime"].isascii() for line in lines.values())


async def test_details_of_all_kinds(office: Office) -> None:
    """Subject, template, variables, attachments and an invitation come along with a submitted mail."""
    details = {
        "subject": "Hola", "template": "bill", "variables": {"name": "Ana", "amount": 5},
        "attachments": ["factura.pdf"],
        "invitation": {"title": "Pago", "organizer": "", "from": "2026-07-01 09:00:00", "to": "2026-07-01 10:00:00"},
    }  # fmt: skip
    now = datetime.now(UTC)
    asked = {"campaign": "Mail", "destination": "ana@example.com", "now": now}
    await intake.submit(office.store, office.settings, data="", details=details, **asked)
    for odd in ({"template": "none"}, {"attachments": ["../x"]}, {"variables": {"name": "Ana"}}, {"invitation": "x"}):
        with pytest.raises(Refused):
            await intake.submit(office.store, office.settings, data="", details=odd, **asked)
    await batch.run_once(office.settings)

    (line,) = office.lines().values()
    assert [part.get_content_type() for part in read(line).walk()] == [
        "multipart/mixed", "multipart/alternative", "text/plain", "text/html", "text/calendar", "application/pdf",
        "application/ics",
    ]  # fmt: skip
    assert "TZID=America/Montevideo:20260701T090000" in (
        "".join(str(part.get_content()) for part in read(line).walk() if part.get_content_type() == "text/calendar")
    )


async def test_odd_rows_of_others(office: Office) -> None:
    """A row whose details are odd fails by itself, with its reason; the rows beside it go."""
    office.insert("good@example.com", "Hola ${a}", {"variables": {"a": 1}, "unknown": [None]})
    odd: dict[str, Any] = {
        "variables": {"variables": ["a"]}, "value": {"variables": {"name": {"x": 1}, "amount": 1}},
        "subject": {"subject": {"a": 1}}, "template": {"template": ["bill"]}, "absent": {"template": "absent"},
        "attachments": {"attachments": {"a": "b"}}, "path": {"attachments": ["/etc/passwd"]},
        "missing": {"attachments": ["none.pdf"], "variables": {"name": 1, "amount": 1}},
        "invitation": {"invitation": ["x"]}, "list": [1],
    }  # fmt: skip
    for name, details in odd.items():
        office.insert(f"{name}@example.com", "Hola" if name in {"path", "subject"} else "", details)
    office.insert("098344484", "Hola ${a}, ${b}", {"variables": {"a": "Ana", "b": 2}}, "Ventas->")
    office.insert("098344485", "Hola ${a}", {"variables": {"b": 2}}, "Ventas->")
    office.insert("098344486", "Hola ${a}", {"variables": [1]}, "Ventas->")
    office.insert("098344487", "Hola ${a}", {"subject": [1]}, "Ventas->")
    await batch.run_once(office.settings)

    lines = office.lines()
    assert set(lines) == {"good@example.com", "098344484", "098344487"}
    assert said(lines["good@example.com"]) == "Hola 1"
    assert (lines["098344484"]["data"], lines["098344487"]["data"]) == ("Hola Ana, 2", "Hola ${a}")
    errors = office.errors()
    assert set(errors) == {f"{name}@example.com" for name in odd} | {"098344485", "098344486"}
    assert "'none.pdf'" in errors["missing@example.com"]
    assert "'a'" in errors["098344485"]


async def test_a_reload(office: Office) -> None:
    """A reload takes a changed template; one that is wrong leaves the old one in force, and mails go on."""
    loads = 0

    def reread() -> Settings:
        nonlocal loads
        loads += 1
        return load(office.settings.config_dir, environ={})

    async def until(happened: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not happened():
                await asyncio.wait([running], timeout=0.05)
                assert not running.done()

    template = office.settings.config_dir / "templates" / "bill.html"
    running = asyncio.create_task(daemon.run(reread))
    contents = ["<p>Hola {{ name }}</p>", "<p>Hola {{ name", "<p>Adiós {{ name }}</p>"]
    for number, content in enumerate(contents):
        template.write_text(content)
        if number:
            signal.raise_signal(signal.SIGHUP)
        await until(lambda number=number: loads > number)  # type: ignore[misc]
        office.insert(f"m{number}@example.com", "", {"variables": {"name": number}})
        await until(lambda number=number: len(office.lines()) > number)  # type: ignore[misc]
    signal.raise_signal(signal.SIGTERM)
    await running

    said_html = [said(office.lines()[f"m{number}@example.com"], "html") for number in range(3)]
    assert said_html == ["<p>Hola 0</p>", "<p>Hola 1</p>", "<p>Adiós 2</p>"]
