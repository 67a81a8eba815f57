"""The claim: takes the next messages of one provider, by priority, turns, permits and pace."""

from operator import itemgetter

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from dialerd.examine import ZONE_NOT_ASKED, Examined
from dialerd.model.campaign import Campaign
from dialerd.model.errors import Refused
from dialerd.model.message import Channel, Status
from dialerd.model.pace import HORIZON_S, Gate, plan, room
from dialerd.model.turns import share
from dialerd.store.arrays import any_of, bind_list
from dialerd.store.blacklist import blocked
from dialerd.store.columns import Instant, as_instant
from dialerd.store.lanes import Candidate, Lane, bound_without, candidates, lanes, passed_by
from dialerd.store.order import Claimed, Order
from dialerd.store.pace import book, gates
from dialerd.store.parts import accepted_parts
from dialerd.store.pause import paused
from dialerd.store.settle import Ending, finish_waiting

__all__ = ["BATCH", "claim"]

#: Most messages of one claim: large enough to pay for the transaction, small enough for SQLite's 50 ms.
BATCH = 500

#: A claim that keeps meeting expired or sleeping messages stops after so many rounds that met any; it is asked again.
MOST_ROUNDS = 4


def claim(connection: Connection, order: Order) -> Claimed:
    """Take the next messages for this incarnation: they become `sending`, their attempt is counted, pace is booked.

    Expired and blacklisted ones, and those that no provider could take, go to sms_repo instead.
    """
    return _Claim(connection, order).run()


