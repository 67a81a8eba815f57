"""Judges a week by the plain model: of each message when it went, why not earlier, in which order; and how it ended."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from tests.week.plain import Rules, Span, Spans, cut, merged, seconds
from tests.week.running import Attempt, Record
from tests.week.scenario import BEAT_S, BEGAN, ENDED, EXPIRE_EVERY_S, LATENCY_S, LOOK_S, Planned, Scenario

__all__ = ["judge", "prediction"]

END = seconds(ENDED)

#: What a claim has taken may start within so many seconds (contract.md, Rules); the rest is rounding.
CLAIMED_S = 0.2 + 0.05
#: An opening, a release, what another process has put into the spool: seen at the next look.
SEEN_S = LOOK_S + 1
#: A calldate or the next try of a deferred message: known before, so nobody has to look. Others may be on the wire.
DUE_S = 3.0
#: After the provider is back: the longest wait between probes, and a few answers until it is trusted again.
PROBED_S = 60 + 10.0
#: After the database is back: the longest wait of a tick, the beat that renews the lease, a look.
DATABASE_S = max(15, BEAT_S) + SEEN_S
#: After an attempt the next one of the same campaign is claimed when its outcome is recorded.
SETTLED_S = 0.5
#: Attempts that were late keep this part of their distance.
CATCHING_UP = 0.97
#: So much time to go leaves no doubt that a message must go, whatever goes before it: paced, and not.
PLENTY_S = {True: 3 * 3600.0, False: 600.0}


@dataclass(slots=True)
class Wait:
    """A message waiting for its next attempt: from `low` it may go, from `high` on every second needs a reason.

    `until` is when it went, or ended, and `turn` its place among all attempts then. `answer` None: it did not go.
    """

    message: Planned
    low: float
    high: float
    until: float
    turn: float
    answer: str | None = None


def judge(scenario: Scenario, record: Record) -> Iterator[str]:
    """Yield what was wrong in the week, a line each; nothing if all was right."""
    for when, fault in _Judge(scenario, record).faults():
        yield f"{BEGAN + timedelta(seconds=when):%m-%d %H:%M:%S.%f} UTC {fault}"


def prediction(rules: Rules, message: Planned) -> str | None:
    """Return how a message must end, None where that hangs on what the provider says and on who goes first."""
    ready = rules.ready_at(message)
    if ready is None:
        return "held"
    file = rules.files[message.campaign]
    stop, otherwise = END, "waiting"
    if rules.expires_at(message) < stop:
        stop, otherwise = rules.expires_at(message), "expired"
    for destination, when in rules.scenario.opted_out.items():
        if destination == message.destination and seconds(when) < stop:
            stop, otherwise = seconds(when), "blocked"
    away = [(seconds(begin), seconds(end)) for name, (begin, end) in rules.scenario.down.items()
            if name in (file["provider"], "database")]  # fmt: skip
    time = sum(end - begin for begin, end in cut(_within(rules.spans(message), (ready, stop)), merged(away)))
    if time == 0:
        # An opt-out is found when it would go; until then it waits.
        later = otherwise == "blocked" and not _within(rules.spans(message), (stop + SEEN_S, END - SEEN_S))
        return "waiting" if later else otherwise
    paced = rules.interval_s(message.campaign) > 0 or "per_second" in rules.scenario.providers[file["provider"]]
    return "sent" if time > PLENTY_S[paced] and not message.answers else None


def _within(spans: Spans, window: Span) -> Spans:
    return [
        (max(begin, window[0]), min(end, window[1])) for begin, end in spans if begin < window[1] and end > window[0]
    ]


class _Judge:
    def __init__(self, scenario: Scenario, record: Record) -> None:
        self.scenario = scenario
        self.record = record
        self.rules = Rules(scenario)
        self.place = {message.data: number for number, message in enumerate(scenario.messages)}
        self.provider = {name: file["provider"] for name, file in self.rules.files.items()}
        #: Starts of all attempts with their parts, by campaign and by provider.
        self.starts: dict[str, list[tuple[float, int]]] = defaultdict(list)
        #: When each of them keeps others waiting.
        self.taken: dict[str, Spans] = {}
        self.attempts: dict[str, list[tuple[int, Attempt]]] = defaultdict(list)
        planned = {message.data: message for message in scenario.messages}
        for turn, attempt in enumerate(record.attempts):
            message = planned[attempt.data]
            for key in (message.campaign, f"provider {self.provider[message.campaign]}"):
                self.starts[key].append((seconds(attempt.at), message.parts))
            self.attempts[attempt.data].append((turn, attempt))
        self.keys = {message.data: self.key(message) for message in scenario.messages}

    def faults(self) -> Iterator[tuple[float, str]]:
        waits: list[Wait] = []
        for message in self.scenario.messages:
            some, fault = self.waits(message)
            waits += some
            if fault:
                yield END, f"{_name(message)}: {fault}"
            for wait in some:
                for when, what in self.times(wait):
                    yield when, f"{_name(message)}: {what}"
            must, ended = prediction(self.rules, message), self.status(message)
            if must not in (None, ended):
                yield END, f"{_name(message)}: is {ended}, must be {must}"
        yield from self.paces()
        yield from self.order(waits)
        yield from self.turns(waits)

    # -- one message -----------------------------------------------------------------------------------------------

    def status(self, message: Planned) -> str:
        """Return how it ended, or `held`, `in_doubt`, `waiting`, `lost`."""
        if message.data in self.record.ended:
            return self.record.ended[message.data][0]
        state = self.record.waiting.get(message.data, "lost")
        return {"queued": "waiting", "deferred": "waiting", "scheduled": "waiting"}.get(state, state)

    def waits(self, message: Planned) -> tuple[list[Wait], str | None]:
        """Follow a message from attempt to attempt; return its waits, and what is wrong with their end."""
        file, state = self.rules.files[message.campaign], self.status(message)
        low = self.rules.ready_at(message)
        tried = [(turn, attempt) for turn, attempt in self.attempts[message.data] if attempt.answer != "unreachable"]
        if low is None:
            return [], None if (state, tried) == ("held", []) else f"was never released, is {state} after {len(tried)}"
        high = low + (DUE_S if message.calldate and seconds(message.came) + SEEN_S < low else SEEN_S)
        retry = {"attempts": 5, "first_s": 60.0, "factor": 2.0, "max_s": 3600.0} | file.get("retry", {})
        waits, over = [], None
        for number, (turn, attempt) in enumerate(tried, 1):
            if over:
                return waits, f"was tried again after it was {over}"
            waits.append(Wait(message, low, high, seconds(attempt.at), turn, attempt.answer))
            answered = seconds(attempt.at) + LATENCY_S
            if attempt.answer in ("sent", "failed"):
                over = attempt.answer
            elif attempt.answer == "doubt" and file.get("channel") != "email":
                again = self.scenario.resent.get(message.data)
                if again is None or seconds(again) < answered:
                    over = "in_doubt"
                else:
                    low, high = seconds(again), seconds(again) + SEEN_S
            elif number == retry["attempts"]:
                over = "failed"
            else:
                backoff = min(retry["first_s"] * retry["factor"] ** (number - 1), retry["max_s"])
                low, high = answered + 0.9 * backoff, answered + backoff + DUE_S
        if over:
            return waits, None if state == over else f"was {over}, is {state}"
        if state not in ("waiting", "expired", "blocked"):
            return waits, f"did not go and is {state}"
        until = seconds(self.record.ended[message.data][1]) if state != "waiting" else END
        return [*waits, Wait(message, low, high, until, -1)], None

    def times(self, wait: Wait) -> Iterator[tuple[float, str]]:
        """Yield what is wrong with when it went or ended: too early, in a closed minute, or too late for no reason."""
        message, at, high = wait.message, wait.until, wait.high
        spans, state = self.rules.spans(message), self.status(message)
        limit = self.rules.expires_at(message)
        stop = next((seconds(when) for to, when in self.scenario.opted_out.items() if to == message.destination), END)
        if wait.answer or state == "blocked":
            if at < wait.low - 0.001:
                yield at, f"went {wait.low - at:.3f} s too early"
            if not self.allowed(message, at):
                yield at, "went while its rules were against it"
        if wait.answer:
            if at > limit + CLAIMED_S:
                yield at, f"went {at - limit:.1f} s after it had expired"
            if at > stop + CLAIMED_S:
                yield at, "went to somebody who had opted out"
        elif state == "expired":
            patience = self.back_at(max(limit, wait.low)) + EXPIRE_EVERY_S + 1
            if not limit <= at <= patience:
                yield at, f"expired, but not within {limit:.0f} to {patience:.0f}"
        elif state == "blocked" and at < stop:
            yield at, "was blocked before the opt-out"
        elif state == "waiting" and END > limit + EXPIRE_EVERY_S + 1:
            yield at, "still waits and should have expired"
        idle = self.unexplained(message, spans, high, min(at, limit))
        if idle:
            total = sum(end - begin for begin, end in idle)
            yield idle[0][0], f"could have gone here: {total:.1f} s without a reason until {state} at {at:.1f}"

    def allowed(self, message: Planned, at: float) -> bool:
        """Tell whether the rules let it go now, or just before: what has been claimed then is on its way."""
        return any(begin <= at < end + CLAIMED_S for begin, end in self.rules.spans(message))

    def unexplained(self, message: Planned, spans: Spans, since: float, until: float) -> Spans:
        """Return when between the two it neither went nor had a reason to wait: closed, away, paced, on its turn."""
        free = [(begin + SEEN_S, end) if begin >= since - SEEN_S else (max(begin, since), end) for begin, end in spans]
        free = cut(_within([span for span in free if span[0] < span[1]], (since, until)), self.away(message.campaign))
        for busy in self.busy(message.campaign):
            free = cut(free, busy)
        return [(begin, end) for begin, end in free if end - begin > 0.01]

    def away(self, campaign: str) -> Spans:
        down = {name: (seconds(begin), seconds(end)) for name, (begin, end) in self.scenario.down.items()}
        spans = [(down["database"][0], down["database"][1] + DATABASE_S)]
        if self.provider[campaign] in down:
            begin, end = down[self.provider[campaign]]
            spans.append((begin, end + PROBED_S))
        return merged(spans)

    def back_at(self, when: float) -> float:
        """Return the first instant from `when` on at which the database answers and has caught up."""
        begin, end = map(seconds, self.scenario.down["database"])
        return end + DATABASE_S if begin <= when + EXPIRE_EVERY_S and when < end else when

    def busy(self, campaign: str) -> Iterator[Spans]:
        """Yield when other attempts keep a campaign waiting: its own, and those of a paced provider."""
        if campaign not in self.taken:
            own_s = max(self.rules.interval_s(campaign), LATENCY_S) + SETTLED_S
            self.taken[campaign] = merged([(start, start + own_s) for start, _ in self.starts[campaign]])
        yield self.taken[campaign]
        provider = f"provider {self.provider[campaign]}"
        if rate := self.scenario.providers[self.provider[campaign]].get("per_second"):
            if provider not in self.taken:
                starts = self.starts[provider]
                self.taken[provider] = merged([(start, start + parts / rate + SETTLED_S) for start, parts in starts])
            yield self.taken[provider]

    # -- all of them -----------------------------------------------------------------------------------------------

    def paces(self) -> Iterator[tuple[float, str]]:
        """Yield attempts that came too soon after the one before, by the pace of campaign and provider."""
        limits = [(name, self.rules.interval_s(name), False) for name in self.rules.files]
        limits += [(f"provider {name}", 1 / limit["per_second"], True)
                   for name, limit in self.scenario.providers.items() if "per_second" in limit]  # fmt: skip
        for name, interval_s, by_parts in limits:
            for (before, parts), (start, _) in pairwise(self.starts[name]):
                if start - before < interval_s * (parts if by_parts else 1) * CATCHING_UP - 0.001:
                    yield start, f"{name}: only {start - before:.3f} s after the one before, of {parts} parts"

    def key(self, message: Planned) -> tuple[float, float, int]:
        """Return its place in its campaign's queue: when it came to the spool; promoted together: by calldate."""
        came = seconds(message.came)
        if message.calldate is not None:
            calldate = seconds(self.rules.calldate(message))
            if came < calldate // 60 * 60:
                return calldate // 60 * 60, calldate, -1
        return came, 0.0, self.place[message.data]

    def order(self, waits: list[Wait]) -> Iterator[tuple[float, str]]:
        """Yield attempts that overtook another message, which was ready, allowed and ahead of them."""
        by_provider: dict[str, list[Wait]] = defaultdict(list)
        for wait in waits:
            by_provider[self.provider[wait.message.campaign]].append(wait)
        for some in by_provider.values():
            gone = sorted((wait for wait in some if wait.answer), key=lambda wait: (wait.until, wait.turn))
            for wait in some:
                first = bisect_left(gone, self.queued_at(wait) + CLAIMED_S, key=lambda other: other.until)
                last = bisect_left(gone, (wait.until, wait.turn), key=lambda other: (other.until, other.turn))
                for other in gone[first:last]:
                    if self.is_ahead(wait, other) and self.could_go(wait, other):
                        yield other.until, f"{_name(other.message)}: overtook {_name(wait.message)}"

    def turns(self, waits: list[Wait]) -> Iterator[tuple[float, str]]:
        """Yield where one campaign had three turns in a row at a paced provider, and another one none."""
        paced = {name for name, limits in self.scenario.providers.items() if "per_second" in limits}
        some = [wait for wait in waits if self.provider[wait.message.campaign] in paced]
        gone = sorted((wait for wait in some if wait.answer), key=lambda wait: wait.turn)
        for row in zip(gone, gone[1:], gone[2:], strict=False):
            campaign, priority = row[0].message.campaign, row[0].message.priority
            if any((wait.message.campaign, wait.message.priority) != (campaign, priority) for wait in row):
                continue
            for wait in some:
                if (
                    row[2].until < wait.until
                    and wait.low < row[0].until
                    and wait.message.priority == priority
                    and wait.message.campaign != campaign
                    and self.queued_at(wait) + CLAIMED_S <= row[0].until
                    and all(self.could_go(wait, other) for other in row)
                ):
                    yield row[2].until, f"{campaign} had three turns, {_name(wait.message)} none"

    def queued_at(self, wait: Wait) -> float:
        """Return from when on it stands in the queue, at the latest: what is deferred is queued when it is due."""
        message = wait.message
        direct = wait.low == seconds(message.came) or message.data in self.scenario.resent
        queued = wait.low if direct else wait.high
        begin, end = map(seconds, self.scenario.down["database"])
        return end + DATABASE_S if begin - DUE_S <= queued < end + DATABASE_S else queued

    def is_ahead(self, wait: Wait, other: Wait) -> bool:
        mine, its = wait.message, other.message
        if mine.campaign != its.campaign or mine.priority != its.priority:
            return mine.priority < its.priority
        return self.keys[mine.data] < self.keys[its.data]

    def could_go(self, wait: Wait, other: Wait) -> bool:
        """Tell whether `wait` could have gone in the other's place: open, awake, and its campaign's pace let it."""
        mine, at = wait.message, other.until
        if not any(begin <= at - CLAIMED_S and at < end for begin, end in self.rules.spans(mine)):
            return False
        if mine.campaign == other.message.campaign:
            return True
        interval_s = self.rules.interval_s(mine.campaign)
        starts = self.starts[mine.campaign]
        near = bisect_left(starts, (at - interval_s - SETTLED_S, 0)), bisect_left(starts, (at + CLAIMED_S, 0))
        return not interval_s or near[0] == near[1]


def _name(message: Planned) -> str:
    return f"{message.data[:16].strip()!r} ({message.how}, priority {message.priority})"
