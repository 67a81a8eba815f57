"""The claim: which messages are taken, in which order, at which pace, and what becomes of those that must not go."""

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from itertools import chain
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Connection

from dialerd.examine import Examined
from dialerd.model.calendar import parse_schedule
from dialerd.model.campaign import Campaign
from dialerd.model.errors import Refused
from dialerd.model.message import Channel, Message, Status
from dialerd.model.pace import Gate
from dialerd.store import Store, blacklist
from dialerd.store.blacklist import Entry
from dialerd.store.claim import BATCH, claim
from dialerd.store.columns import JSON_DETAILS, Instant
from dialerd.store.order import Claimed, Terms
from dialerd.store.pace import gates
from dialerd.store.pause import pause_campaign, resume_campaign
from tests.store.conftest import (
    ME,
    Clock,
    another,
    campaign,
    execute,
    fill,
    order,
    put,
    select,
    take,
    take_all,
    texts,
)
from tests.store.filled import NOW

LATER = NOW + timedelta(hours=1)
DAYTIME = parse_schedule(["mon-sun;08:00-21:00"])


def states(store: Store) -> dict[str, str]:
    """Return the state of each message in the spool by its text."""
    return dict(select(store, "SELECT data, state FROM sms_spool"))


def ended(store: Store) -> dict[str, tuple[str, str]]:
    """Return status and error of each message in sms_repo by its text."""
    return {data: (status, error) for data, status, error in select(store, "SELECT data, status, error FROM sms_repo")}


def starts(claimed: Claimed) -> dict[str, float]:
    """Return when each message may start, by its text."""
    return {one.data: round(start, 3) for one, start in claimed.messages}


# -- order -------------------------------------------------------------------------------------------------------------


def test_the_best_priority_goes_first(store: Store) -> None:
    """Priority 1 goes first, 9999 last, whatever came first."""
    put(store, *({"data": str(priority), "priority": priority} for priority in (9999, 5, 1, 300)))

    assert ["1", "5", "300", "9999"] == texts(take(store))


def test_many_priorities_are_worked_through(store: Store) -> None:
    """More priorities than one claim looks at come out in their order, claim by claim."""
    put(store, *({"data": str(priority), "priority": priority} for priority in range(20, 0, -1)))

    assert [str(priority) for priority in range(1, 21)] == texts(take_all(store))


def test_equals_go_first_in_first_out(store: Store) -> None:
    """Among messages of one campaign and priority the one that came first goes first."""
    put(store, *map(str, range(30)))

    assert [str(number) for number in range(30)] == texts(take_all(store, permits=7))


def test_zones_do_not_change_the_order(store: Store) -> None:
    """Messages of one campaign go first in first out, whichever zones their recipients are in."""
    put(store, *({"data": str(number), "zone": f"zone {number % 3}"} for number in range(30)))

    assert [str(number) for number in range(30)] == texts(take_all(store, permits=7))


def test_priority_counts_over_zones_and_campaigns(store: Store) -> None:
    """A better priority goes first wherever it stands."""
    put(
        store,
        {"data": "c", "priority": 3, "zone": "x"},
        {"data": "b", "priority": 2, "zone": "y"},
        {"data": "a", "priority": 1, "campaign": "other"},
        {"data": "d", "priority": 4, "campaign": "other"},
    )
    campaigns = campaign(), campaign("other")

    assert ["a", "b", "c", "d"] == texts(take_all(store, *campaigns, permits=1))


def test_an_urgent_message_overtakes_a_base(store: Store) -> None:
    """What comes later with priority 1 goes before the rest of a base, of its own campaign or another's."""
    fill(store, 300)
    take(store, permits=10)
    put(store, {"data": "own", "priority": 1}, {"data": "neighbour's", "priority": 1, "campaign": "other"})

    assert ["own", "neighbour's"] == texts(take(store, campaign(), campaign("other"), permits=10))[:2]


def test_campaigns_take_turns(store: Store) -> None:
    """Campaigns that share a priority get equal shares, so a large base does not starve its neighbours."""
    fill(store, 3000, data="base")
    put(store, *["small"] * 40, campaign="other")
    put(store, *["third"] * 40, campaign="third")
    campaigns = campaign(), campaign("other"), campaign("third")

    taken = texts(take(store, *campaigns, permits=30))

    assert {"base": 10, "small": 10, "third": 10} == {name: taken.count(name) for name in set(taken)}


def test_what_one_leaves_goes_to_the_others(store: Store) -> None:
    """A campaign with little to send leaves the rest of its share."""
    fill(store, 300, data="base")
    put(store, *["small"] * 3, campaign="other")

    taken = texts(take(store, campaign("other"), campaign(), permits=20))

    assert ["base"] * 17 + ["small"] * 3 == sorted(taken)


def test_a_neighbour_with_a_worse_priority_waits(store: Store) -> None:
    """Turns are taken among equals only."""
    fill(store, 30, data="base", priority=5)
    put(store, "other", campaign="other", priority=6)

    assert ["base"] * 20 == texts(take(store, campaign("other"), campaign(), permits=20))


