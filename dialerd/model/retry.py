"""What follows from an outcome: the end, another try later, a doubt, or back to the queue as if nothing was."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dialerd.model.campaign import OnDoubt, RetryPolicy
from dialerd.model.message import State, Status
from dialerd.model.outcome import Deferred, Failed, InDoubt, Outcome, Partly, Postponed, Sent, Throttled, Unreachable

__all__ = ["Verdict", "backoff_s", "verdict"]

LONGEST_ERROR = 500

#: Of a provider's id; SMPP's has at most 64 characters (SMPP 3.4, section 5.2.23), and an index holds it.
LONGEST_ID = 200


@dataclass(slots=True, kw_only=True)  # as Message
class Verdict:
    """Where a settled message goes: exactly one of `status` (to sms_repo) and `state` (stays in sms_spool) is set.

    `due_at` is the next time of a deferred one. `spent` is 0 when the attempt does not count, else 1. Of a long SMS
    `accepted` has the parts that the provider has taken, with its names for them, under `reference`. `bound`: the
    provider has some of it, or may have, so that no other one may be asked in its place.
    """

    status: Status | None = None
    state: State | None = None
    error: str | None = None
    provider_id: str | None = None
    due_at: datetime | None = None
    spent: int = 1
    reference: int | None = None
    accepted: Mapping[int, str | None] | None = None
    bound: bool = False


def backoff_s(policy: RetryPolicy, attempt: int, jitter: float) -> float:
    """Return the seconds to wait after the given attempt (from 1): first_s * factor**(attempt-1), at most max_s.

    `jitter` in 0..1 shortens it by up to a tenth, so that what failed together does not return together.
    """
    exponent = min(attempt - 1, 1000)
    try:
        wait = policy.first_s * policy.factor**exponent
    except OverflowError:
        wait = policy.max_s
    return min(wait, policy.max_s) * (1 - 0.1 * jitter)


def verdict(
    outcome: Outcome, *, attempt: int, policy: RetryPolicy, on_doubt: OnDoubt, now: datetime, jitter: float
) -> Verdict:
    """Return what becomes of a message after this outcome of its attempt number `attempt`."""
    match outcome:
        case Sent(provider_id, part_ids):
            return Verdict(
                status=Status.SENT,
                provider_id=_id(provider_id if provider_id is not None or not part_ids else part_ids[0]),
                accepted=_ids(dict(enumerate(part_ids, 1))) if len(part_ids) > 1 else None,
            )
        case Partly(accepted, reference, rest):
            if reference is None and not isinstance(rest, Failed):
                rest = InDoubt(f"took some parts, under a reference that is not known: {rest.error}")
            of_rest = verdict(rest, attempt=attempt, policy=policy, on_doubt=on_doubt, now=now, jitter=jitter)
            return replace(of_rest, reference=reference, accepted=_ids(accepted), bound=of_rest.bound or bool(accepted))
        case Failed(error):
            return Verdict(status=Status.FAILED, error=_short(error))
        case Deferred(error, retry_after_s):
            return _again(error, attempt, policy, now, max(backoff_s(policy, attempt, jitter), retry_after_s or 0))
        case InDoubt(error, resend_is_safe) if resend_is_safe or on_doubt is OnDoubt.RESEND:
            return replace(
                _again(f"in doubt: {error}", attempt, policy, now, backoff_s(policy, attempt, jitter)), bound=True
            )
        case InDoubt(error):
            return Verdict(state=State.IN_DOUBT, error=_short(error), bound=True)
        case Postponed(error, wait_s):
            due_at = now + timedelta(seconds=wait_s)
            return Verdict(state=State.DEFERRED, error=_short(error), due_at=due_at, spent=0)
        case Throttled(error) | Unreachable(error):
            return Verdict(state=State.QUEUED, error=_short(error), spent=0)


def _again(error: str, attempt: int, policy: RetryPolicy, now: datetime, wait_s: float) -> Verdict:
    if attempt >= policy.attempts:
        return Verdict(status=Status.FAILED, error=_short(f"gave up after {attempt} attempts: {error}"))
    return Verdict(state=State.DEFERRED, error=_short(error), due_at=now + timedelta(seconds=min(wait_s, 7 * 86400)))


def _short(error: str) -> str:
    # A provider's error page belongs into no column.
    return _storable(error).strip()[:LONGEST_ERROR]


def _ids(accepted: Mapping[int, str | None]) -> dict[int, str | None]:
    return {part: _id(given) for part, given in accepted.items()}


def _id(given: str | None) -> str | None:
    return None if given is None else _storable(given)[:LONGEST_ID]


def _storable(text: str) -> str:
    # What a provider's JSON may hold and a database cannot: NUL, and halves of a character ("\ud83d").
    return text.replace("\0", "").encode("utf-8", "replace").decode()
