"""The numbers of `dialerd status`, on both databases."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text, update

from dialerd.model.calendar import Dates, parse_schedule
from dialerd.model.campaign import Campaign
from dialerd.model.message import Channel
from dialerd.model.rules import CampaignState
from dialerd.store import Store
from dialerd.store.nodes import Incarnation, beat, enlist
from dialerd.store.pause import pause_campaign
from dialerd.store.status import CampaignStatus, ProviderStatus, Report, report
from dialerd.store.tables import promotion
from tests.store.filled import NOW, migrated, repoed, scheduled, spooled

HOUR = timedelta(hours=1)
MONTEVIDEO = ZoneInfo("America/Montevideo")


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """An empty database at this version's tables."""
    with migrated(database_url) as opened:
        yield opened


def campaign(name: str = "Ventas", **given: Any) -> Campaign:
    return Campaign(name=name, channel=Channel.SMS, provider="sandbox", **given)


def ask(store: Store, *campaigns: Campaign, providers: tuple[str, ...] = (), now: datetime = NOW) -> Report:
    return store.transact_here(report, {one.name: one for one in campaigns}, providers, now=now)


def test_an_empty_database_has_zeros(store: Store) -> None:
    """A campaign without messages is shown, with nothing in it."""
    shown = ask(store, campaign())

    assert {"Ventas": CampaignStatus(state=CampaignState.OPEN, opens_at=None)} == shown.campaigns
    assert ([], None) == (shown.nodes, shown.promoted_until)


def test_messages_are_counted_where_they_stand(store: Store) -> None:
    """Each message is counted once, under the table and the state it stands in, for its own campaign."""
    numbers = {"queued": 1, "deferred": 2, "held": 3, "sending": 4, "in_doubt": 5}
    spooled(store, *({"state": state} for state, n in numbers.items() for _ in range(n)))
    spooled(store, {"campaign": "Other"})
    scheduled(store, {}, {})

    shown = ask(store, campaign(), campaign("Other")).campaigns

    assert {**numbers, "scheduled": 2} == {name: getattr(shown["Ventas"], name) for name in [*numbers, "scheduled"]}
    assert (1, 0, 0) == (shown["Other"].queued, shown["Other"].deferred, shown["Other"].scheduled)


def test_results_count_since_midnight_in_the_zone(store: Store) -> None:
    """Today begins at midnight where the campaign is: 03:00 UTC in Montevideo."""
    midnight = datetime(2026, 6, 10, 3, tzinfo=UTC)
    before, at = {"dateprocessed": midnight - timedelta(microseconds=1)}, {"dateprocessed": midnight}
    statuses = ["sent", "failed", "expired", "blocked", "cancelled"]
    repoed(store, before, *({**at, "status": status} for status in statuses))
    repoed(store, before, campaign="Utc")

    shown = ask(store, campaign(zone=MONTEVIDEO), campaign("Utc")).campaigns

    assert [1] * 5 == [getattr(shown["Ventas"], status) for status in statuses]
    assert 1 == shown["Utc"].sent


def test_oldest_due_is_the_longest_that_could_have_gone(store: Store) -> None:
    """Held ones, those whose time lies ahead, and those being sent are not due."""
    spooled(
        store,
        {"state": "held", "due_since": NOW - 9 * HOUR},
        {"state": "deferred", "due_since": NOW - 8 * HOUR, "due_at": NOW + HOUR},
        {"state": "sending", "due_since": NOW - 7 * HOUR},
        {"state": "deferred", "due_since": NOW - 2 * HOUR},
        {"due_since": NOW - HOUR},
        {"due_since": None, "state": "held"},
    )

    assert NOW - 2 * HOUR == ask(store, campaign()).campaigns["Ventas"].oldest_due


def test_a_campaign_without_a_file_is_unknown(store: Store) -> None:
    """Messages of a campaign that has no file are shown; results alone do not bring a campaign back."""
    spooled(store, campaign="Lost")
    scheduled(store, campaign="Later")
    repoed(store, campaign="Gone")

    shown = ask(store, campaign()).campaigns

    assert ["Ventas", "Later", "Lost"] == list(shown)
    assert (CampaignState.UNKNOWN, 1, None) == (shown["Lost"].state, shown["Lost"].queued, shown["Lost"].opens_at)


