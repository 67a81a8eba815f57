"""What happens in the week: messages as they come in, operators, a reload, outages.

Plain data for two readers that know nothing of each other: the daemon, which runs it, and the model, which judges.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tests.week.campaigns import CAMPAIGNS, PROVIDERS

__all__ = [
    "BEAT_S",
    "BEGAN",
    "DOWN",
    "ENDED",
    "EXPIRE_EVERY_S",
    "LATENCY_S",
    "LEASE_S",
    "LOOK_S",
    "Planned",
    "Scenario",
    "at",
    "scenario",
]

#: The clocks change in Beirut (00:00 does not exist) and Berlin on Sunday the 29th, in Sydney, on Lord Howe Island
#: (by half an hour) and in Santiago (23:00 comes twice) a week later.
BEGAN = datetime(2026, 3, 28, 21, 30, tzinfo=UTC)
ENDED = datetime(2026, 4, 5, 4, 20, tzinfo=UTC)

#: The daemon looks at its tables so often; in a week of virtual time less often than in life, to save our time.
LOOK_S = 60.0
EXPIRE_EVERY_S = 300.0
BEAT_S = 270.0
#: The database's outage outlasts it.
LEASE_S = 540.0
#: How long each provider takes to answer.
LATENCY_S = 0.5


def at(day: int, clock: str) -> datetime:
    """Return an instant of the week in UTC; a day before 20 is one of April."""
    hour, minute, *second = map(int, clock.split(":"))
    return datetime(2026, 3 if day > 20 else 4, day, hour, minute, *second, tzinfo=UTC)


#: Each provider's, and under "database" the database's.
DOWN: Mapping[str, tuple[datetime, datetime]] = {
    "night": (at(30, "19:30:05"), at(31, "05:40")),
    "database": (at(1, "12:03:10"), at(1, "12:13:10")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A message that comes in at `came`; `data` tells it from all others. `answers` are the provider's, then sent.

    `calldate` is written as a caller writes it. `how`: submit, schedule, base (a file) or insert (another system).
    """

    data: str
    campaign: str
    destination: str
    came: datetime
    how: str = "submit"
    priority: int = 1
    calldate: str | None = None
    base: str | None = None
    answers: Sequence[str] = ()
    parts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The week. Spans are from (included) to (excluded)."""

    providers: Mapping[str, Mapping[str, float]]
    campaigns: Mapping[str, str]
    messages: Sequence[Planned]
    down: Mapping[str, tuple[datetime, datetime]] = field(default_factory=lambda: DOWN)
    #: By operators, and by a reload of a changed file.
    pauses: Sequence[tuple[str, datetime, datetime]] = ()
    disabled: Sequence[tuple[str, datetime, datetime]] = ()
    released: Mapping[str, datetime] = field(default_factory=dict)
    resent: Mapping[str, datetime] = field(default_factory=dict)
    opted_out: Mapping[str, datetime] = field(default_factory=dict)


WORLD = ("+59899{:06}", "+49151{:08}", "+351912{:06}", "+1212555{:04}", "+9617{:07}", "7{:04}")
WIDE = "x" * 180  # a second SMS part


class _Plan:
    def __init__(self) -> None:
        self.chance = random.Random(2026)
        self.messages: list[Planned] = []

    def add(self, campaign: str, came: datetime, *, wide: bool = False, **given: object) -> Planned:
        number = len(self.messages)
        data = f"{campaign} {number}" + (f" {WIDE}" if wide else "")
        default = f"someone{number}@example.com" if campaign == "mails" else f"+59898{number:06}"
        planned = Planned(**({"data": data, "campaign": campaign, "destination": default, "came": came,
                              "parts": 2 if wide else 1} | given))  # type: ignore[arg-type]  # fmt: skip
        self.messages.append(planned)
        return planned

    def some_time(self, first: datetime = BEGAN, last: datetime = ENDED) -> datetime:
        """Return a second of the week, never a full minute, at which the database answers."""
        span = int((last - first).total_seconds()) // 60 - 2
        when = first + timedelta(minutes=self.chance.randrange(span), seconds=self.chance.randrange(5, 55))
        when = when.replace(second=max(when.second, 1))
        gone, back = DOWN["database"]
        return (
            when if not gone - timedelta(minutes=1) < when < back + timedelta(minutes=1) else back + timedelta(hours=1)
        )

    def base(
        self, name: str, campaign: str, came: datetime, count: int, *, priorities: Sequence[int] = (9999,)
    ) -> None:
        for _ in range(count):
            self.add(campaign, came, how="base", base=name, priority=self.chance.choice(priorities),
                     wide=campaign == "bulk-b" and self.chance.random() < 0.2)  # fmt: skip


def scenario() -> Scenario:
    """Return the week."""
    plan = _Plan()
    chance = plan.chance

    # A trickle into every campaign but those whose messages follow below.
    for campaign in CAMPAIGNS:
        if campaign in ("awake", "held", "doubtful"):
            continue
        for _ in range(18):
            plan.add(campaign, plan.some_time(), priority=chance.choice([1, 1, 50]))
        for _ in range(18):
            came, when = plan.some_time(), plan.some_time()
            plan.add(campaign, came, how="schedule", calldate=f"{when:%Y-%m-%d %H:%M:%S}")
        for _ in range(4):
            when = plan.some_time()
            plan.add(campaign, plan.some_time(), how="schedule",
                     calldate=f"{when.astimezone().isoformat(timespec='seconds')}")  # fmt: skip

    # Wall clocks that are skipped, and that come twice.
    for campaign, written in (
        ("office", "2026-03-29 02:30:00"), ("late", "2026-03-29 02:30:00"), ("late", "2026-03-29 01:59:59"),
        ("beirut", "2026-03-29 00:00:00"), ("beirut", "2026-03-29 00:59:59"), ("beirut", "2026-03-29 01:00:00"),
        ("sydney", "2026-04-05 02:30:00"), ("sydney", "2026-04-05 02:10:00"), ("sydney", "2026-04-05 03:00:00"),
        ("lordhowe", "2026-04-05 01:45:00"), ("lordhowe", "2026-04-05 01:29:59"),
        ("santiago", "2026-04-04 23:30:00"), ("santiago", "2026-04-04 22:59:59"), ("late", "2026-03-28 23:30:00"),
    ):  # fmt: skip
        plan.add(campaign, BEGAN + timedelta(seconds=20), how="schedule", calldate=written)

    # One every four minutes around clock changes, and where windows end.
    for campaign, first, last in (
        ("late", at(28, "22:30"), at(29, "02:00")), ("late", at(29, "19:30"), at(29, "21:30")),
        ("beirut", at(28, "21:40"), at(29, "03:00")), ("sydney", at(4, "14:50"), at(4, "17:10")),
        ("lordhowe", at(4, "13:50"), at(4, "15:50")), ("santiago", at(5, "01:40"), at(5, "04:15")),
        ("awake", at(1, "18:20"), at(1, "21:20")),
        ("awake", at(2, "05:30"), at(2, "08:30")), ("office", at(2, "15:20"), at(2, "16:20")),
    ):  # fmt: skip
        for minute in range(0, int((last - first).total_seconds()) // 60, 4):
            came = first + timedelta(minutes=minute, seconds=chance.randrange(5, 55))
            number = f"+59897{minute:06}"
            if campaign == "awake":
                number = f"+351912{minute:06}" if minute % 8 else f"+49151{minute:08}"
            plan.add(campaign, came, priority=chance.choice([1, 9999]), destination=number)

    # Due while the database is away, and while the provider is; and the calldate that is over when it comes.
    for minute in range(12):
        plan.add("between", at(31, "10:00:20"), how="schedule", calldate=f"2026-04-01 12:{2 + minute:02}:30")
        plan.add("doubtful", at(30, "10:00:20"), how="schedule", calldate=f"2026-03-31 0{minute % 6}:{minute:02}:00")
        plan.add("ventas", at(31, "10:00:20"), how="schedule", calldate=f"2026-04-01 09:{2 + minute:02}:15")
    plan.add("doubtful", at(31, "16:00:20"), how="schedule", calldate="2026-03-30 09:00:00")

    # Recipients by their own clocks.
    for _ in range(110):
        destination = chance.choice(WORLD).format(len(plan.messages))
        plan.add("awake", plan.some_time(last=at(4, "12:00")), destination=destination,
                 priority=chance.choice([1, 9999]))  # fmt: skip

    # Bulk: while its campaign is closed, while the lane is busy with others, while the provider is down.
    plan.base("spring", "bulk-a", at(29, "20:00:20"), 150)
    plan.base("tokyo", "bulk-b", at(29, "20:20:20"), 150, priorities=(9999, 500))
    plan.base("york", "paused", at(31, "15:02:20"), 120, priorities=(9999, 10))
    plan.base("again", "bulk-a", at(31, "14:58:20"), 150, priorities=(9999, 10))
    plan.base("montevideo", "ventas", at(30, "20:55:20"), 150)
    plan.base("monday", "easter", at(29, "11:00:20"), 60, priorities=(9999, 200))
    plan.base("closing", "ventas", at(31, "20:58:20"), 90)
    plan.base("berlin", "office", at(30, "03:00:20"), 100, priorities=(9999, 2))
    plan.base("cairns", "sydney", at(1, "01:59:20"), 100)
    plan.base("letters", "mails", at(30, "21:00:20"), 40)
    plan.base("winter", "held", at(29, "08:00:20"), 60)
    plan.base("summer", "held", at(29, "08:10:20"), 10)
    plan.base("short", "kolkata", at(31, "22:00:20"), 30)

    for _ in range(20):
        plan.add("bulk-a", at(2, "08:00:40"), how="insert", priority=chance.choice([9999, 5]))

    # What the provider says.
    for _ in range(25):
        answers = [chance.choice(["deferred", "deferred", "sent", "failed"]) for _ in range(4)]
        plan.add("retrying", plan.some_time(last=at(4, "12:00")), answers=answers)
    for number in range(8):
        plan.add("mails", plan.some_time(last=at(3, "12:00")), answers=["doubt"] * (number % 5))
    # None of them is due while the provider is away: a doubt as the first answer afterwards shuts it once more.
    doubtful = [
        plan.add("doubtful", plan.some_time(at(31, "07:00"), at(3, "12:00")), answers=["doubt"]) for _ in range(6)
    ]

    # One who says STOP on Wednesday, with messages before and after, some of them waiting behind closed windows.
    for campaign in ("office", "easter", "bulk-b", "doubtful"):
        for day in (30, 31, 2, 3):
            plan.add(campaign, at(29, "09:00:30"), destination="+59899777777", how="schedule",
                     calldate=f"2026-{'03' if day > 20 else '04'}-{day:02} 11:00:10")  # fmt: skip
    plan.add("office", at(31, "19:00:30"), destination="099 777 777")

    return Scenario(
        providers=PROVIDERS,
        campaigns=CAMPAIGNS,
        messages=sorted(plan.messages, key=lambda planned: planned.came),
        pauses=[
            ("paused", at(31, "15:07:20"), at(1, "18:41:40")),
            ("office", at(30, "10:15:10"), at(30, "14:05:50")),
            ("between", at(2, "00:30:15"), at(2, "09:00:25")),
        ],
        disabled=[("reloaded", at(1, "06:30:10"), at(2, "11:00:10"))],
        released={"winter": at(31, "10:15:30")},
        resent={planned.data: at(3, "15:00:35") for planned in doubtful[:3]},
        opted_out={"+59899777777": at(1, "09:30:30")},
    )
