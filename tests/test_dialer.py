"""The dialer on a real store, with a provider that answers as each test scripts it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from dialerd.dialer import Dialer
from dialerd.drivers.base import NothingSent
from dialerd.model import breaker, learned_pace
from dialerd.model.calendar import parse_schedule
from dialerd.model.campaign import Campaign, OnDoubt, RetryPolicy
from dialerd.model.learned_pace import CAREFUL
from dialerd.model.message import Message
from dialerd.model.outcome import Deferred, Failed, InDoubt, Outcome, Sent, Throttled, Unreachable
from dialerd.store.order import Claimed, Order
from dialerd.store.pause import pause_campaign, resume_campaign
from tests.drivers.scripted import ScriptedDriver, when
from tests.rig import Rig, campaign, message

SENT = "SELECT count(*) FROM sms_repo WHERE status = 'sent'"


@pytest.fixture
def rig_of(database_url: str, tmp_path: Path) -> Callable[..., Rig]:
    """Build a rig on each database in turn: rig_of(script, *campaigns, max_in_flight=…)."""

    def build(script: Callable[[Message], object] | None = None, *campaigns: Campaign, **given: object) -> Rig:
        driver = ScriptedDriver(script) if script else ScriptedDriver()
        return Rig(database_url, tmp_path, driver, *campaigns, **given)

    return build


async def test_everything_goes_once(rig_of: Callable[..., Rig]) -> None:
    """What is queued is sent once each and recorded with provider, attempts and dateprocessed."""
    async with rig_of(lambda m: Sent(f"id-{m.id}")) as rig:
        some = [message() for _ in range(700)]
        await rig.submit(*some)
        await rig.until_sent(700)

        assert sorted(m.id for m in some) == sorted(m.id for m in rig.driver.sent)
        assert [("p", 1, 700)] == await rig.rows(
            "SELECT provider, attempts, count(*) FROM sms_repo WHERE dateprocessed IS NOT NULL"
            " AND provider_id IS NOT NULL GROUP BY provider, attempts"
        )
        assert {} == await rig.states()


async def test_variables_of_an_sms(rig_of: Callable[..., Rig]) -> None:
    """An SMS that brings variables reaches its provider with them filled in; one that lacks any has failed unsent."""
    async with rig_of() as rig:
        given = {"variables": {"name": "Ana", "amount": 5}}
        await rig.submit(
            message(data="${name}: {{amount}}", details=given), message(data="${name}"),
            message(data="${nombre}", details=given), message(data="x", details={"variables": ["odd"]}),
        )  # fmt: skip
        await rig.until("SELECT count(*) FROM sms_repo", 4)

        assert ["Ana: 5", "${name}"] == [m.data for m in rig.driver.sent]
        failed = await rig.rows("SELECT data, error FROM sms_repo WHERE status = 'failed' ORDER BY data")
        assert ["${nombre}", "x"] == [data for data, _ in failed]
        assert "'nombre'" in failed[0][1]


async def test_first_in_first_out(rig_of: Callable[..., Rig]) -> None:
    """Among equals the first in is the first out, and priority goes before."""
    async with rig_of(None, max_in_flight=1) as rig:
        some = [message(data=str(n), priority=p) for n, p in enumerate([9999, 9999, 5, 1, 9999, 1])]
        await rig.submit(*some)
        await rig.until_sent(6)

        assert ["3", "5", "2", "0", "1", "4"] == [m.data for m in rig.driver.sent]


async def test_a_submit_in_the_same_process_starts_within_50_ms(rig_of: Callable[..., Rig]) -> None:
    """An idle dialer that is woken starts the attempt within 50 ms (the best of several, for a busy machine)."""
    async with rig_of() as rig:
        waits = []
        for n in range(1, 8):
            await rig.submit(message())
            began = asyncio.get_running_loop().time()
            await rig.driver.wait_sent(n)
            waits.append(asyncio.get_running_loop().time() - began)
            await rig.until_sent(n)

        assert min(waits) < 0.05


async def test_an_insert_of_another_process_is_seen_within_a_second(rig_of: Callable[..., Rig]) -> None:
    """A row that somebody inserts without telling us is found within a second (the best of several)."""
    async with rig_of() as rig:
        waits = []
        for n in range(1, 4):
            rig.spool.looked.clear()
            await rig.spool.looked.wait()
            await rig.store.transact(
                lambda c: c.exec_driver_sql(
                    "INSERT INTO sms_spool (campaign, destination, data, priority) VALUES ('c', '59898344484', 'x', 1)"
                )
            )
            began = asyncio.get_running_loop().time()
            await rig.driver.wait_sent(n)
            waits.append(asyncio.get_running_loop().time() - began)

        assert min(waits) < 1


async def test_deferred_is_tried_again_later(rig_of: Callable[..., Rig]) -> None:
    """A deferred message waits with its next time, and the attempt counts; when its time comes it goes again."""
    now = datetime.now(UTC)
    clock = [now]
    answers: list[Outcome] = [Deferred("busy"), Sent()]
    policy = RetryPolicy(attempts=3, first_s=60)
    async with rig_of(lambda _m: answers.pop(0), campaign(retry=policy), clock=lambda: clock[0]) as rig:
        await rig.submit(message(now=now))
        await rig.until("SELECT count(*) FROM sms_spool WHERE state = 'deferred' AND attempts = 1", 1)
        ((error, due_at),) = await rig.rows("SELECT last_error, due_at FROM sms_spool")
        assert "busy" == error
        due = due_at if isinstance(due_at, datetime) else datetime.fromisoformat(due_at).replace(tzinfo=UTC)
        assert 54 <= (due - now).total_seconds() <= 60

        clock[0] = now + timedelta(seconds=61)
        rig.spool.wake()
        await rig.until_sent(1)
        assert [(2,)] == await rig.rows("SELECT attempts FROM sms_repo")


async def test_attempts_end(rig_of: Callable[..., Rig]) -> None:
    """The last attempt's deferral is a failure that says so."""
    async with rig_of(lambda _m: Deferred("busy"), campaign(retry=RetryPolicy(attempts=1))) as rig:
        await rig.submit(message())
        await rig.until("SELECT count(*) FROM sms_repo WHERE status = 'failed'", 1)

        assert [("gave up after 1 attempts: busy", 1)] == await rig.rows("SELECT error, attempts FROM sms_repo")


