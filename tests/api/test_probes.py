"""Probes and metrics: what monitors ask."""

import json
from datetime import UTC, datetime, timedelta

from dialerd.model.message import Channel, Message, new_id
from dialerd.model.outcome import Sent
from dialerd.store.scheduler import promote
from tests.api.conftest import MakeSite

NUMBER, TEXT = "59898344484", "very private"


async def test_ready(site_on_each: MakeSite) -> None:
    """A daemon is ready while it promotes, and not while it drains; old doubts are named, and keep nobody from it."""
    async with site_on_each() as site:
        site.now = now = datetime(2030, 1, 1, 12, 0, 30, tzinfo=UTC)
        site.context.health.promoting = True
        status, body, _ = await site.get("/readyz")
        assert (503, ["nothing was promoted for 90 seconds"]) == (status, json.loads(body)["problems"])
        await site.store.transact(promote, until=now + timedelta(seconds=30), now=now, zones={}, most=10)
        await site.store.transact(
            lambda c: c.exec_driver_sql(
                "INSERT INTO sms_spool (campaign, destination, data, state, claimed_at)"
                " VALUES ('Ventas->', '1', 'x', 'in_doubt', '2030-01-01 10:59:00')"
            )
        )
        status, body, _ = await site.get("/readyz")
        assert (200, {"Ventas->": 1}) == (status, json.loads(body)["old_doubts"])

        site.context.health.draining = True
        assert 503 == (await site.get("/readyz"))[0]
        assert 200 == (await site.get("/healthz"))[0]


async def test_metrics(site_with: MakeSite) -> None:
    """Attempts are counted by campaign, channel, provider and outcome, what waits by state; no address, no text."""
    async with site_with() as site:
        now = datetime.now(UTC)
        message = Message(
            id=new_id(), seq=1, campaign="Ventas->", channel=Channel.SMS, destination=NUMBER, address=NUMBER, data=TEXT,
            priority=1, base=None, calldate=now - timedelta(seconds=4), agent=None, source=None, details={},
            queued_at=now - timedelta(seconds=3), attempt=1, parts=1,
        )  # fmt: skip
        site.context.meters.attempted("gw", message, Sent(), 0.2, now)
        await site.context.intake.submit(campaign="Ventas->", destination="098344484", data=TEXT)

        status, body, _ = await site.get("/metrics")

        assert 200 == status
        lines = body.splitlines()
        assert 'dialerd_attempts_total{campaign="Ventas->",channel="sms",outcome="sent",provider="gw"} 1.0' in lines
        assert 'dialerd_provider_seconds_bucket{le="0.25",provider="gw"} 1.0' in lines
        assert 'dialerd_queue_wait_seconds_bucket{channel="sms",le="2.0"} 0.0' in lines
        assert 'dialerd_queue_wait_seconds_bucket{channel="sms",le="5.0"} 1.0' in lines
        assert 'dialerd_messages{campaign="Ventas->",state="queued"} 1.0' in lines
        assert NUMBER not in body
        assert TEXT not in body


async def test_the_page_for_people(site_with: MakeSite) -> None:
    """/v1/docs shows every call, and asks for nothing outside of itself."""
    async with site_with() as site:
        status, body, _ = await site.get("/v1/docs")
        assert 200 == status
        assert "/v1/messages/batch" in body
        assert "/v1/bases/{id}/errors" in body
        assert "<code>text/csv</code> or <code>multipart/form-data</code>" in body
        assert "Idempotency-Key" in body
        assert "http://" not in body
        assert "https://" not in body
        assert "<script" not in body
