"""The conformance list itself, in full, on the scripted driver; and the scripted driver's own promises."""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import ClassVar

import pytest

from dialerd.drivers import DRIVERS, build
from dialerd.model.errors import Refused, Unavailable
from dialerd.model.outcome import Deferred, Failed, InDoubt, Outcome, Sent, Throttled, Unreachable
from dialerd.settings import SmtpProvider
from tests.drivers.conformance import DriverConformance, Kind, Peer, an_sms
from tests.drivers.scripted import Script, ScriptedDriver, hang, in_turn, when

SCRIPTS: dict[Kind, Script] = {
    Kind.ACCEPTED: in_turn(Sent("1")),
    Kind.DEFERRED: in_turn(Deferred("queue full")),
    Kind.REJECTED: in_turn(Failed("bad number")),
    Kind.THROTTLED: in_turn(Throttled("slow down")),
    Kind.UNREACHABLE: in_turn(Unreachable("refused")),
    Kind.HANGING: hang,
    Kind.ANSWER_LOST: in_turn(InDoubt("connection lost")),
    Kind.NONSENSE: in_turn(InDoubt("no answer of this protocol")),
    Kind.SLOW: hang,
}


class ScriptedPeer:
    """A provider that is nothing but its script."""

    def __init__(self) -> None:
        self.driver = ScriptedDriver(attempt_limit_s=0.05)

    async def script(self, kind: Kind) -> None:
        self.driver.down = "refused" if kind is Kind.DOWN else None
        self.driver.script = SCRIPTS.get(kind, self.driver.script)

    async def reached(self) -> None:
        await self.driver.wait_started(1)

    def accepted(self) -> Collection[str]:
        return [message.id for message in self.driver.sent]


class TestScripted(DriverConformance):
    """The scripted driver can behave in every way, so the whole list runs."""

    kinds: ClassVar[frozenset[Kind]] = frozenset(Kind)

    @pytest.fixture
    async def peer(self) -> AsyncIterator[Peer]:
        peer = ScriptedPeer()
        yield peer
        await peer.driver.close()


def test_list_leaves_out() -> None:
    """A check that a provider cannot be put to is not collected; the others are."""

    class Limited(DriverConformance):
        kinds: ClassVar[frozenset[Kind]] = frozenset({Kind.ACCEPTED})

    assert vars(Limited)["test_deferred"] is None
    assert "test_accepted" not in vars(Limited)
    assert "test_deferred" not in vars(TestScripted)


@pytest.mark.parametrize("liar", [Sent(), Deferred("lost"), Unreachable("lost")])
async def test_list_catches_false_certainty(liar: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that calls a lost answer anything but a doubt fails the list."""
    monkeypatch.setitem(SCRIPTS, Kind.ANSWER_LOST, in_turn(liar))

    with pytest.raises(AssertionError):
        await TestScripted().test_answer_lost(ScriptedPeer())


async def test_in_turn() -> None:
    """Each message goes through the outcomes from the first on; the last stays."""
    driver = ScriptedDriver(in_turn(Deferred("busy"), Sent()))
    first, second = an_sms(), an_sms()

    answers = [await driver.send(message) for message in (first, second, first, first)]
    assert answers == [Deferred("busy"), Deferred("busy"), Sent(), Sent()]
    assert driver.started == [first, second, first, first]
    assert driver.sent == [first, first]


async def test_when() -> None:
    """An attempt can be held until the test lets it go; what is in flight meanwhile is counted."""
    gate = asyncio.Event()
    driver = ScriptedDriver(when(gate))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(driver.send(an_sms()))
        await driver.wait_started(3)

        assert (driver.in_flight, driver.sent) == (3, [])
        gate.set()
        await driver.wait_sent(3)
    assert (driver.in_flight, driver.most_in_flight) == (0, 3)


async def test_raises() -> None:
    """A script can break the driver's promise, so that the dialer's tests see what becomes of that."""

    def broken(_message: object) -> Outcome:
        raise ZeroDivisionError

    driver = ScriptedDriver(broken)
    with pytest.raises(ZeroDivisionError):
        await driver.send(an_sms())
    assert driver.in_flight == 0


async def test_wait_gives_up() -> None:
    """A wait for what never comes fails with what has happened instead."""
    driver = ScriptedDriver()
    await driver.send(an_sms())

    with pytest.raises(AssertionError, match="no 2 sent within 0.01 s: ScriptedDriver\\(1 started, 1 sent"):
        await driver.wait_until(lambda: len(driver.sent) > 1, "2 sent", within_s=0.01)


async def test_probes_are_counted() -> None:
    """Probes tell what the test decided, and can be waited for."""
    driver = ScriptedDriver(down="refused")
    with pytest.raises(Unavailable, match="refused"):
        await driver.probe()
    driver.down = None
    await driver.probe()

    await driver.wait_probed(2)


def test_build_without_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider whose driver this version lacks is refused by name, not by a traceback."""
    monkeypatch.delitem(DRIVERS, "smtp")
    with pytest.raises(Refused, match="mail.*smtp"):
        build(SmtpProvider(name="mail", host="127.0.0.1"), {})
