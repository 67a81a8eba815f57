"""Campaigns that are not there, and configurations that change, rightly or wrongly, while the daemon runs."""

import json
import signal
from collections.abc import Callable

from tests.crash.harness import CAMPAIGN, Site
from tests.crash.processes import until


def test_an_unknown_campaign_waits(site: Callable[..., Site]) -> None:
    """Rows of a campaign that has no file stay where they are, status says so, and the others go on."""
    here = site()
    strange = here.fill(5, campaign="nadie", priority=1) + here.plan(5, campaign="nadie")
    daemon = here.daemon()
    ids = here.fill(20)
    until(lambda: len(here.sent()) == 20, "the others are sent")

    status = here.call("status", "--json")

    told = json.loads(status.stdout)["campaigns"]
    assert ("unknown", 5, 5) == tuple(told["nadie"][name] for name in ("state", "queued", "scheduled"))
    assert ("open", 20) == (told[CAMPAIGN]["state"], told[CAMPAIGN]["sent"])
    assert set(strange) == here.places().keys() - set(ids)
    assert 5 == here.value("SELECT count(*) FROM sms_scheduler")
    daemon.stop()
    assert [] == here.faults(ids + strange)


def test_a_campaign_file_that_goes_and_comes_back(site: Callable[..., Site]) -> None:
    """A campaign whose file is taken away waits, and goes on where it stood once the file is put back."""
    here = site(latency_ms=20, max_in_flight=5, more={"otra": ""})
    ids = here.fill(150, campaign="otra")
    daemon = here.daemon()
    until(lambda: here.given() > 10, "it is being sent")

    here.more = {}
    here.write()
    daemon.send(signal.SIGHUP)
    daemon.until_event("reloaded")
    until(lambda: not here.held(), "what was under way has ended")
    waiting = here.states()["queued"]
    others = here.fill(30)
    until(lambda: set(others) <= here.sent(), "others are sent meanwhile")
    assert 0 < waiting == here.states()["queued"]

    here.more = {"otra": ""}
    here.write()
    daemon.send(signal.SIGHUP)
    here.until_drained(daemon)
    daemon.stop()
    assert [] == here.faults(ids + others)
    assert here.sent() == set(ids + others)


def test_a_wrong_configuration_changes_nothing(site_on: Callable[..., Site]) -> None:
    """A reload that cannot be read is refused with every problem; the old configuration goes on."""
    here = site_on("sqlite")
    daemon = here.daemon()
    here.options = 'provider = "nobody"'
    here.more = {"mala": "max_parts = 'many'"}
    here.write()

    daemon.send(signal.SIGHUP)

    problems = daemon.until_event("reload_refused")["problems"]
    assert ["mala.toml", f"{CAMPAIGN}.toml"] == sorted(
        name for name in ("mala.toml", f"{CAMPAIGN}.toml") if any(name in line for line in problems)
    )
    ids = here.fill(10)
    here.until_drained(daemon)
    here.options, here.more = "", {}
    here.write()
    daemon.send(signal.SIGHUP)
    daemon.until_event("reloaded")
    daemon.stop()
    assert [] == here.faults(ids)


def test_a_reload_adds_a_provider_and_a_campaign(site_on: Callable[..., Site]) -> None:
    """SIGHUP brings a new provider and a new campaign to work; what was under way is neither lost nor doubted."""
    here = site_on("sqlite", latency_ms=100, max_in_flight=10)
    ids = here.fill(100)
    daemon = here.daemon()
    until(lambda: here.given() > 10, "the first campaign is being sent")
    new = here.fill(50, campaign="nueva")
    other = here.folder / "other.jsonl"
    here.providers = f'[providers.other]\ndriver = "file"\npath = "{other}"\n'
    here.more = {"nueva": 'provider = "other"'}
    # The first provider changes too: its last attempts end beside the first ones of its successor.
    here.max_in_flight = 20
    here.write()

    daemon.send(signal.SIGHUP)

    daemon.until_event("reloaded")
    here.until_drained(daemon)
    daemon.stop()
    assert here.sent() == set(ids + new)
    assert {} == here.states()
    assert sorted(ids) == sorted(here.outbox().elements())
    assert sorted(new) == sorted(json.loads(line)["id"] for line in other.read_text().splitlines())
    assert [("other", 50), ("out", 100)] == here.rows("SELECT provider, count(*) FROM sms_repo GROUP BY 1 ORDER BY 1")


def test_a_stop_right_after_a_reload(site_on: Callable[..., Site]) -> None:
    """The last attempts of a provider that a reload has changed are waited for and recorded, too, when it stops."""
    here = site_on("sqlite", latency_ms=1000, max_in_flight=10, drain_s=10)
    ids = here.fill(60)
    daemon = here.daemon()
    until(lambda: here.given() >= 10, "the provider has some")
    here.max_in_flight = 20
    here.write()
    daemon.send(signal.SIGHUP)
    daemon.until_event("reloaded")

    daemon.stop()

    assert here.states().keys() == {"queued"}
    assert here.sent() == here.outbox().keys()
    assert [] == here.faults(ids)
