"""Runs the daemon through the week and notes what the providers were asked and where each message ended."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from dialerd import bases, daemon, intake
from dialerd.model.errors import DatabaseGone
from dialerd.model.message import Channel, Message, State
from dialerd.model.outcome import Deferred, Failed, InDoubt, Outcome, Sent, Unreachable
from dialerd.settings import Settings, load
from dialerd.store import Connection, Store, opening, operate
from dialerd.store.blacklist import Entry, add
from dialerd.store.columns import as_instant
from dialerd.store.pause import pause_campaign, resume_campaign
from tests.drivers.scripted import ScriptedDriver
from tests.week.scenario import BEAT_S, BEGAN, ENDED, EXPIRE_EVERY_S, LATENCY_S, LEASE_S, LOOK_S, Planned, Scenario
from tests.week.virtual import VirtualLoop, clocks_of

__all__ = ["Attempt", "Record", "run_week"]

OUTCOMES: dict[str, Outcome] = {
    "sent": Sent(), "failed": Failed("no such number"), "deferred": Deferred("busy"), "doubt": InDoubt("no answer"),
    "unreachable": Unreachable("refused"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Attempt:
    """A message that a provider was handed at `at`, and its answer."""

    at: datetime
    data: str
    answer: str


@dataclass(slots=True)
class Record:
    """What happened: attempts in their order, and by `data` (status, when it was recorded) or where it still stands."""

    attempts: list[Attempt] = field(default_factory=list)
    ended: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)


def run_week(scenario: Scenario, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """Run `dialerd run` from BEGAN to ENDED on a virtual clock."""
    loop = VirtualLoop(BEGAN)
    with clocks_of(loop, monkeypatch), monkeypatch.context() as patch:
        # A week has a million looks: here it has fewer, and they cost our time only.
        patch.setattr("dialerd.spool.LOOK_S", LOOK_S)
        patch.setattr("dialerd.ticker.LOOK_S", LOOK_S)
        patch.setattr("dialerd.inbox.LOOK_S", LOOK_S)
        patch.setattr("dialerd.vitals.CHECK_S", LOOK_S)
        patch.setattr("dialerd.janitor.EXPIRE_EVERY_S", EXPIRE_EVERY_S)
        patch.setattr("dialerd.janitor.BEATS_PER_LEASE", LEASE_S / BEAT_S)
        patch.setattr("dialerd.daemon.RESTART_S", LOOK_S * 15)
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(_Week(scenario, folder, loop, patch).run())


class _Week:
    def __init__(self, scenario: Scenario, folder: Path, loop: VirtualLoop, patch: pytest.MonkeyPatch) -> None:
        self.scenario = scenario
        self.folder = folder
        self.loop = loop
        self.record = Record()
        self.asked: Counter[str] = Counter()
        self.planned = {planned.data: planned for planned in scenario.messages}
        patch.setattr("dialerd.drivers.build", lambda provider, campaigns: _Provider(self, provider.name))
        patch.setattr(opening, "Store", partial(_Failing, loop.clock, scenario.down["database"]))

    async def run(self) -> Record:
        self.write_configuration(frozenset())
        settings = load(self.folder)
        running = asyncio.create_task(daemon.run(lambda: load(self.folder), clock=self.loop.clock))
        await asyncio.sleep(1)
        with closing(Store(settings.database.url)) as store:
            for when, act in sorted(self.actions(store, settings), key=lambda action: action[0]):
                await asyncio.sleep((when - self.loop.clock()).total_seconds())
                await act()
            await asyncio.sleep((ENDED - self.loop.clock()).total_seconds())
            assert not running.done()
            self.loop.signals[signal.SIGTERM]()
            await running
            await store.read(self.note_places)
        return self.record

    def write_configuration(self, disabled: frozenset[str]) -> None:
        (self.folder / "campaigns").mkdir(parents=True, exist_ok=True)
        # The database's outage outlasts the lease.
        main = f'[daemon]\nnode = "week"\nlease_s = {LEASE_S}\nstate_dir = "{self.folder}/var"\n'
        for name, limits in self.scenario.providers.items():
            lines = "".join(f"{key} = {value}\n" for key, value in limits.items())
            main += f'[providers.{name}]\ndriver = "discard"\n{lines}'
        (self.folder / "dialerd.toml").write_text(main)
        for name, lines in self.scenario.campaigns.items():
            table = f'name = "{name}"\n' + ("" if "channel" in lines else 'channel = "sms"\n')
            table += "enabled = false\n" if name in disabled else ""
            (self.folder / "campaigns" / f"{name}.toml").write_text(table + lines)

    # -- what comes in -------------------------------------------------------------------------------------------

    def actions(self, store: Store, settings: Settings) -> Iterator[tuple[datetime, Callable[[], Any]]]:
        """Yield what others do, and when: people, other systems, operators."""
        week = self.scenario
        files: dict[str, list[Planned]] = {}
        for planned in week.messages:
            if planned.how == "base":
                files.setdefault(planned.base or "", []).append(planned)
            else:
                yield planned.came, partial(self.put, store, settings, planned)
        for lines in files.values():
            yield lines[0].came, partial(self.load_base, store, settings, lines)
        for name, paused_at, resumed_at in week.pauses:
            yield paused_at, partial(store.transact, pause_campaign, name, reason="operator", now=paused_at)
            yield resumed_at, partial(store.transact, resume_campaign, name)
        for name, disabled_at, enabled_at in week.disabled:
            yield disabled_at, partial(self.reload, frozenset({name}))
            yield enabled_at, partial(self.reload, frozenset())
        for base, when in week.released.items():
            yield when, partial(self.operate, store, operate.RELEASE, operate.Selection(base=base), lambda _: True)
        for data, when in week.resent.items():
            doubts = operate.Selection(state=State.IN_DOUBT)
            yield when, partial(self.operate, store, operate.RESEND, doubts, data.__eq__)
        for destination, when in week.opted_out.items():
            entry = Entry(channel=Channel.SMS, value=destination.removeprefix("+"), reason="STOP")
            yield when, partial(store.transact, add, [entry], now=when)

    async def put(self, store: Store, settings: Settings, planned: Planned) -> None:
        one = {"campaign": planned.campaign, "destination": planned.destination, "data": planned.data}
        now = self.loop.clock()
        if planned.how == "submit":
            await intake.submit(store, settings, **one, priority=planned.priority, now=now)
        elif planned.how == "schedule":
            assert planned.calldate is not None
            await intake.schedule(store, settings, **one, when=planned.calldate, now=now)
        else:
            await store.transact(_insert, one | {"priority": planned.priority})

    async def load_base(self, store: Store, settings: Settings, lines: list[Planned]) -> None:
        base = lines[0].base
        file = self.folder / f"{base}.csv"
        fields = ';;"Var1":"value";' if lines[0].campaign == "mails" else ";"
        file.write_text("".join(f"{m.campaign};{m.destination};{m.data}{fields}{m.priority}\n" for m in lines))
        loaded = await bases.load(store, settings, file, base=base, now=self.loop.clock())
        assert (len(lines), 0) == (loaded.accepted, loaded.rejected), loaded
        await bases.move(store, clock=self.loop.clock)

    async def reload(self, disabled: frozenset[str]) -> None:
        self.write_configuration(disabled)
        self.loop.signals[signal.SIGHUP]()

    async def operate(
        self, store: Store, verb: operate.Verb, selection: operate.Selection, meant: Callable[[str], bool]
    ) -> None:
        def work(connection: Connection) -> int:
            rows = connection.execute(text("SELECT seq, data FROM sms_spool")).all()
            found = operate.find(connection, selection, verb, after_seq=0, up_to_seq=1 << 60, most=10_000)
            seqs = [seq for seq, data in rows if seq in set(found.seqs) and meant(data)]
            return operate.act(connection, selection, verb, seqs, now=self.loop.clock())

        assert await store.transact(work)

    def note_places(self, connection: Connection) -> None:
        for data, status, when in connection.execute(text("SELECT data, status, dateprocessed FROM sms_repo")):
            assert data not in self.record.ended
            ended_at = as_instant(when)
            assert ended_at is not None
            self.record.ended[data] = (status, ended_at)
        self.record.waiting.update(map(tuple, connection.execute(text("SELECT data, state FROM sms_spool"))))
        self.record.waiting.update(map(tuple, connection.execute(text("SELECT data, 'scheduled' FROM sms_scheduler"))))


def _insert(connection: Connection, row: dict[str, Any]) -> None:
    """Put a message into the spool as other systems do."""
    columns = ", ".join(row)
    connection.execute(text(f"INSERT INTO sms_spool ({columns}) VALUES ({', '.join(f':{name}' for name in row)})"), row)


class _Provider(ScriptedDriver):
    """One provider: takes its time, answers as planned, is down when it is down."""

    def __init__(self, week: _Week, name: str) -> None:
        super().__init__(self.answer)
        self.week = week
        self.outage = week.scenario.down.get(name)

    def is_down(self) -> bool:
        return self.outage is not None and self.outage[0] <= self.week.loop.clock() < self.outage[1]

    async def answer(self, message: Message) -> Outcome:
        week = self.week
        at, answer = week.loop.clock(), "unreachable"
        if not self.is_down():
            answers = week.planned[message.data].answers
            number = week.asked[message.data]
            week.asked[message.data] += 1
            answer = answers[number] if number < len(answers) else "sent"
        week.record.attempts.append(Attempt(at, message.data, answer))
        if answer != "unreachable":
            await asyncio.sleep(LATENCY_S)
        return OUTCOMES[answer]

    async def probe(self) -> None:
        self.down = "refused" if self.is_down() else None
        await super().probe()


class _Failing(Store):
    """A database that is away for a while; the first commit of that time stands, only its answer is lost."""

    def __init__(self, clock: Callable[[], datetime], down: tuple[datetime, datetime], url: str) -> None:
        super().__init__(url)
        self._clock = clock
        self._down = down
        self._lost_answer = False
        # Nobody pulls the plug in this test.
        event.listen(self._engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))

    async def transact(self, function: Any, /, *args: Any, **given: Any) -> Any:
        if self._is_down():
            if not self._lost_answer:
                self._lost_answer = True
                await super().transact(function, *args, **given)
            raise DatabaseGone("away")
        return await super().transact(function, *args, **given)

    async def read(self, function: Any, /, *args: Any, **given: Any) -> Any:
        if self._is_down():
            raise DatabaseGone("away")
        return await super().read(function, *args, **given)

    def _is_down(self) -> bool:
        return self._down[0] <= self._clock() < self._down[1]
