"""A week of the daemon on a virtual clock, judged message by message by a plain model written apart from the engine."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.week.judge import judge, prediction
from tests.week.plain import Rules
from tests.week.running import Record, run_week
from tests.week.scenario import Scenario, at, scenario

pytestmark = pytest.mark.timeout(300)

#: A week that went wrong went wrong often.
MOST_SHOWN = 50

Week = tuple[Scenario, Record]


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Week:
    """What was planned, and what came of it."""
    planned = scenario()
    with pytest.MonkeyPatch.context() as patch:
        return planned, run_week(planned, tmp_path_factory.mktemp("week"), patch)


def test_every_message_of_a_week(week: Week) -> None:
    """Each message goes once, when its rules, pace and turn first let it, or ends as it must; outages only delay."""
    faults = sorted(judge(*week))

    assert not faults, "\n".join([f"{len(faults)} faults", *faults[:MOST_SHOWN]])


def test_the_week_has_everything(week: Week) -> None:
    """Most endings are certain before the week begins, there are some of each kind, and each outage met messages."""
    planned, record = week
    musts = Counter(prediction(Rules(planned), message) for message in planned.messages)

    assert {"sent", "expired", "blocked", "held", "waiting", None} == musts.keys()
    assert musts[None] < 0.05 * musts.total()
    assert min(musts.values()) >= 5
    assert {"sent", "failed", "deferred", "doubt", "unreachable"} == {attempt.answer for attempt in record.attempts}
    assert {"queued", "held", "in_doubt", "scheduled"} == set(record.waiting.values())
    assert len(planned.campaigns) >= 20
    assert len(planned.messages) == len(record.ended) + len(record.waiting) > 2000


def lines(campaign: str, old: str, new: str) -> Callable[[Week], Week]:
    """Return a week that was judged by another campaign file than it was run by."""

    def change(week: Week) -> Week:
        files = dict(week[0].campaigns)
        assert old in files[campaign]
        files[campaign] = files[campaign].replace(old, new)
        return replace(week[0], campaigns=files), week[1]

    return change


def planned(**given: Any) -> Callable[[Week], Week]:
    """Return a week that was judged by other operators, or other outages."""
    return lambda week: (replace(week[0], **given), week[1])


def lane(per_second: float) -> Callable[[Week], Week]:
    """Return a week that was judged by another pace of the provider."""
    return lambda week: (
        replace(week[0], providers={**week[0].providers, "lane": {"per_second": per_second}}),
        week[1],
    )


def up(name: str) -> Callable[[Week], Week]:
    """Return a week that was judged without an outage."""
    never = (at(5, "05:00"), at(5, "05:00"))
    return lambda week: (replace(week[0], down={**week[0].down, name: never}), week[1])


def happened(kind: str) -> Callable[[Week], Week]:
    """Return a week in which something else happened to one message, somewhere in its middle."""

    def change(week: Week) -> Week:
        attempts, ended = list(week[1].attempts), dict(week[1].ended)
        how = {message.data: message for message in week[0].messages}
        sent = [number for number, attempt in enumerate(attempts) if attempt.answer == "sent"]
        bulk = [number for number in sent if how[attempts[number].data].base == "spring"]
        timed = [number for number in sent if how[attempts[number].data].calldate]
        if kind == "twice":
            attempts.append(replace(attempts[bulk[20]], at=attempts[bulk[20]].at + timedelta(hours=1)))
        elif kind == "lost":
            del ended[attempts.pop(bulk[20]).data]
        elif kind == "unrecorded":
            del ended[attempts[bulk[20]].data]
        elif kind == "swapped":
            first, second = attempts[bulk[20]], attempts[bulk[21]]
            attempts[bulk[20]] = replace(first, data=second.data)
            attempts[bulk[21]] = replace(second, data=first.data)
        else:
            # All of those that went on the very second.
            for number in timed:
                went: datetime = attempts[number].at
                if went.second and went == went.replace(microsecond=0):
                    attempts[number] = replace(attempts[number], at=went - timedelta(seconds=1))
        return week[0], Record(attempts, ended, week[1].waiting)

    return change


#: By what else a week is judged than it was run by, or what else is said to have happened; and the fault found.
WRONG: dict[str, tuple[Callable[[Week], Week], str]] = {
    "open for an hour less": (lines("office", "fri;09:00-18:00", "fri;09:00-17:00"), "rules were against it"),
    "open for two minutes more": (lines("ventas", "09:00-18:00", "09:00-18:02"), "could have gone here"),
    "open five minutes before": (lines("office", "fri;09:00-18:00", "fri;08:55-18:00"), "could have gone here"),
    "not past midnight": (lines("late", "22:00-02:30", "22:00-24:00"), "rules were against it"),
    "Berlin's clocks not changed": (lines("late", "Europe/Berlin", "Africa/Lagos"), "rules were against it"),
    "Beirut's clocks not changed": (lines("beirut", "Asia/Beirut", "Africa/Cairo"), "could have gone here"),
    "Sydney's clocks not changed": (lines("sydney", "Australia/Sydney", "Pacific/Noumea"), "rules were against it"),
    "half an hour for an hour": (lines("lordhowe", "/Lord_Howe", "/Sydney"), "rules were against it"),
    "midnight of Santiago": (lines("santiago", "23:10-00:30", "23:10-23:50"), "rules were against it"),
    "a holiday dropped": (lines("easter", "[2026-04-02, 2026-04-03]", "[2026-04-02]"), "could have gone here"),
    "another holiday": (lines("easter", "except = [2026-04-02", "except = [2026-04-01"), "rules were against it"),
    "recipients asleep": (lines("awake", "08:00-21:00", "08:00-20:30"), "rules were against it"),
    "of unknown zone": (lines("awake", 'timezone = "Europe/Berlin"', 'timezone = "UTC"'), "rules were against it"),
    "never disabled": (lines("disabled", "enabled = false", "enabled = true"), "must be sent"),
    "no reload": (planned(disabled=[]), "could have gone here"),
    "expires sooner": (lines("kolkata", "expires_s = 21600", "expires_s = 18000"), "must be expired"),
    "expires later": (lines("kolkata", "expires_s = 21600", "expires_s = 28800"), "expired, but not within"),
    "a slower campaign": (lines("ventas", "per_second = 0.5", "per_second = 0.45"), "after the one before"),
    "a faster campaign": (lines("ventas", "per_second = 0.5", "per_second = 2"), "could have gone here"),
    "a slower provider": (lane(0.18), "provider lane: only"),
    "a faster provider": (lane(1), "could have gone here"),
    "a longer backoff": (lines("retrying", "first_s = 600", "first_s = 700"), "too early"),
    "a shorter backoff": (lines("retrying", "first_s = 600", "first_s = 500"), "could have gone here"),
    "fewer attempts": (lines("retrying", "attempts = 3", "attempts = 2"), "was tried again"),
    "no pause": (planned(pauses=[]), "could have gone here"),
    "another pause": (planned(pauses=[("ventas", at(30, "20:56"), at(30, "20:57"))]), "rules were against it"),
    "no release": (planned(released={}), "was never released"),
    "no opt-out": (planned(opted_out={}), "was blocked before the opt-out"),
    "an earlier opt-out": (planned(opted_out={"+59899777777": at(30, "08:00")}), "opted out"),
    "no outage of a provider": (up("night"), "could have gone here"),
    "no outage of the database": (up("database"), "could have gone here"),
    "sent twice": (happened("twice"), "was tried again"),
    "never sent": (happened("lost"), "is lost"),
    "never recorded": (happened("unrecorded"), "is lost"),
    "two swapped": (happened("swapped"), "overtook"),
    "a second early": (happened("early"), "too early"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_judge_finds_faults(week: Week, wrong: str) -> None:
    """A week that went by other rules than it is judged by, or a message of which went wrong, is found out."""
    change, fault = WRONG[wrong]

    assert any(fault in found for found in judge(*change(week)))