def test_few_permits_rotate(store: Store) -> None:
    """With a single permit it goes to the campaign whose turn is first, so that all get theirs in rotation."""
    names = ["a", "b", "c"]
    for name in names:
        put(store, *[name] * 5, campaign=name)
    taken = []
    for turn in range(9):
        rotated = names[turn % 3 :] + names[: turn % 3]
        taken += texts(take(store, *map(campaign, rotated), permits=1))

    assert names * 3 == taken


# -- what is not taken -------------------------------------------------------------------------------------------------


def test_only_campaigns_in_the_order_are_taken(store: Store) -> None:
    """A campaign that is not among the terms (closed, unknown, another provider's) is left, and holds up nobody."""
    fill(store, 300, campaign="closed", priority=1)
    put(store, "open")

    assert ["open"] == texts(take_all(store))
    assert [("closed", "queued", 300)] == select(
        store, "SELECT campaign, state, count(*) FROM sms_spool WHERE state <> 'sending' GROUP BY campaign, state"
    )


def test_a_paused_campaign_is_left_at_once(store: Store) -> None:
    """From the commit of a pause on, no claim takes what it forbids, and the others go on."""
    put(store, "paused", campaign="quiet", priority=1)
    put(store, "open")
    store.transact_here(pause_campaign, "quiet", reason=None, now=NOW)

    assert ["open"] == texts(take(store, campaign("quiet"), campaign()))

    store.transact_here(resume_campaign, "quiet")
    assert ["paused"] == texts(take(store, campaign("quiet"), campaign()))


@pytest.mark.parametrize("state", ["deferred", "held", "sending", "in_doubt"])
def test_only_queued_messages_are_taken(store: Store, state: str) -> None:
    """What waits, or is somebody's, is never taken, and never blocks what is queued."""
    fill(store, 300, state=state, priority=1, data="other")
    put(store, "queued")

    assert ["queued"] == texts(take_all(store))
    assert [(state,)] == select(store, "SELECT DISTINCT state FROM sms_spool WHERE data = 'other'")


def test_permits_are_kept(store: Store) -> None:
    """No claim takes more than the dialer has permits, nor more than a campaign has of its own."""
    fill(store, 30, data="a", campaign="a")
    fill(store, 30, data="b", campaign="b")

    few = texts(take(store, Terms(campaign("a"), 2), Terms(campaign("b"), 9), permits=8))

    assert ["a"] * 2 + ["b"] * 6 == sorted(few)
    assert [] == texts(take(store, campaign("a"), permits=0))


def test_a_batch_is_bounded(store: Store) -> None:
    """A claim ends at the size of a batch, however many permits there are."""
    fill(store, BATCH + 10)

    assert (BATCH, True) == (len((claimed := take(store, permits=2000)).messages), claimed.more)
    assert (10, False) == (len((claimed := take(store, permits=2000)).messages), claimed.more)


def test_what_came_later_is_left(store: Store) -> None:
    """`up_to_seq` leaves out what came behind it, even what is urgent, and still finds what stands before."""
    put(store, *({"data": f"old {number}", "zone": str(number % 2)} for number in range(6)))
    (last,) = select(store, "SELECT max(seq) FROM sms_spool")[0]
    put(store, *({"data": "new", "priority": priority, "zone": "0"} for priority in range(1, 9)))

    assert [f"old {number}" for number in range(6)] == texts(take_all(store, up_to_seq=last, permits=4))
    assert ["new"] * 8 == texts(take_all(store))


def test_an_empty_spool_yields_nothing(store: Store) -> None:
    """Nothing to do is no trouble."""
    assert Claimed(NOW) == take(store)


# -- what is written and returned --------------------------------------------------------------------------------------


def test_the_claim_is_written(store: Store) -> None:
    """A claimed message is `sending` under its claimer's names, and its attempt is counted."""
    put(store, "hola")
    take(store, incarnation="life-7", node="dialer-1")

    assert [("sending", 1, "life-7", "dialer-1", NOW)] == select(
        store, "SELECT state, attempts, incarnation, node, claimed_at FROM sms_spool", claimed_at=Instant
    )


def test_a_message_is_whole(store: Store) -> None:
    """What a driver gets holds everything that was submitted, and the number of its attempt."""
    details = {"subject": "¡Hola!", "variables": {"n": [1, 2.5, None, "ñ"]}}
    given: dict[str, Any] = {
        "destination": "099 123 456",
        "address": "59899123456",
        "data": "¿qué tal? 😀",
        "priority": 17,
        "base": "base",
        "calldate": NOW - timedelta(microseconds=1),
        "agent": "agent",
        "source": "1234",
        "details": details,
        "queued_at": NOW - timedelta(days=1, microseconds=5),
        "parts": 3,
    }
    (id_,) = put(store, given)
    execute(store, "UPDATE sms_spool SET attempts = 2")

    ((taken, _),) = take(store).messages

    seq = select(store, "SELECT seq FROM sms_spool")[0][0]
    expected = {"id": id_, "seq": seq, "campaign": "Ventas", "channel": Channel.SMS, "attempt": 3} | given
    assert Message(**expected) == taken


