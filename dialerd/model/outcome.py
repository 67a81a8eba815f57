"""What a provider said of an attempt. A driver returns one of these and never raises for a message."""

from dataclasses import dataclass

__all__ = ["Deferred", "Failed", "InDoubt", "Outcome", "Postponed", "Sent", "Throttled", "Unreachable"]


@dataclass(frozen=True, slots=True)
class Sent:
    """The provider took the message; `provider_id` is its own name for it, if it gave one."""

    provider_id: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The provider refused this message for good."""

    error: str


@dataclass(frozen=True, slots=True)
class Deferred:
    """The provider refused for now; the attempt counts. `retry_after_s` is the provider's own wish, in seconds."""

    error: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class InDoubt:
    """The answer was lost: the message may have gone."""

    error: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """The provider took nothing because we are too fast; costs no attempt. `retry_after_s`: its wish, in seconds."""

    error: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Postponed:
    """Nothing of it was sent: its turn, among others to the same place, is in `wait_s` seconds; costs no attempt.

    It says nothing of the provider, which goes on with the rest.
    """

    error: str
    wait_s: float


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Nothing of the message reached the provider (refused connection, DNS, no bind); costs no attempt."""

    error: str


Outcome = Sent | Failed | Deferred | InDoubt | Throttled | Postponed | Unreachable
