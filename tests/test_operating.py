"""An operator's hand on a base that is on its way into the spool: none of its lines escapes."""

from collections.abc import Iterator
from typing import Any

import pytest

from dialerd import bases, operating
from dialerd.model.message import State, new_id
from dialerd.operating import Done, carry_out
from dialerd.store import Connection, Store, staged
from dialerd.store.operate import CANCEL, HOLD, RELEASE, Selection, Verb, set_priority
from dialerd.store.tables import sms_repo, sms_spool, upload_line
from dialerd.store.uploads import add_lines, begin, finish
from tests.store.beside import while_others_write
from tests.store.filled import NOW, migrated, rows
from tests.store.test_uploads import line


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """An empty database at this version's tables."""
    with migrated(database_url) as opened:
        yield opened


def half_moved(store: Store, base: str = "b") -> str:
    """Load a base of six lines, the last two of another campaign, of which two stand in the spool."""
    id_ = new_id()
    given = {"filename": base, "base": base, "channel": "sms", "digest": base, "since": None}
    store.transact_here(begin, id_, **given, now=NOW)
    lines = [line(n, campaign="Ventas" if n < 5 else "Otra") for n in range(1, 7)]
    store.transact_here(add_lines, id_, lines, now=NOW)
    store.transact_here(finish, id_, since=None, now=NOW)
    assert 2 == store.transact_here(staged.move, id_, most=2, now=NOW).count
    return id_


async def operated(store: Store, verb: Verb, **selected: object) -> Done:
    done = Done()
    selection = Selection(**selected)  # type: ignore[arg-type]
    await carry_out(store, verb, selection, done, clock=lambda: NOW, show=lambda touched: None)
    return done


async def moved(store: Store) -> list[tuple[str, int]]:
    """Move what is left, and return state and priority of all."""
    await bases.move(store, clock=lambda: NOW)
    assert {} == rows(store, upload_line)
    return sorted((row.state, row.priority) for row in rows(store, sms_spool).values())


async def test_hold_and_release(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held of a base comes into the spool as held, wherever it was, and is queued by its release."""
    monkeypatch.setattr(operating, "STEP", {"sqlite": 2, "postgresql": 2})
    half_moved(store)
    half_moved(store, "other")
    held = await operated(store, HOLD, base="b")
    assert (6, {}) == (held.touched, held.left)
    assert 6 == (await operated(store, set_priority(5), base="b")).touched
    assert 6 == (await operated(store, RELEASE, base="b", state=State.HELD)).touched
    assert 6 == (await operated(store, HOLD, base="b")).touched
    assert [("held", 5)] * 6 + [("queued", 9999)] * 6 == await moved(store)
    assert 6 == (await operated(store, RELEASE, base="b")).touched
    assert {"queued"} == {state for state, _ in await moved(store)}


async def test_moved_meanwhile(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is moved while a base is held is held, counted once, and not told as left alone."""
    id_ = half_moved(store)
    act_staged, find = operating.act_staged, operating.find
    steps: list[str] = []

    def moving_first(connection: Connection, *args: Any, **kwargs: Any) -> Any:
        if not steps:
            staged.move(connection, id_, after=2, most=1, now=NOW)
        steps.append("staged")
        return act_staged(connection, *args, **kwargs)

    def moving_then(connection: Connection, *args: Any, **kwargs: Any) -> Any:
        if steps[-1] == "staged":
            steps.append("moved")
            store.transact_here(staged.move, id_, after=3, most=2, now=NOW)
        return find(connection, *args, **kwargs)

    monkeypatch.setattr(operating, "act_staged", moving_first)
    monkeypatch.setattr(operating, "find", moving_then)
    done = await operated(store, HOLD, base="b")
    assert (6, {}) == (done.touched, done.left)
    assert [("held", 9999)] * 6 == await moved(store)


async def test_cancel(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is cancelled goes to sms_repo from wherever it was; of a campaign only its own lines."""
    monkeypatch.setattr(operating, "STEP", {"sqlite": 2, "postgresql": 2})
    half_moved(store)
    done = await operated(store, CANCEL, campaign="Ventas")
    assert (4, {}) == (done.touched, done.left)
    ended = rows(store, sms_repo).values()
    assert {("b", "cancelled", "cancelled by operator", 0)} == {
        (row.base, row.status, row.error, row.attempts) for row in ended
    }
    assert 4 == len(ended)
    assert [("queued", 9999)] * 2 == await moved(store)


@pytest.mark.parametrize("data", ["hola", "x" * 100_000], ids=["many", "long"])
async def test_others_write_while_a_base_is_worked_through(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, data: str
) -> None:
    """On SQLite no write of a verb keeps the one writer's place for 50 ms, be the messages many or long."""
    count = 6000 if data == "hola" else 300

    async def hold_and_cancel(store: Store) -> None:
        assert count == (await operated(store, HOLD, base="b")).touched
        assert count == (await operated(store, CANCEL, base="b")).touched

    with migrated(sqlite_url) as store:
        store.transact_here(
            lambda connection: connection.exec_driver_sql(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
                " INSERT INTO sms_spool (campaign, destination, data, base) SELECT 'c', '1', ?, 'b' FROM n",
                (count, data),
            )
        )
    took, number = await while_others_write(sqlite_url, hold_and_cancel, monkeypatch)

    assert len(took) >= 20
    assert max(took) < 0.05
    assert number >= 5
