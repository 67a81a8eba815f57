"""What an operator does to messages that wait, on both databases."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from dialerd.model.errors import Refused
from dialerd.model.message import State, new_id
from dialerd.store import Store, operate, sizes
from dialerd.store.operate import (
    CANCEL,
    HOLD,
    RELEASE,
    RESEND,
    SETTLE_FAILED,
    SETTLE_SENT,
    Selection,
    Verb,
    act,
    cancel_scheduled,
    find,
    set_priority,
    waiting,
    whereabouts,
)
from dialerd.store.spool import newest_seq
from dialerd.store.tables import sms_repo, sms_scheduler, sms_spool
from tests.store.filled import NOW, migrated, repoed, rows, scheduled, spooled

ALL_STATES = tuple({"state": state.value} for state in State)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """An empty database at this version's tables."""
    with migrated(database_url) as opened:
        yield opened


def carry_out(store: Store, verb: Verb, most: int = 2, **selected: object) -> tuple[int, dict[State, int]]:
    """Do it step by step, as the command line does; return how many were touched and what else matched."""
    selection = Selection(**selected).checked()
    newest = store.transact_here(newest_seq)
    touched, others, after = 0, dict[State, int](), 0
    while after is not None:
        found = store.transact_here(find, selection, verb, after_seq=after, up_to_seq=newest, most=most)
        touched += store.transact_here(act, selection, verb, found.seqs, now=NOW)
        for state, n in found.others.items():
            others[state] = others.get(state, 0) + n
        after = found.last_seq
    return touched, others


def states(store: Store, ids: list[str]) -> list[str]:
    found = rows(store, sms_spool)
    return [found[id_].state if id_ in found else "gone" for id_ in ids]


@pytest.mark.parametrize(
    ("verb", "after"),
    [
        (HOLD, {"queued": "held", "deferred": "held"}),
        (RELEASE, {"held": "queued"}),
        (CANCEL, {"queued": "gone", "deferred": "gone", "held": "gone", "in_doubt": "gone"}),
        (RESEND, {"in_doubt": "queued"}),
        (SETTLE_SENT, {"in_doubt": "gone"}),
        (SETTLE_FAILED, {"in_doubt": "gone"}),
        (set_priority(7), {}),
    ],
    ids=["hold", "release", "cancel", "resend", "settle_sent", "settle_failed", "priority"],
)
def test_a_verb_touches_its_own_states(store: Store, verb: Verb, after: dict[str, str]) -> None:
    """Each verb changes messages in the states it is meant for, never one that is being sent, and counts the others."""
    before = [state.value for state in State]
    ids = spooled(store, *ALL_STATES, base="b")

    touched, others = carry_out(store, verb, base="b")

    assert [after.get(state, state) for state in before] == states(store, ids)
    assert len(verb.of) == touched
    assert {state: 1 for state in State if state not in verb.of} == others


def test_a_selection_means_what_all_of_it_means(store: Store) -> None:
    """Base, campaign and state narrow each other down."""
    ids = spooled(
        store,
        {"base": "a", "campaign": "x"},
        {"base": "a", "campaign": "y"},
        {"base": "b", "campaign": "x"},
        {"base": "a", "campaign": "x", "state": "deferred"},
    )

    assert (1, {}) == carry_out(store, HOLD, base="a", campaign="x", state=State.QUEUED)
    assert ["held", "queued", "queued", "deferred"] == states(store, ids)


def test_ids_are_read_as_people_write_them(store: Store) -> None:
    """An id in capitals or without dashes is the same id, and one named twice counts once."""
    (id_,) = spooled(store)

    assert (1, {}) == carry_out(store, HOLD, ids=(id_.upper(), id_.replace("-", "")))
    assert ["held"] == states(store, [id_])


def test_many_ids_are_worked_through(store: Store) -> None:
    """More ids than fit one step are all found."""
    ids = spooled(store, {}, {}, {}, {}, {})

    assert (5, {}) == carry_out(store, HOLD, ids=tuple(ids))


def test_what_is_no_id_is_refused() -> None:
    """A word that cannot be an id is named in the refusal."""
    with pytest.raises(Refused, match="'nonsense' is no message id"):
        Selection(ids=("nonsense",)).checked()


def test_an_empty_selection_is_refused() -> None:
    """Nobody cancels everything by leaving the options out."""
    with pytest.raises(Refused, match="--base, --campaign or --state"):
        Selection().checked()


