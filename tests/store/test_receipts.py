"""Receipts: each is recorded on the row of its own message, or waits; nothing is guessed and nothing moves back."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from dialerd.model.message import State, Status, new_id
from dialerd.model.receipt import Delivery, Receipt, ReceiptIds
from dialerd.model.retry import Verdict
from dialerd.store import Store
from dialerd.store.outcomes import settle
from dialerd.store.parts import forget_parts
from dialerd.store.receipts import KEPT, Received, Told, expire_parked, look_again, receive
from dialerd.store.settle import Settlement
from dialerd.store.tables import sms_repo, sms_spool
from tests.store.conftest import ME, execute, put, select, take
from tests.store.filled import NOW, rows
from tests.store.receiving import World

ADDRESS = "59899123456"
DOUBT = Verdict(state=State.IN_DOUBT, error="no answer", bound=True)
LATER = NOW + timedelta(hours=1)


def told(provider_id: str | None = None, delivery: Delivery | None = Delivery.DELIVERED, **given: Any) -> Told:
    """Return a receipt of the provider `p`."""
    reading = given.pop("reading", ReceiptIds.AUTO)
    usual: dict[str, Any] = {"provider": "p", "provider_id": provider_id, "delivery": delivery, "address": ADDRESS}
    return Told(receipt=Receipt(**usual | given), reading=reading)


def tell(store: Store, *some: Told, now: datetime = NOW) -> Received:
    return store.transact_here(receive, some, now=now)


def claimed(store: Store, *some: Any, **common: Any) -> list[Settlement]:
    """Submit messages to the address, claim them, and return what would settle them as sent."""
    put(store, *some or ("x",), **{"address": ADDRESS} | common)
    return [
        Settlement(
            seq=one.seq, message=one.id, attempt=one.attempt, incarnation=ME, provider="p",
            verdict=Verdict(status=Status.SENT),
        )
        for one, _ in take(store, permits=500).messages
    ]  # fmt: skip


def finish(store: Store, one: Settlement, verdict: Verdict) -> None:
    changed = Settlement(
        seq=one.seq, message=one.message, attempt=one.attempt, incarnation=ME, provider="p", verdict=verdict
    )
    assert 1 == store.transact_here(settle, [changed], now=NOW)


def sent(store: Store, provider_id: str | None, *part_ids: str | None, **common: Any) -> str:
    """Send a message that the provider names so; return its id."""
    (one,) = claimed(store, **common)
    accepted = dict(enumerate(part_ids, 1)) if part_ids else None
    finish(store, one, Verdict(status=Status.SENT, provider_id=provider_id, accepted=accepted))
    assert one.message is not None
    return one.message


def deliveries(store: Store) -> list[Any]:
    return [delivery for (delivery,) in select(store, "SELECT delivery FROM sms_repo ORDER BY seq")]


def parked(store: Store) -> int:
    return int(select(store, "SELECT count(*) FROM parked_receipt")[0][0])


# -- the fuzz ----------------------------------------------------------------------------------------------------------


def test_no_receipt_stands_on_a_wrong_row(store: Store) -> None:
    """Early, doubled, reordered, spelt otherwise, counted or reused: none is on the row of another message."""
    world = World(store, messages=250, seed=1)
    world.run()

    assert [] == world.wrong_rows()
    matched = world.matched()
    assert min(matched[name] for name in ("counter", "padded", "hexdec", "dechex", "long", "uuid", "echo")) > 0.7


# -- which message -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answered", "confirmed", "reading", "fits"),
    [
        ("abc-1", "ABC-1", ReceiptIds.SAME, True),
        ("0001234", "1234", ReceiptIds.SAME, True),
        ("4d2", "1234", ReceiptIds.SAME, False),
        ("4D2", "0000001234", ReceiptIds.HEX_DEC, True),
        ("1234", "1234", ReceiptIds.HEX_DEC, False),
        ("ffffffffffffffff", "18446744073709551615", ReceiptIds.HEX_DEC, True),
        ("18446744073709551615", "FFFFFFFFFFFFFFFF", ReceiptIds.AUTO, True),
        ("1234", "000004d2", ReceiptIds.DEC_HEX, True),
        ("4d2", "4d2", ReceiptIds.DEC_HEX, False),
        ("4d2", "1234", ReceiptIds.AUTO, True),
        ("1234", "4D2", ReceiptIds.AUTO, True),
        ("1234", "1234", ReceiptIds.AUTO, True),
        ("99999999999999999999999", "99999999999999999999999", ReceiptIds.AUTO, True),
        ("1235", "1234", ReceiptIds.AUTO, False),
    ],
)
def test_readings(sqlite_store: Store, answered: str, confirmed: str, reading: ReceiptIds, fits: bool) -> None:
    """An id is compared by the readings that are set for the provider, and by no other."""
    sent(sqlite_store, answered)

    assert (1 if fits else 0) == tell(sqlite_store, told(confirmed, reading=reading)).matched
    assert ["delivered" if fits else None] == deliveries(sqlite_store)


@pytest.mark.parametrize(
    ("spelt", "fits"),
    [
        (ADDRESS, True), (f"+{ADDRESS}", True), (f"00{ADDRESS}", True), ("099123456", True), ("+598 99-123-456", True),
        (None, True), ("59899123457", False), ("99999999", False), ("123456", False), ("59890123456", False),
        ("3499123456", False),
    ],
)  # fmt: skip
def test_the_address_narrows(sqlite_store: Store, spelt: str | None, fits: bool) -> None:
    """A receipt for another number is about another message, whatever its id; spellings of a number do not matter."""
    sent(sqlite_store, "17")

    assert (1 if fits else 0) == tell(sqlite_store, told("17", address=spelt)).matched


def test_of_several_none_is_taken(store: Store) -> None:
    """Where two messages of the same recipient may be meant, by the same or another reading, the receipt waits."""
    sent(store, "10")
    sent(store, "16")

    assert 1 == tell(store, told("10")).parked
    assert [None, None] == deliveries(store)
    assert 1 == tell(store, told("10", reading=ReceiptIds.SAME)).matched
    assert ["delivered", None] == deliveries(store)


def test_another_provider_has_its_own_ids(store: Store) -> None:
    """The same id of another provider is another message."""
    sent(store, "17")

    assert 1 == tell(store, told("17", provider="q")).parked


def test_an_old_message_is_not_meant(store: Store) -> None:
    """An id that was used weeks ago is not that of today's receipt."""
    sent(store, "17")

    assert 1 == tell(store, told("17"), now=NOW + KEPT + timedelta(days=1)).parked


