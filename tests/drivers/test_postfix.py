"""The SMTP driver and a real Postfix, which hands on what it takes to smtp-sink, where every mail becomes a file."""

import asyncio
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from dialerd.drivers import Driver
from dialerd.drivers.smtp import Smtp
from dialerd.model.campaign import Campaign, EmailPart, OnDoubt, RetryPolicy
from dialerd.model.message import Channel, Message
from dialerd.model.outcome import Deferred, Failed, Outcome, Sent, Unreachable
from dialerd.settings import Security, SmtpProvider
from tests.drivers.conformance import an_email
from tests.fakes import postfix as servers
from tests.mail.composed import compose
from tests.rig import Rig
from tests.rig import message as queued

EMAIL = EmailPart(sender="Ventas <ventas@example.com>", subject="Novedades ñ")
SPAM = EmailPart(sender="spam@example.com", subject="Novedades")
SOON = RetryPolicy(first_s=0.1)
CAMPAIGNS = {
    name: Campaign(name=name, channel=Channel.EMAIL, provider="p", email=email, on_doubt=OnDoubt.HOLD, retry=SOON)
    for name, email in {"Correo": EMAIL, "Spam": SPAM}.items()
}


class Relay:
    """Postfix, the server behind it, and where that leaves its mails."""

    def __init__(self, postfix: servers.Relay, authority: trustme.CA, dump: Path) -> None:
        self.postfix = postfix
        self.authority = authority
        self._dump = dump

    def driver(self, **keys: Any) -> Smtp:
        fields = {"name": "mail", "host": "127.0.0.1", "port": self.postfix.port, "security": Security.NONE}
        return Smtp(SmtpProvider(**fields | {"timeout_s": 20.0} | keys), CAMPAIGNS)

    def arrived(self) -> dict[str, list[bytes]]:
        """Return what has arrived behind Postfix, by the message's id."""
        found: dict[str, list[bytes]] = {}
        for file in self._dump.iterdir():
            mail = file.read_bytes()
            if named := re.search(rb"^Message-ID: <([^@>]+)@", mail, re.MULTILINE):
                found.setdefault(named[1].decode(), []).append(mail)
        return found

    async def until_arrived(self, *ids: str) -> dict[str, list[bytes]]:
        """Return what has arrived, once those are among it."""
        async with asyncio.timeout(60):
            while not set(ids) <= (found := self.arrived()).keys():
                await asyncio.sleep(0.02)
        return found


@pytest.fixture(scope="module")
def relay() -> Iterator[Relay]:
    authority = trustme.CA()
    folder = Path(tempfile.mkdtemp(prefix="dialerd-sink-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        (folder / "mails").mkdir()
        with servers.Sink(dump=folder / "mails") as sink:
            certificate = authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.bytes()
            with servers.Relay(sink.port, certificate) as postfix:
                yield Relay(postfix, authority, folder / "mails")
    finally:
        shutil.rmtree(folder)


@pytest.fixture
async def driver(relay: Relay) -> AsyncIterator[Driver]:
    driver = relay.driver()
    yield driver
    await driver.close()


def to(address: str, **changes: Any) -> Message:
    return an_email(destination=address, address=address, **changes)


async def test_delivered_through(relay: Relay, driver: Driver) -> None:
    """A mail is sent under Postfix's own queue id, and what arrives behind Postfix are our bytes, each one."""
    message = to("Juan1@example.org", data="Hola, señora:\n\n.\n..dos\n.tres\n" + "ñandú " * 200)
    outcome = await driver.send(message)

    assert isinstance(outcome, Sent)
    arrived = await relay.until_arrived(message.id)
    (mail,) = arrived[message.id]
    ours = compose(message, EMAIL).content.replace(b"\r\n", b"\n")
    assert mail.rstrip(b"\n").endswith(ours.rstrip(b"\n"))
    added = mail[: mail.index(ours[:20])].decode()
    assert f"SMTP id {outcome.provider_id}" in " ".join(added.split())
    assert "X-Mail-Args: <ventas@example.com>" in added
    assert "X-Rcpt-Args: <Juan1@example.org>" in added


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (to("nobody@example.org"), Failed("RCPT: 550 5.1.1 <nobody@example.org>: Recipient address rejected: User")),
        (to("grey1@example.org"), Deferred("RCPT: 450 4.7.1 <grey1@example.org>: Recipient address rejected: Greyl")),
        (to("juan1@example.org", campaign="Spam"), Failed("MAIL: 554 5.7.1 <spam@example.com>: Sender address rej")),
        (to("juan1@example.org", data="largo " * 5000), Failed("MAIL: 552 5.3.4 Message size exceeds fixed limit")),
    ],
    ids=["unknown", "greylisted", "sender", "size"],
)
async def test_refused(driver: Driver, message: Message, expected: Failed | Deferred) -> None:
    """What Postfix refuses comes to its outcome in its own words, and the same connection takes the next mail."""
    outcome = await driver.send(message)

    assert type(outcome) is type(expected)
    assert isinstance(outcome, Failed | Deferred)
    assert outcome.error.startswith(expected.error)
    assert isinstance(await driver.send(to("juan1@example.org")), Sent)


