"""What intake computes of a message, and what it refuses."""

from dataclasses import replace
from typing import Any

import pytest

from dialerd.examine import ZONE_NOT_ASKED, Examined, examine, number_for
from dialerd.model.calendar import parse_schedule
from dialerd.model.campaign import Campaign, EmailPart, TemplateSource
from dialerd.model.errors import BadAddress, BadText
from dialerd.model.message import Channel
from dialerd.model.placeholders import Missing
from dialerd.settings import DiscardProvider, NumberFormat

SMS = Campaign(name="s", channel=Channel.SMS, provider="p", region="UY", max_parts=2)
TEMPLATES = {"t": TemplateSource(name="t", text="{{name}}")}
MAIL = Campaign(
    name="m", channel=Channel.EMAIL, provider="p",
    email=EmailPart(sender="a@example.com", attachments="/srv/none", templates=TEMPLATES),
)  # fmt: skip


def test_an_sms() -> None:
    """An SMS gets its canonical address and its number of parts; nobody looks up its zone without need."""
    assert Examined("59898344484", ZONE_NOT_ASKED, 2) == examine(SMS, "098 344 484", "x" * 161, None)


def test_zones_are_looked_up_for_recipients_hours() -> None:
    """With recipient_hours the zones that the number may be in come along."""
    hours = Campaign(
        name="s",
        channel=Channel.SMS,
        provider="p",
        region="UY",
        recipient_hours=parse_schedule(["mon-sun;08:00-21:00"]),
    )
    assert "America/Montevideo" == examine(hours, "098344484", "x", None).zone


@pytest.mark.parametrize(
    ("data", "reason"),
    [("", "empty text"), ("x" * 400, "too long"), ("a\0b", "bad text")],
    ids=["empty", "long", "NUL"],
)
def test_texts_that_cannot_go(data: str, reason: str) -> None:
    """An empty text, one of too many parts and one with a NUL are refused with their reason."""
    with pytest.raises(BadText) as refused:
        examine(SMS, "098344484", data, None)

    assert reason == refused.value.reason


@pytest.mark.parametrize(
    ("data", "details", "reason"),
    [
        ("", {"template": "absent"}, "bad text"),
        ("", None, "empty text"),
        (" \n", None, "empty text"),
        ("", {"template": "t"}, "bad variables"),
        ("hello ${name}", {"variables": {"x": 1}}, "bad variables"),
        ("hello", {"variables": {"x": 1}, "subject": "${y}"}, "bad variables"),
        ("hello", {"subject": "x" * 1001}, "too long"),
        ("hello", {"attachments": ["../x"]}, "bad text"),
        ("hello", {"invitation": {"title": "x"}}, "bad text"),
    ],
)
def test_no_mail_goes_without_what_it_asks_for(data: str, details: dict[str, Any] | None, reason: str) -> None:
    """A mail that could not be composed as it is asked for is refused at the door."""
    with pytest.raises(BadText) as refused:
        examine(MAIL, "ana@example.com", data, details)

    assert reason == refused.value.reason


def test_a_mail_as_it_stands() -> None:
    """A mail with a body goes, whatever template it names; values that no text asks for change nothing."""
    details = {"subject": "Hi", "template": "absent", "variables": {"name": "Ana"}}

    assert Examined("ana@example.com", ZONE_NOT_ASKED, 1) == examine(MAIL, "Ana@Example.com", "costs $500", details)


@pytest.mark.parametrize(
    ("accept", "style", "taken"),
    [(".", "plus", True), (r"^\+?598", "plus", True), ("^598", "plus", False), ("^598", "e164", True),
     (r"^09\d{7}$", "national", True), (r"\d{3} \d{3}", "as_is", True), ("^097", "national", False)],
)  # fmt: skip
def test_numbers_that_a_provider_accepts(accept: str, style: str, taken: bool) -> None:
    """`accept` is searched in the number as the provider gets it; another number is a bad one, from the door on."""
    provider = DiscardProvider(name="p", accept=accept, number_format=NumberFormat(style))
    if taken:
        assert examine(SMS, "098 344 484", "x", None, [provider]).address == "59898344484"
        return
    with pytest.raises(BadAddress, match="the provider p does not accept") as refused:
        examine(SMS, "098 344 484", "x", None, [provider])
    assert refused.value.reason == "bad number"
    assert "344" not in str(refused.value)


def test_one_provider_is_enough() -> None:
    """Of several providers it is enough that one accepts a number; where none does, all are named."""
    strict = DiscardProvider(name="p", accept="^097")
    lenient, any_ = DiscardProvider(name="q", accept="598"), DiscardProvider(name="r")
    for providers in ([strict, lenient], [strict, any_]):
        assert examine(SMS, "098344484", "x", None, providers).address == "59898344484"
    with pytest.raises(BadAddress, match=r"the providers p and s do not accept this number .*with number_format plus"):
        examine(SMS, "098344484", "x", None, [strict, DiscardProvider(name="s", accept="^097")])


def test_addresses_that_a_provider_accepts() -> None:
    """For a mail provider `accept` is about the address."""
    provider = DiscardProvider(name="p", accept="@example[.]com$")
    assert number_for(provider, Channel.EMAIL, "A@example.com", "a@example.com", None) == "a@example.com"
    with pytest.raises(BadAddress) as refused:
        examine(MAIL, "a@example.org", "x", None, [provider])
    assert refused.value.reason == "bad address"


def test_variables_of_an_sms_count() -> None:
    """The parts of an SMS are those of the text that is sent, its variables filled in."""
    text = "x" * 150 + " ${name}"

    assert 1 == examine(SMS, "098344484", text, None).parts
    assert 2 == examine(SMS, "098344484", text, {"variables": {"name": "Ana Fernandez"}}).parts
    with pytest.raises(BadText, match="3 SMS parts"):
        examine(SMS, "098344484", text, {"variables": {"name": "y" * 200}})
    with pytest.raises(BadText, match="'name'"):
        examine(SMS, "098344484", text, {"variables": {"nombre": "Ana"}})
    blank = replace(SMS, missing=Missing.BLANK)
    assert 1 == examine(blank, "098344484", text, {"variables": {"nombre": "Ana"}}).parts
