"""Whether a campaign may send, and if not, which rule says so and until when."""

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from dialerd.model.calendar import Dates, parse_schedule
from dialerd.model.campaign import Campaign
from dialerd.model.message import Channel
from dialerd.model.rules import CampaignState, campaign_opens_at, state_of

#: A Wednesday, 12:00 in Montevideo.
NOON = datetime(2026, 6, 10, 15, 0, tzinfo=UTC)

SHUT_HOURS = {"schedule": parse_schedule(["mon-sun;18:00-19:00"])}
SHUT_DATES = {"dates": Dates(end=date(2026, 6, 9))}


def campaign(**given: Any) -> Campaign:
    return Campaign(name="c", channel=Channel.SMS, provider="p", zone=ZoneInfo("America/Montevideo"), **given)


@pytest.mark.parametrize(
    ("given", "paused", "state"),
    [
        ({}, False, CampaignState.OPEN),
        (SHUT_HOURS, False, CampaignState.OUT_OF_HOURS),
        ({**SHUT_HOURS, **SHUT_DATES}, False, CampaignState.OUT_OF_DATE),
        ({**SHUT_HOURS, **SHUT_DATES}, True, CampaignState.PAUSED),
        ({**SHUT_HOURS, **SHUT_DATES, "enabled": False}, True, CampaignState.DISABLED),
        ({}, True, CampaignState.PAUSED),
        ({"schedule": parse_schedule(["wed;12:00-13:00"])}, False, CampaignState.OPEN),
        ({"dates": Dates(excluded=frozenset({date(2026, 6, 10)}))}, False, CampaignState.OUT_OF_DATE),
    ],
)
def test_the_first_rule_that_holds_is_the_state(given: dict[str, Any], paused: bool, state: CampaignState) -> None:
    """A campaign is open, or shut by the first of: disabled, paused, out of date, out of hours."""
    assert state is state_of(campaign(**given), paused=paused, now=NOON)


def test_no_file_is_unknown() -> None:
    """A campaign that has messages but no file is unknown, paused or not."""
    assert CampaignState.UNKNOWN is state_of(None, paused=True, now=NOON)


@pytest.mark.parametrize(
    ("given", "opens"),
    [
        ({}, None),
        (SHUT_HOURS, datetime(2026, 6, 10, 21, tzinfo=UTC)),
        ({**SHUT_HOURS, "dates": Dates(start=date(2026, 6, 12))}, datetime(2026, 6, 12, 21, tzinfo=UTC)),
        ({**SHUT_HOURS, **SHUT_DATES}, None),
        ({**SHUT_HOURS, "enabled": False}, None),
    ],
    ids=["open", "hours", "dates", "never again", "disabled"],
)
def test_the_calendar_says_when_it_opens(given: dict[str, Any], opens: datetime | None) -> None:
    """Out of hours or date, a campaign opens when both allow it; otherwise no instant is known."""
    assert opens == campaign_opens_at(campaign(**given), NOON)