@pytest.mark.parametrize(("own", "expected"), [("1234", "1234"), (None, "4321"), ("", "4321")])
def test_a_message_may_bring_its_source(store: Store, own: str | None, expected: str) -> None:
    """The campaign's source counts where a message brings none."""
    put(store, {"source": own})

    assert expected == take(store, campaign(source="4321")).messages[0][0].source


def test_a_claim_rolled_back_took_nothing(store: Store) -> None:
    """A claim stands or falls whole: attempt, state, endings, pace."""
    put(store, "a", {"data": "expired", "due_since": NOW - timedelta(days=1)}, {"data": "bad", "address": None})
    asked = order(campaign(expires_s=60, interval_s=0.05), provider_interval_s=0.05)

    def failing(connection: Any) -> None:
        claim(connection, asked)
        raise KeyError("x")

    with pytest.raises(KeyError):
        store.transact_here(failing)

    assert [("queued", 0)] == select(store, "SELECT DISTINCT state, attempts FROM sms_spool")
    assert [(0,)] == select(store, "SELECT count(*) FROM sms_repo")
    assert [] == select(store, "SELECT * FROM pace WHERE next_at > 0")


# -- expiry ------------------------------------------------------------------------------------------------------------


def test_what_waited_too_long_expires(store: Store) -> None:
    """Waited longer than expires_s since it was due: expired, not sent; neither younger ones nor those never due."""
    put(
        store,
        {"data": "old", "due_since": NOW - timedelta(seconds=60, microseconds=1)},
        {"data": "just", "due_since": NOW - timedelta(seconds=60)},
        {"data": "never due", "due_since": None},
        {"data": "new"},
    )

    claimed = take(store, campaign(expires_s=60))

    assert ["just", "never due", "new"] == texts(claimed)
    assert {Status.EXPIRED: 1} == claimed.ended
    assert {"old": ("expired", "waited longer than 60 s")} == ended(store)


def test_without_expiry_nothing_expires(store: Store) -> None:
    """Absent expires_s: never."""
    put(store, {"data": "ancient", "due_since": NOW - timedelta(days=9000)})

    assert ["ancient"] == texts(take(store))


@pytest.mark.parametrize("expires_s", [1.0, 1e9, 1e15])
def test_far_away_dates_expire_nothing(store: Store, expires_s: float) -> None:
    """No date that the tables take and no expires_s is more than a claim can calculate with."""
    put(store, {"data": "far", "due_since": NOW.replace(year=9998)}, {"data": "early", "due_since": NOW})

    assert ["far", "early"] == texts(take(store, campaign(expires_s=expires_s)))


def test_expired_messages_cost_no_permits(store: Store) -> None:
    """A claim that meets expired messages goes on to those that may go."""
    fill(store, 20, data="old", due_since=NOW - timedelta(days=1))
    put(store, "new")

    claimed = take(store, campaign(expires_s=60), permits=10)

    assert (["new"], {Status.EXPIRED: 20}) == (texts(claimed), claimed.ended)


def test_an_expired_backlog_is_worked_through(store: Store) -> None:
    """However many expired messages stand in front, claims that report more come to what may go."""
    fill(store, 1000, data="old", due_since=NOW - timedelta(days=1))
    put(store, "new")
    claims = [take(store, campaign(expires_s=60), permits=50)]
    while claims[-1].more:
        claims.append(take(store, campaign(expires_s=60), permits=50))

    assert ["new"] == texts(claims[-1])
    assert 1000 == sum(one.ended.get(Status.EXPIRED, 0) for one in claims)


# -- blacklist ---------------------------------------------------------------------------------------------------------


def test_blacklisted_messages_are_blocked(store: Store) -> None:
    """A blacklisted recipient gets nothing: the message is blocked, and its error names the entry."""
    put(
        store,
        {"data": "all", "address": "1"},
        {"data": "this one", "address": "2"},
        {"data": "other one", "address": "3"},
        {"data": "was", "address": "4"},
        {"data": "will not be", "address": "5"},
        {"data": "mail", "address": "6"},
        {"data": "no reason", "address": "7"},
        {"data": "nobody", "address": "8"},
    )
    entries = [
        Entry(channel=Channel.SMS, value="1", reason="STOP"),
        Entry(channel=Channel.SMS, value="2", campaign="Ventas", reason="asked"),
        Entry(channel=Channel.SMS, value="3", campaign="other"),
        Entry(channel=Channel.SMS, value="4", expires=NOW),
        Entry(channel=Channel.SMS, value="5", expires=NOW + timedelta(seconds=1)),
        Entry(channel=Channel.EMAIL, value="6"),
        Entry(channel=Channel.SMS, value="7"),
    ]
    store.transact_here(blacklist.add, entries, now=NOW)

    claimed = take(store)

    assert ["other one", "was", "mail", "nobody"] == texts(claimed)
    assert {Status.BLOCKED: 4} == claimed.ended
    assert {
        "all": ("blocked", "blacklisted for all campaigns: STOP"),
        "this one": ("blocked", "blacklisted for campaign Ventas: asked"),
        "will not be": ("blocked", "blacklisted for all campaigns"),
        "no reason": ("blocked", "blacklisted for all campaigns"),
    } == ended(store)
    assert [(0, None, None)] == select(store, "SELECT DISTINCT attempts, provider, provider_id FROM sms_repo")


