"""Whatever an SMSC does, nothing is said for certain that is not: checked against what the SMSC really took."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from dialerd.drivers.smpp.pdu import ShortMessage
from dialerd.model.message import Message
from dialerd.model.outcome import InDoubt, Outcome, Partly, Sent
from tests.drivers.conformance import an_sms
from tests.drivers.smpp.conftest import Make
from tests.fakes.smsc import CUT, SILENCE, Smsc

MESSAGES = 150
PARTS = 3


class Late:
    """Keeps what comes of messages after they have been called doubts, by their numbers."""

    def __init__(self) -> None:
        self.told: dict[int, Outcome] = {}

    async def late(self, _provider: str, message: Message, outcome: Outcome) -> None:
        self.told[message.seq] = outcome


def place(message: ShortMessage) -> tuple[int, int]:
    """Return which message this is, and which of its parts."""
    if message.esm_class & 0x40:
        return message.text[3], message.text[5]
    return int(message.text), 1


@pytest.mark.parametrize("seed", range(4))
async def test_certainty(smsc: Smsc, make: Make, seed: int) -> None:
    """Sent was taken; refused was not; parts were taken as told; and nothing goes twice. The rest is in doubt."""
    chance = random.Random(seed)
    kinds: list[Any] = ["id", 0x08, 0x0B, 0x58, 0x04, 0x401, CUT, SILENCE, b"nonsense, and more than sixteen of it"]
    weights = [200, 6, 6, 6, 2, 6, 3, 1, 3]
    smsc.policy = lambda _message: chance.choices(kinds, weights)[0]
    driver, inbox = make(window=4, binds=2, response_timeout_s=1.0), Late()

    async def send(number: int) -> tuple[int, Outcome]:
        data = "x" * 400 if number % 3 == 0 else str(number)
        return number, await driver.send(an_sms(data=data, seq=number))

    lanes = iter(range(MESSAGES))

    async def lane() -> list[tuple[int, Outcome]]:
        return [await send(number) for number in lanes]

    listening = asyncio.ensure_future(driver.listen(inbox))
    pairs = [pair for pairs in await asyncio.gather(*(lane() for _ in range(30))) for pair in pairs]
    for connection, pdu, message in smsc.unanswered:
        if not connection.closed:
            connection.settle(pdu, message, chance.choice(["late", "late", 0x08, 0x0B]))
    await driver.probe()  # what was answered before is read by then
    await asyncio.sleep(0)
    outcomes = [(number, inbox.told.get(number, outcome)) for number, outcome in pairs]
    listening.cancel()
    taken = Counter(map(place, smsc.accepted))

    assert len(outcomes) == MESSAGES
    assert max(Counter(map(place, smsc.received)).values()) == 1
    for number, outcome in outcomes:
        parts = {part for (of, part) in taken if of == number}
        match outcome:
            case Sent():
                assert parts == set(range(1, 1 + (PARTS if number % 3 == 0 else 1)))
            case Partly(accepted, reference, rest):
                assert reference == number
                assert parts >= set(accepted)
                assert parts == set(accepted) or isinstance(rest, InDoubt)
            case InDoubt():
                pass
            case _:
                assert parts == set(), outcome
    assert {type(outcome) for _, outcome in outcomes} >= {Sent, Partly, InDoubt}
