"""Killed at any instant nothing that was accepted is lost, and nothing is sent twice.

Twenty kills; `python -m tests.crash --kills 200` makes more of them.
"""

from collections.abc import Callable

import pytest

from tests.crash.harness import Site
from tests.crash.kills import Plan, carry_out, options_of
from tests.crash.processes import until

SQLITE, POSTGRESQL = "sqlite", "postgresql"
AT_ONCE, SLOW = 0, 200


@pytest.mark.parametrize(
    ("kind", "latency_ms", "work", "at"),
    [
        (SQLITE, AT_ONCE, "scheduled", "promote.written:2"),
        (POSTGRESQL, AT_ONCE, "scheduled", "promote.committed"),
        (SQLITE, AT_ONCE, "queued", "claim.written:4"),
        (POSTGRESQL, AT_ONCE, "queued", "claim.begin:2"),
        (POSTGRESQL, SLOW, "queued", "claim.committed:3"),
        (SQLITE, SLOW, "queued", "send.begin:30"),
        (SQLITE, AT_ONCE, "queued", "outbox.written:77"),
        (POSTGRESQL, SLOW, "queued", "send.end:50"),
        (POSTGRESQL, AT_ONCE, "queued", "settle.begin:2"),
        (SQLITE, SLOW, "queued", "settle.written:3"),
        (SQLITE, AT_ONCE, "queued", None),
        (POSTGRESQL, SLOW, "queued", None),
        (SQLITE, AT_ONCE, "once", "settle.committed:2"),
        (POSTGRESQL, AT_ONCE, "once", "claim.written:2"),
        (POSTGRESQL, AT_ONCE, "rescued", "rescue.written"),
        (SQLITE, SLOW, "stopped", None),
        (POSTGRESQL, AT_ONCE, "submitted", "submit.committed:60"),
        (SQLITE, AT_ONCE, "uploaded", "upload.staged:2"),
        (POSTGRESQL, AT_ONCE, "uploaded", "move.written:2"),
        (SQLITE, AT_ONCE, "mailed", "outbox.written:30"),
    ],
)
def test_a_kill(site_on: Callable[..., Site], kind: str, latency_ms: int, work: str, at: str | None) -> None:
    """Killed at this seam and started again, dialerd loses nothing and sends nothing twice; doubts are few."""
    site = site_on(kind, latency_ms=latency_ms, options=options_of(work))

    fell = carry_out(Plan(work=work, at=at, seed=len(work) + latency_ms), site)

    assert [] == fell.faults
    assert fell.killed


@pytest.mark.parametrize("kind", [SQLITE, POSTGRESQL])
def test_another_node_comes_to_the_rescue(site_on: Callable[..., Site], kind: str) -> None:
    """What a dead node held is taken over by one that lives, once a lease has passed and without anybody's help."""
    site = site_on(kind, latency_ms=200, max_in_flight=10, lease_s=2)
    ids = site.fill(300)
    first, second = site.daemon("--node", "first"), site.daemon("--node", "second")
    until(lambda: site.value("SELECT count(DISTINCT node) FROM sms_spool WHERE state = 'sending'") == 2, "both send")

    first.kill()
    held = site.held("first")
    rescued = second.until_event("node_rescued")
    site.until_drained(second)
    second.stop()

    assert ("first", len(held)) == (rescued["node"], rescued["doubts"])
    assert held == site.doubts()
    assert 1 <= len(held) <= 10
    assert [] == site.faults(ids)
