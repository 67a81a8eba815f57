"""A real Postfix sends our mails back, and what it writes is understood."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from dialerd.drivers.smtp import Smtp
from dialerd.mail.bounces import read_bounce
from dialerd.model.bounce import BounceKind
from dialerd.model.campaign import Campaign, EmailPart
from dialerd.model.message import Channel
from dialerd.model.outcome import Sent
from dialerd.settings import Security, SmtpProvider
from tests.drivers.conformance import an_email
from tests.fakes.postfix import Postfix
from tests.fakes.smtp import SmtpServer

#: Mails come back to ours; of the others some cannot be delivered, and some are refused by theirs.
ROUTES = """
myhostname = mx.example.net
smtpd_reject_unlisted_recipient = no
transport_maps = inline:{{ {{ example.com = smtp:[127.0.0.1]:{ours} }},
    {{ nobody.example = error:5.1.1 mailbox unavailable }}, {{ full.example = error:5.2.2 mailbox full }},
    {{ refused.example = smtp:[127.0.0.1]:{theirs} }} }}
"""

EMAIL = EmailPart(sender="Ventas <ventas@example.com>", subject="Año", return_path="bounces@example.com")
CAMPAIGNS = {"Correo": Campaign(name="Correo", channel=Channel.EMAIL, provider="p", email=EMAIL)}


@pytest.fixture
async def return_path() -> AsyncIterator[SmtpServer]:
    """The mail server to which bounces come."""
    async with SmtpServer() as server:
        yield server


@pytest.fixture
async def theirs() -> AsyncIterator[SmtpServer]:
    """A mail server that knows none of its recipients."""
    async with SmtpServer() as server:
        server.says["RCPT"] = "550 5.1.1 <someone>: no such user here"
        yield server


@pytest.fixture
def postfix(return_path: SmtpServer, theirs: SmtpServer) -> Iterator[Postfix]:
    """Run Postfix."""
    with Postfix(ROUTES, ours=return_path.port, theirs=theirs.port) as running:
        yield running


async def test_bounces_of_postfix(postfix: Postfix, return_path: SmtpServer) -> None:
    """Mails that Postfix took and cannot deliver come back to their own return paths, and say why."""
    driver = Smtp(
        SmtpProvider(name="p", host="127.0.0.1", port=postfix.port, security=Security.NONE, timeout_s=20.0), CAMPAIGNS
    )
    expected = {}
    for domain, kind, status in (
        ("nobody.example", BounceKind.HARD, "5.1.1"),
        ("full.example", BounceKind.FAILED, "5.2.2"),
        ("refused.example", BounceKind.HARD, "5.1.1"),
    ):
        message = an_email(destination=f"juan@{domain}", address=f"juan@{domain}")
        assert isinstance(await driver.send(message), Sent)
        expected[message.id] = (kind, status)
    await driver.close()
    async with asyncio.timeout(60):
        while len(return_path.mails) < len(expected):
            await asyncio.sleep(0.02)

    for mail in return_path.mails:
        (recipient,) = mail.recipients
        for found in (read_bounce(mail.content, recipient), read_bounce(mail.content)):
            assert found is not None
            assert recipient == f"bounces+{found.message_id}@example.com"
            assert (found.kind, found.status) == expected[found.message_id]
    assert {found.sender for found in return_path.mails} == {"<>"}