class _Claim:
    """One claim under way."""

    def __init__(self, connection: Connection, order: Order) -> None:
        self.connection = connection
        self.order = order
        #: Rows to send, each with what was computed of it just now, if it had to be.
        self.picked: list[tuple[Candidate, Examined | None]] = []
        self.endings: list[Ending] = []
        self.touched: list[tuple[int, Examined]] = []
        #: Rows that this provider does not accept, and who has passed them on by now.
        self.passed: list[tuple[int, str]] = []
        #: Campaigns with messages that were picked and must wait for their pace.
        self.put_back: set[str] = set()

    def run(self) -> Claimed:
        waiting = self._waiting()
        if not waiting:
            return Claimed(self.order.now)
        quota = self._open_gates(waiting)
        # Asked only now: another node may have kept us waiting at the gates.
        stopped = paused(self.connection)
        waiting = [lane for lane in waiting if lane.campaign not in stopped]
        rounds = 0
        while rounds < MOST_ROUNDS:
            going = [lane for lane in waiting if lane.priority is not None and self.permits[lane.campaign] > 0]
            if not going or len(self.picked) >= quota:
                break
            # One that finds nothing (what came later is left out) leaves a lane empty, or at a lower priority.
            rounds += self._round(going, quota - len(self.picked))
        self._leave_out_blacklisted()
        result = Claimed(self.order.now, self._take())
        self._write_touched_and_endings()
        partly = [row.id for row, *_ in result.taken if row.taken]
        if partly:
            result.accepted = accepted_parts(self.connection, partly)
        result.more, result.free_in_s = self._left(waiting)
        result.passed = len(self.passed)
        for ending in self.endings:
            result.ended[ending.status] = result.ended.get(ending.status, 0) + 1
        return result

    def _waiting(self) -> list[Lane]:
        """Return the lanes from which something may go now, if it is not paused."""
        terms = self.order.terms
        return [
            lane
            for lane in lanes(self.connection)
            if lane.campaign in terms
            and terms[lane.campaign].takes(lane.bound, self.order.provider)
            and (lane.zone == ZONE_NOT_ASKED or self.order.awake(terms[lane.campaign].campaign, lane.zone))
        ]

    def _open_gates(self, waiting: list[Lane]) -> int:
        """Lock the pace of provider and campaigns; return how many messages may start within the horizon."""
        names = {lane.campaign for lane in waiting}
        limits = {name: self.order.terms[name].campaign.interval_s for name in names}
        self.now_s, self.provider_gate, self.campaign_gates = gates(
            self.connection,
            provider=(self.order.provider, self.order.provider_interval_s),
            campaigns={name: interval for name, interval in limits.items() if interval},
        )
        learned = self.order.learned
        self.learned_gate = learned and Gate(learned.interval_s, self.now_s + learned.next_at)
        self.permits = {
            name: room(self.campaign_gates.get(name), self.now_s, self.order.terms[name].permits) for name in names
        }
        most = room(self.provider_gate, self.now_s, min(self.order.permits, BATCH))
        return room(self.learned_gate, self.now_s, most)

    def _left(self, waiting: list[Lane]) -> tuple[bool, float | None]:
        """Return whether something may be left that pace would let start, and in how many seconds the rest may go on.

        That is half a horizon before the first gate opens, so that the pace never waits for us. When a learned pace
        does, its dialer knows itself.
        """
        left = self.put_back | {lane.campaign for lane in waiting if lane.priority is not None}
        gates_of = [[gate for gate in (self.provider_gate, self.campaign_gates.get(name)) if gate] for name in left]
        opens = [max((gate.next_at for gate in gates), default=self.now_s) for gates in gates_of]
        shut = [at for at in opens if at > self.now_s + HORIZON_S]
        return len(shut) < len(opens), min(shut) - self.now_s - HORIZON_S / 2 if shut else None

    def _round(self, waiting: list[Lane], quota: int) -> bool:
        """Take each campaign's share of the best priority, and move its lanes on; an empty one has no priority.

        False if there was none.
        """
        best = min(lane.priority for lane in waiting if lane.priority is not None)
        level: dict[str, list[Lane]] = {}
        for lane in waiting:
            if lane.priority == best:
                level.setdefault(lane.campaign, []).append(lane)
        shares = share(quota, {name: self.permits[name] for name in self.order.terms if name in level})
        asked = [(lane, part) for name, part in shares.items() for lane in level[name]]
        found = candidates(self.connection, asked, up_to_seq=self.order.up_to_seq)
        by_campaign: dict[str, list[tuple[Lane, int, list[Candidate]]]] = {}
        for (lane, part), rows in zip(asked, found, strict=True):
            by_campaign.setdefault(lane.campaign, []).append((lane, part, rows))
        first = len(self.picked)
        count = sum(self._take_share(some, best) for some in by_campaign.values())
        if len(by_campaign) > 1:
            self.picked[first:] = _in_turns(self.picked[first:])
        return count > 0

    def _take_share(self, some: list[tuple[Lane, int, list[Candidate]]], best: int) -> int:
        """Judge one campaign's rows of this priority, first in first out over its zones, and move its lanes on.

        Returns how many there were.
        """
        part = some[0][1]
        rows = sorted((row for _, _, rows in some for row in rows if row.priority == best), key=lambda row: row.seq)
        for row in rows[:part]:
            self._judge(row)
        last = rows[:part][-1].seq if rows else -1
        for lane, asked, found in some:
            left = [row for row in found if row.priority > best or row.seq > last]
            if left:
                lane.priority, lane.after = left[0].priority, left[0].seq - 1
            elif len(found) < asked:
                lane.priority = None
            else:
                lane.after = found[-1].seq
        return len(rows[:part])

    def _judge(self, row: Candidate) -> None:
        campaign = self.order.terms[row.campaign].campaign
        if campaign.expires_s is not None and self._waited_s(row) > campaign.expires_s:
            self.endings.append(Ending(row.seq, Status.EXPIRED, f"waited longer than {campaign.expires_s:g} s"))
            return
        details = row.details if isinstance(row.details, dict) else None
        if details is not row.details and campaign.channel is Channel.EMAIL:
            self.endings.append(Ending(row.seq, Status.FAILED, "details are no JSON object, or too large to read"))
            return
        examined = None
        if row.address is None or (campaign.recipient_hours and row.zone == ZONE_NOT_ASKED):
            try:
                examined = self.order.examine(campaign, row.destination, row.data, details)
            except Refused as refused:
                self.endings.append(Ending(row.seq, Status.FAILED, str(refused)))
                return
            except Exception as error:  # noqa: BLE001  # one poisonous row of another system must not stop the claim
                self.endings.append(Ending(row.seq, Status.FAILED, f"cannot be read: {type(error).__name__}"))
                return
            self.touched.append((row.seq, examined))
            if campaign.recipient_hours and not self.order.awake(campaign, examined.zone):
                return
        if campaign.fallbacks and not self._is_accepted(row, examined, campaign):
            return
        self.picked.append((row, examined))
        self.permits[row.campaign] -= 1

    def _is_accepted(self, row: Candidate, examined: Examined | None, campaign: Campaign) -> bool:
        """Tell whether this provider takes the number; if not, pass the row on to those that were not asked yet."""
        address = examined.address if examined else row.address or ""
        provider, accepts = self.order.provider, self.order.accepts
        if accepts is None or row.bound == provider or accepts(campaign, row.destination, address):
            return True
        passed = passed_by(row.bound) | {provider}
        if passed.issuperset(campaign.providers):
            # Whoever was asked before, perhaps under other rules, did not take it either.
            channel = "number" if campaign.channel is Channel.SMS else "address"
            self.endings.append(Ending(row.seq, Status.FAILED, f"no provider accepts this {channel} (accept)"))
        else:
            self.passed.append((row.seq, bound_without(passed)))
        return False

    def _waited_s(self, row: Candidate) -> float:
        due_since = as_instant(row.due_since)
        return (self.order.now - due_since).total_seconds() if due_since else 0.0

    def _leave_out_blacklisted(self) -> None:
        asked = [
            (
                self.order.terms[row.campaign].campaign.channel,
                examined.address if examined else row.address or "",
                row.campaign,
            )
            for row, examined in self.picked
            if row.answers is None
        ]
        entries = blocked(self.connection, asked, now=self.order.now)
        if entries:
            going = []
            for row, examined in self.picked:
                channel = self.order.terms[row.campaign].campaign.channel
                key = (channel, examined.address if examined else row.address or "", row.campaign)
                if row.answers is None and key in entries:
                    self.endings.append(Ending(row.seq, Status.BLOCKED, entries[key]))
                else:
                    going.append((row, examined))
            self.picked = going

    def _take(self) -> list[tuple[Candidate, Examined | None, Campaign, float]]:
        starts = plan(
            [(row.campaign, _cost(row, examined)) for row, examined in self.picked],
            provider=[gate for gate in (self.provider_gate, self.learned_gate) if gate],
            campaigns=self.campaign_gates,
            now=self.now_s,
        )
        taken = [
            (row, examined, self.order.terms[row.campaign].campaign, start)
            for (row, examined), start in zip(self.picked, starts, strict=True)
            if start is not None
        ]
        self.put_back = {row.campaign for (row, _), start in zip(self.picked, starts, strict=True) if start is None}
        if not taken:
            return []
        going = {row.campaign for row, *_ in taken}
        moved = {name: gate for name, gate in self.campaign_gates.items() if name in going}
        book(self.connection, provider=(self.order.provider, self.provider_gate), campaigns=moved)
        statement = text(
            "UPDATE sms_spool SET state = 'sending', attempts = attempts + 1, incarnation = :incarnation,"
            " node = :node, provider = :provider, claimed_at = :now"
            f" WHERE {any_of(self.connection, 'seq', 'seqs', 'bigint')}"
        )
        self.connection.execute(
            statement.bindparams(bindparam("now", type_=Instant)),
            {
                "seqs": bind_list(self.connection, [row.seq for row, *_ in taken]),
                "incarnation": self.order.incarnation,
                "node": self.order.node,
                "provider": self.order.provider,
                "now": self.order.now,
            },
        )
        return taken

    def _write_touched_and_endings(self) -> None:
        if self.touched:
            self.connection.execute(
                text("UPDATE sms_spool SET address = :address, zone = :zone, parts = :parts WHERE seq = :seq"),
                [{"seq": seq, "address": e.address, "zone": e.zone, "parts": e.parts} for seq, e in self.touched],
            )
        if self.passed:
            self.connection.execute(
                text("UPDATE sms_spool SET bound = :bound WHERE seq = :seq"),
                [{"seq": seq, "bound": bound} for seq, bound in self.passed],
            )
        if self.endings:
            finish_waiting(self.connection, self.endings, now=self.order.now)


def _in_turns(picked: list[tuple[Candidate, Examined | None]]) -> list[tuple[Candidate, Examined | None]]:
    """Return rows of several campaigns so that each campaign has its first, then each its second, and so on."""
    turns: dict[str, int] = {}
    numbered = []
    for one in picked:
        turns[one[0].campaign] = turn = turns.get(one[0].campaign, 0) + 1
        numbered.append((turn, one))
    numbered.sort(key=itemgetter(0))
    return [one for _, one in numbered]


def _cost(row: Candidate, examined: Examined | None) -> int:
    """Return how many parts are still to be sent."""
    return max((examined.parts if examined else row.parts or 1) - row.taken, 1)
