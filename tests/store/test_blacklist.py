"""The blacklist: its entries, and whom they block."""

from datetime import UTC, datetime, timedelta

import pytest

from dialerd.model.message import Channel
from dialerd.store import Store
from dialerd.store.blacklist import Entry, add, blocked, entries, remove
from tests.store.conftest import select
from tests.store.filled import NOW

SMS, EMAIL = Channel.SMS, Channel.EMAIL


def listed(store: Store, **given: int) -> list[Entry]:
    return [entry for _, entry in store.transact_here(lambda c: list(entries(c, **given)))]


def of(store: Store, *asked: tuple[Channel, str, str]) -> dict[tuple[Channel, str, str], str]:
    return store.transact_here(blocked, asked, now=NOW)


def test_an_entry_blocks_its_own(store: Store) -> None:
    """An entry blocks one address of one channel, for one campaign or for all, and its reason is told."""
    some = [
        Entry(channel=SMS, value="1", reason="STOP"),
        Entry(channel=SMS, value="2", campaign="a"),
        Entry(channel=EMAIL, value="x@example.com", campaign="a", reason="asked"),
    ]
    store.transact_here(add, some, now=NOW)

    assert {
        (SMS, "1", "a"): "blacklisted for all campaigns: STOP",
        (SMS, "1", "b"): "blacklisted for all campaigns: STOP",
        (SMS, "2", "a"): "blacklisted for campaign a",
        (EMAIL, "x@example.com", "a"): "blacklisted for campaign a: asked",
    } == of(
        store,
        *((SMS, value, name) for value in "123" for name in "ab"),
        *((EMAIL, value, name) for value in ("1", "2", "x@example.com") for name in "ab"),
        (SMS, "x@example.com", "a"),
    )
    assert {} == of(store)


@pytest.mark.parametrize(("seconds", "is_blocked"), [(-1, False), (0, False), (1, True)])
def test_an_entry_ends_at_its_expiry(store: Store, seconds: int, is_blocked: bool) -> None:
    """Until it expires an entry blocks, and not from then on."""
    store.transact_here(add, [Entry(channel=SMS, value="1", expires=NOW + timedelta(seconds=seconds))], now=NOW)

    assert is_blocked == bool(of(store, (SMS, "1", "a")))


@pytest.mark.parametrize(("year", "is_blocked"), [(1, False), (9999, True)])
def test_an_expiry_that_no_table_holds(store: Store, year: int, is_blocked: bool) -> None:
    """The last day that a system can write means never, and its first one long ago."""
    entry = Entry(channel=SMS, value="1", expires=datetime(year, 12, 31, 23, tzinfo=UTC))
    store.transact_here(add, [entry], now=NOW)

    assert is_blocked == bool(of(store, (SMS, "1", "a")))


def test_an_expired_entry_does_not_hide_another(store: Store) -> None:
    """Where the campaign's own entry has expired, the one for all still blocks."""
    some = [Entry(channel=SMS, value="1", campaign="a", expires=NOW), Entry(channel=SMS, value="1")]
    store.transact_here(add, some, now=NOW)

    assert {(SMS, "1", "a"): "blacklisted for all campaigns"} == of(store, (SMS, "1", "a"))


def test_many_are_asked_at_once(store: Store) -> None:
    """A batch of addresses is looked up together, more than a list of parameters could hold."""
    store.transact_here(add, [Entry(channel=SMS, value="69999")], now=NOW)

    assert {(SMS, "69999", "a")} == of(store, *((SMS, str(number), "a") for number in range(70_000))).keys()


def test_an_entry_stands_once(store: Store) -> None:
    """Added again, in the same batch or later, an entry gets the new reason and expiry and keeps its place."""
    store.transact_here(
        add, [Entry(channel=SMS, value="1", reason="a"), Entry(channel=SMS, value="1", reason="b")], now=NOW
    )
    later = NOW + timedelta(days=1)
    store.transact_here(add, [Entry(channel=SMS, value="1", reason="c", expires=later)], now=later)
    store.transact_here(add, [Entry(channel=SMS, value="1", campaign="x")], now=later)

    assert [
        Entry(channel=SMS, value="1", reason="c", expires=later, created=NOW),
        Entry(channel=SMS, value="1", campaign="x", created=later),
    ] == listed(store)


def test_an_entry_is_removed_by_its_scope(store: Store) -> None:
    """Removing the entry for all leaves a campaign's own, and the other way round; nothing to remove is told."""
    scopes = [None, "a", "b"]
    store.transact_here(add, [Entry(channel=SMS, value="1", campaign=scope) for scope in scopes], now=NOW)

    assert store.transact_here(remove, SMS, "1", campaign="a")
    assert not store.transact_here(remove, SMS, "1", campaign="a")
    assert not store.transact_here(remove, EMAIL, "1", campaign=None)
    assert [None, "b"] == [entry.campaign for entry in listed(store)]
    assert store.transact_here(remove, SMS, "1", campaign=None)
    assert ["b"] == [entry.campaign for entry in listed(store)]


def test_entries_are_listed_page_by_page(store: Store) -> None:
    """All come once, in the order in which they were added, however small the pages."""
    store.transact_here(add, [Entry(channel=SMS, value=str(number)) for number in range(7)], now=NOW)
    seen, after = [], 0
    while page := store.transact_here(lambda c, after=after: list(entries(c, after=after, most=3))):
        seen += [entry.value for _, entry in page]
        after = page[-1][0]

    assert [str(number) for number in range(7)] == seen


def test_no_entries_are_nothing(store: Store) -> None:
    """Adding nothing is no trouble."""
    store.transact_here(add, [], now=NOW)

    assert [] == select(store, "SELECT * FROM blacklist")