def test_a_short_id_waits_for_what_is_on_its_way(store: Store) -> None:
    """A counter's id may be that of a message that is being sent: the receipt waits until that one's id is known."""
    first = sent(store, "10")
    (under_way,) = claimed(store)
    assert 1 == tell(store, told("16", Delivery.UNDELIVERED)).parked

    finish(store, under_way, Verdict(status=Status.SENT, provider_id="16"))

    # By auto both may be meant; by the reading that the provider has, one.
    assert [None, None] == deliveries(store)
    tell(store, told("16", Delivery.UNDELIVERED, reading=ReceiptIds.SAME, error="absent"))
    assert [(first, None), (under_way.message, "undelivered")] == [
        (id_, row.delivery) for id_, row in rows(store, sms_repo).items()
    ]


def test_a_doubt_makes_others_doubtful_for_some_days_only(store: Store) -> None:
    """A message whose id nobody knows may have a short one, while its receipt may come; a long one is another's."""
    (one,) = claimed(store)
    finish(store, one, DOUBT)
    sent(store, "17")
    sent(store, "123456")

    assert 1 == tell(store, told("17", reading=ReceiptIds.SAME)).parked
    assert 1 == tell(store, told("123456", reading=ReceiptIds.SAME)).matched
    assert (1, 1) == store.transact_here(look_again, now=NOW + timedelta(days=4), most=10)
    assert ["delivered", "delivered"] == deliveries(store)


# -- early ones, late ones -------------------------------------------------------------------------------------------


def test_an_early_receipt_is_applied_when_the_id_becomes_known(store: Store) -> None:
    """A receipt that overtakes the settlement waits, and is recorded in the settlement's own transaction."""
    (one,) = claimed(store)
    assert 1 == tell(store, told("id-1", at=LATER)).parked

    finish(store, one, Verdict(status=Status.SENT, provider_id="id-1"))

    assert [("delivered", LATER)] == [(row.delivery, row.delivered_at) for row in rows(store, sms_repo).values()]
    assert 0 == parked(store)


