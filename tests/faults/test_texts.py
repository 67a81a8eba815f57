"""Messages that no system should hand over, and some do: they end with a reason, and nobody else waits for them."""

from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from dialerd.intake import schedule, submit
from dialerd.model.campaign import EmailPart
from dialerd.model.errors import Refused
from dialerd.model.message import Channel
from tests.crash.harness import CAMPAIGN, Site
from tests.crash.processes import until
from tests.rig import Rig, campaign

MEGABYTE = 1 << 20
NUMBER = "59899123456"

INSERT = (
    "INSERT INTO sms_spool (campaign, destination, data, priority) VALUES ('ventas', '59899123456', {data}, {priority})"
)


async def test_intake_refuses_what_nobody_can_send(rig_of: Callable[..., Rig]) -> None:
    """A NUL, a text of 1 MB, a priority outside 1 to 9999 and a time that is none are refused with their reason."""
    async with rig_of() as rig:
        settings: Any = SimpleNamespace(campaigns=rig.campaigns, providers={})
        now = datetime.now(UTC)
        for reason, given in {
            "NUL": {"data": "hola\0mundo"},
            "SMS parts": {"data": "x" * MEGABYTE},
            "priority 0": {"data": "hola", "priority": 0},
            "priority 10000": {"data": "hola", "priority": 10_000},
            "NUL character": {"data": "hola", "agent": "a\0b"},
        }.items():
            with pytest.raises(Refused, match=reason):
                await submit(rig.store, settings, campaign="c", destination=NUMBER, now=now, **given)
        for when in ("mañana", "31.12.2026", "2026-02-31 10:00:00", "2026-01-01 25:00:00", "", "0"):
            with pytest.raises(Refused):
                await schedule(rig.store, settings, campaign="c", destination=NUMBER, data="hola", when=when, now=now)

        assert [(0,)] == await rig.rows("SELECT count(*) FROM sms_spool")
        assert [(0,)] == await rig.rows("SELECT count(*) FROM sms_scheduler")


async def test_a_long_mail_goes_whole(rig_of: Callable[..., Rig]) -> None:
    """An e-mail of 1 MB is no fault: it reaches the driver as it came."""
    mails = campaign(channel=Channel.EMAIL, email=EmailPart(sender="a@example.com"))
    async with rig_of(None, mails) as rig:
        settings: Any = SimpleNamespace(campaigns=rig.campaigns, providers={})
        body = "ñandú " * (MEGABYTE // 6)
        now = datetime.now(UTC)
        await submit(rig.store, settings, campaign="c", destination="ana@example.com", data=body, now=now)
        await rig.until_sent(1)

        assert [body] == [one.data for one in rig.driver.sent]


def test_other_systems_insert_what_cannot_be_sent(site: Callable[..., Site]) -> None:
    """Rows with a NUL, with 1 MB of text, or without a number end as failed with a reason; the others are sent."""
    here = site()
    bad = 10
    here.execute(
        "INSERT INTO sms_spool (campaign, destination, data, priority) VALUES (:campaign, '59899123456', :data, 1)",
        [{"campaign": CAMPAIGN, "data": "y" * MEGABYTE}] * bad,
    )
    here.execute(INSERT.format(data="''", priority=1).replace("59899123456", "nadie"))
    if here.kind == "sqlite":
        # PostgreSQL's text takes no NUL.
        here.execute(INSERT.format(data="'hola' || char(0) || 'mundo'", priority=1))
    ids = here.fill(50)
    daemon = here.daemon()

    until(lambda: here.sent() == set(ids), "the others are sent")
    here.until_drained(daemon)
    daemon.stop()

    reasons = [error for (error,) in here.rows("SELECT error FROM sms_repo WHERE status = 'failed'")]
    assert bad == sum("SMS parts" in error for error in reasons)
    assert bad + 1 + (here.kind == "sqlite") == len(reasons)
    assert all(reasons)
    assert not daemon.events("part_failed")


def test_the_tables_refuse_nonsense(site: Callable[..., Site]) -> None:
    """A priority outside 1 to 9999, and a calldate that is no instant, cannot be inserted by anybody."""
    here = site()
    wrong = ["infinity", "10000-01-01", "mañana", ""]
    if here.kind == "sqlite":
        wrong += ["2026-02-31 10:00:00", "2026-01-01T10:00:00Z", "2026-01-01", "1700000000", "9999"]

    for priority in (0, 10_000, -1):
        with pytest.raises(DBAPIError):
            here.execute(INSERT.format(data="'hola'", priority=priority))
    for calldate in wrong:
        with pytest.raises(DBAPIError):
            here.execute(
                "INSERT INTO sms_scheduler (calldate, campaign, destination, data)"
                " VALUES (:calldate, 'ventas', '59899123456', 'hola')",
                [{"calldate": calldate}],
            )

    assert {} == here.places()


def test_calldates_far_away(site: Callable[..., Site]) -> None:
    """A calldate of long ago is due, one of the far future waits; neither stops the promotion of the others."""
    here = site()
    here.execute(
        "INSERT INTO sms_scheduler (calldate, campaign, destination, data)"
        " VALUES (:calldate, 'ventas', '59899123456', 'hola')",
        [{"calldate": here.instant(datetime(year, 1, 2, tzinfo=UTC))} for year in (1970, 1999, 9998)],
    )
    ids = here.plan(10)

    assert 0 == here.call("run", "--once").status

    assert 12 == len(here.sent())
    assert set(ids) < here.sent()
    assert 1 == here.value("SELECT count(*) FROM sms_scheduler")
    bases = [base for (base,) in here.rows("SELECT base FROM sms_repo ORDER BY calldate LIMIT 1")]
    assert ["Schedule 1970-01-02 00:00:00"] == bases