async def test_refused_and_accepted_together(relay: Relay) -> None:
    """Good and bad mails in any order over few connections: each gets its own answer, however far ahead we speak."""
    driver = relay.driver(connections=3)
    addresses = ("juan{}@example.org", "nobody@example.org", "grey{0}@other{0}.example")
    messages = [to(addresses[n % 3].format(n)) for n in range(60)]
    outcomes = await asyncio.gather(*(driver.send(message) for message in messages))
    await driver.close()

    assert [type(outcome) for outcome in outcomes] == [Sent, Failed, Deferred] * 20
    sent = [message.id for message in messages[::3]]
    arrived = await relay.until_arrived(*sent)
    assert {len(arrived[id_]) for id_ in sent} == {1}
    assert not {message.id for message in messages} - set(sent) & arrived.keys()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_starttls(relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loop: str) -> None:
    """STARTTLS: with a certificate that we can verify mails go, on either event loop; with another none does."""
    run = asyncio.run if loop == "asyncio" else uvloop.run

    async def send() -> list[Outcome]:
        driver = relay.driver(security=Security.STARTTLS, connections=1)
        try:
            return [await driver.send(to("juan1@example.org")) for _ in range(3)]
        finally:
            await driver.close()

    refused = run(send())
    assert {type(outcome) for outcome in refused} == {Unreachable}
    assert "certificate refused" in str(refused[0])

    relay.authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert {type(outcome) for outcome in run(send())} == {Sent}


async def test_restarted(relay: Relay, sqlite_url: str, tmp_path: Path) -> None:
    """Postfix stopped in the midst of many mails, and started again: none is lost, none is doubled, none has failed.

    Those whose answer was lost are held as doubts; all that its end has cost are no more than there were connections.
    """
    driver = relay.driver(connections=5, mails_per_connection=30)
    count = 400
    async with Rig(sqlite_url, tmp_path, driver, CAMPAIGNS["Correo"], max_in_flight=20) as rig:  # type: ignore[arg-type]
        messages = [
            queued("Correo", destination=f"juan{n}@example.org", address=f"juan{n}@example.org") for n in range(count)
        ]
        await rig.submit(*messages)
        async with asyncio.timeout(60):
            while rig.dialer.tally["sent"] < count / 4:
                await asyncio.sleep(0.001)
        relay.postfix.stop()
        await rig.until("SELECT count(*) FROM sms_spool WHERE state = 'sending'", 0)
        async with asyncio.timeout(60):
            while not rig.dialer.breaker.needs_probe:
                await asyncio.sleep(0.01)
        assert rig.dialer.tally["sent"] < count
        relay.postfix.start()
        await rig.until("SELECT count(*) FROM sms_spool WHERE state <> 'in_doubt'", 0)

        ended = await rig.rows("SELECT id, status, attempts FROM sms_repo")
        doubts = {id_ for (id_,) in await rig.rows("SELECT id FROM sms_spool")}
    await driver.close()

    assert {status for _, status, _ in ended} == {"sent"}
    # Cut off before the content, a mail has spent an attempt; cut off after it, it is a doubt.
    assert len(doubts) + sum(attempts - 1 for _, _, attempts in ended) <= 5
    sent = {id_ for id_, _, _ in ended}
    assert sent | doubts == {message.id for message in messages}
    arrived = await relay.until_arrived(*sent)
    # Postfix itself may deliver twice what it was handing on when it was stopped; it took each one once.
    taken = re.compile(rb"by relay\.example\.net \(Postfix\) with \w+\s+id (\w+)")
    names = [{name for mail in mails for name in taken.findall(mail)} for mails in arrived.values()]
    assert {len(name) for name in names} == {1}