async def test_a_refusal_is_final(rig_of: Callable[..., Rig]) -> None:
    """What the provider refuses for good fails with its reason, and the others go on."""
    async with rig_of(lambda m: Failed("bad number") if m.data == "bad" else Sent()) as rig:
        await rig.submit(message(data="bad"), message())
        await rig.until_sent(1)
        await rig.until("SELECT count(*) FROM sms_repo WHERE status = 'failed' AND error = 'bad number'", 1)


async def test_a_doubt_is_held(rig_of: Callable[..., Rig]) -> None:
    """With on_doubt = hold a lost answer leaves the message in the spool, in doubt, and nobody sends it again."""
    async with rig_of(lambda m: InDoubt("lost") if m.data == "?" else Sent()) as rig:
        await rig.submit(message(data="?"), message())
        await rig.until_sent(1)
        await rig.until("SELECT count(*) FROM sms_spool WHERE state = 'in_doubt' AND last_error = 'lost'", 1)


async def test_a_doubt_is_sent_again(rig_of: Callable[..., Rig]) -> None:
    """With on_doubt = resend a lost answer is tried again, with backoff, and counts as an attempt."""
    answers: list[Outcome] = [InDoubt("lost"), Sent()]
    policy = RetryPolicy(first_s=0.01, max_s=0.01)
    c = campaign(on_doubt=OnDoubt.RESEND, retry=policy)
    async with rig_of(lambda _m: answers.pop(0), c) as rig:
        await rig.submit(message())
        await rig.until_sent(1)

        assert [(2,)] == await rig.rows("SELECT attempts FROM sms_repo")


async def test_a_hanging_provider_leaves_few_doubts(rig_of: Callable[..., Rig]) -> None:
    """Attempts without an answer end in doubt after the driver's limit; after a few in a row nothing more is risked."""

    async def hang(_message: Message) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError

    rig = rig_of(hang, max_in_flight=4)
    rig.driver.attempt_limit_s = 0.05
    async with rig:
        await rig.submit(*[message() for _ in range(100)])
        await rig.until("SELECT count(*) >= 5 FROM sms_spool WHERE state = 'in_doubt'", True)
        await rig.until("SELECT count(*) FROM sms_spool WHERE state = 'sending'", 0)

        assert rig.dialer.breaker.needs_probe or rig.dialer.breaker.window == 1
        assert (await rig.states())["in_doubt"] <= 5 + 4