def test_a_receipt_parked_beside_the_settlement_is_looked_at_again(store: Store) -> None:
    """Where receipt and settlement did not see each other, another look some seconds later brings them together."""
    (one,) = claimed(store)
    tell(store, told("id-1"))
    execute(store, "UPDATE parked_receipt SET provider_id = 'hidden'")
    finish(store, one, Verdict(status=Status.SENT, provider_id="id-1"))
    execute(store, "UPDATE parked_receipt SET provider_id = 'id-1'")

    assert (0, 0) == store.transact_here(look_again, now=NOW, most=10)
    assert (1, 1) == store.transact_here(look_again, now=NOW + timedelta(seconds=3), most=10)
    assert ["delivered"] == deliveries(store)


def test_what_finds_no_message_is_forgotten(store: Store) -> None:
    """A receipt for a row that was pruned waits once, however often it comes, is looked at ever less, and ends."""
    sent(store, "17")
    execute(store, "DELETE FROM sms_repo")
    for _ in range(3):
        tell(store, told("17"))
    assert 1 == parked(store)

    looks, now = 0, NOW
    while now < NOW + timedelta(days=2):
        now += timedelta(minutes=10)
        looks += store.transact_here(look_again, now=now, most=10)[0]
    assert 20 < looks < 60
    assert 0 == store.transact_here(expire_parked, before=NOW, most=10)
    assert 1 == store.transact_here(expire_parked, before=NOW + timedelta(seconds=1), most=10)


@pytest.mark.parametrize("order", list(permutations([Delivery.UNDELIVERED, Delivery.DELIVERED, Delivery.READ])))
def test_no_order_moves_a_delivery_back(sqlite_store: Store, order: tuple[Delivery, ...]) -> None:
    """Read is more than delivered, which is more than undelivered, in whatever order they come, and how often."""
    sent(sqlite_store, "17")
    seen = []
    for n, delivery in enumerate([*order, *order]):
        at = NOW + timedelta(seconds=n)
        tell(sqlite_store, told("17", delivery, at=at, error="why" if delivery is Delivery.UNDELIVERED else None))
        seen += deliveries(sqlite_store)

    ranks = [["undelivered", "delivered", "read"].index(one) for one in seen]
    assert ranks == sorted(ranks)
    ((delivery, error, delivered_at),) = [
        (row.delivery, row.error, row.delivered_at) for row in rows(sqlite_store, sms_repo).values()
    ]
    arrived = next(n for n, one in enumerate(order) if one is not Delivery.UNDELIVERED)
    assert ("read", None, NOW + timedelta(seconds=arrived)) == (delivery, error, delivered_at)


def test_undelivered_says_why(store: Store) -> None:
    """What did not arrive has the provider's reason, and no time of delivery."""
    sent(store, "17")

    tell(store, told("17", Delivery.UNDELIVERED, error="absent subscriber", at=LATER))

    assert [("sent", "undelivered", "absent subscriber", None)] == select(
        store, "SELECT status, delivery, error, delivered_at FROM sms_repo"
    )


def test_on_its_way_changes_nothing(store: Store) -> None:
    """A receipt that only says that the message travels is taken, and neither recorded nor parked."""
    sent(store, "17")

    assert (1, 0, 1) == (
        (got := tell(store, told("17", None), told("18", None))).matched,
        got.parked,
        got.passed,
    )
    assert [None] == deliveries(store)


# -- parts -------------------------------------------------------------------------------------------------------------


def test_a_long_sms_is_delivered_when_all_its_parts_are(store: Store) -> None:
    """Part by part, in any order: delivered with the last, at the time of the latest."""
    sent(store, None, "a1", "a2", "a3", parts=3)

    for n, part in enumerate(("a3", "a1", "a1", "a2")):
        assert [None] == deliveries(store)
        tell(store, told(part, at=LATER + timedelta(minutes=n)))

    assert [("delivered", LATER + timedelta(minutes=3))] == [
        (row.delivery, row.delivered_at) for row in rows(store, sms_repo).values()
    ]


@pytest.mark.parametrize("counted", [1, 3])
def test_the_parts_that_were_sent_count(store: Store, counted: int) -> None:
    """A text that was sent in more or fewer parts than counted at intake is delivered with the last that there is."""
    sent(store, "a1", "a1", "a2", parts=counted)

    tell(store, told("a1"))
    assert [None] == deliveries(store)
    tell(store, told("a2"))
    assert [("delivered", 2)] == select(store, "SELECT delivery, parts FROM sms_repo")


