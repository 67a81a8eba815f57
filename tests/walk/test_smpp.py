"""One SMS there and back over SMPP: the daemon, an SMSC that nobody here wrote, receipts and inbound."""

import asyncio
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text

from dialerd import intake
from dialerd.settings import load
from dialerd.store import Store
from dialerd.store.migrate import migrate
from tests.drivers.smpp.test_peers import FAKES, started
from tests.peers import node_module, program

MAIN = """
[daemon]
state_dir = "{folder}/var"
[providers.smsc]
driver = "smpp"
host = "127.0.0.1"
port = {port}
system_id = "dialerd"
password = "secret"
"""


async def until(store: Store, sql: str, expected: Any) -> None:
    """Wait until a query finds these rows; another process tells us nothing when it commits."""
    seen: Any = None
    try:
        async with asyncio.timeout(60):
            while seen != expected:
                seen = await store.read(lambda connection: [tuple(row) for row in connection.execute(text(sql))])
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{sql!r} finds {seen!r}, not {expected!r}") from None


async def test_there_and_back(tmp_path: Path) -> None:
    """Sent, delivered by receipts that spell the ids otherwise; what comes back is stored, and all is answered."""
    node, modules = program("node"), str(node_module("smpp").parent)
    async with started(node, FAKES / "smsc.js", NODE_PATH=modules) as smsc:
        (ready,) = await smsc.until("ready")
        (tmp_path / "campaigns").mkdir()
        (tmp_path / "dialerd.toml").write_text(MAIN.format(folder=tmp_path, port=ready["port"]))
        (tmp_path / "campaigns" / "v.toml").write_text(
            'name = "Ventas->"\nchannel = "sms"\nprovider = "smsc"\nregion = "UY"\nsource = "1234"\n'
        )
        settings = load(tmp_path)
        store = Store(settings.database.url)
        await store.transact(migrate)
        async with started(sys.executable, "-m", "dialerd", "run", "--config", tmp_path) as daemon:
            for data in ("ñ" * 400, "echo hola"):
                await intake.submit(
                    store, settings, campaign="Ventas->", destination="099123456", data=data, now=datetime.now(UTC)
                )
            await until(
                store, "SELECT status, attempts, parts, delivery FROM sms_repo ORDER BY parts",
                [("sent", 1, 1, "delivered"), ("sent", 1, 3, "delivered")],
            )  # fmt: skip
            await until(
                store, "SELECT phone, message, provider, campaign FROM sms_inbound",
                [("+59899123456", "echo hola", "smsc", "Ventas->")],
            )  # fmt: skip
            assert {event["status"] for event in await smsc.until("receipt", 4)} == {0}
            daemon.process.send_signal(signal.SIGTERM)
            assert await daemon.process.wait() == 0
        await smsc.until("unbind")
        store.close()