async def test_an_outage_costs_no_attempt(rig_of: Callable[..., Rig]) -> None:
    """While the provider is unreachable messages stay queued uncounted; it is probed, and then all of them go."""
    down = True
    rig = rig_of(lambda _m: Unreachable("refused") if down else Sent(), max_in_flight=10)
    rig.driver.down = "refused"
    async with rig:
        await rig.submit(*[message() for _ in range(30)])
        await rig.driver.wait_probed(1)
        await rig.until("SELECT count(*) FROM sms_spool WHERE state = 'queued' AND attempts = 0", 30)
        assert "down" == rig.dialer.report()["state"]

        down, rig.driver.down = False, None
        await rig.until_sent(30)
        assert [(1,)] == await rig.rows("SELECT DISTINCT attempts FROM sms_repo")


async def test_throttling_costs_no_attempt(rig_of: Callable[..., Rig]) -> None:
    """A throttled message is taken back uncounted, the provider is left alone for as long as it asks, and all go."""
    started: list[float] = []

    def answer(_message: Message) -> Outcome:
        started.append(asyncio.get_running_loop().time())
        return Throttled("slow down", 1.2) if len(started) == 1 else Sent()

    async with rig_of(answer, max_in_flight=1) as rig:
        await rig.submit(*[message() for _ in range(3)])
        await rig.until_sent(3)

        assert [(1,)] == await rig.rows("SELECT DISTINCT attempts FROM sms_repo")
        assert started[1] - started[0] >= 1.2


