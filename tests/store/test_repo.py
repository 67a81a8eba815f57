"""sms_repo read page by page, on both databases."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from dialerd.model.message import Status
from dialerd.store import Store, repo
from dialerd.store.repo import COLUMNS, Filters, bounds, campaigns, page, page_back
from tests.store.filled import NOW, migrated, repoed

DAY = timedelta(days=1)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """An empty database at this version's tables."""
    with migrated(database_url) as opened:
        yield opened


def exported(store: Store, filters: Filters, most: int = 2) -> list[str]:
    """Return the ids of an export, page by page as the command line reads it."""
    first, last = store.transact_here(bounds, filters)
    ids: list[str] = []
    after: int | None = first - 1
    while after is not None:
        got = store.transact_here(page, filters, after_seq=after, up_to_seq=last, most=most)
        assert len(got.rows) <= most
        ids += [row["id"] for row in got.rows]
        after = got.next_seq
    return ids


@pytest.fixture(params=[1, 3, 1000])
def small_pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that end after so many rows were looked at, as if the table were large."""
    monkeypatch.setattr(repo, "SCAN", request.param)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"campaign": "a"}, [0, 2, 4]),
        ({"campaign": "a", "status": Status.FAILED}, [4]),
        ({"base": "x"}, [1]),
        ({"status": Status.EXPIRED}, []),
        ({"since": NOW + 2 * DAY}, [2, 3, 4, 5]),
        ({"until": NOW + 2 * DAY}, [0, 1]),
        ({"since": NOW + 1 * DAY, "until": NOW + 4 * DAY}, [1, 2, 3]),
        ({"since": NOW + 1 * DAY, "until": NOW + 4 * DAY, "campaign": "a"}, [2]),
        ({"since": NOW + 9 * DAY}, []),
        ({"campaign": "nobody"}, []),
    ],
)
def test_filters_narrow_an_export(store: Store, filters: dict[str, Any], expected: list[int]) -> None:
    """An export holds what all filters mean, in the order of the table, each once, however small its pages are."""
    ids = repoed(
        store,
        *(
            {
                "campaign": "ab"[number % 2],
                "dateprocessed": NOW + number * DAY,
                "status": "failed" if number == 4 else "sent",
                "base": "x" if number == 1 else None,
            }
            for number in range(6)
        ),
    )

    assert [ids[number] for number in expected] == exported(store, Filters(**filters))


def test_an_empty_repo_exports_nothing(store: Store) -> None:
    """Nothing processed yet is no error."""
    assert [] == exported(store, Filters())
    assert [] == exported(store, Filters(since=NOW))


def test_dates_out_of_order_are_all_found(store: Store) -> None:
    """What a node with a slow clock wrote later with an earlier date is within its dates' bounds all the same."""
    ids = repoed(store, {"dateprocessed": NOW}, {"dateprocessed": NOW - DAY}, {"dateprocessed": NOW - DAY / 2})

    assert [ids[1], ids[2]] == exported(store, Filters(until=NOW))


def test_bounds_spare_the_rest_of_the_table(store: Store) -> None:
    """An export of today does not walk over the years before."""
    repoed(store, *({"dateprocessed": NOW - number * DAY} for number in range(9, -1, -1)))
    first, last = store.transact_here(bounds, Filters())

    assert (last - 1, last) == store.transact_here(bounds, Filters(since=NOW - DAY))
    assert (first, first + 1) == store.transact_here(bounds, Filters(until=NOW - 7.5 * DAY))


def test_bounds_look_at_so_many_rows_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the dates mean much of the table, its own bounds will do."""
    monkeypatch.setattr(repo, "INDEX_SCAN", 2)
    ids = repoed(store, {"dateprocessed": NOW - DAY}, {}, {})
    first, last = store.transact_here(bounds, Filters())

    assert (first, last) == store.transact_here(bounds, Filters(since=NOW))
    assert ids[1:] == exported(store, Filters(since=NOW))


@pytest.mark.usefixtures("small_pages")
def test_the_newest_come_first_backwards(store: Store) -> None:
    """A list reads from the newest result back, and finds matches behind pages without any."""
    ids = repoed(store, *({"status": "failed" if number in (0, 5) else "sent"} for number in range(8)))
    filters = Filters(status=Status.FAILED)
    first, last = store.transact_here(bounds, filters)

    found: list[str] = []
    before: int | None = last + 1
    while before is not None:
        got = store.transact_here(page_back, filters, before_seq=before, down_to_seq=first, most=1)
        found += [row["id"] for row in got.rows]
        before = got.next_seq

    assert [ids[5], ids[0]] == found


def test_a_row_holds_what_the_contract_names(store: Store) -> None:
    """Every column comes as a plain value, instants aware and in UTC."""
    whole = {
        "campaign": "a", "destination": "1", "data": "d", "priority": 3, "base": "b", "calldate": NOW, "agent": "g",
        "source": "s", "details": {"subject": "x"}, "status": "sent", "dateprocessed": NOW, "attempts": 2,
        "provider": "p", "provider_id": "pid", "parts": 1, "error": "e", "delivery": "delivered", "delivered_at": NOW,
        "queued_at": NOW,
    }  # fmt: skip
    (id_,) = repoed(store, whole)

    (row,) = store.transact_here(page, Filters(), after_seq=0, up_to_seq=9, most=9).rows

    assert {"id": id_, **whole} == row
    assert list(COLUMNS) == list(row)


def test_campaigns_with_results_are_named(store: Store) -> None:
    """Each campaign that has results is named once, one without a name too."""
    repoed(store, *({"campaign": name} for name in ("b", "a", "b", "")))

    assert ["", "a", "b"] == store.transact_here(lambda connection: list(campaigns(connection)))