def test_blocked_messages_use_no_pace(store: Store, clock: Clock) -> None:
    """A blocked message leaves its place in the pace to the next."""
    put(store, {"address": "1", "data": "blocked"}, "next")
    store.transact_here(blacklist.add, [Entry(channel=Channel.SMS, value="1")], now=NOW)
    slow = campaign(interval_s=10.0)

    first = take(store, slow)
    second = take(store, slow)

    assert ([], True) == (texts(first), first.more)
    assert {"next": 0.0} == starts(second)


def test_a_blocked_base_is_worked_through(store: Store) -> None:
    """However many blacklisted messages stand in front, claims that report more come to what may go."""
    fill(store, 120, address="1", data="blocked")
    put(store, "next")
    store.transact_here(blacklist.add, [Entry(channel=Channel.SMS, value="1")], now=NOW)
    claims = [take(store, permits=50)]
    while claims[-1].more:
        claims.append(take(store, permits=50))

    assert ["next"] == [one for claimed in claims for one in texts(claimed)]
    assert 120 == sum(claimed.ended.get(Status.BLOCKED, 0) for claimed in claims)


# -- rows that others inserted -----------------------------------------------------------------------------------------


def test_untouched_rows_are_examined(store: Store) -> None:
    """What dialerd computes at intake it computes for rows of others when it first touches them, and keeps it."""
    fill(store, 1, destination="099 123 456", data="ñ" * 200)

    ((taken, _),) = take(store, campaign(region="UY")).messages

    assert ("59899123456", 2) == (taken.address, taken.parts)
    assert [("59899123456", "?", 2, "sending")] == select(store, "SELECT address, zone, parts, state FROM sms_spool")


def test_examined_rows_are_not_examined_again(store: Store) -> None:
    """What has passed intake is taken as it is."""
    put(store, "hola")

    def never(*_: object) -> Examined:
        raise AssertionError

    assert ["hola"] == texts(take(store, examine=never))


def test_bad_rows_fail_with_their_reason(store: Store) -> None:
    """A row that no provider could take fails, uncounted, and the others go."""
    fill(store, 1, destination="nobody", data="bad number")
    fill(store, 1, data="x" * 2000)
    fill(store, 1, data="good")

    claimed = take(store)

    assert (["good"], {Status.FAILED: 2}) == (texts(claimed), claimed.ended)
    errors = {data[:10]: (status, attempts) for data, status, attempts in
              select(store, "SELECT data, status, attempts FROM sms_repo")}  # fmt: skip
    assert {"bad number": ("failed", 0), "xxxxxxxxxx": ("failed", 0)} == errors
    assert "a number has no letters" in ended(store)["bad number"][1]
    assert "SMS parts" in ended(store)["x" * 2000][1]


def test_untouched_rows_of_a_blacklisted_number_are_blocked(store: Store) -> None:
    """A STOP in canonical form stops rows that spell the number as people dial it."""
    fill(store, 1, destination="099 123 456", data="blocked")
    store.transact_here(blacklist.add, [Entry(channel=Channel.SMS, value="59899123456")], now=NOW)

    assert {Status.BLOCKED: 1} == take(store, campaign(region="UY")).ended
    assert [("blocked", "59899123456")] == select(store, "SELECT status, address FROM sms_repo")


@pytest.mark.parametrize("error", [RuntimeError("phone 099123456"), UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "x")])
def test_a_poisonous_row_ends_alone(store: Store, error: Exception) -> None:
    """Whatever examining a row may raise ends that row only, without quoting it."""
    fill(store, 1, data="poison")
    fill(store, 1, data="good")

    def examine(campaign: Campaign, destination: str, data: str, details: Mapping[str, Any] | None) -> Examined:
        if data == "poison":
            raise error
        return Examined(destination, "?", 1)

    assert ["good"] == texts(take(store, examine=examine))
    assert {"poison": ("failed", f"cannot be read: {type(error).__name__}")} == ended(store)


#: As deep as SQLite takes; Python gives up somewhere around there.
DEEP = "[" * 990 + "]" * 990
LONG = "9" * 5000


