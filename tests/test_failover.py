"""Failover: a campaign's next provider sends while those before it are away, and only what certainly did not go."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dialerd.charge import Charge
from dialerd.dialer import Dialer
from dialerd.model import breaker
from dialerd.model.campaign import Campaign, OnDoubt, RetryPolicy
from dialerd.model.message import Message
from dialerd.model.outcome import InDoubt, Outcome, Sent, Throttled, Unreachable
from dialerd.store.order import Claimed, Order
from tests.drivers.scripted import Script, ScriptedDriver
from tests.rig import Rig, campaign, message

BOTH = campaign(fallbacks=("q",))


def refused(_message: Message) -> Outcome:
    return Unreachable("refused")


def matches(pattern: str, _campaign: Campaign, _destination: str, address: str) -> bool:
    return re.search(pattern, address) is not None


class Pair:
    """Providers p and q, each with its dialer, on one spool."""

    def __init__(self, rig: Rig, q: ScriptedDriver, *campaigns: Campaign, accept: Mapping[str, str]) -> None:
        self.rig, self.p, self.q = rig, rig.driver, q
        self.charge = Charge()
        known = {one.name: one for one in campaigns}
        self.dialers = [
            Dialer(
                name, driver, rig.spool, max_in_flight=20, per_second=None, charge=self.charge,
                campaigns={each: one for each, one in known.items() if name in one.providers},
                accepts=partial(matches, accept[name]) if name in accept else None,
            )
            for name, driver in (("p", self.p), ("q", q))
        ]  # fmt: skip
        rig.spool.waiters = list(self.dialers)


@pytest.fixture
def pair(sqlite_url: str, tmp_path: Path) -> Callable[..., Any]:
    """Run both on SQLite; see pair_on."""
    return pair_on(sqlite_url, tmp_path)


def pair_on(url: str, tmp_path: Path) -> Callable[..., Any]:
    """Run both: `async with pair(script of p, campaigns…) as it`; with `once` the dialers are the test's to run.

    `accept` has patterns that a provider's numbers must match.
    """

    @asynccontextmanager
    async def build(script: Script, *campaigns: Campaign, once: bool = False, **accept: str) -> AsyncIterator[Pair]:
        some = campaigns or (BOTH,)
        async with Rig(url, tmp_path, ScriptedDriver(script, down="refused"), *some) as rig:
            await rig.dialer.drain(0)
            it = Pair(rig, ScriptedDriver(), *some, accept=accept)
            if once:
                rig.spool.waiters = []  # nobody looks for them
            else:
                rig.tasks += [asyncio.create_task(dialer.run()) for dialer in it.dialers]
            yield it
            for dialer in it.dialers:
                await dialer.drain(0)

    return build


async def test_the_next_one_sends_while_the_first_is_away(database_url: str, tmp_path: Path) -> None:
    """What the first provider certainly did not get goes through the second, and sms_repo says who took it."""
    async with pair_on(database_url, tmp_path)(refused) as it:
        await it.rig.submit(*[message() for _ in range(300)])
        await it.rig.until_sent(300)

        assert [("q", 1, 300)] == await it.rig.rows("SELECT provider, attempts, count(*) FROM sms_repo GROUP BY 1, 2")
        assert len({one.id for one in it.q.sent}) == len(it.q.sent)


async def test_the_first_is_used_again_when_it_is_back(pair: Callable[..., Any]) -> None:
    """Once a probe and an attempt have gone well, the first provider sends again, and the second no more."""
    async with pair(refused) as it:
        await it.rig.submit(*[message() for _ in range(50)])
        await it.rig.until_sent(50)
        it.p.script, it.p.down = (lambda _m: Sent()), None
        await it.p.wait_until(lambda: it.p.probes > 0, "probe", within_s=60)
        await it.rig.submit(message())
        while it.dialers[0].is_away:
            await it.rig.submit(message())
            await asyncio.sleep(0.05)
        before = len(it.q.started)
        await it.rig.submit(*[message() for _ in range(100)])
        await it.p.wait_sent(100)

        assert before == len(it.q.started)


@pytest.mark.parametrize("healthy", [True, False])
async def test_what_may_have_gone_stays_with_its_provider(pair: Callable[..., Any], healthy: bool) -> None:
    """A doubt that is resent goes through the provider that may have it, also when another one sends by now."""
    answers = {"?": [InDoubt("lost"), Sent()]}

    def script(one: Message) -> Outcome:
        if one.data == "?":
            return answers["?"].pop(0)
        return Sent() if healthy else Unreachable("refused")

    careful = campaign(fallbacks=("q",), on_doubt=OnDoubt.RESEND, retry=RetryPolicy(first_s=0.5))
    async with pair(script, careful) as it:
        it.p.down = None
        await it.rig.submit(message(data="?"))
        await it.p.wait_started(1)
        await it.rig.submit(*[message() for _ in range(20)])
        await it.rig.until_sent(21)

        assert ["?", "?"] == [one.data for one in it.p.started if one.data == "?"]
        assert "?" not in [one.data for one in it.q.started]


async def test_a_throttled_provider_is_not_replaced(pair: Callable[..., Any]) -> None:
    """A provider that wants us slower is there: its messages wait for it."""
    answers: list[Outcome] = [Throttled("slower")]
    async with pair(lambda _m: answers.pop() if answers else Sent()) as it:
        await it.rig.submit(*[message() for _ in range(20)])
        await it.rig.until_sent(20)

        assert [] == it.q.started


async def test_one_that_wants_a_long_rest_is_replaced(
    pair: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that wants to be left alone for long is as good as away until that time has passed."""
    monkeypatch.setattr(breaker, "LONG_REST_S", 1.0)
    answers: list[Outcome] = [Throttled("slower", 3.0)]
    async with pair(lambda _m: answers.pop() if answers else Sent()) as it:
        await it.rig.submit(message())
        await it.rig.until_sent(1)
        assert (1, 1) == (len(it.p.started), len(it.q.sent))

        async with asyncio.timeout(30):
            while it.dialers[0].is_away:
                await asyncio.sleep(0.05)
        await it.rig.submit(*[message() for _ in range(5)])
        await it.rig.until_sent(6)
        assert (5, 1) == (len(it.p.sent), len(it.q.sent))


