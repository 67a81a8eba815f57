"""Mails with files: whole on the wire, and never many in memory."""

import asyncio
import email
import email.policy
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dialerd.drivers.base import NothingSent
from dialerd.drivers.smtp import Smtp
from dialerd.model.campaign import Campaign, EmailPart
from dialerd.model.message import Channel, Message
from dialerd.model.outcome import Failed, Postponed, Sent
from dialerd.settings import Security, SmtpProvider
from tests.drivers.conformance import an_email
from tests.fakes.smtp import SmtpServer

CONTENT = random.Random(1).randbytes(200_000)


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as server:
        yield server


@pytest.fixture
async def driver(server: SmtpServer, tmp_path: Path) -> AsyncIterator[Smtp]:
    """One connection, so two mails with files at once."""
    (tmp_path / "a.pdf").write_bytes(CONTENT)
    part = EmailPart(sender="ventas@example.com", attachments=str(tmp_path))
    campaign = Campaign(name="Correo", channel=Channel.EMAIL, provider="mail", email=part)
    driver = Smtp(
        SmtpProvider(
            name="mail", host="127.0.0.1", port=server.port, security=Security.NONE, timeout_s=20.0, connections=1
        ),
        {"Correo": campaign},
    )
    yield driver
    await driver.close()


def with_a_file() -> Message:
    return an_email(data=".\r\nHola", details={"attachments": ["a.pdf"]})


async def test_files_are_whole_on_the_wire(driver: Smtp, server: SmtpServer) -> None:
    """A large mail, which is sent without being copied, arrives whole and ends where it ends."""
    assert [await driver.send(with_a_file()) for _ in range(2)] == [
        Sent("Q1"), Sent("Q2")
    ]  # fmt: skip

    for mail in server.mails:
        text, file = email.message_from_bytes(mail.content, policy=email.policy.default).iter_parts()
        assert text.get_content() == ".\r\nHola\r\n"
        assert file.get_payload(decode=True) == CONTENT
    assert server.opened == 1


async def test_few_files_in_memory(driver: Smtp, server: SmtpServer, tmp_path: Path) -> None:
    """A mail with files is composed when there is room for it: not while as many as can be sent wait already."""
    held = await driver._pool.take()
    first = [asyncio.ensure_future(driver.send(with_a_file())) for _ in range(2)]
    await server.wait_until(lambda: len(driver._pool._line._waiting) == 2)
    late = asyncio.ensure_future(driver.send(with_a_file()))
    for _ in range(2):  # it would be composed by then
        await driver._composer.compose(with_a_file())
    (tmp_path / "a.pdf").unlink()
    driver._pool.give_back(held)

    assert [type(outcome) for outcome in await asyncio.gather(*first)] == [Sent, Sent]
    assert await late == Failed("there is no attachment 'a.pdf'")


async def test_no_room_for_files(driver: Smtp, server: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds no room in time comes again, without an attempt spent; a mail without files needs none."""
    monkeypatch.setattr(driver, "_timeout_s", 0.1)
    for _ in range(2):
        await driver._large.acquire()

    assert isinstance(await driver.send(with_a_file()), Postponed)
    assert isinstance(await driver.send(an_email()), Sent)
    driver._large.release()
    assert isinstance(await driver.send(with_a_file()), Sent)


async def test_cancelled_while_composing(driver: Smtp) -> None:
    """A mail whose files are still being read is in no doubt."""
    attempt = asyncio.ensure_future(driver.send(with_a_file()))
    await asyncio.sleep(0)
    attempt.cancel()
    with pytest.raises(NothingSent):
        await attempt