@pytest.mark.parametrize(
    "details", ['"text"', "[1, 2]", "17", f'{{"a": {DEEP}}}', f'{{"a": {LONG}}}'],
    ids=["text", "list", "number", "deep", "long number"],
)  # fmt: skip
def test_unreadable_details_stop_no_claim(store: Store, details: str) -> None:
    """Details that the database takes and Python cannot read, or that are no object, matter to no SMS."""
    fill(store, 1, data="odd", details=details)
    fill(store, 1, data="plain")

    assert ["odd", "plain"] == texts(take(store))


@pytest.mark.parametrize("details", ['"text"', "[1, 2]", f'{{"a": {LONG}}}'], ids=["text", "list", "long number"])
def test_unreadable_details_end_a_mail_alone(store: Store, details: str) -> None:
    """A mail whose subject, template or attachments cannot be read fails instead of going without them."""
    fill(store, 1, destination="a@example.com", data="odd", details=details)
    fill(store, 1, destination="a@example.com", data="good", details='{"subject": "s"}')
    fill(store, 1, destination="a@example.com", data="null", details="null")

    assert ["good", "null"] == texts(take(store, campaign(channel=Channel.EMAIL)))
    assert {"odd": ("failed", "details are no JSON object, or too large to read")} == ended(store)


def test_refusals_end_a_row_alone(store: Store) -> None:
    """A row that is refused says why."""
    fill(store, 1, data="bad")

    def refuse(*_: object) -> Examined:
        raise Refused("not like this")

    assert {Status.FAILED: 1} == take(store, examine=refuse).ended
    assert {"bad": ("failed", "not like this")} == ended(store)


# -- zones -------------------------------------------------------------------------------------------------------------


def test_sleeping_recipients_hold_up_nobody(store: Store) -> None:
    """Messages to zones that sleep wait, those to zones that are awake go, whatever their order and priority."""
    fill(store, 300, zone="Asia/Tokyo", address="1", data="asleep", priority=1)
    put(store, {"data": "awake", "zone": "America/Montevideo"})
    asked: dict[str, Any] = {"awake": lambda campaign, zone: zone != "Asia/Tokyo"}

    claimed = take(store, campaign(recipient_hours=DAYTIME), **asked)

    assert (["awake"], False) == (texts(claimed), claimed.more)
    assert {"asleep": "queued", "awake": "sending"} == states(store)


def test_rows_without_a_zone_are_looked_up(store: Store) -> None:
    """A row whose zone nobody has asked for is looked up at the claim, and waits in its zone if it sleeps there."""
    fill(store, 1, destination="+34 612 345 678", data="Madrid")
    fill(store, 1, destination="099 123 456", data="Montevideo")
    asked: dict[str, Any] = {"awake": lambda campaign, zone: zone == "America/Montevideo"}
    minding = campaign(recipient_hours=DAYTIME, region="UY")

    assert ["Montevideo"] == texts(take(store, minding, **asked))
    found = dict(select(store, "SELECT data, zone || ' ' || state FROM sms_spool"))
    assert {"queued"} == {state.split()[-1] for data, state in found.items() if data == "Madrid"}
    assert "Europe/Madrid" in found["Madrid"]
    assert "America/Montevideo sending" == found["Montevideo"]


def test_intake_without_zone_is_looked_up_once_hours_matter(store: Store) -> None:
    """Messages that came before the campaign had recipient_hours are looked up when it has."""
    put(store, {"destination": "099 123 456", "zone": "?"})
    asleep: dict[str, Any] = {"awake": lambda campaign, zone: False}

    assert [] == texts(take(store, campaign(recipient_hours=DAYTIME, region="UY"), **asleep))
    assert [("America/Montevideo", "queued", 0)] == select(store, "SELECT zone, state, attempts FROM sms_spool")


def test_without_recipient_hours_zones_do_not_matter(store: Store) -> None:
    """A zone that was looked up once is only a place in the queue when the rule is gone."""
    put(store, *({"data": str(n), "zone": ["Asia/Tokyo", "?", ""][n % 3]} for n in range(6)))

    assert list("012345") == texts(take(store))


# -- several at once ---------------------------------------------------------------------------------------------------


def test_two_claimers_never_take_the_same(store: Store) -> None:
    """Processes that claim at once share what is there: together all of it, nothing twice."""
    fill(store, 200)
    fill(store, 200, campaign="other", zone="x", address="1")

    def claimer(name: str) -> list[int]:
        mine: list[int] = []
        with closing(another(store)) as own:
            while select(own, "SELECT 1 FROM sms_spool WHERE state = 'queued' LIMIT 1"):
                claimed = take(own, campaign(), campaign("other"), permits=7, incarnation=name)
                mine += [one.seq for one, _ in claimed.messages]
        return mine

    with ThreadPoolExecutor(4) as threads:
        taken = list(threads.map(claimer, ["a", "b", "c", "d"]))

    assert sorted(seq for (seq,) in select(store, "SELECT seq FROM sms_spool")) == sorted(chain(*taken))
    written = dict(select(store, "SELECT incarnation, count(*) FROM sms_spool GROUP BY incarnation"))
    assert written == {name: len(mine) for name, mine in zip("abcd", taken, strict=True) if mine}
    assert [(1,)] == select(store, "SELECT DISTINCT attempts FROM sms_spool")


