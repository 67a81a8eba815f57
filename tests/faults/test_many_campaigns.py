"""Three hundred campaigns: they cost little while they wait, and do not keep each other from sending."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tests.crash.harness import Site
from tests.crash.processes import until

MEASURED_S = 10.0
#: What an idle daemon may use of one core; on a quiet machine it is less than half of this.
MOST = 0.01

CLOSED = "dates = { end = 2020-12-31 }"
OPEN = 'schedule = ["mon-sun;00:00-24:00"]'
PACED = "per_second = 20\nexpires_s = 86400"


def kinds(number: int) -> dict[str, str]:
    """Return so many campaigns, a third each closed, open and paced, by name."""
    return {f"c{n:03}": (CLOSED, OPEN, PACED)[n % 3] for n in range(number)}


def test_three_hundred_campaigns(site: Callable[..., Site]) -> None:
    """Open ones send in full, paced ones at their pace, closed ones not at all, all at the same time."""
    here = site(more=kinds(300), max_in_flight=50)
    ids = {name: here.fill(10, campaign=name) for name in here.more}
    ready = {id_ for name, some in ids.items() if here.more[name] is not CLOSED for id_ in some}
    daemon = here.daemon()

    until(lambda: ready <= here.sent(), "all that may go has gone", look_s=0.1)

    assert ready == here.sent()
    assert {"queued": 1000} == here.states()
    starts: dict[str, list[datetime]] = {}
    for line in here.lines():
        starts.setdefault(line["campaign"], []).append(datetime.fromisoformat(line["sent_at"]))
    for name, some in starts.items():
        # Nine intervals of 50 ms, of which a late start may be caught up by a little.
        assert here.more[name] is not PACED or (some[-1] - some[0]).total_seconds() > 9 * 0.05 * 0.9
    daemon.stop()
    assert [] == here.faults(id_ for some in ids.values() for id_ in some)


def test_what_waited_too_long_ends(site: Callable[..., Site]) -> None:
    """Among many campaigns, closed ones too, what has waited longer than its campaign's expires_s ends as expired."""
    limits = {"short": f"{CLOSED}\nexpires_s = 60", "long": f"{CLOSED}\nexpires_s = 86400", "none": CLOSED}
    here = site(more=limits | kinds(30))
    ids = {name: here.fill(1200, campaign=name) for name in limits}
    old = here.instant(datetime.now(UTC) - timedelta(hours=1))
    here.execute("UPDATE sms_spool SET due_since = :old", [{"old": old}])
    fresh = here.fill(5, campaign="short")

    assert 0 == here.call("run", "--once").status

    assert [("expired", 1200)] == here.rows("SELECT status, count(*) FROM sms_repo GROUP BY status")
    assert {"queued": 2405} == here.states()
    assert set(fresh) < here.places().keys()
    assert [("short",)] == here.rows("SELECT DISTINCT campaign FROM sms_repo")
    assert 3605 == len(here.places()) == sum(len(some) for some in ids.values()) + len(fresh)


def test_idle(site_on: Callable[..., Site]) -> None:
    """A daemon that has nothing to do uses next to nothing of a core, with one campaign or with three hundred."""
    sites = {
        f"{kind}, {number} campaigns": site_on(kind, more=kinds(number - 1))
        for kind in ("sqlite", "postgresql")
        for number in (1, 300)
    }
    for here in sites.values():
        # What waits elsewhere, closed or not yet due, costs nothing either.
        here.fill(200, campaign="c000")
        here.plan(200, due_in_s=86_400)
    daemons = {name: here.daemon() for name, here in sites.items()}
    until(lambda: all(daemon.status is None for daemon in daemons.values()), "all run")
    # The first seconds are the start: rescue, first tick, first look.
    time.sleep(2)

    before = {name: (daemon.cpu_s(), time.monotonic()) for name, daemon in daemons.items()}
    time.sleep(MEASURED_S)
    used = {
        name: (daemon.cpu_s() - before[name][0]) / (time.monotonic() - before[name][1])
        for name, daemon in daemons.items()
    }

    for name, share in used.items():
        print(f"idle, {name}: {share:.2%} of a core")
    assert max(used.values()) < MOST, used
