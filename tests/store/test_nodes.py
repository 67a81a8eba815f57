"""The processes that send: signs of life, and the rescue of what a dead one held."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any

from dialerd.model.message import State, Status
from dialerd.model.retry import Verdict
from dialerd.store import Store
from dialerd.store.nodes import Incarnation, beat, enlist, incarnations, leave, orphans, rescue
from dialerd.store.settle import Settlement, settle
from dialerd.store.tables import sms_repo, sms_spool
from tests.store.conftest import another, campaign, execute, fill, put, select, take
from tests.store.filled import NOW, rows

LATER = NOW + timedelta(minutes=1)
DOUBT = Verdict(state=State.IN_DOUBT, error="died")


def life(incarnation: str = "life-1", **given: Any) -> Incarnation:
    usual = {"incarnation": incarnation, "node": "n1", "home": "host:/var", "pid": 17, "lease_s": 30.0}
    return Incarnation(**usual | given)


def begun(store: Store, *names: str) -> None:
    for name in names:
        store.transact_here(enlist, life(name))


def known(store: Store) -> dict[str, Incarnation]:
    return {one.incarnation: one for one in store.transact_here(incarnations)}


def rescued(store: Store, incarnation: str = "life-1", **given: Any) -> int | None:
    usual = {"doubt": lambda campaign, attempt: DOUBT, "now": LATER}
    return store.transact_here(rescue, incarnation, **usual | given)


# -- signs of life -----------------------------------------------------------------------------------------------------


def test_an_incarnation_is_known_from_its_beginning(store: Store) -> None:
    """Who has enlisted is known with all that others need to judge it, oldest first, until it leaves."""
    begun(store, "life-1")
    store.transact_here(enlist, life("life-2", node="n2", home="other:/var", pid=18, lease_s=5.0))

    found = known(store)
    assert ["life-1", "life-2"] == list(found)
    second = found["life-2"]
    assert ("n2", "other:/var", 18, 5.0, 0) == (second.node, second.home, second.pid, second.lease_s, second.beat)
    assert second.started is not None
    assert second.started.tzinfo is not None

    store.transact_here(leave, "life-1")
    assert ["life-2"] == list(known(store))


def test_a_beat_rises(store: Store) -> None:
    """Each sign of life is seen by others as a beat that has risen, with what the process tells of its providers."""
    begun(store, "life-1", "life-2")
    told = {"p": {"state": "down", "reason": "ñ", "in_flight": 3}}
    before = known(store)["life-1"]

    assert store.transact_here(beat, "life-1", {})
    assert store.transact_here(beat, "life-1", told)

    found = known(store)
    assert (2, told) == (found["life-1"].beat, found["life-1"].providers)
    assert before.beat_at is not None
    assert found["life-1"].beat_at is not None
    assert before.beat_at <= found["life-1"].beat_at
    assert 0 == found["life-2"].beat


def test_who_was_declared_dead_learns_it(store: Store) -> None:
    """A beat of an incarnation that has been rescued, or left, says so, and does not bring it back."""
    begun(store, "life-1")
    rescued(store)

    assert not store.transact_here(beat, "life-1", {})
    assert {} == known(store)


# -- rescue ------------------------------------------------------------------------------------------------------------


def test_what_the_dead_held_becomes_a_doubt(store: Store) -> None:
    """A rescued incarnation is struck out, its attempts are in doubt under its name, and nobody else's are touched."""
    begun(store, "life-1", "life-2")
    put(store, *"abcd")
    take(store, permits=2, incarnation="life-1")
    take(store, permits=1, incarnation="life-2")

    assert 2 == rescued(store)

    assert ["life-2"] == list(known(store))
    assert [
        ("a", "in_doubt", "life-1", 1, "died"),
        ("b", "in_doubt", "life-1", 1, "died"),
        ("c", "sending", "life-2", 1, None),
        ("d", "queued", None, 0, None),
    ] == select(store, "SELECT data, state, incarnation, attempts, last_error FROM sms_spool ORDER BY seq")


