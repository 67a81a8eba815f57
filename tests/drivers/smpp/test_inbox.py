"""What an SMSC delivers reaches the inbox, and is answered only when it stands in the database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from dialerd.drivers.smpp import Smpp
from dialerd.drivers.smpp.pdu import (
    BIND_RECEIVER,
    BIND_TRANSCEIVER,
    DATA_SM,
    DELIVER_SM,
    RESPONSE,
    Pdu,
    ShortMessage,
    pack,
)
from dialerd.model.errors import DatabaseGone
from dialerd.model.outcome import Sent
from dialerd.model.receipt import Delivery, Inbound, Receipt
from dialerd.settings import Bind
from tests.drivers.conformance import an_sms
from tests.drivers.smpp.conftest import Make
from tests.fakes.smsc import Connection, Smsc

RECEIPT = ShortMessage(b"59899123456", b"1234", b"id:7 sub:001 dlvrd:001 stat:DELIVRD err:000 text:", esm_class=4)
TEXT = ShortMessage(b"59899123456", b"1234", b"STOP", source_ton=1)


class Store:
    """An inbox that commits when the test lets it, or fails as the test says."""

    def __init__(self) -> None:
        self.commits = asyncio.Event()
        self.fault: Exception | None = None
        self.waiting = 0
        self.most_waiting = 0
        self.stored: list[Receipt | Inbound] = []

    async def receipt(self, receipt: Receipt) -> None:
        await self.commit(receipt)

    async def inbound(self, inbound: Inbound) -> None:
        await self.commit(inbound)

    async def commit(self, item: Receipt | Inbound) -> None:
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        await self.commits.wait()
        self.waiting -= 1
        if self.fault is not None:
            raise self.fault
        self.stored.append(item)


@asynccontextmanager
async def listening(driver: Smpp, smsc: Smsc, bind: int = BIND_TRANSCEIVER) -> AsyncIterator[tuple[Store, Connection]]:
    """Listen, and yield the inbox and the connection on which the SMSC delivers."""
    store = Store()
    task = asyncio.ensure_future(driver.listen(store))
    await smsc.until(lambda: smsc.bound(bind))
    yield store, smsc.bound(bind)[0]
    task.cancel()


async def answered(smsc: Smsc, connection: Connection, sequence: int) -> Pdu:
    await smsc.until(lambda: sequence in connection.answers)
    return connection.answers[sequence]


async def test_after_the_commit(smsc: Smsc, make: Make) -> None:
    """A receipt and a text are answered after they were stored, not before; others do not wait for them."""
    driver = make()
    async with listening(driver, smsc) as (store, connection):
        receipt, text = connection.deliver(RECEIPT), connection.deliver(TEXT)
        assert isinstance(await driver.send(an_sms()), Sent)
        async with asyncio.timeout(30):
            while store.waiting < 2:
                await asyncio.sleep(0)
        assert not connection.answers
        store.commits.set()

        assert await answered(smsc, connection, receipt) == Pdu(DELIVER_SM | RESPONSE, 0, receipt, b"\0")
        assert (await answered(smsc, connection, text)).status == 0
    first, second = store.stored
    assert isinstance(first, Receipt)
    assert (first.provider, first.provider_id, first.delivery) == ("smsc", "7", Delivery.DELIVERED)
    assert isinstance(second, Inbound)
    assert (second.phone, second.message, second.to) == ("+59899123456", "STOP", "1234")
    assert abs(datetime.now(UTC) - second.received).total_seconds() < 60


@pytest.mark.parametrize("fault", [DatabaseGone("away"), ZeroDivisionError("a bug")])
async def test_not_stored(smsc: Smsc, make: Make, fault: Exception) -> None:
    """What could not be stored is answered so that the SMSC delivers it again, and is stored then."""
    async with listening(make(), smsc) as (store, connection):
        store.commits.set()
        store.fault = fault
        assert (await answered(smsc, connection, connection.deliver(RECEIPT))).status == 0x64
        store.fault = None
        assert (await answered(smsc, connection, connection.deliver(RECEIPT))).status == 0
    assert len(store.stored) == 1


async def test_nobody_listens(smsc: Smsc, make: Make) -> None:
    """A delivery that nobody can store is to be repeated."""
    driver = make()
    await driver.probe()
    assert (await answered(smsc, smsc.connections[0], smsc.connections[0].deliver(TEXT))).status == 0x64


async def test_bounded(smsc: Smsc, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many deliveries are worked on at once; the rest is to be repeated, and nothing is lost."""
    monkeypatch.setattr("dialerd.drivers.smpp.driver.MOST_DELIVERIES", 5)
    async with listening(make(), smsc) as (store, connection):
        sequences = [connection.deliver(TEXT) for _ in range(8)]
        for sequence in sequences[5:]:
            assert (await answered(smsc, connection, sequence)).status == 0x64
        store.commits.set()
        for sequence in sequences[:5]:
            assert (await answered(smsc, connection, sequence)).status == 0
    assert (store.most_waiting, len(store.stored)) == (5, 5)


async def test_behind_the_bind(smsc: Smsc, make: Make) -> None:
    """A delivery in the same segment as the answer to the bind is taken."""
    smsc.behind_bind = pack(DELIVER_SM, 77, TEXT.pack())
    async with listening(make(), smsc) as (store, connection):
        store.commits.set()
        assert (await answered(smsc, connection, 77)).status == 0
    assert len(store.stored) == 1


async def test_unreadable(smsc: Smsc, make: Make) -> None:
    """A deliver_sm whose fields do not fit into it is refused by its number; the next one is taken."""
    async with listening(make(), smsc) as (store, connection):
        store.commits.set()
        connection.transport.write(pack(DELIVER_SM, 500, TEXT.pack()[:-1]))
        assert (await answered(smsc, connection, 500)).status == 0x02
        assert (await answered(smsc, connection, connection.deliver(TEXT))).status == 0
    assert len(store.stored) == 1


async def test_receiver_and_data_sm(smsc: Smsc, make: Make) -> None:
    """With two binds deliveries come on the receiver; data_sm is as good as deliver_sm."""
    data_sm = b"\0\1\1" + b"59899123456\0" + b"\0\0" + b"1234\0" + bytes((4, 0, 0)) + b"\0\x1e\0\2A\0\4\x27\0\1\5"
    async with listening(make(bind=Bind.BOTH), smsc, BIND_RECEIVER) as (store, connection):
        store.commits.set()
        connection.transport.write(pack(DATA_SM, 9, data_sm))
        assert await answered(smsc, connection, 9) == Pdu(DATA_SM | RESPONSE, 0, 9, b"\0")
    assert store.stored == [
        Receipt(
            provider="smsc", provider_id="A", delivery=Delivery.UNDELIVERED, address="+59899123456", error="UNDELIV"
        )
    ]


async def test_close_waits_for_deliveries(smsc: Smsc, make: Make) -> None:
    """At the close what is being stored is stored and answered before the goodbye."""
    driver = make()
    async with listening(driver, smsc) as (store, connection):
        sequence = connection.deliver(RECEIPT)
        async with asyncio.timeout(30):
            while not store.waiting:
                await asyncio.sleep(0)
        closing = asyncio.ensure_future(driver.close())
        await asyncio.sleep(0)
        store.commits.set()
        await closing

    assert connection.answers[sequence].status == 0
    assert smsc.unbinds == 1
