"""The numbers of `dialerd status`: what waits, what was done since midnight, how providers and nodes are."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from dialerd.model.calendar import first_instant
from dialerd.model.campaign import Campaign
from dialerd.model.message import State, Status
from dialerd.model.rules import CampaignState, campaign_opens_at, state_of
from dialerd.store.arrays import any_of, bind_list
from dialerd.store.columns import JSON_DETAILS, Instant
from dialerd.store.pause import paused

__all__ = ["CampaignStatus", "NodeStatus", "ProviderStatus", "Report", "base_counts", "report", "waiting_bases"]

#: Counted by one statement, so by one snapshot. Each part reads one partial index; queued ones stand in two.
WAITING = text(
    "SELECT 'scheduled' AS place, campaign, count(*) AS n FROM sms_scheduler GROUP BY campaign"
    " UNION ALL SELECT 'waiting', campaign, count(*) FROM sms_spool"
    " WHERE state IN ('queued', 'deferred') GROUP BY campaign"
    " UNION ALL SELECT 'queued', campaign, count(*) FROM sms_spool WHERE state = 'queued' GROUP BY campaign"
    " UNION ALL SELECT state, campaign, count(*) FROM sms_spool WHERE state = 'sending' GROUP BY campaign, state"
    " UNION ALL SELECT state, campaign, count(*) FROM sms_spool WHERE state IN ('held', 'in_doubt')"
    " GROUP BY campaign, state"
)

#: How bad it is what a node tells of a provider, the worst first: of several nodes' news that is shown.
WORST = ("stalled", "down", "throttled", "up")


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignStatus:
    """One campaign: its state, what waits, and what was done since midnight in its zone."""

    state: CampaignState
    opens_at: datetime | None
    scheduled: int = 0
    queued: int = 0
    deferred: int = 0
    sending: int = 0
    held: int = 0
    in_doubt: int = 0
    oldest_due: datetime | None = None
    sent: int = 0
    failed: int = 0
    expired: int = 0
    blocked: int = 0
    cancelled: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderStatus:
    """One provider as the live nodes see it: `rate` in messages/s and `in_flight` over all of them.

    `learned_per_second` is how many parts, or mails, it gets at most since it complained; None: no such limit.
    `stalled_s`: messages are due, it is up, and yet for so many seconds none has gone; 0 while all is well.
    """

    state: str
    reason: str | None
    rate: float = 0.0
    in_flight: int = 0
    learned_per_second: float | None = None
    stalled_s: float = 0.0

    @property
    def remark(self) -> str | None:
        """What is wrong with it, or else what keeps it slow."""
        if self.reason is None and self.learned_per_second is not None:
            return f"gets at most {self.learned_per_second:g} a second: it said too fast"
        return self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """One process that sends; dead once its last sign of life is older than its lease, by the database's clock."""

    node: str
    incarnation: str
    pid: int
    started: datetime
    beat_age_s: float
    lease_s: float
    alive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that `dialerd status` shows."""

    campaigns: dict[str, CampaignStatus]
    providers: dict[str, ProviderStatus]
    nodes: list[NodeStatus]
    promoted_until: datetime | None


def report(
    connection: Connection, campaigns: Mapping[str, Campaign], providers: Collection[str], *, now: datetime
) -> Report:
    """Return the state of every campaign that has a file or messages, of the providers and of the nodes."""
    if connection.dialect.name == "postgresql":
        # One snapshot, so that a message on its way is counted once. (SQLite's reading transactions have one anyway.)
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
    stopped = paused(connection)
    waiting = _waiting(connection)
    names = [*campaigns, *sorted(waiting.keys() - campaigns.keys())]
    nodes, news = _nodes(connection)
    return Report(
        campaigns={
            name: _campaign(
                connection, name, campaigns.get(name), waiting.get(name, {}), is_paused=name in stopped, now=now
            )
            for name in names
        },
        providers=_merged(news, providers),
        nodes=nodes,
        promoted_until=_promoted_until(connection),
    )


def base_counts(
    connection: Connection, bases: Sequence[str], *, after_seq: int = 0, after_repo_seq: int = 0
) -> dict[str, dict[str, int]]:
    """Return how many messages of each base are in each state or status; `moving` ones stand before the spool yet.

    One statement, so one snapshot: a message on its way is counted once. It reads the spool and the repo whole, or
    what stands in them behind these seqs.
    """
    named = any_of(connection, "base", "bases", "text")
    statement = text(
        "SELECT u.base AS base, 'moving' AS state, count(*) FROM upload_line l JOIN upload u ON u.id = l.upload"
        f" WHERE u.state = 'loaded' AND NOT u.moved AND {named} GROUP BY u.base"
        f" UNION ALL SELECT base, state, count(*) FROM sms_spool WHERE seq > :after_seq AND {named}"
        f" GROUP BY base, state UNION ALL SELECT base, status, count(*) FROM sms_repo WHERE seq > :after_repo_seq"
        f" AND {named} GROUP BY base, status"
    )
    order = ["moving", *State, *Status]
    counts: dict[str, dict[str, int]] = {base: {} for base in bases}
    bound = {"bases": bind_list(connection, bases), "after_seq": after_seq, "after_repo_seq": after_repo_seq}
    found = connection.execute(statement, bound).all()
    for base, state, n in sorted(found, key=lambda row: order.index(row[1])):
        counts[base][state] = n
    return counts


def waiting_bases(connection: Connection) -> dict[str | None, dict[str, int]]:
    """Return how many messages that wait of each base are in each state, and how many of none; oldest base first.

    Like `base_counts`, one statement that counts those on their way into the spool as `moving`.
    """
    statement = text(
        "SELECT base, state, count(*) AS n, min(seq) AS first FROM sms_spool GROUP BY base, state"
        " UNION ALL SELECT u.base, 'moving', count(*), NULL FROM upload_line l JOIN upload u ON u.id = l.upload"
        " WHERE u.state = 'loaded' AND NOT u.moved GROUP BY u.base"
    )
    counts: dict[str | None, dict[str, int]] = {}
    found = connection.execute(statement).all()
    for base, state, n, _ in sorted(found, key=lambda row: (row.first is None, row.first)):
        counts.setdefault(base, {})[state] = n
    return counts


def _waiting(connection: Connection) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for place, campaign, n in connection.execute(WAITING):
        counts.setdefault(campaign, {})[place] = n
    for of_campaign in counts.values():
        of_campaign[State.DEFERRED] = of_campaign.pop("waiting", 0) - of_campaign.get(State.QUEUED, 0)
    return counts


def _campaign(
    connection: Connection,
    name: str,
    campaign: Campaign | None,
    waiting: Mapping[str, int],
    *,
    is_paused: bool,
    now: datetime,
) -> CampaignStatus:
    state = state_of(campaign, paused=is_paused, now=now)
    return CampaignStatus(
        state=state,
        opens_at=None if campaign is None or is_paused else campaign_opens_at(campaign, now),
        oldest_due=_oldest_due(connection, name, now) if waiting else None,
        **waiting,
        **_done_since(connection, name, _midnight(campaign, now)),
    )


def _midnight(campaign: Campaign | None, now: datetime) -> datetime:
    """Return when the campaign's day began; where the clocks skip midnight, the first instant after the gap."""
    zone = UTC if campaign is None else campaign.zone
    return first_instant(datetime.combine(now.astimezone(zone).date(), time()), zone)


