"""What the parts of this process count for Prometheus. Never an address."""

from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

from dialerd.model.message import Message
from dialerd.model.outcome import Outcome

__all__ = ["Meters"]

#: Seconds: from an attempt that a gateway next door answers, to a mail server's patience.
LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
#: Seconds: from at once to a night.
WAIT_S = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400, 43200)


class Meters:
    """What this process has counted since it began."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's own slip
        self.registry = CollectorRegistry()
        self._attempts = Counter(
            "dialerd_attempts",
            "Attempts by what came of them",
            ("campaign", "channel", "provider", "outcome"),
            registry=self.registry,
        )
        self._latency_s = Histogram(
            "dialerd_provider_seconds",
            "How long the provider took to answer",
            ("provider",),
            buckets=LATENCY_S,
            registry=self.registry,
        )
        self._wait_s = Histogram(
            "dialerd_queue_wait_seconds",
            "From a message's way into the spool to its first attempt",
            ("channel",),
            buckets=WAIT_S,
            registry=self.registry,
        )
        self._late_s = Histogram(
            "dialerd_late_seconds",
            "From a scheduled message's time to its first attempt",
            ("channel",),
            buckets=WAIT_S,
            registry=self.registry,
        )

    def attempted(self, provider: str, message: Message, outcome: Outcome, took_s: float, now: datetime) -> None:
        """Count an attempt that has ended."""
        self._attempts.labels(message.campaign, message.channel, provider, type(outcome).__name__.lower()).inc()
        self._latency_s.labels(provider).observe(took_s)
        if message.attempt == 1:
            began_s = now.timestamp() - took_s
            self._wait_s.labels(message.channel).observe(max(began_s - message.queued_at.timestamp(), 0))
            if message.calldate is not None:
                self._late_s.labels(message.channel).observe(max(began_s - message.calldate.timestamp(), 0))