def test_a_step_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page looks at so many rows and takes so many; nothing is left out or taken twice between pages."""
    monkeypatch.setattr(operate, "SCAN", 3)
    ids = spooled(store, *({"base": "wanted" if number % 4 == 0 else "other"} for number in range(20)))

    assert (5, {}) == carry_out(store, HOLD, base="wanted")
    assert ["held" if number % 4 == 0 else "queued" for number in range(20)] == states(store, ids)


def test_long_messages_make_short_steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step ends after so many messages, or characters of their texts and details, and holds one message at least."""
    monkeypatch.setattr(operate, "STEP", {"sqlite": 3, "postgresql": 3})
    monkeypatch.setattr(sizes, "MOST_CHARACTERS", 100)
    long, half = {"data": "x" * 200}, {"data": "", "details": {"subject": "x" * 22}}
    spooled(store, {}, {}, {}, {}, long, half, half, half)
    newest = store.transact_here(newest_seq)

    found = store.transact_here(find, Selection(campaign="Ventas"), HOLD, after_seq=0, up_to_seq=newest)

    assert [3, 1, 1, 2, 1] == [len(seqs) for seqs in found.steps]
    assert sorted(row.seq for row in rows(store, sms_spool).values()) == found.seqs


def test_what_came_later_is_left_alone(store: Store) -> None:
    """Messages that come in while a selection is worked through do not make it endless."""
    spooled(store)
    newest = store.transact_here(newest_seq)
    spooled(store)

    found = store.transact_here(find, Selection(campaign="Ventas"), HOLD, after_seq=0, up_to_seq=newest)

    assert ([newest], None) == (found.seqs, found.last_seq)


def test_what_has_moved_on_since_it_was_found_stays(store: Store) -> None:
    """A message that is claimed, or leaves the state asked for, between finding and acting is not touched."""
    ids = spooled(store, {"state": "sending"}, {"state": "queued"})
    selection = Selection(base=None, campaign="Ventas", state=State.DEFERRED)
    seqs = [row.seq for row in rows(store, sms_spool).values()]

    assert 0 == store.transact_here(act, selection, CANCEL, seqs, now=NOW)
    assert ["sending", "queued"] == states(store, ids)


def test_a_released_base_is_due_from_now(store: Store) -> None:
    """What waited for its release is due since then; what had been due before keeps its age."""
    earlier = NOW - timedelta(days=2)
    waited, known = spooled(store, {"due_since": None}, {"due_since": earlier}, state="held", base="b")

    carry_out(store, RELEASE, base="b")

    found = rows(store, sms_spool)
    assert (NOW, earlier) == (found[waited].due_since, found[known].due_since)


def test_a_release_does_not_anticipate(store: Store) -> None:
    """A held message whose time lies ahead goes back to deferred."""
    soon = {"due_at": NOW + timedelta(microseconds=1), "due_since": NOW}
    ids = spooled(store, soon, {"due_at": NOW}, {"due_at": NOW.replace(microsecond=0)}, state="held")

    carry_out(store, RELEASE, campaign="Ventas")

    assert ["deferred", "queued", "queued"] == states(store, ids)


def test_cancelled_messages_stand_in_the_repo(store: Store) -> None:
    """A cancelled message keeps what it was and says who ended it; the provider is that of its last attempt, if any."""
    (tried,) = spooled(store, state="deferred", attempts=2, provider="p", base="b", priority=5, details={"a": 1})
    (given_back,) = spooled(store, attempts=0, provider="p")

    carry_out(store, CANCEL, ids=(tried, given_back))

    row = rows(store, sms_repo)[tried]
    assert ("cancelled", "cancelled by operator", NOW) == (row.status, row.error, row.dateprocessed)
    assert (2, "b", 5, {"a": 1}, "p") == (row.attempts, row.base, row.priority, row.details, row.provider)
    assert None is rows(store, sms_repo)[given_back].provider


@pytest.mark.parametrize(("verb", "status"), [(SETTLE_SENT, "sent"), (SETTLE_FAILED, "failed")])
def test_a_settled_doubt_names_its_provider(store: Store, verb: Verb, status: str) -> None:
    """What an operator settles has the status given, and names the provider that may have it, who has not said so."""
    (id_,) = spooled(store, state="in_doubt", attempts=1, provider="p", incarnation="dead")

    carry_out(store, verb, state=State.IN_DOUBT)

    row = rows(store, sms_repo)[id_]
    assert (status, "settled by operator", "p", 1) == (row.status, row.error, row.provider, row.attempts)


