"""Uploads and their staged lines, on both databases."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from dialerd.model.errors import Refused
from dialerd.model.message import State, new_id
from dialerd.store import Store, staged
from dialerd.store.staged import Step, discard, failed_unmoved, move, unmoved
from dialerd.store.tables import sms_spool, upload_line
from dialerd.store.uploads import (
    BadLine,
    NewLine,
    Upload,
    abandon,
    add_errors,
    add_lines,
    bad_lines,
    begin,
    fail,
    finish,
    has_abandoned,
    upload_of,
)
from tests.store.filled import NOW, migrated, rows

DAY = timedelta(days=1)
SINCE = NOW - DAY


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """An empty database at this version's tables."""
    with migrated(database_url) as opened:
        yield opened


def begun(store: Store, *, base: str = "b", digest: str = "d") -> str:
    """Begin an upload and return its id."""
    id_ = new_id()
    assert started(store, id_, base=base, digest=digest, since=None) is None
    return id_


def started(store: Store, id_: str, *, since: Any = SINCE, now: Any = NOW, **given: str) -> Upload | None:
    common = {"filename": "b.csv", "base": "b", "channel": "sms", "digest": "d"}
    return store.transact_here(begin, id_, since=since, now=now, **{**common, **given})


def line(number: int, **given: Any) -> NewLine:
    usual = {
        "line": number, "id": new_id(), "campaign": "Ventas",
        "destination": "098344484", "data": f"text {number}", "priority": 9999, "details": None, "state": State.QUEUED,
        "address": "59898344484", "zone": "?", "parts": 1,
    }  # fmt: skip
    return NewLine(**{**usual, **given})


def loaded(store: Store, *numbers: int, base: str = "b", digest: str = "d", now: Any = NOW) -> str:
    """Load an upload of these lines, and return its id."""
    id_ = begun(store, base=base, digest=digest)
    store.transact_here(add_lines, id_, [line(number) for number in numbers], now=NOW)
    assert store.transact_here(finish, id_, since=None, now=now).state == "loaded"
    return id_


def left(store: Store) -> list[int]:
    """Return the numbers of all lines that are staged."""
    return store.transact_here(
        lambda connection: list(connection.execute(select(upload_line.c.line).order_by(upload_line.c.line)).scalars())
    )


# Staging


@pytest.mark.parametrize("count", [1, 99, 100, 101, 250])
def test_staged_lines_come_out_as_they_went_in(store: Store, count: int) -> None:
    """However many are staged at once, each reaches the spool with what was said of it, in the file's order."""
    id_ = begun(store)
    odd = 'a\tb\\N;"ñ€\U0001f600\n\r{}\x7f'
    some = [
        line(number, data=f"{odd}{number}", details={"n": odd} if number % 2 else None)
        for number in range(1, count + 1)
    ]
    store.transact_here(add_lines, id_, some, now=NOW)
    assert store.transact_here(finish, id_, since=None, now=NOW).accepted == count
    after = 0
    while (step := store.transact_here(staged.move, id_, after=after, most=70, now=NOW)).count:
        after = step.last

    rows = store.transact_here(lambda connection: connection.execute(select(sms_spool).order_by(sms_spool.c.seq)).all())

    assert [(one.id, one.campaign, one.data, one.details, one.address) for one in some] == [
        (row.id, row.campaign, row.data, row.details, row.address) for row in rows
    ]
    assert store.transact_here(upload_of, id_).accepted == count


def test_a_line_is_staged_once(store: Store) -> None:
    """Two lines of one number are somebody's mistake: neither is taken."""
    id_ = begun(store)
    with pytest.raises(IntegrityError):
        store.transact_here(add_lines, id_, [line(1), line(1)], now=NOW)
    assert [] == left(store)


def test_checks_hold_after_a_move(store: Store) -> None:
    """What others insert is checked again after a base has come in on the same connection."""
    upload = loaded(store, 1)
    store.transact_here(staged.move, upload, most=10, now=NOW)

    for _ in range(8):
        with pytest.raises(IntegrityError):
            store.transact_here(
                lambda c: c.execute(insert(sms_spool).values(campaign="a", destination="1", data="x", priority=10_000))
            )


def test_rejected_lines_are_kept(store: Store) -> None:
    """Rejected lines are counted, and handed out in the file's order, page by page."""
    id_ = begun(store)
    bad = [BadLine(number, "bad number", f"Ventas;12;ñ €;{number}") for number in (7, 2, 5)]
    store.transact_here(add_errors, id_, bad, now=NOW)

    page = store.transact_here(bad_lines, id_, most=2)

    assert [bad[1], bad[2]] == page
    assert [bad[0]] == store.transact_here(bad_lines, id_, after=5, most=2)
    assert store.transact_here(upload_of, id_).rejected == 3


