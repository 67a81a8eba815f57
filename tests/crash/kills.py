"""One kill: work is begun, a process of it is killed, dialerd is started again, and both sides are compared.

A plan says what is under way and where the process dies: at a seam of the walk (a failpoint) or, without one, at a
moment that chance chooses.
"""

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.crash.harness import CAMPAIGN, Site
from tests.crash.processes import Process, until

__all__ = ["SEAMS", "Fell", "Plan", "carry_out", "kill", "options_of"]

#: Where each kind of work can be killed, and the last time at which the place is surely passed once more.
SEAMS: dict[str, dict[str, int]] = {
    "scheduled": {"promote.begin": 1, "promote.written": 2, "promote.committed": 2},
    "queued": {
        "enlist.written": 1, "claim.begin": 9, "claim.written": 9, "claim.committed": 9, "send.begin": 180,
        "outbox.written": 180, "send.end": 180, "settle.begin": 9, "settle.written": 9, "settle.committed": 9,
    },
    "once": {
        "promote.written": 1, "promote.committed": 1, "claim.written": 9, "claim.committed": 9, "outbox.written": 180,
        "send.end": 180, "settle.written": 9, "settle.committed": 9,
    },
    "rescued": {"rescue.written": 1, "claim.committed": 2, "settle.written": 2},
    "stopped": {"leave.written": 1, "settle.written": 3},
    "submitted": {"put.written": 80, "submit.committed": 80},
    "uploaded": {
        "begin.written": 1, "stage.written": 2, "upload.staged": 2, "finish.written": 1, "upload.loaded": 1,
        "move.written": 2, "upload.moved": 2,
    },
    "mailed": {"claim.committed": 4, "outbox.written": 50, "send.end": 50, "settle.written": 4, "settle.committed": 4},
}  # fmt: skip

#: Enough for more than one batch of promotion on SQLite,
MANY = 2500
#: and for more than one step of staging and moving on both databases.
LINES = 6000

MAIL = """
channel = "email"
on_doubt = "resend"
retry = { attempts = 50, first_s = 0.1, factor = 1.0 }
[email]
from = "Ventas <ventas@example.com>"
subject = "Novedades"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is under way (a key of SEAMS) and where it is killed: `claim.committed:3`, None for whenever."""

    work: str
    at: str | None
    seed: int


@dataclass(slots=True)
class Fell:
    """What came of it. `faults` tell in words what the contract forbids."""

    killed: bool = False
    messages: int = 0
    lost: int = 0
    twice: int = 0
    doubts: int = 0
    faults: list[str] = field(default_factory=list)


def options_of(work: str) -> str:
    """Return what the campaign of a kind of work has in its file."""
    return MAIL if work == "mailed" else 'on_doubt = "hold"'


def carry_out(plan: Plan, site: Site) -> Fell:
    """Do the work, kill it, start again, and compare."""
    return _Run(plan, site).carry_out()