# -- pace --------------------------------------------------------------------------------------------------------------


def test_a_campaigns_pace_is_kept(store: Store, clock: Clock) -> None:
    """Only what may start within 200 ms is taken, each so long after the one before."""
    put(store, *"abcdefgh")
    paced = campaign(interval_s=0.08)

    first = take(store, paced)
    clock.now_s += 0.15
    second = take(store, paced)

    assert {"a": 0.0, "b": 0.08, "c": 0.16} == starts(first)
    assert {"d": 0.09, "e": 0.17} == starts(second)


def test_a_providers_pace_is_kept_in_parts(store: Store, clock: Clock) -> None:
    """A provider's limit counts SMS parts over all its campaigns."""
    put(store, {"data": "a", "parts": 3}, {"data": "b", "parts": 1}, {"data": "c", "parts": 2}, "d")

    assert {"a": 0.0, "b": 0.12, "c": 0.16} == starts(take(store, provider_interval_s=0.04))
    clock.now_s += 0.2
    assert {"d": 0.04} == starts(take(store, provider_interval_s=0.04))


def test_a_learned_pace_is_kept_in_parts_and_booked_nowhere(store: Store, clock: Clock) -> None:
    """What a provider has taught a node lets start what a limit would, beside it, and is no limit to other nodes."""
    put(store, {"data": "a", "parts": 3}, {"data": "b", "parts": 2}, "c", "d", "e")

    learned = Gate(0.04, 0.05)
    assert {"a": 0.05, "b": 0.17} == starts(take(store, learned=learned))
    assert Gate(0.04, 0.05) == learned
    assert {"c": 0.0, "d": 0.1, "e": 0.2} == starts(take(store, learned=Gate(0.01, 0.0), provider_interval_s=0.1))


def test_the_slower_of_campaign_and_provider_wins(store: Store, clock: Clock) -> None:
    """Both limits hold, and a slow campaign leaves the provider to the others."""
    put(store, *(f"slow {n}" for n in range(3)), campaign="slow")
    put(store, *(f"fast {n}" for n in range(9)), campaign="fast")

    taken = take(store, campaign("slow", interval_s=0.15), campaign("fast"), provider_interval_s=0.04)

    assert {"slow 0": 0.0, "fast 0": 0.04, "fast 1": 0.08, "fast 2": 0.12, "slow 1": 0.16, "fast 3": 0.2} == starts(
        taken
    )


def test_pace_holds_over_nodes_and_restarts(store: Store, clock: Clock) -> None:
    """What one process has booked the next one keeps, whichever it is."""
    put(store, *map(str, range(9)))
    asked: dict[str, Any] = {"provider_interval_s": 0.08}
    take(store, **asked)

    with closing(another(store)) as other:
        assert [] == texts(take(other, **asked, incarnation="other"))
        clock.now_s += 0.1
        assert {"3": 0.14} == starts(take(other, **asked, incarnation="other"))
    clock.now_s += 0.1
    assert {"4": 0.12, "5": 0.2} == starts(take(store, **asked))


def test_turns_hold_beside_a_slower_campaign(store: Store, clock: Clock) -> None:
    """Campaigns that share a paced provider go in turns, each at its own pace, not one after all of the other's."""
    put(store, *(f"fast {n}" for n in range(9)), campaign="fast")
    put(store, *(f"slow {n}" for n in range(9)), campaign="slow")

    found = starts(take(store, campaign("fast"), campaign("slow", interval_s=0.05), provider_interval_s=0.025))

    assert sorted(found, key=found.__getitem__)[:8] == [f"{name} {n}" for n in range(4) for name in ("fast", "slow")]
    assert [found[f"slow {n}"] for n in range(4)] == [0.025, 0.075, 0.125, 0.175]


def test_unused_time_is_not_saved_up(store: Store, clock: Clock) -> None:
    """After an idle hour the pace begins anew, without a burst."""
    put(store, "a")
    paced = campaign(interval_s=0.1)
    take(store, paced)
    clock.now_s += 3600
    put(store, *"bcdefg")

    assert {"b": 0.0, "c": 0.1, "d": 0.2} == starts(take(store, paced))


@pytest.mark.parametrize("jump_s", [-86_400, -3_600, 86_400 * 365])
def test_a_clock_that_jumps_blocks_nobody(store: Store, clock: Clock, jump_s: float) -> None:
    """A booking that the pace cannot explain, because the clock was set back (or forth), is forgotten."""
    put(store, *"abcd")
    asked: dict[str, Any] = {"provider_interval_s": 1.0}
    take(store, campaign(interval_s=1.0), **asked)
    clock.now_s += jump_s

    assert {"b": 0.0} == starts(take(store, campaign(interval_s=1.0), **asked))


