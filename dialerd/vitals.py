"""Whether what must go on goes on: promotion, the look at the spool, every dialer, settlement, and sending itself."""

import asyncio
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dialerd import log
from dialerd.dialer import Dialer
from dialerd.notify import Notifier
from dialerd.spool import Spool
from dialerd.store.nodes import touch

__all__ = ["Vitals"]

logger = log.get(__name__)

#: Promotion is called at second 0 of each minute; whatever it asks of the database may take as long as the others.
PROMOTION_S = 150.0
#: Whatever a part asks of a database that answers is over sooner: PostgreSQL ends statements after 60 s, and a broken
#: connection is noticed within 60 s.
TURN_S = 120.0
#: A driver gets so much more than the limit after which its attempt is cancelled.
CANCELLED_S = 60.0
#: Before it is said that nothing goes, a slow campaign has had so many chances; another node may have had some.
CHANCES = 20
CHECK_S = 10.0
#: The question whether the database answers is itself answered by then, or the answer is no.
ANSWER_S = 5.0
#: So many calls show where a thread is.
CALLS = 4


@dataclass(slots=True)
class _Sending:
    """One dialer's messages: how many had ended, and since when none has though one could have gone."""

    ended: int
    since: float
    is_stalled: bool = False


class Vitals:
    """Judges the parts of a daemon by what they did last; seconds are of the loop's clock.

    A database that does not answer excuses every part: the outcomes that wait in memory must not be lost to a restart.
    So does a provider that is known to be away for its own messages. `stall_s` is 0 where sending is not judged.
    """

    def __init__(self, spool: Spool, dialers: Mapping[str, Dialer], *, stall_s: float) -> None:
        self.stall_s = stall_s
        #: While the daemon stops, which has limits of its own, nothing is judged.
        self.is_stopping = False
        self._spool = spool
        self._dialers = dialers
        #: What was before this time proves nothing: we had not begun, or the database was away.
        self._since = asyncio.get_running_loop().time()
        self._sending: dict[str, _Sending] = {}
        self._stopped: list[str] = []

    async def keep(self, notifier: Notifier) -> None:
        """Judge now and then, log what changes, and feed the watchdog while all is well. Runs until cancelled."""
        loop = asyncio.get_running_loop()
        every_s = CHECK_S if notifier.watchdog_s is None else min(CHECK_S, notifier.watchdog_s / 3)
        while True:
            if self.is_stopping:
                notifier.alive("stopping")
            else:
                is_away = await self._is_database_away(loop.time())
                now = loop.time()
                if is_away:
                    self._since = now
                stopped, stalled = self.stopped(now), self.stalled(now)
                self._log_stopped(stopped)
                if stopped or stalled:
                    notifier.status(_trouble(stopped, stalled))
                else:
                    notifier.alive(self._how_it_goes(is_away))
            await asyncio.sleep(every_s)

    async def _is_database_away(self, now: float) -> bool:
        """Tell whether parts stand still because of the database; it is only asked when some do."""
        if not self.stopped(now):
            return False
        ask = partial(touch, incarnation=self._spool.lease.incarnation)
        return not await self._spool.store.answers(ask, within_s=ANSWER_S)

    def stopped(self, now: float) -> list[str]:
        """Return the parts that stand still at `now`, by their names."""
        found = []
        beat_s = TURN_S + self._spool.lease.lease_s
        for part, limit_s in (("promote", PROMOTION_S), ("look", TURN_S), ("beat", beat_s)):
            if now - max(self._spool.turned_at.get(part, 0), self._since) > limit_s:
                found.append(part)
        unsettled_since = self._spool.unsettled_since
        if unsettled_since is not None and now - max(unsettled_since, self._since) > TURN_S:
            found.append("settle")
        for name, dialer in self._dialers.items():
            patience_s = (dialer.driver.attempt_limit_s or 0) + CANCELLED_S
            if now - max(dialer.turned_at, self._since) > max(TURN_S, patience_s):
                found.append(f"dialer {name}")
            if dialer.failing_since is not None and now - max(dialer.failing_since, self._since) > TURN_S:
                found.append(f"claims of {name}")
            began = dialer.oldest_attempt
            if dialer.driver.attempt_limit_s is not None and began is not None and now - began > patience_s:
                found.append(f"attempts of {name}")
        return found

    def stalled(self, now: float) -> dict[str, float]:
        """Return the providers whose messages do not go though nothing known prevents it, with seconds since when."""
        for gone in self._sending.keys() - self._dialers.keys():
            del self._sending[gone]
        found = {}
        for name, dialer in self._dialers.items():
            ended = dialer.tally.total()
            sending = self._sending.setdefault(name, _Sending(ended, now))
            if ended != sending.ended or not self._could_send(dialer):
                sending.ended, sending.since = ended, now
            stood_s = now - sending.since
            is_stalled = self.stall_s > 0 and stood_s >= max(self.stall_s, CHANCES * _slowest_start_s(dialer))
            if is_stalled:
                found[name] = stood_s
            if is_stalled and not sending.is_stalled:
                logger.error("sending_stalled", provider=name, minutes=round(stood_s / 60, 1))
            elif sending.is_stalled and not is_stalled:
                logger.warning("sending_resumed", provider=name)
            sending.is_stalled = is_stalled
        return found

    def _could_send(self, dialer: Dialer) -> bool:
        has_trouble = dialer.breaker.shut_until is not None or dialer.breaker.waits > 0
        return bool(dialer.due) and not has_trouble and self._spool.database_error is None

    def told(self, name: str, report: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a dialer's report for status with `stalled_s`, and as `stalled` if it is."""
        sending = self._sending.get(name)
        if sending is None or not sending.is_stalled:
            return {**report, "stalled_s": 0.0}
        stood_s = asyncio.get_running_loop().time() - sending.since
        reason = f"messages are due, and none has gone for {stood_s / 60:.1f} minutes"
        return {**report, "state": "stalled", "reason": reason, "stalled_s": round(stood_s, 1)}

    def _log_stopped(self, stopped: list[str]) -> None:
        if stopped and stopped != self._stopped:
            logger.error("progress_stopped", parts=stopped, threads=_where_threads_are())
        elif self._stopped and not stopped:
            logger.warning("progress_resumed", parts=self._stopped)
        self._stopped = stopped

    def _how_it_goes(self, is_away: bool) -> str:
        if is_away or self._spool.database_error is not None:
            return "the database does not answer: nothing is claimed, outcomes wait"
        under_way = sum(dialer.in_flight for dialer in self._dialers.values())
        shut = [name for name, dialer in self._dialers.items() if dialer.breaker.shut_until is not None]
        away = f"; waiting for {', '.join(shut)}" if shut else ""
        return f"{under_way} under way, providers: {len(self._dialers) - len(shut)} of {len(self._dialers)}{away}"


def _where_threads_are() -> dict[str, str]:
    """Return for each other thread that is at work for us the last calls it is in: where it hangs, if it does."""
    frames = sys._current_frames()  # noqa: SLF001  # documented, if not for every Python
    return {
        thread.name: " > ".join(f"{call.name} ({Path(call.filename).name}:{call.lineno})" for call in calls[-CALLS:])
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and (calls := traceback.extract_stack(frames.get(thread.ident or 0)))
        if any(call.name in {"transact_here", "read_here"} for call in calls)
    }


def _slowest_start_s(dialer: Dialer) -> float:
    """Return how far apart the messages of the fastest campaign that has some due may start, at the provider's pace."""
    due = [campaign for name in dialer.due if (campaign := dialer.campaigns.get(name))]
    provider_s = dialer.interval_s or 0.0
    return min((max(one.interval_s or 0.0, provider_s * one.max_parts) for one in due), default=0.0)


def _trouble(stopped: list[str], stalled: Mapping[str, float]) -> str:
    told = [f"no progress: {', '.join(stopped)}"] if stopped else []
    return "; ".join(told + [f"{name}: due, but nothing goes" for name in stalled])
