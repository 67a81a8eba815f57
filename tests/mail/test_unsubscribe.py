"""Links to unsubscribe: nobody can make one for somebody else."""

import base64
import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialerd.mail.unsubscribe import _mark, link, read_token, token
from dialerd.model.campaign import Campaign, EmailPart
from dialerd.model.errors import Refused
from dialerd.model.message import Channel
from tests.mail.composed import a_message, compose

PART = EmailPart(sender="a@example.com", unsubscribe="https://example.com/u?list=1", secret="s3cret")
CAMPAIGNS = {
    "Correo": Campaign(name="Correo", channel=Channel.EMAIL, provider="p", email=PART),
    "Otra": Campaign(name="Otra", channel=Channel.EMAIL, provider="p", email=EmailPart(sender="a@b", secret="other")),
    "Sin": Campaign(name="Sin", channel=Channel.EMAIL, provider="p", email=EmailPart(sender="a@b")),
    "SMS": Campaign(name="SMS", channel=Channel.SMS, provider="p"),
}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_a_token_is_read_back(address: str) -> None:
    """A token of ours stands for its campaign and address, whatever they are spelt like."""
    campaign, found = read_token(token("s3cret", "Correo", address), CAMPAIGNS)

    assert (campaign.name, found) == ("Correo", address)


GOOD = token("s3cret", "Correo", "ana@example.com")
SIGNATURE = GOOD.partition(".")[2]


@pytest.mark.parametrize(
    "told",
    [
        "", ".", "x", GOOD[:-1], GOOD + "A", GOOD + "=", " " + GOOD, GOOD.replace(".", ".."), GOOD + "\n", "ñ" + GOOD,
        base64.urlsafe_b64encode(_mark("Correo") + b"eve@example.com").decode().rstrip("=") + "." + SIGNATURE,
        base64.urlsafe_b64encode(b"\xff").decode().rstrip("=") + "." + SIGNATURE,
        token("guess", "Correo", "ana@example.com"), token("s3cret", "Otra", "ana@example.com"),
        token("", "Sin", "ana@example.com"), token("s3cret", "SMS", "ana@example.com"),
        token("s3cret", "Gone", "ana@example.com"), "A" * 10_000,
    ],
)  # fmt: skip
def test_other_tokens(told: str) -> None:
    """What was not signed with the campaign's secret, or was changed in a single letter, is refused."""
    with pytest.raises(Refused):
        read_token(told, CAMPAIGNS)


def test_in_a_mail() -> None:
    """A mail has the link in both headers (RFC 8058), and in its text where that asks for it."""
    mail = compose(a_message("Baja: ${unsubscribe_url} ${name}", variables={"name": "Ana"}), PART)
    read = email.message_from_bytes(mail.content, policy=email.policy.default)

    expected = link(PART, "Correo", "juan@example.org")
    assert expected is not None
    assert expected.startswith("https://example.com/u?list=1&token=")
    assert read["List-Unsubscribe"] == f"<{expected}>"
    assert read["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert expected in read.get_content()
    assert read_token(expected.rpartition("=")[2], CAMPAIGNS)[1] == "juan@example.org"
    assert "List-Unsubscribe" not in compose(a_message(), EmailPart(sender="a@example.com")).content.decode()


def test_in_a_body_without_variables() -> None:
    """A body asks for the link whether or not its message brings variables; what else it says stays as it stands."""
    html = compose(
        a_message('<p>${x} <a href="{{ unsubscribe_url }}">Baja</a></p>', subject="${unsubscribe_url}"), PART
    )
    text, rich = email.message_from_bytes(html.content, policy=email.policy.default).iter_parts()

    expected = link(PART, "Correo", "juan@example.org")
    assert expected is not None
    assert text.get_content().strip() == f"${{x}} Baja ({expected})"
    assert rich.get_content().strip() == f'<p>${{x}} <a href="{expected.replace("&", "&amp;")}">Baja</a></p>'
    assert html.subject == expected
    without = compose(a_message("${unsubscribe_url}"), EmailPart(sender="a@example.com"))
    assert b"${unsubscribe_url}" in without.content


def test_the_longest_link() -> None:
    """The longest names, addresses and links fit on one line of a header."""
    name, address = "ñ" * 200, "a" * 64 + "@" + "b" * 185 + ".com"
    part = EmailPart(sender="a@example.com", unsubscribe="https://example.com/" + "u" * 380, secret="s")
    found = link(part, name, address)

    assert found is not None
    assert len(f"List-Unsubscribe: <{found}>") <= 998
    campaign = Campaign(name=name, channel=Channel.EMAIL, provider="p", email=part)
    assert read_token(found.rpartition("=")[2], {name: campaign}) == (campaign, address)
