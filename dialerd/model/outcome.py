"""What a provider said of an attempt. A driver returns one of these and never raises for a message."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = [
    "Deferred",
    "Failed",
    "InDoubt",
    "Outcome",
    "Partly",
    "Postponed",
    "Refusal",
    "Sent",
    "Throttled",
    "Unreachable",
    "weightiest",
]


@dataclass(frozen=True, slots=True)
class Sent:
    """The provider took the message; `provider_id` is its own name for it, if it gave one.

    `part_ids` are its names for the parts of a long SMS, in order, where it names them one by one.
    """

    provider_id: str | None = None
    part_ids: tuple[str | None, ...] = ()


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
    """The answer was lost: the message may have gone. `resend_is_safe`: the provider would know it again."""

    error: str
    resend_is_safe: bool = False


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


@dataclass(frozen=True, slots=True)
class Partly:
    """The provider took some parts of a long SMS and not the others.

    `accepted` has the numbers (from 1) of all parts it has taken so far, each with the provider's name for it;
    `reference` is the concatenation reference they carry, under which the missing ones are to follow (None: unknown).
    `rest` is what it said of the others.
    """

    accepted: Mapping[int, str | None]
    reference: int | None
    rest: Failed | Deferred | InDoubt | Throttled | Unreachable


Refusal = InDoubt | Failed | Deferred | Throttled | Unreachable

#: What the parts that were not taken make of a message, the weightiest first.
WEIGHTS = (InDoubt, Failed, Deferred, Throttled, Unreachable)


def weightiest(refusals: Iterable[Refusal]) -> Refusal:
    """Return what becomes of a message of whose parts this was said; there is one at least."""
    return min(refusals, key=lambda refusal: WEIGHTS.index(type(refusal)))


Outcome = Sent | Partly | Failed | Deferred | InDoubt | Throttled | Postponed | Unreachable