def test_each_campaigns_policy_decides(store: Store) -> None:
    """What becomes of a doubt depends on its campaign and on how often it was tried."""
    begun(store, "life-1")
    put(store, {"campaign": "resend", "data": "first"}, {"campaign": "resend", "data": "last"}, {"campaign": "hold"})
    execute(store, "UPDATE sms_spool SET attempts = 4 WHERE data = 'last'")
    take(store, campaign("resend"), campaign("hold"), incarnation="life-1")
    asked = []

    def doubt(name: str, attempt: int) -> Verdict:
        asked.append((name, attempt))
        if name == "hold":
            return DOUBT
        if attempt == 5:
            return Verdict(status=Status.FAILED, error="gave up")
        return Verdict(state=State.DEFERRED, error="again", due_at=LATER)

    assert 3 == rescued(store, doubt=doubt)

    assert [("resend", 1), ("resend", 5), ("hold", 1)] == asked
    assert {("first", "deferred"), ("hola", "in_doubt")} == set(select(store, "SELECT data, state FROM sms_spool"))
    (row,) = rows(store, sms_repo).values()
    assert ("last", "failed", "gave up", 5, "p", LATER) == (
        row.data, row.status, row.error, row.attempts, row.provider, row.dateprocessed,
    )  # fmt: skip


def test_who_lives_is_not_rescued(store: Store) -> None:
    """If the beat has risen since it was seen, the incarnation lives and keeps what it holds."""
    begun(store, "life-1")
    put(store, "a")
    take(store, incarnation="life-1")
    store.transact_here(beat, "life-1", {})

    assert None is rescued(store, seen_beat=0)

    assert ["life-1"] == list(known(store))
    assert [("sending", "life-1")] == select(store, "SELECT state, incarnation FROM sms_spool")
    assert 1 == rescued(store, seen_beat=1)


def test_who_was_rescued_by_another_is_left(store: Store) -> None:
    """Of two that saw the same beat stand still, the second finds nothing to do."""
    begun(store, "life-1")

    assert [0, None] == [rescued(store, seen_beat=0), rescued(store, seen_beat=0)]


def test_a_late_outcome_ends_a_rescued_doubt(store: Store) -> None:
    """Who was thought dead and comes back with its attempt's outcome ends the doubt."""
    begun(store, "life-1")
    put(store, "a")
    ((taken, _),) = take(store, incarnation="life-1").messages
    rescued(store)
    sent = Settlement(seq=taken.seq, attempt=1, incarnation="life-1", provider="p", verdict=Verdict(status=Status.SENT))

    assert 1 == store.transact_here(settle, [sent], now=LATER)
    assert [("sent", "p")] == select(store, "SELECT status, provider FROM sms_repo")


def test_rescuers_at_once_rescue_once(store: Store) -> None:
    """Several that rescue the same incarnation at the same time make each of its attempts a doubt once."""
    begun(store, "life-1")
    fill(store, 200)
    take(store, permits=200, incarnation="life-1")

    def rescuer(_: int) -> int:
        with closing(another(store)) as own:
            return rescued(own) or 0

    with ThreadPoolExecutor(4) as threads:
        assert 200 == sum(threads.map(rescuer, range(4)))

    assert [("in_doubt", 1, 200)] == select(
        store, "SELECT state, attempts, count(*) FROM sms_spool GROUP BY state, attempts"
    )


# -- orphans -----------------------------------------------------------------------------------------------------------


def test_claims_of_nobody_are_found(store: Store) -> None:
    """What stands as `sending` under an incarnation that nobody knows, or under none, is found and can be rescued."""
    begun(store, "life-1")
    put(store, *"abcde")
    take(store, permits=1, incarnation="life-1")
    take(store, permits=2, incarnation="forgotten")
    execute(
        store,
        "UPDATE sms_spool SET state = 'sending' WHERE data = 'd'",
        "UPDATE sms_spool SET state = 'in_doubt', incarnation = 'long ago' WHERE data = 'e'",
    )

    found = store.transact_here(orphans)

    assert {"forgotten", "nobody"} == set(found)
    assert {"forgotten": 2, "nobody": 1} == {name: rescued(store, name) for name in found}
    assert [] == store.transact_here(orphans)
    states = dict(select(store, "SELECT data, state FROM sms_spool"))
    assert {"a": "sending", "b": "in_doubt", "c": "in_doubt", "d": "in_doubt", "e": "in_doubt"} == states


def test_nobody_has_no_orphans(store: Store) -> None:
    """Where everybody is known there is nothing to rescue, doubts or not."""
    begun(store, "life-1")
    put(store, "a", {"data": "b", "state": "in_doubt"})
    take(store, incarnation="life-1")

    assert [] == store.transact_here(orphans)
    assert rows(store, sms_spool).keys() == rows(store, sms_spool).keys()
