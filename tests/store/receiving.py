"""Providers that confirm as badly as they can: early, late, twice, out of order, with ids spelt otherwise, or reused.

Every receipt carries an instant (or an error) that no other one has, so that the row it was recorded on shows which
one it was: none may stand on a row of another message.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from dialerd.model.message import Message, State, new_id
from dialerd.model.outcome import Outcome, Sent
from dialerd.model.receipt import Delivery, Receipt, ReceiptIds
from dialerd.model.retry import Verdict, verdict
from dialerd.store import Store
from dialerd.store.claim import claim
from dialerd.store.columns import Instant, MessageId
from dialerd.store.outcomes import settle
from dialerd.store.receipts import Told, look_again, receive
from dialerd.store.settle import Settlement
from dialerd.store.spool import submit
from tests.store.conftest import ME, campaign, message, order
from tests.store.filled import NOW

__all__ = ["World"]

CLAIMED = 60


@dataclass
class Kind:
    """How a provider gives ids: `answered` and `confirmed` spell the n-th of them."""

    reading: ReceiptIds
    answered: Callable[[int], str]
    confirmed: Callable[[int], str]
    first: int = 1
    modulo: int | None = None
    names_address: bool = True
    echoes: bool = False


KINDS = {
    "counter": Kind(ReceiptIds.AUTO, str, str),
    "padded": Kind(ReceiptIds.AUTO, lambda n: f"{n:08X}", lambda n: f"{n:010d}"),
    "decimal": Kind(ReceiptIds.AUTO, str, lambda n: f"{n:x}"),
    "hexdec": Kind(ReceiptIds.HEX_DEC, lambda n: f"{n:x}", str, first=2_000_000),
    "dechex": Kind(ReceiptIds.DEC_HEX, str, lambda n: f"{n:08X}", first=2_000_000),
    "wraps": Kind(ReceiptIds.SAME, str, str, modulo=40),
    "long": Kind(ReceiptIds.AUTO, lambda n: f"{n + 2**40:x}", lambda n: str(n + 2**40), names_address=False),
    "uuid": Kind(ReceiptIds.SAME, lambda n: f"M-{n}-é😀", lambda n: f"m-{n}-é😀", names_address=False),
    "echo": Kind(ReceiptIds.SAME, str, str, modulo=7, echoes=True),
}


@dataclass
class Truth:
    """What really happened to a message: the receipts that are about it, by what they can be known by."""

    provider: str
    lost: bool
    parts: int
    stamps: set[Any] = field(default_factory=set)
    deliveries: list[Delivery] = field(default_factory=list)


class World:
    """So many messages through all the providers, on one store."""

    def __init__(self, store: Store, *, messages: int, seed: int) -> None:
        self.store = store
        self.random = random.Random(seed)
        self.messages = messages
        self.now = NOW
        self.truth: dict[str, Truth] = {}
        self.waiting: list[tuple[int, Told]] = []
        self.unsettled: list[tuple[int, list[Settlement]]] = []
        self.ids: Counter[str] = Counter()
        self.stamps = 0
        self.told = 0

    def run(self) -> None:
        """Send everything, and tell all receipts."""
        self._submit()
        step = 0
        while len(self.truth) < self.messages or self.waiting or self.unsettled:
            step += 1
            self.now += timedelta(seconds=1)
            provider = self.random.choice(list(KINDS))
            for one, _ in self.store.transact_here(claim_for, provider, self.now):
                self._accept(one, provider, step)
            self._settle(step)
            self._tell(step)
            if step % 10 == 0:
                self.store.transact_here(look_again, now=self.now, most=500)
        for _ in range(20):
            self.now += timedelta(hours=1)
            while self.store.transact_here(look_again, now=self.now, most=500)[0] == 500:
                pass

    def _submit(self) -> None:
        names = list(KINDS)
        many, few = ([f"598991{n:05d}" for n in range(most)] for most in (max(self.messages // 8, 3), 8))
        some = [
            message(
                campaign=self.random.choice(names), address=self.random.choice(self.random.choice([many, few])),
                parts=self.random.choice([1, 1, 1, 2, 3]), data="x", due_at=NOW, due_since=NOW, id=new_id(),
            )
            for _ in range(self.messages)
        ]  # fmt: skip
        for start in range(0, len(some), 1000):
            self.store.transact_here(submit, some[start : start + 1000])

    def _accept(self, one: Message, provider: str, step: int) -> None:
        """Let the provider take a message, or so it seems, and think of its receipts."""
        kind = KINDS[provider]
        names = [self._next_id(provider, kind) for _ in range(one.parts)]
        is_lost = one.parts == 1 and self.random.random() < 0.02
        truth = self.truth[one.id] = Truth(provider, is_lost, one.parts)
        for number in names:
            self._think_of_receipts(one, kind, provider, number, truth, step)
        answered = tuple(kind.answered(number) for number in names)
        outcome: Outcome = Sent(answered[0]) if one.parts == 1 else Sent(None, answered)
        decided = Verdict(state=State.IN_DOUBT, error="lost", bound=True) if is_lost else judged(outcome, self.now)
        settlement = Settlement(
            seq=one.seq, message=one.id, attempt=one.attempt, incarnation=ME, provider=provider, verdict=decided
        )
        self.unsettled.append((step + self.random.choice([0, 0, 1, 3]), [settlement]))

    def _next_id(self, provider: str, kind: Kind) -> int:
        self.ids[provider] += 1
        number = kind.first + self.ids[provider]
        return number % kind.modulo + 1 if kind.modulo else number

    def _think_of_receipts(self, one: Message, kind: Kind, provider: str, number: int, truth: Truth, step: int) -> None:
        said = self.random.choice(
            [[Delivery.DELIVERED]] * 6
            + [[Delivery.UNDELIVERED], [Delivery.DELIVERED, Delivery.READ], [Delivery.UNDELIVERED, Delivery.DELIVERED]]
        )
        for delivery in [None, *said]:
            self.stamps += 1
            stamp = self.now + timedelta(microseconds=self.stamps)
            error = f"error {self.stamps}" if delivery is Delivery.UNDELIVERED else None
            truth.stamps |= {stamp, error}
            if delivery is not None:
                truth.deliveries.append(delivery)
            receipt = Receipt(
                provider=provider,
                provider_id=kind.confirmed(number),
                own_id=one.id.upper() if kind.echoes else None,
                delivery=delivery,
                address=self._spelt(one.address) if kind.names_address else None,
                at=stamp,
                error=error,
            )
            for _ in range(self.random.choice([1, 1, 1, 2])):
                at = step + self.random.choice([0, 0, 1, 2, 5, 30])
                self.waiting.append((at, Told(receipt=receipt, reading=kind.reading)))

    def _spelt(self, address: str) -> str:
        national = address.removeprefix("598")
        return self.random.choice([address, f"+{address}", f"00{address}", f"0{national}", f"+598 {national}"])

    def _settle(self, step: int) -> None:
        due = [one for at, some in self.unsettled if at <= step for one in some]
        self.unsettled = [(at, some) for at, some in self.unsettled if at > step]
        if due:
            assert len(due) == self.store.transact_here(settle, due, now=self.now)

    def _tell(self, step: int) -> None:
        due = [told for at, told in self.waiting if at <= step]
        self.waiting = [(at, told) for at, told in self.waiting if at > step]
        self.random.shuffle(due)
        while due:
            size = self.random.choice([1, 10, 100])
            some, due = due[:size], due[size:]
            self.store.transact_here(receive, some, now=self.now)
            self.told += len(some)

    # -- what came of it -----------------------------------------------------------------------------------------

    def wrong_rows(self) -> list[str]:
        """Return the messages whose row says what was said of another."""
        rows = self._rows()
        wrong = []
        for row in rows:
            truth = self.truth[row.id]
            if row.delivery is not None and (
                Delivery(row.delivery) not in truth.deliveries
                or (row.delivered_at is not None and row.delivered_at not in truth.stamps)
                or (row.error is not None and row.error not in truth.stamps)
            ):
                wrong.append(f"{row.id} {truth.provider} {row.delivery} {row.error}")
        return wrong

    def matched(self) -> dict[str, float]:
        """Return of each provider which part of the messages whose id was known has a delivery."""
        has = Counter(self.truth[row.id].provider for row in self._rows() if row.delivery is not None)
        all_ = Counter(truth.provider for truth in self.truth.values())
        return {provider: round(has[provider] / count, 3) for provider, count in all_.items()}

    def doubts_ended(self) -> dict[str, float]:
        """Return of each provider which part of its doubts was ended by a receipt."""
        lost = {id_: truth for id_, truth in self.truth.items() if truth.lost}
        sent = Counter(self.truth[row.id].provider for row in self._rows() if row.id in lost)
        all_ = Counter(truth.provider for truth in lost.values())
        return {provider: round(sent[provider] / count, 3) for provider, count in all_.items()}

    def _rows(self) -> list[Any]:
        statement = text("SELECT id, delivery, delivered_at, error FROM sms_repo").columns(
            id=MessageId, delivered_at=Instant
        )
        return self.store.transact_here(lambda connection: list(connection.execute(statement)))


def judged(outcome: Outcome, now: datetime) -> Verdict:
    """Return the dialer's verdict."""
    given = campaign()
    return verdict(outcome, attempt=1, policy=given.retry, on_doubt=given.on_doubt, now=now, jitter=0)


def claim_for(connection: Any, provider: str, now: datetime) -> Any:
    """Claim some messages of the campaign that has the provider's name."""
    wanted = order(campaign(provider, provider=provider), provider=provider, permits=CLAIMED, now=now)
    return claim(connection, wanted).messages
