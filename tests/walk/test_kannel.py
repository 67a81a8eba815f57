"""From the spool through the HTTP driver and Kannel's smsbox to an SMSC: what arrives at the far end."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text

from dialerd import intake
from dialerd.batch import run_once
from dialerd.drivers import build
from dialerd.model.outcome import Failed, Unreachable
from dialerd.model.text import Coding, decode
from dialerd.settings import Settings, load
from dialerd.store import Store
from dialerd.store.migrate import migrate
from tests.api.conftest import opener
from tests.drivers.conformance import an_sms
from tests.fakes.kannel import Kannel

GSM = "Hola señor, son 5€ [ñ]; ¿si?"
UNICODE = "Ya está, ñandú 😀"
LONG = "Estimado cliente: su cuota de 12€ vence mañana. " * 6

MAIN = """
[daemon]
state_dir = "{state}"
[providers.kannel]
driver = "http"
preset = "kannel"
number_format = "e164"
auth = {{ user = "dialerd", password = "{password}" }}
parameters = {{ base_url = "{url}"{more} }}
"""


def configured(folder: Path, kannel: Kannel, password: str, more: str = "") -> Settings:
    (folder / "campaigns").mkdir(exist_ok=True)
    main = MAIN.format(state=folder / "var", password=password, url=kannel.url, more=more)
    (folder / "dialerd.toml").write_text(main)
    (folder / "campaigns" / "v.toml").write_text(
        'name = "Ventas->"\nchannel = "sms"\nprovider = "kannel"\nregion = "UY"\nsource = "1234"\n'
    )
    return load(folder, environ={})


async def test_kannel(tmp_path: Path) -> None:
    """What GSM-7 can spell, what it cannot, and a long text arrive as they were, from the sender, each once."""
    async with Kannel(tmp_path) as kannel:
        settings = configured(tmp_path, kannel, kannel.password)
        store = Store(settings.database.url)
        store.transact_here(migrate)
        now = datetime.now(UTC)
        numbers = {"099000001": GSM, "099000002": UNICODE, "099000003": LONG}
        for number, data in numbers.items():
            await intake.submit(store, settings, campaign="Ventas->", destination=number, data=data, now=now)
        summary = await run_once(settings)

        assert summary.ended["sent"] == 3
        arrived: dict[str, list[dict[str, Any]]] = {}
        for pdu in await kannel.taken(4):
            assert pdu["source"] == "1234"
            arrived.setdefault(pdu["destination"], []).append(pdu)
        assert {number: read(pdus) for number, pdus in arrived.items()} == {
            f"598{number[1:]}": data for number, data in numbers.items()
        }
        rows = store.transact_here(lambda c: c.execute(text("SELECT status, attempts, parts FROM sms_repo")).fetchall())
        assert sorted(tuple(row) for row in rows) == [("sent", 1, 1), ("sent", 1, 1), ("sent", 1, 2)]
        store.close()

        driver = build(settings.providers["kannel"], settings.campaigns)
        await driver.probe()
        refused = await driver.send(an_sms(destination="x", address="", data="no number"))
        assert refused == Failed("HTTP 400 Bad Request: Missing receiver number, rejected")
        stranger = build(configured(tmp_path, kannel, "wrong").providers["kannel"], settings.campaigns)
        assert await stranger.send(an_sms()) == Unreachable(
            "HTTP 403 Forbidden, its body matches 'Authorization failed'"
        )
        await stranger.close()

    assert isinstance(await driver.send(an_sms()), Unreachable)
    await driver.close()


def read(pdus: list[dict[str, Any]]) -> str:
    """Return the text of a message's PDUs, its parts in their order (TS 23.040, section 9.2.3.24.1)."""
    parts = []
    for pdu in pdus:
        octets, place = bytes.fromhex(pdu["text"]), 0
        if pdu["esm_class"] & 0x40:
            assert octets[:3] == b"\x05\x00\x03"
            octets, place = octets[6:], octets[5]
        parts.append((place, octets, Coding.UCS2 if pdu["data_coding"] == 8 else Coding.GSM7))
    return "".join(decode(octets, coding) for _, octets, coding in sorted(parts))


async def test_what_kannel_calls_back(tmp_path: Path, sqlite_url: str) -> None:
    """Kannel's own reports mark messages as delivered; what phones answer comes in as it was written, once."""
    texts = ["echo ¿qué? 5€ & 50%  más", "echo 😀 Ñandú & 50%"]
    came = "SELECT provider, phone, message FROM sms_inbound ORDER BY phone"
    async with (
        opener(sqlite_url, tmp_path)() as site,
        Kannel(tmp_path, inbound=site.url("/inbound/kannel")) as kannel,
    ):
        more = f', callback = "{site.url("/receipts/kannel")}?"'
        settings = configured(tmp_path, kannel, kannel.password, more)
        site.settings = replace(settings, database=site.settings.database, api=site.settings.api)
        for n, data in enumerate(texts):
            given = {"campaign": "Ventas->", "destination": f"09900000{n}", "data": data}
            await intake.submit(site.store, site.settings, **given, now=datetime.now(UTC))
        assert (await run_once(site.settings)).ended["sent"] == 2

        async with asyncio.timeout(60):
            while (
                await site.rows("SELECT delivery FROM sms_repo") != [("delivered",)] * 2
                or len(await site.rows(came)) < 2
            ):
                await asyncio.sleep(0.05)
        assert [("kannel", f"+5989900000{n}", data) for n, data in enumerate(texts)] == await site.rows(came)