def test_a_long_sms_is_undelivered_when_one_part_is(store: Store) -> None:
    """One lost part is enough, until it arrives after all."""
    sent(store, "whole", "a1", "a2", parts=2)

    tell(store, told("a2", Delivery.UNDELIVERED, error="expired"))
    assert [("undelivered", "expired")] == select(store, "SELECT delivery, error FROM sms_repo")
    tell(store, told("a1"), told("a2"))
    assert [("delivered", None)] == select(store, "SELECT delivery, error FROM sms_repo")


def test_receipts_of_parts_that_come_before_the_message_is_settled(store: Store) -> None:
    """Parts that are confirmed while the rest is still to be sent count when the message is complete."""
    (one,) = claimed(store, parts=2)
    partly = Verdict(state=State.QUEUED, spent=0, reference=7, accepted={1: "a1"}, bound=True)
    finish(store, one, partly)
    tell(store, told("a1"))
    (again,) = [message for message, _ in take(store).messages]
    assert (7, {1: "a1"}) == (again.reference, again.accepted)
    tell(store, told("a2"))

    second = Settlement(
        seq=again.seq, message=again.id, parted=True, attempt=again.attempt, incarnation=ME, provider="p",
        verdict=Verdict(status=Status.SENT, provider_id="a1", accepted={1: "a1", 2: "a2"}),
    )  # fmt: skip
    store.transact_here(settle, [second], now=NOW)

    assert ["delivered"] == deliveries(store)


def test_parts_are_forgotten_with_time_unless_they_are_needed(store: Store) -> None:
    """What no receipt is about any more goes, but for the parts of a message that still waits for its others."""
    sent(store, None, "a1", "a2", parts=2)
    (one,) = claimed(store, parts=2)
    finish(store, one, Verdict(state=State.IN_DOUBT, reference=7, accepted={1: "b1"}, bound=True))

    assert 3 == store.transact_here(forget_parts, before=LATER, now=LATER, most=10)
    assert 0 == store.transact_here(forget_parts, before=LATER, now=LATER, most=10)
    assert [("b1",)] == select(store, "SELECT provider_id FROM sms_part")


# -- doubts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delivery", [Delivery.DELIVERED, Delivery.UNDELIVERED, None])
@pytest.mark.parametrize("echoes", [True, False], ids=["own id", "only one fits"])
def test_a_receipt_ends_a_doubt(store: Store, echoes: bool, delivery: Delivery | None) -> None:
    """The provider speaks of it, so it has it: the message was sent, with what the receipt says."""
    (one,) = claimed(store)
    finish(store, one, DOUBT)

    tell(store, told("xyz-1", delivery, own_id=one.message if echoes else None))

    assert {} == rows(store, sms_spool)
    ((id_, row),) = rows(store, sms_repo).items()
    assert (one.message, "sent", "p", "xyz-1", delivery) == (
        id_, row.status, row.provider, row.provider_id, row.delivery,
    )  # fmt: skip


def test_a_doubt_that_may_be_another_is_not_ended(store: Store) -> None:
    """Two doubts, a message without its receipt, one on its way, another provider's, a long one: nothing is guessed."""
    first, second = claimed(store, "a", "b")
    finish(store, first, DOUBT)
    finish(store, second, DOUBT)
    assert 1 == tell(store, told("xyz-1")).parked
    execute(store, "DELETE FROM sms_spool WHERE data = 'b'", "DELETE FROM parked_receipt")

    known = sent(store, "k-1")
    assert 1 == tell(store, told("xyz-2")).parked
    tell(store, told("k-1"))
    (under_way,) = claimed(store, "c")
    assert 1 == tell(store, told("xyz-2")).parked
    execute(store, "UPDATE sms_spool SET address = '1' WHERE data = 'c'")
    execute(store, "UPDATE sms_spool SET parts = 2 WHERE data = 'a'")
    assert 1 == tell(store, told("xyz-3")).parked
    execute(store, "UPDATE sms_spool SET parts = 1 WHERE data = 'a'")
    assert 1 == tell(store, told("xyz-4", provider="q")).parked
    assert 1 == tell(store, told("xyz-5", own_id=new_id())).parked
    assert {first.message, under_way.message} == rows(store, sms_spool).keys()

    assert 1 == tell(store, told("xyz-6")).matched
    assert {known, first.message} == rows(store, sms_repo).keys()