def test_a_clock_set_back_blocks_a_slow_campaign_no_longer_than_its_pace(store: Store, clock: Clock) -> None:
    """A campaign of one message an hour waits an hour at most, whatever was booked."""
    put(store, *"ab")
    hourly = campaign(interval_s=3600.0)
    take(store, hourly)
    clock.now_s -= 86_400

    assert {"b": 0.0} == starts(take(store, hourly))


def test_the_databases_clock_is_the_wall_clock(store: Store) -> None:
    """Pace is booked by the clock of the database, in seconds since 1970."""
    before = time.time()
    now_s, of_provider, of_campaigns = store.transact_here(gates, provider=("p", 1.0), campaigns={"c": 2.0})

    assert before - 5 < now_s < time.time() + 5
    assert (1.0, {"c": 2.0}) == (of_provider.interval_s, {name: gate.interval_s for name, gate in of_campaigns.items()})


def test_paces_of_the_same_name_are_apart(store: Store, clock: Clock) -> None:
    """A campaign may be called like its provider."""
    put(store, *"abc", campaign="p")

    assert {"a": 0.0, "b": 0.1, "c": 0.2} == starts(
        take(store, campaign("p", interval_s=0.1), provider_interval_s=0.09)
    )


def test_claimers_at_once_keep_the_pace(store: Store, clock: Clock) -> None:
    """Of several claims at the same instant one gets what the pace allows, the others nothing."""
    fill(store, 100)

    def claimer(name: str) -> int:
        return len(take(store, provider_interval_s=0.08, incarnation=name).messages)

    with ThreadPoolExecutor(4) as threads:
        counts = list(threads.map(claimer, ["a", "b", "c", "d"]))

    assert [0, 0, 0, 3] == sorted(counts)


def test_nodes_wait_for_each_others_pace(postgres_store: Store, clock: Clock) -> None:
    """Two nodes that come to the same gate in the same moment go through it one after the other."""
    fill(postgres_store, 100, zone="x", address="1")
    take(postgres_store, provider_interval_s=0.08)
    clock.now_s += 1
    both = Barrier(2)

    def claimer(name: str) -> int:
        asked: dict[str, Any] = {"awake": lambda campaign, zone: both.wait(60) >= 0}
        return len(take(postgres_store, provider_interval_s=0.08, incarnation=name, **asked).messages)

    with ThreadPoolExecutor(2) as threads:
        assert [0, 3] == sorted(threads.map(claimer, ["a", "b"]))


# -- when to ask again -------------------------------------------------------------------------------------------------


def test_permits_that_end_a_claim_leave_more(store: Store) -> None:
    """`more` says that permits ended the claim, the dialer's or a campaign's, and no pace keeps the rest."""
    fill(store, 30)

    by_dialer, by_campaign = take(store, permits=5), take(store, Terms(campaign(), 5), permits=50)

    assert (True, None) == (by_dialer.more, by_dialer.free_in_s)
    assert (True, None) == (by_campaign.more, by_campaign.free_in_s)


def test_a_claim_that_took_all_leaves_nothing(store: Store) -> None:
    """Neither `more` nor a time to ask again when nothing that may go is left."""
    put(store, *"abc")
    put(store, "closed", campaign="closed")

    claimed = take(store, campaign(interval_s=0.01), permits=50)

    assert ("abc", False, None) == ("".join(texts(claimed)), claimed.more, claimed.free_in_s)


def test_pace_that_ends_a_claim_says_when(store: Store, clock: Clock) -> None:
    """Where pace ended it, there is no more for now, and the time to ask again lies shortly before the gate opens."""
    put(store, *"abcdef")

    for asked in ({"provider_interval_s": 0.5}, {}):
        claimed = take(store, campaign(interval_s=None if asked else 0.5), **asked)
        assert (1, False) == (len(claimed.messages), claimed.more)
        assert 0.4 == pytest.approx(claimed.free_in_s)
    again = take(store, campaign(interval_s=0.5))
    assert (0, False) == (len(again.messages), again.more)
    assert 0.4 == pytest.approx(again.free_in_s)


def test_parts_that_end_a_claim_say_when(store: Store, clock: Clock) -> None:
    """A message whose parts the pace keeps from going ends a claim by pace, even if permits are scarce."""
    put(store, *({"data": data, "parts": 3} for data in "ab"))

    claimed = take(store, provider_interval_s=0.1, permits=2)

    assert (["a"], False) == (texts(claimed), claimed.more)
    assert 0.2 == pytest.approx(claimed.free_in_s)


def test_the_slowest_gate_says_when(store: Store, clock: Clock) -> None:
    """A provider that is shut for long is not asked again for the sake of a campaign's faster gate."""
    put(store, *"abc")

    claimed = take(store, campaign(interval_s=0.3), provider_interval_s=10.0)

    assert 9.9 == pytest.approx(claimed.free_in_s)


