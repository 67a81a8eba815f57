"""The walk of an SMS to a gateway over HTTP: from intake to what sms_repo knows of it, over a reload of its preset."""

import asyncio
import os
import signal
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from dialerd import daemon, intake
from dialerd.settings import load
from dialerd.store import Store
from dialerd.store.migrate import migrate
from tests.fakes.gateway import Gateway, answer

MAIN = """
[daemon]
state_dir = "{state}"
[database]
url = "{database}"
[providers.gw]
driver = "http"
preset = "ours"
parameters = {{ base_url = "{url}" }}
"""
PRESET = """
about = "ours"
url = "${{base_url}}/send"
query = {{ {name} = "${{phone}}", text = "${{message}}" }}
success = {{ body = "^OK" }}
permanent = {{ body = "bad number" }}
id = {{ body = "id=(.*)" }}
[parameters]
base_url = {{ about = "where it is" }}
"""


async def test_a_gateway_over_http(database_url: str, tmp_path: Path) -> None:
    """Accepted with the gateway's id, refused with its words; a preset that changes counts from the reload on."""
    (tmp_path / "campaigns").mkdir()
    (tmp_path / "presets").mkdir()
    preset = tmp_path / "presets" / "ours.toml"
    preset.write_text(PRESET.format(name="to"))
    (tmp_path / "campaigns" / "c.toml").write_text(
        'name = "c"\nchannel = "sms"\nprovider = "gw"\nregion = "UY"\nunicode = "transliterate"\n'
    )
    store = Store(database_url)
    store.transact_here(migrate)
    bad = "099999999"
    async with Gateway(says=lambda asked: answer("bad number" if bad[1:] in asked.target else "OK id=77")) as gateway:
        (tmp_path / "dialerd.toml").write_text(
            MAIN.format(state=tmp_path, database=database_url, url=gateway.url)
        )  # fmt: skip
        settings = load(tmp_path)

        async def sent(number: str) -> None:
            await intake.submit(store, settings, campaign="c", destination=number, data="“sí” é", now=datetime.now(UTC))
            await gateway.reached(len(gateway.asked) + 1)

        running = asyncio.create_task(daemon.run(lambda: load(tmp_path)))
        await sent("099123456")
        await sent(bad)
        assert [asked.query for asked in gateway.asked] == [
            {"to": "+59899123456", "text": '"si" é'},
            {"to": "+59899999999", "text": '"si" é'},
        ]
        preset.write_text(PRESET.format(name="dest"))
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(60):
            while "dest" not in gateway.asked[-1].query:
                await sent("099123456")
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(running, 60)

    rows = store.transact_here(
        lambda c: c.execute(text("SELECT status, provider, provider_id, error FROM sms_repo")).fetchall()
    )
    store.close()
    assert len(rows) == len(gateway.asked)
    assert {tuple(row) for row in rows} == {
        ("sent", "gw", "77", None),
        ("failed", "gw", None, "HTTP 200 OK: bad number"),
    }