def test_what_arrived_is_not_sent_again(store: Store) -> None:
    """A doubt that was to be resent ends when its receipt echoes our id before that; an undelivered one goes again."""
    (one,) = claimed(store)
    again = Verdict(state=State.DEFERRED, error="in doubt: lost", due_at=LATER, bound=True)
    finish(store, one, again)

    assert 1 == tell(store, told("x", Delivery.UNDELIVERED, own_id=one.message)).parked
    assert 1 == tell(store, told("x", Delivery.DELIVERED, own_id=one.message)).matched
    assert [("sent", "delivered")] == select(store, "SELECT status, delivery FROM sms_repo")


def test_an_own_id_is_believed_only_when_nobody_is_sending(store: Store) -> None:
    """A receipt that echoes our id while the attempt is under way waits for its outcome."""
    (one,) = claimed(store)
    assert 1 == tell(store, told(None, own_id=one.message, address=None)).parked

    finish(store, one, Verdict(status=Status.SENT))

    assert ["delivered"] == deliveries(store)


def test_a_part_says_nothing_of_the_others(store: Store) -> None:
    """A doubt of which the provider has named some parts is not ended by their receipts, whose id is ours too."""
    (one,) = claimed(store, parts=2)
    doubt = Verdict(state=State.IN_DOUBT, error="no credit", accepted={1: "a1"}, bound=True)
    finish(store, one, doubt)

    assert 1 == tell(store, told("a1", own_id=one.message)).matched
    assert 1 == tell(store, told("a9", own_id=one.message)).parked
    assert [("in_doubt",)] == select(store, "SELECT state FROM sms_spool")
    assert [(1, "delivered")] == select(store, "SELECT part, delivery FROM sms_part")


# -- hostile -----------------------------------------------------------------------------------------------------------


def test_hostile_texts(store: Store) -> None:
    """NUL, halves of characters, endless ids and errors, addresses that are none: stored or parked, never an error."""
    sent(store, "17")
    nasty = ["\0", "\ud800", "x" * 100_000, "١٢٣", "%s :d {x} '\"\\", "", "0", "-1", "0x10", "1e5", "𝟏𝟕", "17\0"]
    some = [
        told(one, delivery, address=address, own_id=own, error=one)
        for one in nasty
        for delivery in (Delivery.UNDELIVERED, None)
        for address in (None, one, ADDRESS)
        for own in (None, one, "{" + new_id() + "}")
    ]
    tell(store, *some, told("17", at=datetime(1, 1, 1, tzinfo=UTC)), told("18", at=datetime(2026, 1, 1)))
    store.transact_here(look_again, now=LATER, most=1000)

    assert ["delivered"] == deliveries(store)


# -- at once -----------------------------------------------------------------------------------------------------------


def test_nodes_at_once(postgres_store: Store) -> None:
    """Settlement and the receipts of both parts, on three connections at once: no message ends without its delivery."""
    count = 120
    settlements = claimed(postgres_store, *[{"address": f"598991{n:05}", "parts": 2} for n in range(count)])
    verdicts = [Verdict(status=Status.SENT, accepted={1: f"a-{n}", 2: f"b-{n}"}) for n in range(count)]
    named = [replace(one, verdict=verdict) for one, verdict in zip(settlements, verdicts, strict=True)]
    of_parts = [[told(f"{part}-{n}", address=f"598991{n:05}") for n in range(count)] for part in "ab"]
    start = threading.Barrier(3)

    def in_steps(function: Any, some: list[Any]) -> None:
        start.wait()
        for at in range(0, count, 10):
            postgres_store.transact_here(function, some[at : at + 10], now=NOW)

    with ThreadPoolExecutor(3) as threads:
        for done in [
            threads.submit(in_steps, settle, named),
            *(threads.submit(in_steps, receive, some) for some in of_parts),
        ]:
            done.result(timeout=60)
    now = NOW
    for _ in range(3):
        now += timedelta(minutes=1)
        postgres_store.transact_here(look_again, now=now, most=1000)

    assert ["delivered"] * count == deliveries(postgres_store)
    assert 0 == parked(postgres_store)