@pytest.mark.parametrize("end", ["failed", "loaded"])
def test_nothing_is_added_to_what_has_ended(store: Store, end: str) -> None:
    """A process that was taken for dead adds nothing more, and does not bring its upload to life."""
    id_ = loaded(store, 1) if end == "loaded" else begun(store)
    if end == "failed":
        assert store.transact_here(fail, id_, now=NOW)

    with pytest.raises(Refused, match="given up"):
        store.transact_here(add_lines, id_, [line(9)], now=NOW)
    with pytest.raises(Refused, match="given up"):
        store.transact_here(add_errors, id_, [BadLine(9, "bad number", "")], now=NOW)
    with pytest.raises(Refused, match="given up"):
        store.transact_here(finish, id_, since=None, now=NOW)
    assert 9 not in left(store)
    assert not store.transact_here(fail, id_, now=NOW)
    assert end == store.transact_here(upload_of, id_).state


def test_unknown_upload_is_refused(store: Store) -> None:
    """An id that nobody gave is an error that says so."""
    with pytest.raises(Refused, match="no upload"):
        store.transact_here(upload_of, new_id())


# The same file


def test_same_file_in_same_base_is_found(store: Store) -> None:
    """An upload is the same as an earlier one that loaded, of its content and base, not too long ago."""
    first = loaded(store, 1)

    found = started(store, new_id())
    assert found is not None
    assert (first, "loaded", 1) == (found.id, found.state, found.accepted)
    assert started(store, new_id(), since=NOW + DAY) is None
    assert started(store, new_id(), since=None) is None
    assert started(store, new_id(), base="other") is None
    assert started(store, new_id(), digest="other") is None


def test_file_that_did_not_load_is_not_found(store: Store) -> None:
    """A file that is still loading, or failed, does not stand in the way of the next attempt."""
    begun(store)
    store.transact_here(fail, begun(store), now=NOW)

    assert started(store, new_id()) is None


def test_second_to_finish_gives_way(store: Store) -> None:
    """Of two uploads of one file that load side by side the first to finish counts; the other fails and names it."""
    first, second = new_id(), new_id()
    for id_ in (first, second):
        started(store, id_)
        store.transact_here(add_lines, id_, [line(1)], now=NOW)

    assert second == store.transact_here(finish, second, since=SINCE, now=NOW).id
    assert second == store.transact_here(finish, first, since=SINCE, now=NOW).id
    assert ("failed", 0) == (
        store.transact_here(upload_of, first).state,
        store.transact_here(upload_of, first).accepted,
    )
    assert [second] == store.transact_here(unmoved)


