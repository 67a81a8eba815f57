"""A daemon that stands still (SIGSTOP, a sleeping machine) for longer than its lease, and wakes up."""

import signal
from collections.abc import Callable

from dialerd.model.message import Message
from dialerd.model.outcome import Sent
from tests.crash.harness import Site
from tests.crash.processes import Process, until
from tests.rig import Rig, message

BEAT = "SELECT beat FROM node WHERE node = :node"


def test_it_stands_still_while_another_lives(site: Callable[..., Site]) -> None:
    """Another node takes over what it held; awake, it begins a new life, ends its own doubts, and goes on sending."""
    here = site(latency_ms=300, max_in_flight=10, lease_s=2)
    ids = here.fill(150)
    first, second = here.daemon("--node", "first"), here.daemon("--node", "second")
    until(lambda: here.given() >= 20 and len(here.held("first")) == 10, "both send")

    held = until(lambda: _stood_still(here, first) and here.held("first"), "it stands still, holding something")
    rescued = second.until_event("node_rescued")
    assert ("first", len(held)) == (rescued["node"], rescued["doubts"])
    assert held == here.doubts()
    first.send(signal.SIGCONT)

    first.until_event("lease_lost")
    # It knows better than its rescuer: what was not begun goes, what was answered (in time by its own clock) ends.
    until(
        lambda: not here.value("SELECT count(*) FROM sms_spool WHERE last_error LIKE '%died%'"), "its own word stands"
    )
    here.until_drained(second)
    second.stop()
    more = here.fill(20)
    here.until_drained(first)
    assert 1 == here.value("SELECT count(*) FROM node")
    first.stop()
    assert [] == here.faults(ids + more)
    assert here.doubts() <= held
    assert here.sent() == set(ids + more) - here.doubts()


def test_it_stands_still_alone(site: Callable[..., Site]) -> None:
    """With nobody else about it goes on after waking as if nothing had been, in the same life."""
    here = site(latency_ms=300, max_in_flight=10, lease_s=2)
    ids = here.fill(60)
    daemon = here.daemon()
    until(lambda: here.given() >= 10, "it sends")
    daemon.send(signal.SIGSTOP)
    _until_the_lease_is_over(here)
    held = here.held()
    assert here.given() < 60

    daemon.send(signal.SIGCONT)

    here.until_drained(daemon)
    assert not daemon.events("lease_lost")
    daemon.stop()
    assert [] == here.faults(ids)
    # Stopped for longer than the provider may take to answer, it does not wait for the answer.
    assert here.doubts() <= held
    assert here.sent() == set(ids) - here.doubts()


def test_both_stand_still(site: Callable[..., Site]) -> None:
    """When all stand still at once (a sleeping machine) and wake one after the other, none takes another for dead."""
    here = site(latency_ms=300, max_in_flight=10, lease_s=2)
    ids = here.fill(80)
    first, second = here.daemon("--node", "first"), here.daemon("--node", "second")
    until(lambda: here.given() >= 20, "both send")
    until(lambda: _stood_still(here, first), "the first stands still")
    until(lambda: _stood_still(here, second), "the second stands still")
    _until_the_lease_is_over(here)
    held = here.held()

    second.send(signal.SIGCONT)
    beat = here.value(BEAT, node="second")
    until(lambda: here.value(BEAT, node="second") > beat + 1, "the second is awake")
    first.send(signal.SIGCONT)

    here.until_drained(first)
    first.stop()
    second.stop()
    assert not [name for node in (first, second) for name in ("lease_lost", "node_rescued") if node.events(name)]
    assert [] == here.faults(ids)
    assert here.doubts() <= held
    assert here.sent() == set(ids) - here.doubts()


def _stood_still(here: Site, process: Process) -> bool:
    """Stop a process; where that is in the middle of a transaction, whose locks others would wait for, let it go on."""
    process.send(signal.SIGSTOP)
    if here.is_free():
        return True
    process.send(signal.SIGCONT)
    return False


def _until_the_lease_is_over(here: Site) -> None:
    age = (
        "SELECT min(extract(epoch FROM clock_timestamp() - beat_at)) FROM node"
        if here.kind == "postgresql"
        else "SELECT min((julianday('now') - julianday(beat_at)) * 86400) FROM node"
    )
    until(lambda: here.value(age) > here.lease_s + 1, "the lease is over")


async def test_what_an_earlier_life_claimed_is_not_started(rig_of: Callable[..., Rig]) -> None:
    """What was claimed under a lease that is lost goes back, and is tried only under the lease that holds."""
    lives: list[tuple[str, str]] = []

    async def answer(one: Message) -> Sent:
        begun_under = rig.lease.incarnation
        ((claimed_under,),) = await rig.rows(f"SELECT incarnation FROM sms_spool WHERE id = '{one.id}'")
        lives.append((claimed_under, begun_under))
        return Sent()

    rig = rig_of(answer, per_second=10, max_in_flight=10)
    async with rig:
        await rig.submit(*[message() for _ in range(6)])
        await rig.driver.wait_started(1)
        # Two more have been claimed, to start in 100 and 200 ms.
        await rig.lease.begin()
        await rig.until_sent(6)

        assert 6 == len(lives)
        assert [] == [life for life in lives if life[0] != life[1]]
        assert 2 == len({life for life, _ in lives})