@pytest.mark.parametrize("refusal", [Throttled("message queue full"), Unreachable("HTTP 401")])
async def test_one_that_is_always_refused_stops_nobody_else(
    rig_of: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, refusal: Outcome
) -> None:
    """A message whose refusal always speaks of our rate or account is set aside, uncounted; all others go."""
    monkeypatch.setattr(breaker, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(learned_pace, "SLOWEST", 50.0)

    async with rig_of(lambda m: refusal if m.data == "full" else Sent(), max_in_flight=1) as rig:
        await rig.submit(message(data="full"), *[message() for _ in range(5)])
        await rig.until_sent(5)

        assert [("deferred", 0)] == await rig.rows("SELECT state, attempts FROM sms_spool")
        assert len(rig.driver.started) <= 14


async def test_permits_bound_what_is_out(rig_of: Callable[..., Rig]) -> None:
    """Never more than max_in_flight attempts are claimed and not yet settled; a campaign's own limit holds too."""
    most = {"all": 0, "narrow": 0}
    under_way = {"wide": 0, "narrow": 0}

    async def slow(m: Message) -> Outcome:
        under_way[m.campaign] += 1
        most["all"] = max(most["all"], sum(under_way.values()))
        most["narrow"] = max(most["narrow"], under_way["narrow"])
        await asyncio.sleep(0.002)
        under_way[m.campaign] -= 1
        return Sent()

    async with rig_of(slow, campaign("wide"), campaign("narrow", max_in_flight=2), max_in_flight=7) as rig:
        await rig.submit(*[message(name) for _ in range(60) for name in ("wide", "narrow")])
        await rig.until_sent(120)

        assert 7 == most["all"]
        assert 2 == most["narrow"]


async def test_a_pause_stops_it_at_once(rig_of: Callable[..., Rig]) -> None:
    """From the commit of a pause on nothing of the campaign is claimed; after resume everything goes, once."""

    async def slow(_message: Message) -> Outcome:
        await asyncio.sleep(0.005)
        return Sent()

    async with rig_of(slow, max_in_flight=5) as rig:
        now = datetime.now(UTC)
        await rig.submit(*[message() for _ in range(100)])
        await rig.driver.wait_sent(10)
        await rig.store.transact(pause_campaign, "c", reason="test", now=now)
        started = len(rig.driver.started)
        await rig.until("SELECT count(*) FROM sms_spool WHERE state = 'sending'", 0)
        rig.spool.wake()
        rig.spool.looked.clear()
        await rig.spool.looked.wait()
        assert len(rig.driver.started) <= started + 5 < 100

        await rig.store.transact(resume_campaign, "c")
        rig.spool.wake()
        await rig.until_sent(100)
        assert 100 == len({m.id for m in rig.driver.sent}) == len(rig.driver.sent)


async def test_a_closed_campaign_waits_and_opens_by_itself(rig_of: Callable[..., Rig]) -> None:
    """Outside its hours a campaign's messages wait, holding up nobody; when the window opens they go unasked."""
    clock = [datetime(2026, 3, 2, 8, 59, 30, tzinfo=UTC)]
    closed = campaign("office", schedule=parse_schedule(["mon-fri;09:00-18:00"]))
    async with rig_of(None, closed, campaign("always"), clock=lambda: clock[0]) as rig:
        await rig.submit(*[message("office", priority=1, now=clock[0]), message("always", now=clock[0])])
        await rig.until_sent(1)
        assert ["always"] == [m.campaign for m in rig.driver.sent]

        clock[0] = datetime(2026, 3, 2, 9, 0, 0, tzinfo=UTC)
        await rig.until_sent(2)


async def test_drain_gives_back_what_was_not_started(rig_of: Callable[..., Rig]) -> None:
    """Drained, what waits for its start goes back to the queue uncounted, and what hangs is in doubt after drain_s."""
    never = asyncio.Event()

    async def hang(_message: Message) -> Outcome:
        await never.wait()
        raise AssertionError

    # Ten a second: two start within the horizon of 200 ms, one at once and one in 100 ms.
    async with rig_of(hang, per_second=5, max_in_flight=10) as rig:
        await rig.submit(*[message() for _ in range(10)])
        await rig.driver.wait_started(1)
        await rig.dialer.drain(0)
        await rig.spool.all_settled()

        assert {"in_doubt": 1, "queued": 9} == await rig.states()
        assert [(0,)] == await rig.rows("SELECT DISTINCT attempts FROM sms_spool WHERE state = 'queued'")


async def test_drain_knows_what_was_not_sent(rig_of: Callable[..., Rig]) -> None:
    """Cut off by the drain, a message of which certainly nothing went goes back uncounted; the others are doubts."""

    async def hang(message: Message) -> Outcome:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if message.data == "waits for a connection":
                raise NothingSent from None
            raise
        raise AssertionError

    async with rig_of(hang, max_in_flight=10) as rig:
        await rig.submit(*[message(data="waits for a connection") for _ in range(4)], message(), message())
        await rig.driver.wait_started(6)
        await rig.dialer.drain(0)
        await rig.spool.all_settled()

        assert {"in_doubt": 2, "queued": 4} == await rig.states()
        assert [(0,)] == await rig.rows("SELECT DISTINCT attempts FROM sms_spool WHERE state = 'queued'")
        assert 0 == rig.dialer.in_flight


async def test_who_has_left_begins_no_new_life(rig_of: Callable[..., Rig]) -> None:
    """While a node that has left says goodbye to providers, its heartbeat finds nothing to renew, and no fault."""
    async with rig_of(None) as rig:
        ended, alive = await asyncio.gather(rig.lease.end(), rig.lease.beat({}))
        assert (None, True, True) == (ended, alive, await rig.lease.beat({}))
        assert [] == await rig.rows("SELECT incarnation FROM node")
        assert not rig.lease.valid


async def test_without_a_lease_nothing_starts(rig_of: Callable[..., Rig]) -> None:
    """A node whose lease has run out claims nothing; with a new heartbeat it goes on."""
    async with rig_of(None, lease_s=0.2) as rig:
        async with asyncio.timeout(5):
            while rig.lease.valid:
                await asyncio.sleep(0.02)
        await rig.submit(message())
        rig.spool.looked.clear()
        await rig.spool.looked.wait()
        assert {"queued": 1} == await rig.states()

        rig.lease.lease_s = 30
        assert await rig.lease.beat({})
        await rig.until_sent(1)


async def test_the_pace_holds(rig_of: Callable[..., Rig]) -> None:
    """Messages of a campaign start at least its between_ms apart, however late one of them comes."""
    starts: list[float] = []

    def answer(_message: Message) -> Outcome:
        starts.append(asyncio.get_running_loop().time())
        if len(starts) % 10 == 0:
            time.sleep(0.07)  # A loop that stands still: those behind come late.
        return Sent()

    async with rig_of(answer, campaign(interval_s=0.02)) as rig:
        await rig.submit(*[message() for _ in range(50)])
        await rig.until_sent(50)

        short = [later - earlier for earlier, later in pairwise(starts) if later - earlier < 0.0199]
        # A busy machine may take the processor away between the dialer's look at the clock and ours, now and then.
        # A dialer that let the late ones catch up would show three short distances after each of the five standstills.
        assert len(short) <= 3, short


async def test_the_pace_of_a_provider_holds_for_all_its_campaigns(rig_of: Callable[..., Rig]) -> None:
    """Messages of different campaigns start as far apart as the parts of the one before need at the provider."""
    starts: list[tuple[float, int]] = []

    def answer(one: Message) -> Outcome:
        starts.append((asyncio.get_running_loop().time(), one.parts))
        return Sent()

    async with rig_of(answer, campaign("a"), campaign("b", interval_s=0.03), per_second=50) as rig:
        await rig.submit(*[message(name, parts=parts) for parts in (1, 3) for name in ("a", "b") for _ in range(5)])
        await rig.until_sent(20)

        apart = [(later - earlier) / parts for (earlier, parts), (later, _) in pairwise(starts)]
        # A busy machine may take the processor away between the dialer's look at the clock and ours, now and then.
        assert sum(each < 0.0199 for each in apart) <= 2, apart


async def test_a_fast_pace_is_kept_on_average(rig_of: Callable[..., Rig]) -> None:
    """Where messages follow each other within milliseconds, a loop that stands still for a moment is caught up with."""
    starts: list[float] = []

    def answer(_message: Message) -> Outcome:
        starts.append(asyncio.get_running_loop().time())
        if len(starts) == 100:
            time.sleep(0.015)
        return Sent()

    async with rig_of(answer, campaign(interval_s=0.004)) as rig:
        await rig.submit(*[message() for _ in range(200)])
        await rig.until_sent(200)

        # What was late may start at once, so of any window all but the first few are paced.
        for first, last in zip(starts, starts[110:], strict=False):
            assert last - first > 100 * 0.004 * 0.97


async def test_a_campaign_that_becomes_faster_is_faster_at_once(rig_of: Callable[..., Rig]) -> None:
    """After a reload a message does not wait for the pace that was: it would be claimed long before its start."""
    async with rig_of(None, campaign(interval_s=1000.0)) as rig:
        await rig.submit(message())
        await rig.until_sent(1)
        rig.dialer.campaigns = {"c": campaign(interval_s=0.01)}
        await rig.submit(*[message() for _ in range(5)])
        async with asyncio.timeout(5):
            await rig.driver.wait_sent(6)


async def test_what_is_under_way_ends_by_the_rules_of_its_claim(rig_of: Callable[..., Rig]) -> None:
    """A campaign that a reload takes away in mid-attempt decides on its doubts all the same."""
    gone = asyncio.Event()
    async with rig_of(when(gone, InDoubt("no answer")), campaign(on_doubt=OnDoubt.RESEND)) as rig:
        await rig.submit(message())
        await rig.driver.wait_started(1)
        rig.dialer.campaigns = {}
        gone.set()
        await rig.until("SELECT count(*) FROM sms_spool WHERE state = 'deferred'", 1)


async def test_what_waits_for_its_start_does_not_go_to_a_provider_that_throttles(rig_of: Callable[..., Rig]) -> None:
    """When the provider says that we are too fast, what was claimed for the next moments goes back to the queue."""

    async def answer(_message: Message) -> Outcome:
        await asyncio.sleep(0.01)
        return Throttled("slow down", 60)

    async with rig_of(answer, campaign(interval_s=0.04)) as rig:
        await rig.submit(*[message() for _ in range(5)])
        await rig.until("SELECT count(*) FROM sms_spool WHERE state = 'queued' AND last_error = 'slow down'", 1)
        await rig.until("SELECT count(*) FROM sms_spool WHERE state = 'sending'", 0)

        assert 1 == len(rig.driver.started)


async def test_a_provider_that_throttles_teaches_its_pace(
    rig_of: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After refusals for our rate, messages start as far apart as the parts taken in the second before it allow."""
    monkeypatch.setattr(learned_pace, "ALIKE", 1)
    starts: list[float] = []

    def answer(_message: Message) -> Outcome:
        starts.append(asyncio.get_running_loop().time())
        return Throttled("too fast") if len(starts) == 21 else Sent()

    async with rig_of(answer) as rig:
        await rig.submit(*[message(parts=2) for _ in range(30)])
        await rig.until_sent(30)

        later = starts[21:]
        assert 10 == len(later)
        # In the half second that it takes a first guess grows by a fifth.
        short = [after - before for before, after in pairwise(later) if after - before < 2 / (40 * CAREFUL) * 0.75]
        assert len(short) <= 2, short
        assert 1.6 <= (later[-1] - later[0]) / 9 * 40 * CAREFUL
        assert rig.dialer.report()["learned_per_second"] > 40 * CAREFUL


async def test_what_waits_for_a_learned_pace_is_not_claimed(
    rig_of: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow a pace is learned, what comes in the meantime and is urgent goes next, and a pause would hold."""
    monkeypatch.setattr(learned_pace, "ALIKE", 1)
    asked_at: list[float] = []

    def answer(_message: Message) -> Outcome:
        asked_at.append(asyncio.get_running_loop().time())
        return Throttled("too fast") if len(asked_at) == 2 else Sent()

    async with rig_of(answer, max_in_flight=1) as rig:
        await rig.submit(message(data="1"), message(data="2"), *[message(data="bulk", parts=60) for _ in range(3)])
        await rig.until_sent(3)
        assert {"queued": 2} == await rig.states()

        await rig.submit(message(data="urgent", priority=1))
        # Of what was sent before the refusal much turns out to have been taken: the next start comes soon.
        rig.dialer.breaker.pace.took(1000, asked_at[1] - 0.05)
        await rig.until_sent(6)
        assert ["1", "2", "bulk", "urgent", "bulk"] == [m.data for m in rig.driver.sent][:5]


@pytest.fixture(autouse=True)
async def _no_task_left() -> AsyncIterator[None]:
    """Leave no task behind: a part that outlives its rig would serve the next test."""
    yield
    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_a_reload_while_a_claim_is_under_way(rig_of: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a claim takes by rules that a reload has replaced meanwhile is not started: it is queued as it was."""
    async with rig_of() as rig:
        claim, answered = rig.spool.claim, asyncio.Event()

        async def claim_slowly(order: Order) -> Claimed:
            claimed = await claim(order)
            rig.dialer.campaigns = {"c": campaign(enabled=False)}
            answered.set()
            return claimed

        monkeypatch.setattr(rig.spool, "claim", claim_slowly)
        await rig.submit(*[message() for _ in range(20)])
        await answered.wait()
        await rig.until("SELECT count(*) FROM sms_spool WHERE state = 'queued' AND attempts = 0", 20)

        assert [] == rig.driver.started
        assert 0 == rig.dialer.in_flight
        monkeypatch.undo()
        rig.dialer.campaigns = {"c": campaign()}
        await rig.until_sent(20)


async def test_a_dialer_that_takes_anothers_place(rig_of: Callable[..., Rig]) -> None:
    """After a reload a provider has no more attempts than its limit: those of the dialer before count as well."""
    ended, driver = asyncio.Event(), ScriptedDriver()
    async with rig_of(when(ended), max_in_flight=10) as rig:
        await rig.submit(*[message() for _ in range(30)])
        await rig.driver.wait_started(10)
        heir = Dialer(
            "p", driver, rig.spool,
            campaigns=rig.campaigns, max_in_flight=10, per_second=None, charge=rig.dialer._charge,
        )  # fmt: skip
        rig.spool.waiters = [heir]
        retiring, running = asyncio.create_task(rig.dialer.drain(30)), asyncio.create_task(heir.run())
        for _ in range(2):
            rig.spool.looked.clear()
            await rig.spool.looked.wait()
        assert ([], 10) == (driver.started, rig.dialer.in_flight)

        ended.set()
        await rig.until_sent(30)
        await heir.drain(0)
        await asyncio.gather(retiring, running)
    assert (10, 20) == (len(rig.driver.sent), len(driver.sent))
    assert 0 == rig.dialer._charge.at["p"]
