"""SMSCs that nobody here wrote: npm's smpp (JavaScript) and PyPI's smpp34 (Rust), each a process of its own."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import SecretStr

from dialerd.drivers.smpp import Smpp
from dialerd.model.errors import Unavailable
from dialerd.model.outcome import Failed, Sent, Throttled, Unreachable
from dialerd.model.receipt import Delivery, Inbound, Receipt
from dialerd.settings import Bind, LongSms, SmppProvider, Tls
from tests.drivers.conformance import an_sms
from tests.peers import node_module, program

FAKES = Path(__file__).parents[2] / "fakes"

TEXTS = ["echo Año @ 5€ {x}", "echo ж😀"]


class Peer:
    """A process that tells what happens to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []

    async def until(self, name: str, number: int = 1) -> list[dict[str, Any]]:
        """Return the first `number` events of this name, once there are so many."""
        async with asyncio.timeout(30):
            while len(found := [event for event in self.events if event["event"] == name]) < number:
                assert self.process.stdout is not None
                line = await self.process.stdout.readline()
                assert line, f"the SMSC has ended: {self.events}"
                self.events.append(json.loads(line))
        return found[:number]


class Inbox:
    """Keeps what comes."""

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []
        self.texts: list[Inbound] = []

    async def receipt(self, receipt: Receipt) -> None:
        self.receipts.append(receipt)

    async def inbound(self, inbound: Inbound) -> None:
        self.texts.append(inbound)


@asynccontextmanager
async def started(*command: str | Path, **environment: str) -> AsyncIterator[Peer]:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=os.environ | environment
    )
    try:
        yield Peer(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def make_driver(port: int, **keys: Any) -> Smpp:
    given: dict[str, Any] = {"host": "127.0.0.1", "system_id": "dialerd", "password": SecretStr("secret")}
    return Smpp(SmppProvider(name="smsc", port=port, **given | keys), {})


@asynccontextmanager
async def listening(driver: Smpp) -> AsyncIterator[Inbox]:
    """Listen until the block ends, then close the driver."""
    inbox = Inbox()
    task = asyncio.ensure_future(driver.listen(inbox))
    try:
        yield inbox
    finally:
        await driver.close()
        await task


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.002)


@pytest.fixture
async def npm() -> AsyncIterator[tuple[Peer, int]]:
    """npm's smpp, and its port."""
    node, modules = program("node"), str(node_module("smpp").parent)
    async with started(node, FAKES / "smsc.js", NODE_PATH=modules) as peer:
        (ready,) = await peer.until("ready")
        yield peer, ready["port"]


async def test_npm(npm: tuple[Peer, int]) -> None:
    """An SMSC in JavaScript takes texts as we meant them, refuses, sends receipts and texts, and is told goodbye."""
    peer, port = npm
    driver = make_driver(port)
    expires_at = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)
    async with listening(driver) as inbox:
        sent = [
            await driver.send(an_sms(data=text, address="59899123456", source="Ventas", expires_at=expires_at))
            for text in TEXTS
        ]
        assert isinstance(await driver.send(an_sms(address="59899123458")), Throttled)
        assert isinstance(await driver.send(an_sms(address="59899123411")), Failed)
        await until(lambda: len(inbox.receipts) == len(inbox.texts) == 2)
        assert {event["status"] for event in await peer.until("receipt", 2)} == {0}
        assert {event["status"] for event in await peer.until("echo", 2)} == {0}
        submits = await peer.until("submit_sm", 4)
        assert (await peer.until("enquire_link_resp"))[0]["status"] == 0
    bind, *_ = await peer.until("bind")
    await peer.until("unbind")

    assert (bind["command"], bind["version"]) == ("bind_transceiver", 0x34)
    assert [event["text"] for event in submits[:2]] == TEXTS
    assert [event["data_coding"] for event in submits[:2]] == [0, 8]
    assert {(event["source"], event["source_ton"], event["destination"], event["ton"]) for event in submits[:2]} == {
        ("Ventas", 5, "59899123456", 1)
    }
    assert submits[0]["validity"].startswith("2026-11-26T09:30:00")
    assert [outcome.provider_id for outcome in sent if isinstance(outcome, Sent)] == ["a0b0c01", "a0b0c02"]
    assert [(receipt.provider_id, receipt.delivery, receipt.address) for receipt in inbox.receipts] == [
        (str(0x0A0B0C01), Delivery.DELIVERED, "+59899123456"), (str(0x0A0B0C02), Delivery.DELIVERED, "+59899123456"),
    ]  # fmt: skip
    assert [(text.phone, text.message, text.to) for text in inbox.texts] == [
        ("+59899123456", text, "Ventas") for text in TEXTS
    ]