class _Run:
    """One plan on one site."""

    def __init__(self, plan: Plan, site: Site) -> None:
        self.plan, self.site = plan, site
        self.chance = random.Random(plan.seed)
        self.killed = False
        self.kills = 1
        #: What the dead process had claimed when it died.
        self.held: set[str] = set()

    def carry_out(self) -> Fell:
        work: Callable[[], set[str]] = getattr(self, f"_{self.plan.work}")
        accepted = work()
        self._recover()
        return self._compared(accepted)

    # -- the kinds of work ---------------------------------------------------------------------------------------

    def _scheduled(self) -> set[str]:
        accepted = self.site.plan(MANY)
        self._die(self.site.start("run", failpoint=self.plan.at), of=MANY)
        return set(accepted)

    def _queued(self) -> set[str]:
        accepted = self.site.fill(200)
        self._die(self.site.start("run", failpoint=self.plan.at), of=200)
        return set(accepted)

    def _once(self) -> set[str]:
        accepted = self.site.fill(100) + self.site.plan(100)
        self._die(self.site.start("run", "--once", failpoint=self.plan.at), of=200)
        return set(accepted)

    def _rescued(self) -> set[str]:
        """The process that comes to the rescue of a dead one dies as well."""
        accepted = self.site.fill(200)
        self.site.start("run", failpoint="send.end:50").wait()
        self.kills = 2
        self._die(self.site.start("run", failpoint=self.plan.at), of=200)
        return set(accepted)

    def _stopped(self) -> set[str]:
        """SIGTERM first, and before it has drained the kill."""
        accepted = self.site.fill(200)
        process = self.site.start("run", failpoint=self.plan.at)
        until(lambda: process.status is not None or self.site.given() > 50, "the work has begun")
        if process.status is None:
            process.send(signal.SIGTERM)
        self._die(process, of=0)
        return set(accepted)

    def _submitted(self) -> set[str]:
        """A process that submits dies, beside a daemon that sends."""
        daemon = self.site.daemon()
        told = self.site.folder / "told"
        process = self.site.start_function(
            "tests.crash.submitter:submit_many", str(self.site.config), str(told), CAMPAIGN, failpoint=self.plan.at
        )
        until(lambda: process.status is not None or (told.exists() and told.stat().st_size > 37 * 20), "submitted")
        self._die(process, of=0)
        self.site.until_drained(daemon)
        daemon.stop()
        accepted = set(told.read_text().split())
        # What was committed but not yet returned for is nobody's, and may go.
        unreported = self.site.places().keys() - accepted
        return accepted | unreported if len(unreported) <= 1 else accepted

    def _uploaded(self) -> set[str]:
        """An upload dies, and the same file is uploaded again."""
        file = self.site.folder / "base.csv"
        file.write_text("".join(f"{CAMPAIGN};5989{n:07};texto {n};\n" for n in range(LINES)))
        daemon = self.site.daemon() if self.chance.random() < 0.5 else None
        self._die(self.site.start("upload", str(file), failpoint=self.plan.at), of=0)
        counts = self.site.rows("SELECT state FROM upload WHERE state = 'loaded'") != []
        if not counts:
            assert self.site.call("run", "--once").status == 0
            assert self.site.places() == {}, "before its commit point something of an upload stands in the spool"
            assert not self.site.lines(), "before its commit point something of an upload was sent"
        again = self.site.call("upload", str(file))
        assert again.status == 0, again
        assert ("loaded before" in again.stdout) == counts, again
        if daemon is not None:
            self.site.until_drained(daemon)
            daemon.stop()
        self._recover()
        texts = self.site.outbox("data")
        expected = {f"texto {n}" for n in range(LINES)}
        assert texts.keys() <= expected
        places = self.site.places()
        assert len(places) == LINES, f"{len(places)} messages of {LINES} lines"
        return set(places)

    def _mailed(self) -> set[str]:
        ids = self.site.fill(80)
        self.site.execute("UPDATE sms_spool SET destination = 'ana' || destination || '@example.com'")
        self._die(self.site.start("run", failpoint=self.plan.at), of=80)
        return set(ids)

    # -- the kill, the restart, the comparison -------------------------------------------------------------------

    def _die(self, process: Process, *, of: int) -> None:
        """Wait until the failpoint kills, or kill when chance wants it: while `of` messages are on their way."""
        if self.plan.at is None:
            wanted = int(self.chance.random() * of * 0.9)
            until(lambda: process.status is not None or self.site.given() >= wanted, "the moment to die")
            time.sleep(self.chance.random() * 0.05)
            self.killed = process.kill()
        else:
            self.killed = process.wait() == -signal.SIGKILL
            assert self.killed, f"ended with {process.status} before {self.plan.at}: {process.tail()}"
        self.held = self.site.held()

    def _recover(self) -> None:
        """Start again, as a daemon or as a batch, until everything has gone."""
        if self.plan.work == "mailed" or self.chance.random() < 0.5:
            daemon = self.site.daemon()
            self.site.until_drained(daemon)
            daemon.stop()
        else:
            once = self.site.call("run", "--once")
            assert once.status == 0, once

    def _compared(self, accepted: set[str]) -> Fell:
        site = self.site
        doubts, sent, outbox = site.doubts(), site.sent(), site.outbox()
        repeated = {id_ for id_, times in outbox.items() if times > 1}
        resends = self.plan.work == "mailed"
        faults = site.faults(accepted, may_repeat=self.held if resends else set())
        if len(doubts) > site.max_in_flight * self.kills:
            faults.append(f"{len(doubts)} DOUBTS of {self.kills} kills with max_in_flight = {site.max_in_flight}")
        if len(self.held) > site.max_in_flight:
            faults.append(f"{len(self.held)} HELD with max_in_flight = {site.max_in_flight}")
        if self.kills == 1 and not doubts <= self.held:
            faults.append(f"{len(doubts - self.held)} DOUBTS about what was not claimed at the kill")
        if left := accepted - sent - doubts:
            faults.append(f"{len(left)} LEFT: {site.states()}")
        if resends and doubts:
            faults.append(f"{len(doubts)} DOUBTS with on_doubt = resend")
        lost = (accepted - site.places().keys()) | (sent - outbox.keys())
        twice = repeated - self.held if resends else repeated
        return Fell(self.killed, len(accepted), len(lost), len(twice), len(doubts), faults)


def kill(plan: Plan, site: Site) -> Fell:
    """Carry a plan out; what goes wrong on the way is a fault as well."""
    try:
        return carry_out(plan, site)
    except AssertionError as error:
        return Fell(faults=[str(error)])