def _oldest_due(connection: Connection, name: str, now: datetime) -> datetime | None:
    statement = text(
        "SELECT due_since FROM sms_spool WHERE state IN ('queued', 'deferred') AND campaign = :name"
        " AND due_since IS NOT NULL AND due_at <= :now ORDER BY due_since LIMIT 1"
    ).bindparams(bindparam("now", type_=Instant))
    due: datetime | None = connection.execute(statement.columns(due_since=Instant), {"name": name, "now": now}).scalar()
    return due


def _done_since(connection: Connection, name: str, since: datetime) -> dict[str, int]:
    statement = text(
        "SELECT status, count(*) FROM sms_repo WHERE campaign = :name AND dateprocessed >= :since GROUP BY status"
    ).bindparams(bindparam("since", type_=Instant))
    rows = connection.execute(statement, {"name": name, "since": since})
    return {Status(status).value: n for status, n in rows}


def _nodes(connection: Connection) -> tuple[list[NodeStatus], list[Mapping[str, Any]]]:
    """Return the nodes, and what those alive tell of the providers."""
    age = (
        "CAST(extract(epoch FROM clock_timestamp() - beat_at) AS float8)"
        if connection.dialect.name == "postgresql"
        else "(julianday('now') - julianday(beat_at)) * 86400"
    )
    statement = text(
        f"SELECT node, incarnation, pid, started, {age} AS age_s, lease_s, providers FROM node ORDER BY node, started"
    ).columns(started=Instant, providers=JSON_DETAILS)
    nodes, news = [], []
    for row in connection.execute(statement):
        alive = row.age_s <= row.lease_s
        if alive and row.providers:
            news.append(row.providers)
        nodes.append(
            NodeStatus(
                node=row.node,
                incarnation=row.incarnation,
                pid=row.pid,
                started=row.started,
                beat_age_s=round(max(row.age_s, 0.0), 1),
                lease_s=row.lease_s,
                alive=alive,
            )
        )
    return nodes, news


def _merged(news: list[Mapping[str, Any]], providers: Collection[str]) -> dict[str, ProviderStatus]:
    merged = {}
    for name in [*providers, *sorted({name for told in news for name in told} - set(providers))]:
        told = sorted((of[name] for of in news if name in of), key=lambda one: WORST.index(one["state"]))
        if not told:
            merged[name] = ProviderStatus(state="unknown", reason="no daemon that is alive tells of it")
            continue
        merged[name] = ProviderStatus(
            state=told[0]["state"],
            reason=told[0].get("reason"),
            rate=sum(one.get("rate", 0.0) for one in told),
            in_flight=sum(one.get("in_flight", 0) for one in told),
            learned_per_second=_sum([one.get("learned_per_second") for one in told]),
            stalled_s=max(one.get("stalled_s", 0.0) for one in told),
        )
    return merged


def _sum(limits: list[float | None]) -> float | None:
    """Return what nodes with these limits may do together; None: one has none."""
    known = [limit for limit in limits if limit is not None]
    return round(sum(known), 2) if len(known) == len(limits) else None


def _promoted_until(connection: Connection) -> datetime | None:
    """Return how far promotion has come; None before the first ever."""
    statement = text("SELECT promoted_until FROM promotion WHERE one = 1").columns(promoted_until=Instant)
    until: datetime = connection.execute(statement).scalar_one()
    return until if until.year > 1970 else None