def test_a_shut_campaign_says_when_it_opens(store: Store) -> None:
    """Hours and dates have an opening; of a pause and of a disabled campaign nobody knows the end."""
    night = {"schedule": parse_schedule(["mon-sun;18:00-19:00"])}
    store.transact_here(pause_campaign, "Paused", reason=None, now=NOW)

    shown = ask(
        store,
        campaign("Night", **night),
        campaign("Later", dates=Dates(start=date(2026, 7, 1))),
        campaign("Paused", **night),
        campaign("Disabled", enabled=False, **night),
    ).campaigns

    assert {
        "Night": (CampaignState.OUT_OF_HOURS, NOW + 3 * HOUR),
        "Later": (CampaignState.OUT_OF_DATE, datetime(2026, 7, 1, tzinfo=UTC)),
        "Paused": (CampaignState.PAUSED, None),
        "Disabled": (CampaignState.DISABLED, None),
    } == {name: (one.state, one.opens_at) for name, one in shown.items()}


def live(store: Store, name: str, providers: dict[str, Any], *, age_s: float = 0) -> None:
    """Make a node known that gave its last sign of life so long ago."""
    who = Incarnation(incarnation=f"{name}-1", node=name, home="here", pid=4711, lease_s=30)
    store.transact_here(enlist, who)
    store.transact_here(beat, who.incarnation, providers)
    back = {
        "sqlite": "UPDATE node SET beat_at = strftime('%Y-%m-%d %H:%M:%f', 'now', :age) WHERE node = :name",
        "postgresql": "UPDATE node SET beat_at = clock_timestamp() + CAST(:age AS interval) WHERE node = :name",
    }[store.dialect]
    store.transact_here(lambda connection: connection.execute(text(back), {"age": f"-{age_s} seconds", "name": name}))


def test_a_node_is_dead_after_its_lease(store: Store) -> None:
    """A node lives until its last sign of life is older than its lease, by the database's clock."""
    live(store, "a", {}, age_s=25)
    live(store, "b", {}, age_s=40)

    one, two = ask(store).nodes

    assert ("a", "a-1", 4711, True) == (one.node, one.incarnation, one.pid, one.alive)
    assert 25 <= one.beat_age_s < 30
    assert ("b", False) == (two.node, two.alive)
    assert 40 <= two.beat_age_s < 45
    assert one.started.tzinfo is not None


def test_the_worst_news_of_a_provider_is_shown(store: Store) -> None:
    """Rates and messages on the wire add up over the live nodes; if any of them sees it down, it is down."""
    up = {"state": "up", "reason": None, "rate": 2.5, "in_flight": 3}
    live(store, "a", {"smsc": up, "mail": up})
    live(store, "b", {"smsc": {"state": "down", "reason": "no bind", "rate": 0.0, "in_flight": 1}})
    live(store, "dead", {"mail": {**up, "state": "down"}}, age_s=99)

    shown = ask(store, providers=("mail", "smsc", "new")).providers

    assert ProviderStatus(state="up", reason=None, rate=2.5, in_flight=3) == shown["mail"]
    assert ProviderStatus(state="down", reason="no bind", rate=2.5, in_flight=4) == shown["smsc"]
    assert "unknown" == shown["new"].state


def test_a_learned_pace_is_told(store: Store) -> None:
    """What nodes have learned adds up, and is said where nothing is wrong; if one has learned none, there is none."""
    up = {"state": "up", "reason": None}
    shut = {"state": "throttled", "reason": "too fast", "learned_per_second": 20.0}
    live(store, "a", {name: {**up, "learned_per_second": 15.5} for name in ("both", "one", "shut")})
    live(store, "b", {"both": {**up, "learned_per_second": 20.0}, "one": up, "shut": shut})

    shown = ask(store, providers=("both", "one", "shut")).providers

    assert {"both": 35.5, "one": None, "shut": 35.5} == {name: one.learned_per_second for name, one in shown.items()}
    assert ["gets at most 35.5 a second: it said too fast", None, "too fast"] == [one.remark for one in shown.values()]


def test_promotion_has_come_so_far(store: Store) -> None:
    """The end of the last promoted minute is told, and nothing before the first promotion ever."""
    store.transact_here(lambda connection: connection.execute(update(promotion).values(promoted_until=NOW)))

    assert NOW == ask(store).promoted_until


async def test_status_reads_only(store: Store) -> None:
    """The report is made in a reading transaction, so that on SQLite it waits for no writer."""
    spooled(store)

    shown = await store.read(report, {}, (), now=NOW)

    assert 1 == shown.campaigns["Ventas"].queued