async def test_the_second_ones_own_campaigns_get_their_turns(pair: Callable[..., Any]) -> None:
    """What comes over from another provider shares the second one's permits with its own campaigns, in turns."""
    own = campaign("own", provider="q")
    async with pair(refused, BOTH, own) as it:
        await it.rig.submit(message())
        await it.rig.until_sent(1)
        await it.rig.submit(*[message(n) for n in ["c"] * 200 + ["own"] * 200])
        await it.rig.until_sent(401)

        first = [one.campaign for one in it.q.sent[1:201]]
        assert 60 <= first.count("own") <= 140


async def test_a_campaigns_permits_are_counted_over_its_providers(pair: Callable[..., Any]) -> None:
    """max_in_flight holds for a campaign however many providers send for it at once."""
    gate = asyncio.Event()
    out: list[int] = []

    async def slow(_m: Message) -> Outcome:
        out.append(it.p.in_flight + it.q.in_flight)
        await gate.wait()
        return Sent()

    narrow = campaign(fallbacks=("q",), max_in_flight=4)
    async with pair(slow, narrow) as it:
        it.q.script = slow
        await it.rig.submit(*[message() for _ in range(30)])
        await it.p.wait_started(4)
        it.dialers[0]._gave_up = True
        it.charge.changed(it.dialers[0], work=True)
        await it.rig.submit(message())
        assert (4, 0) == (it.p.in_flight, it.q.in_flight)
        gate.set()
        await it.rig.until_sent(31)

        assert max(out) <= 4
        assert it.q.sent


async def test_what_one_does_not_accept_goes_to_the_next(database_url: str, tmp_path: Path) -> None:
    """Each message goes to the first that accepts its number and is there; one that only the other accepts waits."""
    async with pair_on(database_url, tmp_path)(lambda _m: Sent(), p="[12]$", q="[23]$") as it:
        await it.rig.submit(*[message(address=f"59{n % 4}", data=str(n % 4)) for n in range(400)])
        await it.rig.until_sent(300)

        ended = "SELECT data, status, provider, attempts, count(*) FROM sms_repo GROUP BY 1, 2, 3, 4 ORDER BY 1"
        await it.rig.until("SELECT count(*) FROM sms_repo", 400)
        assert await it.rig.rows(ended) == [
            ("0", "failed", None, 0, 100), ("1", "sent", "p", 1, 100), ("2", "sent", "p", 1, 100),
            ("3", "sent", "q", 1, 100),
        ]  # fmt: skip
        it.p.script, it.p.down = refused, "refused"
        await it.rig.submit(*[message(address=f"59{n}", data=str(n)) for n in (1, 2, 3)])
        await it.rig.until("SELECT count(*) FROM sms_repo", 402)
        assert [("1", "queued", 0)] == await it.rig.rows("SELECT data, state, attempts FROM sms_spool")
        it.p.script, it.p.down = (lambda _m: Sent()), None
        await it.rig.until("SELECT count(*) FROM sms_repo", 403)


@pytest.mark.parametrize("how", ["away", "crossed", "not accepted"])
async def test_a_batch_run_waits_for_what_may_come_over(
    pair: Callable[..., Any], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run once, the second provider ends only when the first can leave it nothing, also when each is the other's."""
    monkeypatch.setattr(breaker, "FIRST_WAIT_S", 0.02)
    some = (BOTH, campaign("own", provider="q", fallbacks=("p",))) if how == "crossed" else (BOTH,)
    accept = {"p": "^0"} if how == "not accepted" else {}
    async with pair(refused, *some, once=True, **accept) as it:
        claim = it.rig.spool.claim

        async def slow_for_p(order: Order) -> Claimed:
            # The second one has long found nothing when the first gets its answer.
            await asyncio.sleep(0.05 if order.provider == "p" else 0)
            return await claim(order)

        it.rig.spool.claim = slow_for_p  # type: ignore[method-assign]
        await it.rig.submit(*[message() for _ in range(40)])
        async with asyncio.timeout(60):
            done = await asyncio.gather(*(dialer.run_until_empty(1000) for dialer in it.dialers))

        assert [how == "not accepted", True] == done
        assert 40 == len(it.q.sent)
