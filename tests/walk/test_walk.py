"""The walk of one SMS and of one e-mail, from sms_scheduler through the spool and the file driver into sms_repo."""

import asyncio
import email
import email.policy
import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from dialerd import batch, daemon, intake
from dialerd.settings import Settings, load
from dialerd.store import Store
from dialerd.store.migrate import migrate
from tests.cli.calls import configure

ZONE = ZoneInfo("America/Montevideo")


class Walk:
    """A configuration, its database, and a daemon that can be run until something has happened."""

    def __init__(self, folder: Path, url: str) -> None:
        self.config = configure(folder, url=url)
        self.settings: Settings = load(self.config)
        self.outbox = folder / "var" / "outbox.jsonl"
        self.store = Store(url)
        self.store.transact_here(migrate)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return a table's rows."""
        return self.store.transact_here(lambda c: [dict(r._mapping) for r in c.execute(text(f"SELECT * FROM {table}"))])

    async def until_sent(self, count: int, *, by: datetime) -> None:
        """Run the daemon until the outbox holds so many lines, then stop it as systemd does."""
        running = asyncio.create_task(daemon.run(lambda: load(self.config)))
        async with asyncio.timeout((by - datetime.now(UTC)).total_seconds()):
            while len(self.lines()) < count and not running.done():
                await asyncio.wait([running], timeout=0.05)
        signal.raise_signal(signal.SIGTERM)
        await running

    def lines(self) -> list[dict[str, Any]]:
        """Return what the provider has got."""
        return [json.loads(line) for line in self.outbox.read_text().splitlines()] if self.outbox.exists() else []


@pytest.fixture
def walk(tmp_path: Path, database_url: str) -> Iterator[Walk]:
    """Lay out a walk on each database in turn."""
    laid_out = Walk(tmp_path, database_url)
    yield laid_out
    laid_out.store.close()


def utc(value: Any) -> datetime:
    """Return an instant as read without its column's type."""
    return value if isinstance(value, datetime) else datetime.fromisoformat(value).replace(tzinfo=UTC)


async def test_a_scheduled_sms(walk: Walk) -> None:
    """A scheduled SMS goes at its second, with priority 1 and its base, in one table at a time, its id kept."""
    now = datetime.now(UTC)
    # Whatever the second is: at least one second ahead, and in a minute that may end in between.
    calldate = now.replace(microsecond=0) + timedelta(seconds=2)
    id_ = await intake.schedule(
        walk.store, walk.settings, campaign="Ventas->", destination="098 344 484", data="¡Hola, señor!",
        when=calldate.astimezone(ZONE).strftime("%Y-%m-%d %H:%M:%S"), agent="ana", source="1234", now=now,
    )  # fmt: skip
    (waiting,) = walk.rows("sms_scheduler")
    assert (id_, calldate) == (str(waiting["id"]), utc(waiting["calldate"]))
    assert [] == walk.rows("sms_spool") + walk.rows("sms_repo")

    await walk.until_sent(1, by=calldate + timedelta(seconds=75))

    base = f"Schedule {calldate.astimezone(ZONE):%Y-%m-%d %H:%M:%S}"
    (line,) = walk.lines()
    assert calldate <= datetime.fromisoformat(line.pop("sent_at"))
    assert {
        "id": id_, "campaign": "Ventas->", "channel": "sms", "destination": "098 344 484", "source": "1234",
        "data": "¡Hola, señor!", "priority": 1, "base": base, "parts": 1,
        "calldate": line["calldate"],
    } == line  # fmt: skip
    assert calldate == datetime.fromisoformat(line["calldate"])
    (done,) = walk.rows("sms_repo")
    assert (id_, "sent", 1, "outbox", base, "ana", 1) == (
        str(done["id"]), done["status"], done["attempts"], done["provider"], done["base"], done["agent"], done["parts"],
    )  # fmt: skip
    assert utc(done["dateprocessed"]) >= calldate == utc(done["calldate"])
    assert [] == walk.rows("sms_scheduler") + walk.rows("sms_spool")


async def test_an_email(walk: Walk) -> None:
    """An e-mail's whole message stands in the outbox as RFC 5322 has it, and its row in sms_repo as sent."""
    id_ = await intake.submit(
        walk.store, walk.settings, campaign="Mail", destination="Ana@Example.com", data="<p>Hola, <b>señora</b></p>",
        details={"subject": "Su factura nº 1"}, now=datetime.now(UTC),
    )  # fmt: skip

    await walk.until_sent(1, by=datetime.now(UTC) + timedelta(seconds=30))

    (line,) = walk.lines()
    mail = email.message_from_string(line["mime"], policy=email.policy.default)
    assert (id_, "email", "Su factura nº 1") == (line["id"], line["channel"], line["subject"])
    assert ("Su factura nº 1", "Ventas <ventas@example.com>") == (mail["Subject"], mail["From"])
    html = mail.get_body(("html",))
    assert html is not None
    assert "señora" in html.get_content()
    (done,) = walk.rows("sms_repo")
    assert (id_, "sent", 1) == (str(done["id"]), done["status"], done["attempts"])
    assert [] == walk.rows("sms_spool")


async def test_once(walk: Walk) -> None:
    """`run --once` promotes what was missed and sends it, and leaves what is due later."""
    now = datetime.now(UTC)
    for minutes in (-90, -1, 10):
        await intake.schedule(
            walk.store, walk.settings, campaign="Ventas->", destination="098344484", data=str(minutes),
            when=now + timedelta(minutes=minutes), now=now,
        )  # fmt: skip

    summary = await batch.run_once(walk.settings)

    assert (2, 2) == (summary.promoted, summary.ended["sent"])
    assert ["-90", "-1"] == [line["data"] for line in walk.lines()]
    assert ["10"] == [row["data"] for row in walk.rows("sms_scheduler")]