def test_two_that_finish_at_once_do_not_both_count(store: Store) -> None:
    """Not even two transactions that finish in the same moment let one file in twice."""
    ids = [begun(store) for _ in range(8)]
    for id_ in ids:
        store.transact_here(add_lines, id_, [line(1)], now=NOW)
    start = threading.Barrier(len(ids))
    ended: list[str] = []

    def finish_one(id_: str) -> None:
        start.wait()
        ended.append(store.transact_here(finish, id_, since=SINCE, now=NOW).id)

    threads = [threading.Thread(target=finish_one, args=(id_,)) for id_ in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(ended) == len(ids)
    assert len(set(ended)) == 1
    assert [ended[0]] == store.transact_here(unmoved)


def test_upload_of_nothing_fails(store: Store) -> None:
    """A file of which no line was accepted was not loaded; its rejected lines are kept."""
    id_ = begun(store)
    store.transact_here(add_errors, id_, [BadLine(1, "bad number", "x")], now=NOW)

    done = store.transact_here(finish, id_, since=SINCE, now=NOW)

    assert (id_, "failed", 0, 1) == (done.id, done.state, done.accepted, done.rejected)
    assert len(store.transact_here(bad_lines, id_)) == 1


# Moving


def test_lines_move_as_they_are_and_in_order(store: Store) -> None:
    """A line becomes a message with everything it brought, under the base's name, due from now on."""
    id_ = begun(store, base="Base ñ")
    details = {"subject": "ñ", "variables": {"a": "b"}}
    held = line(2, state=State.HELD, details=details, priority=5, parts=3, zone="America/Montevideo")
    store.transact_here(add_lines, id_, [line(9), held, line(4)], now=NOW)
    store.transact_here(finish, id_, since=SINCE, now=NOW)

    assert Step(3, 9) == store.transact_here(move, id_, most=10, now=NOW + DAY)
    assert Step(0, 9) == store.transact_here(move, id_, after=9, most=10, now=NOW + DAY)

    spooled = sorted(rows(store, sms_spool).values(), key=lambda row: row.seq)
    assert ["text 2", "text 4", "text 9"] == [row.data for row in spooled]
    first = spooled[0]
    assert (held.id, "Ventas", "098344484", "59898344484") == (
        first.id, first.campaign, first.destination, first.address,
    )  # fmt: skip
    assert (5, "Base ñ", details, "held", None) == (
        first.priority, first.base, first.details, first.state, first.due_since,
    )  # fmt: skip
    assert (NOW + DAY, NOW + DAY, 3, "America/Montevideo") == (
        first.due_at, first.queued_at, first.parts, first.zone,
    )  # fmt: skip
    assert ("queued", NOW + DAY, 0) == (spooled[1].state, spooled[1].due_since, spooled[1].attempts)
    assert [] == left(store)


def test_move_goes_step_by_step(store: Store) -> None:
    """Each step takes the next lines; an upload is moved when a step finds none."""
    id_ = loaded(store, 1, 2, 3, 4, 5)

    assert Step(2, 2) == store.transact_here(move, id_, most=2, now=NOW)
    assert Step(2, 4) == store.transact_here(move, id_, after=2, most=2, now=NOW)
    assert [5] == left(store)
    # Somebody else who begins at the beginning.
    assert Step(1, 5) == store.transact_here(move, id_, most=2, now=NOW)
    assert [id_] == store.transact_here(unmoved)
    assert Step(0, 4) == store.transact_here(move, id_, after=4, most=2, now=NOW)
    assert [] == store.transact_here(unmoved)
    assert Step(0, 0) == store.transact_here(move, id_, most=2, now=NOW)
    assert len(rows(store, sms_spool)) == 5


def test_long_lines_make_short_steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of long mails ends early, and has one line at least."""
    monkeypatch.setattr(staged, "MOST_CHARACTERS", 250)
    id_ = begun(store)
    # Digits that no compression makes short.
    store.transact_here(
        add_lines, id_, [line(n, data=new_id() * 3) for n in range(1, 6)] + [line(6, data=new_id() * 9)], now=NOW
    )
    store.transact_here(finish, id_, since=None, now=NOW)

    assert Step(2, 2) == store.transact_here(move, id_, most=10, now=NOW)
    assert Step(2, 4) == store.transact_here(move, id_, after=2, most=10, now=NOW)
    assert Step(1, 5) == store.transact_here(move, id_, after=4, most=10, now=NOW)
    assert Step(1, 6) == store.transact_here(move, id_, after=5, most=10, now=NOW)


@pytest.mark.parametrize("state", ["loading", "failed"])
def test_what_is_not_loaded_does_not_move(store: Store, state: str) -> None:
    """Only the commit point lets lines into the spool."""
    id_ = begun(store)
    store.transact_here(add_lines, id_, [line(1)], now=NOW)
    if state == "failed":
        store.transact_here(fail, id_, now=NOW)

    assert Step(0, 0) == store.transact_here(move, id_, most=10, now=NOW)
    assert [] == store.transact_here(unmoved)
    assert {} == rows(store, sms_spool)


def test_uploads_move_first_come_first(store: Store) -> None:
    """Who finished first is moved first."""
    later = loaded(store, 1, now=NOW + DAY)
    earlier = loaded(store, 1, digest="e")

    assert [earlier, later] == store.transact_here(unmoved)


def test_many_movers_take_turns(store: Store) -> None:
    """Movers in several transactions at once move each line once, in the file's order."""
    count = 200
    id_ = loaded(store, *range(1, count + 1))
    moved: list[int] = []

    def move_all() -> None:
        step = Step(1, 0)
        while step.count:
            step = store.transact_here(move, id_, after=step.last, most=7, now=NOW)
            moved.append(step.count)

    threads = [threading.Thread(target=move_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(moved) == count
    spooled = sorted(rows(store, sms_spool).values(), key=lambda row: row.seq)
    assert [f"text {n}" for n in range(1, count + 1)] == [row.data for row in spooled]


# Giving up


def test_failed_upload_is_discarded_step_by_step(store: Store) -> None:
    """The staged lines of a failed upload are deleted, and of no other."""
    kept = loaded(store, 1, 2)
    id_ = begun(store)
    store.transact_here(add_lines, id_, [line(n) for n in (3, 4, 5)], now=NOW)
    assert Step(0, 0) == store.transact_here(discard, id_, most=2)
    store.transact_here(fail, id_, now=NOW)

    assert [id_] == store.transact_here(failed_unmoved)
    assert Step(2, 4) == store.transact_here(discard, id_, most=2)
    assert Step(1, 5) == store.transact_here(discard, id_, after=4, most=2)
    assert [id_] == store.transact_here(failed_unmoved)
    assert Step(0, 5) == store.transact_here(discard, id_, after=5, most=2)
    assert [] == store.transact_here(failed_unmoved)
    assert Step(0, 0) == store.transact_here(discard, kept, most=2)
    assert [1, 2] == left(store)


def test_silent_upload_is_abandoned(store: Store) -> None:
    """An upload whose process gave no sign of life for long is given up; one that is loading lines is not."""
    silent, alive, done = begun(store), begun(store), loaded(store, 1)
    store.transact_here(add_lines, silent, [line(1)], now=NOW)
    store.transact_here(add_errors, alive, [BadLine(1, "bad number", "")], now=NOW + DAY)
    before = NOW + timedelta(hours=1)

    assert store.transact_here(has_abandoned, before=before)
    assert store.transact_here(abandon, before=before, now=NOW + DAY) == 1
    assert not store.transact_here(has_abandoned, before=before)
    assert ["failed", "loading", "loaded"] == [
        store.transact_here(upload_of, id_).state for id_ in (silent, alive, done)
    ]
    assert (0, NOW + DAY) == (
        store.transact_here(upload_of, silent).accepted,
        store.transact_here(upload_of, silent).finished,
    )
