"""/metrics for Prometheus: what this process has counted, and what the database says now."""

from collections.abc import Iterator
from datetime import datetime

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dialerd.api.context import context_of
from dialerd.model.errors import DatabaseGone
from dialerd.store.status import Report, report

__all__ = ["ROUTES"]

STATES = ("scheduled", "queued", "deferred", "sending", "held", "in_doubt")


class _Snapshot(Collector):
    """What the database said a moment ago."""

    def __init__(self, told: Report, now: datetime) -> None:
        self._told, self._now = told, now

    def collect(self) -> Iterator[Metric]:
        """Yield depth and age of what waits, and how providers, nodes and promotion are."""
        waiting = GaugeMetricFamily("dialerd_messages", "Messages that wait", labels=("campaign", "state"))
        oldest = GaugeMetricFamily(
            "dialerd_oldest_due_seconds", "Age of the oldest message that is due", labels=("campaign",)
        )
        is_open = GaugeMetricFamily("dialerd_campaign_open", "1 for a campaign that may send", labels=("campaign",))
        for name, campaign in self._told.campaigns.items():
            for state in STATES:
                waiting.add_metric((name, state), getattr(campaign, state))
            if campaign.oldest_due is not None:
                oldest.add_metric((name,), max((self._now - campaign.oldest_due).total_seconds(), 0))
            is_open.add_metric((name,), campaign.state == "open")
        up = GaugeMetricFamily("dialerd_provider_up", "1 for a provider that answers", labels=("provider",))
        for name, provider in self._told.providers.items():
            up.add_metric((name,), provider.state == "up")
        nodes = GaugeMetricFamily("dialerd_nodes_alive", "Nodes that give signs of life")
        nodes.add_metric((), sum(node.alive for node in self._told.nodes))
        yield from (waiting, oldest, is_open, up, nodes)
        if self._told.promoted_until is not None:
            promoted = GaugeMetricFamily("dialerd_promoted_until_seconds", "Unix time up to which promotion has come")
            promoted.add_metric((), self._told.promoted_until.timestamp())
            yield promoted


async def metrics(request: Request) -> Response:
    """GET /metrics."""
    context = context_of(request)
    settings, now = context.settings(), context.clock()
    snapshot = CollectorRegistry()
    up = Gauge("dialerd_database_up", "1 while the database answers; while not, what it would say is left out",
               registry=snapshot)  # fmt: skip
    try:
        told = await context.store.read(report, settings.campaigns, settings.providers, now=now)
    except DatabaseGone:
        up.set(0)
    else:
        up.set(1)
        snapshot.register(_Snapshot(told, now))
    text = generate_latest(context.meters.registry) + generate_latest(snapshot)
    return PlainTextResponse(text, media_type=CONTENT_TYPE_LATEST)


ROUTES = [Route("/metrics", metrics)]
