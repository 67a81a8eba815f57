"""SMS that people send to us: stored once, joined, given to a campaign; and the words that stop messages."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import text

from dialerd.inbox import canonical, confirmation
from dialerd.model.campaign import Campaign
from dialerd.model.inbound import InboundRules, Scope, Wish, wish_of
from dialerd.model.message import Channel
from dialerd.model.receipt import Inbound
from dialerd.store import Store, blacklist
from dialerd.store import inbound as inbound_store
from dialerd.store.blacklist import Entry
from dialerd.store.inbound import LONGEST_WAIT, Door, Stored, forget_inbound_parts, join_late
from dialerd.store.tables import sms_inbound
from tests.store.conftest import campaign, put, select, take, texts
from tests.store.filled import NOW, repoed, rows

PHONE = "59899123456"
VENTAS = campaign("Ventas", region="UY")


def sms(message: str = "hola", **given: Any) -> Inbound:
    """Return an SMS of a person."""
    return Inbound(**{"provider": "p", "phone": PHONE, "message": message, "received": NOW, "to": "1234"} | given)


def door(*campaigns: Campaign, **rules: Any) -> Door:
    known = {one.name: one for one in campaigns or (VENTAS,)}
    return Door(rules=InboundRules(**rules), campaigns=known, canonical=canonical, reply=confirmation)


def take_in(store: Store, *some: Inbound, at: Door | None = None) -> Stored:
    return store.transact_here(inbound_store.store, some, at or door(), now=NOW)


def messages(store: Store) -> list[str]:
    return [row.message for row in rows(store, sms_inbound).values()]


def blacklisted(store: Store) -> list[tuple[Any, ...]]:
    return select(store, "SELECT value, campaign FROM blacklist ORDER BY value, campaign")


# -- once --------------------------------------------------------------------------------------------------------------


def test_a_repetition_is_stored_once(store: Store) -> None:
    """What a provider says again, in one breath or minutes later, is one SMS; what differs is another."""
    take_in(store, sms(), sms(received=NOW + timedelta(seconds=1)), sms("otra"), sms(phone="59899000000"))
    take_in(store, sms(received=NOW + timedelta(minutes=4, seconds=59)), sms(received=NOW - timedelta(minutes=4)))
    take_in(
        store, sms(provider_id="m1"), sms(provider_id="m2"), sms(provider_id="m1", received=NOW + timedelta(hours=9))
    )

    assert ["hola", "hola", "hola", "hola", "otra"] == sorted(messages(store))


def test_who_says_the_same_later_says_it_again(store: Store) -> None:
    """The same words some minutes later, or under the same id days later, are another SMS."""
    take_in(store, sms("si"), sms("si", received=NOW + timedelta(minutes=6)))
    take_in(store, sms("no", provider_id="1"), sms("no", provider_id="1", received=NOW + timedelta(days=2)))

    assert ["no", "no", "si", "si"] == sorted(messages(store))


def test_what_is_stored(store: Store) -> None:
    """An SMS stands there as it came, with when, from whom and by whom."""
    take_in(store, sms("¿qué\ntal? 😀", phone="+598 99 123 456", provider_id="m1"))

    ((_, row),) = rows(store, sms_inbound).items()
    assert ("+598 99 123 456", "¿qué\ntal? 😀", NOW, "p", None, "1234", "m1") == (
        row.phone, row.message, row.received, row.provider, row.campaign, row.recipient, row.provider_id,
    )  # fmt: skip


# -- long ones ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(permutations([1, 2, 3])))
def test_parts_are_joined_in_any_order(sqlite_store: Store, order: tuple[int, ...]) -> None:
    """A long SMS appears when its last part is there, once, however its parts come and are repeated."""
    parts = {n: sms(f"<{n}>", reference=7, part=n, parts=3, received=NOW + timedelta(seconds=n)) for n in (1, 2, 3)}
    for n in order[:2]:
        take_in(sqlite_store, parts[n], parts[n])
    assert [] == messages(sqlite_store)
    take_in(sqlite_store, parts[order[2]])
    take_in(sqlite_store, *(replace(one, received=NOW + timedelta(hours=2)) for one in parts.values()))
    sqlite_store.transact_here(join_late, door(), now=NOW + timedelta(hours=3), most=10)

    assert ["<1><2><3>"] == messages(sqlite_store)


def test_what_is_cut_within_an_emoji_is_joined_again(store: Store) -> None:
    """Phones cut between the halves of an emoji: they are one again; a half alone is none."""
    cut = [sms("a\ud83d", reference=7, part=1, parts=2), sms("\ude42b", reference=7, part=2, parts=2)]
    take_in(store, cut[1], cut[1], cut[0], sms("c\ud83d", reference=8, part=1, parts=2))
    store.transact_here(join_late, door(), now=NOW + timedelta(hours=1), most=10)

    assert ["a🙂b", "c�"] == sorted(messages(store))


def test_parts_of_others_are_not_mixed_in(store: Store) -> None:
    """Sender, number, reference and count keep long SMS apart; a phone that counts anew begins another one."""
    take_in(store, sms("a", reference=7, part=1, parts=2), sms("b", reference=7, part=2, parts=2, phone="59899000000"))
    take_in(store, sms("c", reference=8, part=2, parts=2), sms("d", reference=7, part=2, parts=3))
    take_in(store, sms("A", reference=7, part=1, parts=2), sms("B", reference=7, part=2, parts=2))

    assert ["AB"] == messages(store)


def test_what_does_not_come_is_not_waited_for(store: Store) -> None:
    """After some minutes a long SMS is stored as far as it came; its parts are known for a day, then forgotten."""
    take_in(store, sms("a", reference=7, part=1, parts=3), sms("c", reference=7, part=3, parts=3))
    late = NOW + LONGEST_WAIT + timedelta(seconds=1)

    assert 0 == store.transact_here(join_late, door(), now=NOW, most=10).stored
    assert 1 == store.transact_here(join_late, door(), now=late, most=10).stored
    assert 0 == store.transact_here(join_late, door(), now=late, most=10).stored
    assert ["ac"] == messages(store)
    assert 0 == store.transact_here(forget_inbound_parts, now=late, most=10)
    assert 2 == store.transact_here(forget_inbound_parts, now=NOW + timedelta(days=2), most=10)


# -- whose -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phone", [PHONE, f"+{PHONE}", "099 123 456"])
def test_the_campaign_is_that_which_wrote_last(store: Store, phone: str) -> None:
    """An answer belongs to the campaign of the last SMS that was sent to that phone, else to the configured one."""
    repoed(store, {"campaign": "Vieja"}, {"campaign": "Otra"}, address=PHONE)
    repoed(store, {"campaign": "Nadie", "status": "failed"}, address=PHONE)
    repoed(store, {"campaign": "Ajena"}, address="59899123457")

    take_in(store, sms(phone=phone), sms(phone="59899777777"), sms(phone="Banco"), at=door(campaign="Buzón"))

    found = dict(select(store, "SELECT phone, campaign FROM sms_inbound"))
    assert {phone: "Otra", "59899777777": "Buzón", "Banco": "Buzón"} == found


def test_an_answer_may_come_before_ours_is_recorded(store: Store) -> None:
    """An SMS that is being sent, or in doubt at that provider, is the last one to a phone that answers already."""
    repoed(store, {"campaign": "Vieja"}, address=PHONE)
    put(store, "waits", address=PHONE, campaign="Wartet")
    put(store, "x", {"address": "59899000001"}, {"address": "59899000002"}, address=PHONE, destination="099 123 456")
    take(store, VENTAS)
    store.transact_here(
        lambda c: c.execute(text("UPDATE sms_spool SET state = 'in_doubt' WHERE address <> :phone"), {"phone": PHONE})
    )

    take_in(store, sms(), sms(phone="59899000001"), sms(phone="59899000002", provider="another"))

    found = dict(select(store, "SELECT phone, campaign FROM sms_inbound"))
    assert {PHONE: "Ventas", "59899000001": "Ventas", "59899000002": None} == found


# -- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "wish"),
    [
        ("STOP", Wish.OPT_OUT), ("stop", Wish.OPT_OUT), (" Stop!! ", Wish.OPT_OUT), ("«Baja».", Wish.OPT_OUT),
        ("Arrêt", Wish.OPT_OUT), ("ARRE\u0302T", Wish.OPT_OUT), ("sáir", Wish.OPT_OUT), ("cancelar\n", Wish.OPT_OUT),
        ("STOP 🛑", Wish.OPT_OUT), ("ＳＴＯＰ", Wish.OPT_OUT), ("Alta", Wish.OPT_IN), ("unstop", Wish.OPT_IN),
        ("baja el volumen", None), ("no quiero parar", None), ("STOPPED", None), ("", None), ("!!", None), ("🛑", None),
    ],
)  # fmt: skip
def test_words(message: str, wish: Wish | None) -> None:
    """A message that is nothing but a word of the list is a wish; case, accents and punctuation do not matter."""
    assert wish == wish_of(message, InboundRules())


def test_an_opt_out_stops_what_is_waiting(store: Store) -> None:
    """STOP puts the number on the blacklist as messages to it are spelt, and what was spooled before is blocked."""
    put(store, "a", "b", address=PHONE)
    put(store, "other", address="59899000000")
    repoed(store, address="099123456", campaign="Sin región")

    got = take_in(store, sms("Stop", phone=f"+{PHONE}"))

    assert (1, 1, 0) == (got.stored, got.opted_out, got.replied)
    assert [("099123456", None), (PHONE, None)] == blacklisted(store)
    assert ["other"] == texts(take(store, VENTAS))
    assert [("blocked", 2)] == select(
        store, "SELECT status, count(*) FROM sms_repo WHERE status = 'blocked' GROUP BY status"
    )


def test_an_opt_out_of_one_campaign(store: Store) -> None:
    """With opt_out_for = campaign only that which wrote last is stopped."""
    repoed(store, address=PHONE, campaign="Ventas")

    take_in(store, sms("BAJA"), at=door(scope=Scope.CAMPAIGN))

    assert [(PHONE, "Ventas")] == blacklisted(store)


def test_who_wants_back_comes_back(store: Store) -> None:
    """ALTA takes back what STOP did, and nothing that an operator has entered."""
    take_in(store, sms("STOP"))
    take_in(store, sms("alta", received=NOW + timedelta(hours=1)))
    assert [] == blacklisted(store)

    entry = Entry(channel=Channel.SMS, value=PHONE, reason="by an operator")
    store.transact_here(blacklist.add, [entry], now=NOW)
    again = take_in(
        store, sms("STOP", received=NOW + timedelta(hours=2)), sms("ALTA", received=NOW + timedelta(hours=3))
    )
    assert (0, 0) == (again.opted_out, again.opted_in)
    assert [("by an operator",)] == select(store, "SELECT reason FROM blacklist")


def test_the_last_wish_holds(store: Store) -> None:
    """Who says STOP, ALTA and STOP again within minutes is stopped, however often a provider repeats each of them."""
    said = [sms(word, received=NOW + timedelta(seconds=n)) for n, word in enumerate(("STOP", "ALTA", "STOP", "ALTA"))]
    wished = []
    for one in said:
        take_in(store, one, replace(one, received=one.received + timedelta(milliseconds=1)))
        wished.append(blacklisted(store))
    assert [[(PHONE, None)], [], [(PHONE, None)], []] == wished
    take_in(store, replace(said[-1], received=NOW + timedelta(minutes=4)))
    assert ["ALTA", "ALTA", "STOP", "STOP"] == sorted(messages(store))

    # By its provider's own name the same SMS is the same, whatever was said since.
    take_in(store, *(sms(word, provider_id=word, phone="59899000000") for word in ("STOP", "ALTA", "STOP")))
    assert [] == blacklisted(store)


def test_a_confirmation_is_sent_once_past_its_own_opt_out(store: Store) -> None:
    """The confirmation goes first and is not blocked by the opt-out it confirms; a second STOP gets none."""
    put(store, "waits", address=PHONE, destination=PHONE)
    repoed(store, address=PHONE, destination=f"+{PHONE}", campaign="Ventas")
    at = door(opt_out_reply="Listo", opt_in_reply="Hola otra vez")

    assert 1 == take_in(store, sms("STOP"), sms("STOP"), at=at).replied
    assert 0 == take_in(store, sms("BAJA"), sms("STOP", received=NOW + timedelta(hours=1)), at=at).replied

    claimed = take(store, VENTAS)
    assert [("Listo", 1, f"+{PHONE}", PHONE)] == [
        (one.data, one.priority, one.destination, one.address) for one, _ in claimed.messages
    ]
    assert 1 == take_in(store, sms("ALTA"), at=at).replied
    assert ["Hola otra vez"] == texts(take(store, VENTAS))


@pytest.mark.parametrize("phone", ["\0", "\ud800", "", "x" * 100_000, "Banco", "+", "'; --", "１２３４５６７８"])
def test_hostile_texts(store: Store, phone: str) -> None:
    """Senders that are no numbers and texts that no column holds are stored as far as they can be."""
    some = [sms(message=phone + word, phone=phone, to=phone, provider_id=phone) for word in ("", "\0 STOP \ud800")]
    take_in(
        store,
        *some,
        sms("STOP", phone=phone),
        sms("a", phone=phone, part=9, parts=300, received=datetime(2026, 1, 1)),
        at=door(opt_out_reply="x"),
    )

    assert 1 <= len(messages(store)) <= 4