@pytest.mark.parametrize("long", list(LongSms))
async def test_npm_long(npm: tuple[Peer, int], long: LongSms) -> None:
    """Long texts arrive whole in each of the three ways."""
    peer, port = npm
    driver = make_driver(port, long=long, receipts=False, bind=Bind.TRANSMITTER)
    text = "€ñ@{}" * 50
    assert isinstance(await driver.send(an_sms(data=text, seq=0x1234)), Sent)
    await driver.close()
    number = 1 if long is LongSms.PAYLOAD else 3
    parts = await peer.until("submit_sm", number)

    assert "".join(part["text"] for part in parts) == text
    if long is LongSms.UDH:
        assert [part["header"] for part in parts] == [f"00033403{n:02x}" for n in (1, 2, 3)]
    if long is LongSms.SAR:
        assert [part["sar"] for part in parts] == [[0x1234, 3, n] for n in (1, 2, 3)]


async def test_npm_refuses_bind(npm: tuple[Peer, int]) -> None:
    """A wrong password is told as such, as `dialerd check` shows it."""
    driver = make_driver(npm[1], password=SecretStr("wrong"))
    with pytest.raises(Unavailable, match="ESME_RINVPASWD"):
        await driver.probe()
    await driver.close()


async def test_npm_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same over TLS."""
    node, modules = program("node"), str(node_module("smpp").parent)
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    async with started(node, FAKES / "smsc.js", tmp_path / "key.pem", tmp_path / "cert.pem", NODE_PATH=modules) as peer:
        port = (await peer.until("ready"))[0]["port"]
        stranger = make_driver(port, tls=Tls.TLS)
        assert isinstance(await stranger.send(an_sms()), Unreachable)
        await stranger.close()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        driver = make_driver(port, tls=Tls.TLS)
        assert isinstance(await driver.send(an_sms(data="Hola")), Sent)
        await driver.close()
        assert (await peer.until("submit_sm"))[0]["text"] == "Hola"
        await peer.until("unbind")


@pytest.fixture
async def rust() -> AsyncIterator[tuple[Peer, int]]:
    """smpp34's server, and its port; another process may take the port first, hence several tries."""
    for _ in range(5):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        async with started(sys.executable, FAKES / "smpp34_smsc.py", str(port)) as peer:
            try:
                await peer.until("ready")
            except AssertionError:
                continue
            yield peer, port
            return
    pytest.fail("smpp34's server does not start")


async def test_smpp34(rust: tuple[Peer, int]) -> None:
    """An SMSC in Rust takes our parts, refuses, and sends receipts by optional parameters and texts."""
    peer, port = rust
    driver = make_driver(port, binds=2)
    async with listening(driver) as inbox:
        first = await driver.send(an_sms(data="ñ" * 200, address="59899123456", seq=7))
        second = await driver.send(an_sms(data="echo ñ", address="59899123456"))
        assert isinstance(await driver.send(an_sms(address="59899123458")), Throttled)
        assert isinstance(await driver.send(an_sms(address="59899123411")), Failed)
        await until(lambda: len(inbox.receipts) == 3 and len(inbox.texts) == 1)
        assert {event["status"] for event in await peer.until("receipt", 3)} == {0}
        submits = await peer.until("submit_sm", 5)
    assert isinstance(first, Sent)
    assert isinstance(second, Sent)
    assert inbox.texts[0].message == "echo ñ"

    assert [event["text"][:12] for event in submits[:2]] == ["050003070201", "050003070202"]
    assert bytes.fromhex(submits[2]["text"]) == b"echo \x7d"
    assert first.part_ids == tuple(event["id"] for event in submits[:2])
    assert {(receipt.provider_id, receipt.delivery) for receipt in inbox.receipts} == {
        (name, Delivery.DELIVERED) for name in (*first.part_ids, second.provider_id)
    }