def test_a_resent_doubt_belongs_to_nobody(store: Store) -> None:
    """A doubt that is resent keeps its attempts, and a late outcome of the old one no longer meets it."""
    (id_,) = spooled(store, state="in_doubt", attempts=3, incarnation="dead", node="n")

    carry_out(store, RESEND, ids=(id_,))

    row = rows(store, sms_spool)[id_]
    assert ("queued", 3, None, None) == (row.state, row.attempts, row.incarnation, row.node)


def test_priority_is_between_1_and_9999(store: Store) -> None:
    """A priority in range is written, another refused."""
    (id_,) = spooled(store)

    carry_out(store, set_priority(1), ids=(id_,))

    assert 1 == rows(store, sms_spool)[id_].priority
    for wrong in (0, 10_000):
        with pytest.raises(Refused, match="from 1"):
            set_priority(wrong)


def test_scheduled_messages_are_cancelled_by_campaign(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A campaign's messages are cancelled from sms_scheduler too, soonest first, step by step."""
    later, sooner, other = scheduled(
        store, {"calldate": NOW + timedelta(days=2)}, {"details": {"subject": "s"}, "agent": "a"}, {"campaign": "x"}
    )
    selection = Selection(campaign="Ventas")
    monkeypatch.setattr(operate, "STEP", {"sqlite": 1, "postgresql": 1})

    moved = [store.transact_here(cancel_scheduled, selection, now=NOW) for _ in range(3)]

    assert [1, 1, 0] == moved
    assert {other} == rows(store, sms_scheduler).keys()
    done = rows(store, sms_repo)
    assert {later, sooner} == done.keys()
    row = done[sooner]
    assert ("cancelled", "cancelled by operator", NOW, 1) == (row.status, row.error, row.dateprocessed, row.priority)
    assert ({"subject": "s"}, "a", 0, None) == (row.details, row.agent, row.attempts, row.base)
    assert NOW + timedelta(days=1) == row.calldate


def test_scheduled_messages_are_cancelled_by_id(store: Store) -> None:
    """An id cancels a scheduled message, unless another campaign was named."""
    one, two = scheduled(store, {}, {})

    assert 0 == store.transact_here(cancel_scheduled, Selection(ids=(one,), campaign="x"), now=NOW)
    assert 1 == store.transact_here(cancel_scheduled, Selection(ids=(one,)), now=NOW)
    assert {two} == rows(store, sms_scheduler).keys()


@pytest.mark.parametrize(
    "selected", [{"base": "b"}, {"state": State.QUEUED}, {"state": State.QUEUED, "campaign": "Ventas"}]
)
def test_base_and_state_select_nothing_scheduled(store: Store, selected: dict[str, object]) -> None:
    """A message in sms_scheduler has no state and no base yet."""
    scheduled(store)

    assert 0 == store.transact_here(cancel_scheduled, Selection(**selected), now=NOW)


def test_whereabouts_are_told_of_any_id(store: Store) -> None:
    """For an id that nothing could be done to, an operator learns where the message stands."""
    (waits,), (done,), (later,), lost = spooled(store, state="held"), repoed(store), scheduled(store), new_id()

    told = store.transact_here(whereabouts, [waits, done, later, lost])

    assert {
        waits: "is in sms_spool as held",
        done: "is in sms_repo as sent",
        later: "is in sms_scheduler",
        lost: "is no message here",
    } == told


def test_the_spool_is_listed_page_by_page(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing shows every message of the selection once, oldest first, also over pages with nothing in them."""
    monkeypatch.setattr(operate, "SCAN", 2)
    ids = spooled(store, *({"state": "held" if number > 5 else "queued"} for number in range(10)))
    newest = store.transact_here(newest_seq)

    shown, after = [], 0
    while after is not None:
        page, after = store.transact_here(
            waiting, Selection(state=State.HELD), after_seq=after, up_to_seq=newest, most=3
        )
        shown += page

    assert ids[6:] == [row["id"] for row in shown]
    assert (NOW, "held", "Ventas") == (shown[0]["due_at"], shown[0]["state"], shown[0]["campaign"])
    assert "seq" not in shown[0]