def test_the_first_gate_to_open_says_when(store: Store, clock: Clock) -> None:
    """Among campaigns the first that may go on says when to ask again; one that has nothing left does not."""
    put(store, *"ab", campaign="slow")
    put(store, *"cd", campaign="fast")
    put(store, "e", campaign="done")
    campaigns = campaign("slow", interval_s=5.0), campaign("fast", interval_s=1.0), campaign("done", interval_s=0.1)

    claimed = take(store, *campaigns)

    assert ["c", "a", "e"] == sorted(texts(claimed), key="cae".index)
    assert (False, 0.9) == (claimed.more, pytest.approx(claimed.free_in_s))


def test_more_and_pace_may_both_be(store: Store, clock: Clock) -> None:
    """Where one campaign is kept by permits and another by pace, both are said."""
    put(store, *"ab", campaign="slow")
    put(store, *"cdef", campaign="many")

    claimed = take(store, campaign("slow", interval_s=5.0), Terms(campaign("many"), 2))

    assert (True, 4.9) == (claimed.more, pytest.approx(claimed.free_in_s))


@pytest.mark.parametrize("details", [{"subject": "s"}, None, {}])
def test_details_come_back_as_given(store: Store, details: dict[str, Any] | None) -> None:
    """A message without details has null in the table, and drivers get an empty mapping."""
    put(store, {"details": details})

    assert [(details,)] == select(store, "SELECT details FROM sms_spool", details=JSON_DETAILS)
    assert (details is None) == (select(store, "SELECT details IS NULL FROM sms_spool")[0][0])
    assert (details or {}) == take(store).messages[0][0].details
    assert ME == select(store, "SELECT incarnation FROM sms_spool")[0][0]


def test_what_came_later_hides_nothing(store: Store) -> None:
    """In a bounded claim, newer messages of however many better priorities do not hide what came before the bound."""
    names = [f"c{number}" for number in range(8)]
    put(store, "old", campaign="c7")
    (up_to_seq,) = select(store, "SELECT max(seq) FROM sms_spool")[0]
    for number, name in enumerate(names, 1):
        put(store, "new", campaign=name, priority=number)

    claimed = take(store, *map(campaign, names), up_to_seq=up_to_seq)

    assert (["old"], False) == (texts(claimed), claimed.more)


def test_a_pause_that_comes_while_the_claim_waits_holds(postgres_store: Store) -> None:
    """What is paused while a claim waits for another node at the gates is not taken."""
    paced = campaign(interval_s=0.01)
    put(postgres_store, "hola")
    take(postgres_store, paced)
    put(postgres_store, "otra")
    with ThreadPoolExecutor(1) as pool, closing(another(postgres_store)) as other:

        def hold(connection: Connection) -> Future[Claimed]:
            connection.execute(text("SELECT 1 FROM pace FOR UPDATE"))
            claiming = pool.submit(take, postgres_store, paced)
            waits = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            while not connection.execute(waits).scalar():
                time.sleep(0.01)
            other.transact_here(pause_campaign, "Ventas", reason=None, now=NOW)
            return claiming

        assert [] == texts(other.transact_here(hold).result())


# -- accept ------------------------------------------------------------------------------------------------------------


def refuse(_campaign: Campaign, _destination: str, _address: str) -> bool:
    return False


def test_what_is_not_accepted_is_passed_on(store: Store) -> None:
    """A number that a provider does not accept costs no attempt and no permit, and is left to the others."""
    three = campaign(fallbacks=("q", "r"))
    put(store, *"abc")
    assert 3 == (passed := take(store, three, permits=1, accepts=refuse)).passed
    assert ([], {}) == (passed.messages, passed.ended)

    assert [] == take(store, three).messages
    assert [] == take(store, three, provider="r").messages
    assert 3 == take(store, three, provider="q", accepts=refuse).passed
    assert [*"abc"] == texts(take(store, three, provider="r"))
    assert [(1, 3)] == select(store, "SELECT attempts, count(*) FROM sms_spool GROUP BY attempts")


def test_what_no_provider_accepts_fails(store: Store) -> None:
    """The last one that is asked ends it, without an attempt."""
    two = campaign(fallbacks=("q",))
    put(store, "x")
    take(store, two, accepts=refuse)

    assert {Status.FAILED: 1} == take(store, two, provider="q", accepts=refuse).ended
    assert [("no provider accepts this number (accept)", 0)] == select(store, "SELECT error, attempts FROM sms_repo")


def test_what_may_have_gone_is_not_passed_on(store: Store) -> None:
    """A provider that may have some of a message keeps it, also when its `accept` has been changed."""
    put(store, "x")
    execute(store, "UPDATE sms_spool SET bound = 'p'")

    assert ["x"] == texts(take(store, campaign(fallbacks=("q",)), accepts=refuse))


def test_what_was_passed_on_to_nobody_is_asked_again(store: Store) -> None:
    """When those to whom a message was left have gone from the campaign's file, its first provider may send it."""
    put(store, "x")
    take(store, campaign(fallbacks=("q",)), accepts=refuse)

    assert ["x"] == texts(take(store, campaign()))
