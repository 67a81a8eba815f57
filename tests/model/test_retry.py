"""What follows from an outcome."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialerd.model.campaign import OnDoubt, RetryPolicy
from dialerd.model.message import State, Status
from dialerd.model.outcome import Deferred, Failed, InDoubt, Outcome, Postponed, Sent, Throttled, Unreachable
from dialerd.model.retry import LONGEST_ERROR, Verdict, backoff_s, verdict

NOW = datetime(2026, 6, 10, 15, 0, tzinfo=UTC)
POLICY = RetryPolicy(attempts=3, first_s=60, factor=2, max_s=3600)


def judge(outcome: Outcome, **changed: Any) -> Verdict:
    usual = {"attempt": 1, "policy": POLICY, "on_doubt": OnDoubt.HOLD, "now": NOW, "jitter": 0.0}
    return verdict(outcome, **(usual | changed))


def deferred(error: str, seconds: float) -> Verdict:
    return Verdict(state=State.DEFERRED, error=error, due_at=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("outcome", "changed", "expected"),
    [
        (Sent("m1"), {}, Verdict(status=Status.SENT, provider_id="m1")),
        (Sent(), {}, Verdict(status=Status.SENT)),
        (Failed("no such number"), {}, Verdict(status=Status.FAILED, error="no such number")),
        (Deferred("busy"), {}, deferred("busy", 60)),
        (Deferred("busy"), {"attempt": 2}, deferred("busy", 120)),
        (Deferred("busy", retry_after_s=300), {}, deferred("busy", 300)),
        (Deferred("busy", retry_after_s=5), {}, deferred("busy", 60)),
        (Deferred("busy"), {"attempt": 3}, Verdict(status=Status.FAILED, error="gave up after 3 attempts: busy")),
        (InDoubt("lost"), {}, Verdict(state=State.IN_DOUBT, error="lost", bound=True)),
        (InDoubt("lost"), {"attempt": 3}, Verdict(state=State.IN_DOUBT, error="lost", bound=True)),
        (InDoubt("lost"), {"on_doubt": OnDoubt.RESEND}, replace(deferred("in doubt: lost", 60), bound=True)),
        (
            InDoubt("lost"),
            {"on_doubt": OnDoubt.RESEND, "attempt": 3},
            Verdict(status=Status.FAILED, error="gave up after 3 attempts: in doubt: lost", bound=True),
        ),
        (Throttled("slower"), {"attempt": 3}, Verdict(state=State.QUEUED, error="slower", spent=0)),
        (
            Postponed("enough", 7.0),
            {"attempt": 3},
            Verdict(state=State.DEFERRED, error="enough", due_at=NOW + timedelta(seconds=7), spent=0),
        ),
        (Unreachable("refused"), {"attempt": 3}, Verdict(state=State.QUEUED, error="refused", spent=0)),
    ],
    ids=str,
)
def test_each_outcome_has_its_verdict(outcome: Outcome, changed: dict[str, Any], expected: Verdict) -> None:
    """Sent and failed end a message, deferred waits, a doubt follows the policy, and what never left costs nothing."""
    assert expected == judge(outcome, **changed)


def test_the_wait_grows_to_its_limit() -> None:
    """The n-th wait is first_s * factor**(n-1), at most max_s."""
    policy = RetryPolicy(first_s=10, factor=3, max_s=200)

    assert [10, 30, 90, 200, 200] == [backoff_s(policy, attempt, 0) for attempt in range(1, 6)]


@given(
    attempt=st.integers(1, 10**9),
    jitter=st.floats(0, 1),
    first_s=st.floats(0.001, 1e6),
    factor=st.floats(1, 1e6),
    max_s=st.floats(0.001, 1e7),
)
def test_any_wait_is_within_bounds(attempt: int, jitter: float, first_s: float, factor: float, max_s: float) -> None:
    """No policy and no number of attempts makes a wait overflow, exceed max_s or lose more than a tenth to jitter."""
    policy = RetryPolicy(first_s=first_s, factor=factor, max_s=max_s)

    wait = backoff_s(policy, attempt, jitter)

    assert 0.9 * min(first_s, max_s) * (1 - 1e-9) <= wait <= max_s


@given(wish=st.floats(), jitter=st.floats(0, 1))
def test_a_wish_never_goes_beyond_a_week(wish: float, jitter: float) -> None:
    """Whatever a provider asks for, the next try is later than now and within seven days."""
    due_at = judge(Deferred("busy", retry_after_s=wish), jitter=jitter).due_at

    assert due_at is not None
    assert NOW + timedelta(seconds=54) <= due_at <= NOW + timedelta(days=7)


@pytest.mark.parametrize("outcome", [Failed, Deferred, InDoubt, Throttled, Unreachable])
@given(error=st.text(st.characters()))
def test_any_error_can_be_stored(outcome: type[Failed], error: str) -> None:
    """An error becomes short text without NUL and without halves of characters, which PostgreSQL cannot hold."""
    kept = judge(outcome(error)).error

    assert kept is not None
    assert len(kept) <= LONGEST_ERROR
    assert "\0" not in kept
    assert kept == kept.encode("utf-8").decode()


@pytest.mark.parametrize(("given_id", "kept"), [("a\0b", "ab"), ("id \ud83d!", "id ?!"), ("ñ😀", "ñ😀"), ("", "")])
def test_any_provider_id_can_be_stored(given_id: str, kept: str) -> None:
    """A provider's id out of some JSON loses what no database can hold, or its settlement would never succeed."""
    assert kept == judge(Sent(given_id)).provider_id
