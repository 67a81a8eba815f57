"""The SMTP driver: what each answer at each verb comes to, TLS that is verified, and connections used again."""

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trustme

from dialerd.drivers import Driver, build, smtp, smtp_connection, smtp_pool, smtp_replies
from dialerd.drivers.base import NothingSent
from dialerd.drivers.smtp import Smtp, _queue_id
from dialerd.model.campaign import Campaign, EmailPart
from dialerd.model.errors import Unavailable
from dialerd.model.message import Channel, Message
from dialerd.model.outcome import Deferred, Failed, InDoubt, Outcome, Postponed, Sent, Throttled, Unreachable
from dialerd.settings import Security, SmtpProvider
from tests.drivers.conformance import DriverConformance, Kind, Peer, an_email
from tests.fakes.smtp import DROP, HANG, SmtpServer
from tests.mail.composed import compose

EMAIL = EmailPart(sender="Ventas <ventas@example.com>", subject="Novedades")
CAMPAIGNS = {"Correo": Campaign(name="Correo", channel=Channel.EMAIL, provider="mail", email=EMAIL)}

PASSWORD = "correct horse; ñandú"

Make = Callable[..., Smtp]


def provider(server: SmtpServer, **keys: Any) -> SmtpProvider:
    fields = {"name": "mail", "host": "127.0.0.1", "port": server.port, "security": Security.NONE, "timeout_s": 20.0}
    return SmtpProvider(**fields | keys)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The final dot is waited for no longer than for other answers."""
    monkeypatch.setattr(smtp_connection, "FINAL_DOT", 1)


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    async with SmtpServer(password=PASSWORD) as server:
        yield server


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    drivers: list[Smtp] = []

    def build_one(server: SmtpServer, **keys: Any) -> Smtp:
        drivers.append(Smtp(provider(server, **keys), CAMPAIGNS))
        return drivers[-1]

    yield build_one
    for driver in drivers:
        await driver.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's store knows the authority."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


def certificate(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(tls)
    return tls


# -- the list ------------------------------------------------------------------------------------------------------


class SmtpPeer:
    """The scripted server, and a driver that speaks to it; towards a server that hangs it is impatient."""

    SAYS: ClassVar[dict[Kind, dict[str, Any]]] = {
        Kind.DEFERRED: {"RCPT": "450 4.2.1 mailbox busy"},
        Kind.REJECTED: {"RCPT": "550 5.1.1 no such user"},
        Kind.THROTTLED: {"MAIL": "421 4.7.0 too fast"},
        Kind.HANGING: {"dot": HANG},
        Kind.SLOW: {"dot": HANG},
        Kind.ANSWER_LOST: {"dot": DROP},
        Kind.NONSENSE: {"dot": "certainly"},
    }

    def __init__(self, server: SmtpServer) -> None:
        self.server = server
        self.driver: Driver = build(provider(server), CAMPAIGNS)

    async def script(self, kind: Kind) -> None:
        self.server.says = dict(self.SAYS.get(kind, {}))
        if kind is Kind.HANGING:
            self.driver = Smtp(provider(self.server, timeout_s=0.7), CAMPAIGNS)
        if kind in {Kind.UNREACHABLE, Kind.DOWN}:
            await self.server.stop()
        else:
            await self.server.start()

    async def reached(self) -> None:
        await self.server.reached()

    def accepted(self) -> Collection[str]:
        return [mail.id for mail in self.server.mails]


class TestConformance(DriverConformance):
    """As every driver."""

    kinds: ClassVar[frozenset[Kind]] = frozenset(Kind)
    message: ClassVar[Callable[..., Message]] = staticmethod(an_email)

    @pytest.fixture
    async def peer(self, server: SmtpServer) -> AsyncIterator[Peer]:
        peer = SmtpPeer(server)
        first = peer.driver
        yield peer
        for driver in (first, peer.driver):
            await driver.close()


# -- answers -------------------------------------------------------------------------------------------------------

LATER = "451 4.3.0 come back"
NO = "554 5.7.1 we do not want you"
GO_AWAY = "421 4.3.2 shutting down"

VERDICTS: dict[str, dict[str, type[Outcome]]] = {
    **{
        verb: {LATER: Unreachable, NO: Unreachable, GO_AWAY: Throttled, HANG: Unreachable, DROP: Unreachable}
        for verb in ("connect", "EHLO", "STARTTLS", "AUTH")
    },
    "MAIL": {LATER: Deferred, NO: Failed, GO_AWAY: Throttled, HANG: Unreachable, DROP: Unreachable},
    "RCPT": {LATER: Deferred, NO: Failed, GO_AWAY: Postponed, HANG: Deferred, DROP: Deferred},
    "DATA": {LATER: Deferred, NO: Failed, GO_AWAY: Postponed, HANG: Deferred, DROP: Deferred},
    "dot": {LATER: Deferred, NO: Failed, GO_AWAY: Postponed, HANG: InDoubt, DROP: InDoubt},
}
CASES: list[tuple[str, str, type[Outcome]]]
CASES = [(verb, answer, verdict) for verb, answers in VERDICTS.items() for answer, verdict in answers.items()]


CASES += [(f"{verb} ahead", *rest) for verb, *rest in CASES if verb in {"MAIL", "RCPT", "DATA", "dot"}]


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(("verb", "answer", "verdict"), CASES, ids=[f"{verb}-{said[:4]}" for verb, said, _ in CASES])
async def test_verdict(authority: trustme.CA, make: Make, verb: str, answer: str, verdict: type[Outcome]) -> None:
    """Each way of saying no at each verb comes to its outcome, with the server's words; the next mail is sent.

    Whether the server takes commands ahead or not, the answers mean the same.
    """
    verb, _, ahead = verb.partition(" ")
    async with SmtpServer(tls=certificate(authority), password=PASSWORD, pipelining=bool(ahead)) as server:
        keys = {"security": Security.STARTTLS, "username": "u", "password": PASSWORD}
        driver = make(server, timeout_s=0.7 if answer == HANG else 20.0, **keys)
        server.says = {verb: answer}
        outcome = await driver.send(an_email())

        assert type(outcome) is verdict
        assert not isinstance(outcome, Sent)
        assert (outcome.error if answer in {HANG, DROP} else answer[:3]) in outcome.error
        assert len(server.mails) == (verdict is InDoubt)

        server.says, server.mails = {}, []
        message = an_email(address="ana@example.net", destination="ana@example.net")
        assert isinstance(await driver.send(message), Sent)
        assert [mail.id for mail in server.mails] == [message.id]


@pytest.mark.parametrize(
    ("verb", "answer", "verdict"),
    [
        ("RCPT", "550 4.2.1 try again", Deferred),
        ("dot", "554 4.7.1 greylisted", Deferred),
        ("dot", "552 5.3.4 too big", Failed),
        ("MAIL", "552 5.3.4 too big", Failed),
        ("MAIL", "550 5.7.1 not your sender", Failed),
        ("MAIL", "530 5.7.0 authentication required", Unreachable),
        ("RCPT", "530 5.7.0 authentication required", Unreachable),
        ("DATA", "503 5.5.1 bad sequence", Deferred),
        ("DATA", "250 yes", Deferred),
        ("MAIL", "?", Deferred),
        ("RCPT", "?", Deferred),
        ("dot", "354 go on", InDoubt),
        ("dot", "-250 yes", InDoubt),
    ],
)
async def test_odd_answers(server: SmtpServer, make: Make, verb: str, answer: str, verdict: type[Outcome]) -> None:
    """The enhanced status counts, what speaks of the session fails no mail, and nonsense is never a yes."""
    driver = make(server)
    server.says = {verb: [answer]}

    assert isinstance(await driver.send(an_email()), verdict)
    assert isinstance(await driver.send(an_email()), Sent)


async def test_odd_characters(server: SmtpServer, make: Make) -> None:
    """A server's words are kept on one line, without what a database cannot store, and not at any length."""
    server.says = {"RCPT": "550-5.1.1 one\r\n550-5.1.1 t\0w\x1bo\r\n550 5.1.1 " + "x" * 5000}
    outcome = await make(server).send(an_email())

    assert isinstance(outcome, Failed)
    assert outcome.error.startswith("RCPT: 550 5.1.1 one 5.1.1 t w o 5.1.1 xxx")
    assert len(outcome.error) < 500


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("2.0.0 Ok: queued as 4c8Q2X1zZz", "4c8Q2X1zZz"),
        ("OK id=1rABcd-0001Xy-2Z", "1rABcd-0001Xy-2Z"),
        ("2.6.0 <a@b> [InternalId=12345, Hostname=h] Queued mail for delivery", "12345"),
        ("2.0.0 3AB12C Message accepted for delivery", "3AB12C"),
        ("2.0.0 OK 1700000000 a1-2002sm.31 - gsmtp", "2.0.0 OK 1700000000 a1-2002sm.31 - gsmtp"),
        ("x" * 500, "x" * 100),
        ("", None),
    ],
)
def test_queue_id(text: str, name: str | None) -> None:
    """The server's name for a mail is found in its answer; else the answer stands for it, cut short."""
    assert _queue_id(text) == name


async def test_lost_while_the_content_goes(server: SmtpServer, make: Make) -> None:
    """A connection that breaks after the content began to go leaves a doubt, even if no dot can have arrived."""
    driver = make(server)
    server.says = {"DATA": "354 go on"}
    attempt = asyncio.ensure_future(driver.send(an_email(data="some text\n" * 600_000)))
    await server.wait_until(lambda: server.unread > 0)
    server.cut()

    assert isinstance(await attempt, InDoubt)


async def test_cancelled_while_the_content_goes(
    server: SmtpServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled within the content, what was not yet sent stays unsent, the final dot above all."""
    put = smtp_connection.Connection.put
    sent_over: list[Any] = []

    def put_and_tell(self: smtp_connection.Connection, content: bytes) -> None:
        put(self, content)
        assert self._replies is not None
        sent_over.append(self._replies._transport)

    monkeypatch.setattr(smtp_connection.Connection, "put", put_and_tell)
    server.says = {"DATA": "354 go on"}
    attempt = asyncio.ensure_future(make(server).send(an_email(data="some text\n" * 600_000)))
    await server.wait_until(lambda: server.unread > 0)
    attempt.cancel()
    await asyncio.wait([attempt])

    assert attempt.cancelled()
    assert sent_over[0].get_write_buffer_size() == 0


async def test_lost_before_the_content_goes(server: SmtpServer, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that breaks together with the leave to send the content leaves no doubt: nothing was sent."""
    hear = smtp_replies.Replies.next

    async def hear_and_lose(self: smtp_replies.Replies, limit_s: float, to: str) -> smtp_replies.Reply:
        reply = await hear(self, limit_s, to)
        if to == "DATA":
            server.cut()
            await server.wait_until(lambda: not self.is_open)
        return reply

    monkeypatch.setattr(smtp_replies.Replies, "next", hear_and_lose)

    assert await make(server).send(an_email()) == Deferred("connection lost before the content")


async def test_answer_too_many(server: SmtpServer, make: Make) -> None:
    """An answer that nobody asked for is not taken for the next mail's."""
    driver = make(server, connections=1)
    server.says = {"dot": ["250 yes\r\n250 yes, yes"]}
    assert isinstance(await driver.send(an_email()), Sent)
    server.says = {"RCPT": ["550 5.1.1 no such user"]}
    outcome = await driver.send(an_email())

    assert not isinstance(outcome, Sent)
    assert len(server.mails) == 1


async def test_late_answer(server: SmtpServer, make: Make) -> None:
    """After a timeout the connection is gone: a late yes is nobody's."""
    driver = make(server, connections=1, timeout_s=0.5)
    server.slow_s = 0.8
    assert isinstance(await driver.send(an_email()), InDoubt)
    server.slow_s = 0.0
    server.says = {"dot": "554 5.7.1 no"}

    assert isinstance(await driver.send(an_email()), Failed)
    assert server.opened == 2


async def test_patience(server: SmtpServer, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to the final dot may take ten times as long as another: five minutes with the usual limit."""
    monkeypatch.undo()
    driver = make(server, timeout_s=0.5)
    server.slow_s = 1.0

    assert isinstance(await driver.send(an_email()), Sent)
    assert smtp_connection.FINAL_DOT * SmtpProvider(name="mail", host="mx").timeout_s == 300


async def test_cancelled(server: SmtpServer, make: Make) -> None:
    """Cancelled, CancelledError comes through, the connection is dropped and its place is free again.

    Before the content has gone, it says that nothing can have been accepted.
    """
    driver = make(server, connections=1)
    for verb in ("connect", "EHLO", "MAIL", "RCPT", "DATA", "dot"):
        server.says = {verb: HANG}
        attempt = asyncio.ensure_future(driver.send(an_email()))
        await server.reached()
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await attempt
        assert cancelled.type is (asyncio.CancelledError if verb == "dot" else NothingSent)
        await server.wait_until(lambda: server.connections == 0)

    server.says = {}
    assert isinstance(await driver.send(an_email()), Sent)


async def test_attempt_limit(server: SmtpServer, make: Make) -> None:
    """The dialer's limit comes after all of the driver's own."""
    driver = make(server, timeout_s=2)
    assert driver.attempt_limit_s is not None
    assert driver.attempt_limit_s > 7 * 2 + 10 * 2


async def test_commands_ahead(make: Make) -> None:
    """To a server that takes them, all commands go together; after a refusal no content goes, and the next mail may."""
    async with SmtpServer(pipelining=True) as server:
        driver = make(server, connections=1)
        for verb, verdict in (("MAIL", Deferred), ("RCPT", Deferred), ("DATA", Deferred), ("", Sent)):
            server.commands.clear()
            server.says = {verb: ["451 4.3.0 later"]}
            assert isinstance(await driver.send(an_email()), verdict)
            assert server.commands["MAIL"] == server.commands["RCPT"] == server.commands["DATA"] == 1
        assert (len(server.mails), server.opened) == (1, 1)

        # A server that wants a content all the same shall have none, not even an empty one.
        server.says = {"RCPT": ["550 5.1.1 no such user"], "DATA": ["354 go on"]}
        assert isinstance(await driver.send(an_email()), Failed)
        assert isinstance(await driver.send(an_email()), Sent)
        assert (len(server.mails), server.opened) == (2, 2)


async def test_said_unasked(server: SmtpServer, make: Make) -> None:
    """A connection on which the server has said something between two mails is not used again."""
    driver = make(server, connections=1)
    await driver.send(an_email())
    server.push("421 4.4.2 you are too slow")
    (connection,) = driver._pool._free
    await server.wait_until(lambda: not connection.in_step)

    assert isinstance(await driver.send(an_email()), Sent)
    assert (server.opened, server.commands["MAIL"]) == (2, 2)


async def test_endless_answer(server: SmtpServer, make: Make) -> None:
    """An answer without an end takes no memory without an end: it is none."""
    server.says = {"RCPT": ["250-" + "x" * 200_000]}
    outcome = await make(server).send(an_email())

    assert outcome == Deferred("RCPT: no SMTP reply (an endless answer)")


# -- what is sent --------------------------------------------------------------------------------------------------


async def test_same_bytes(server: SmtpServer, make: Make) -> None:
    """Every attempt of a message puts the same bytes on the wire, from and to bare addresses."""
    message = an_email(data="..\r\n.\r\n.one\nñandú\r\n.\r\nMAIL FROM:<x@y.z>")
    driver = make(server)
    await driver.send(message)
    await driver.send(message)

    first, second = server.mails
    assert first.content == second.content == compose(message, EMAIL).content
    assert (first.sender, first.recipients) == ("ventas@example.com", ("juan@example.org",))


@pytest.mark.parametrize("data", ["a\r\n.\r\nb", "a\n.\nb", "a\r.\rb", "a\n.\r\nb", ".", "no end"])
async def test_dots(server: SmtpServer, make: Make, data: str) -> None:
    """No text ends a mail early."""
    message = an_email(data=data)
    assert isinstance(await make(server).send(message), Sent)

    assert [mail.content for mail in server.mails] == [compose(message, EMAIL).content]
    assert server.commands["MAIL"] == server.commands["DATA"] == 1


@pytest.mark.parametrize(
    "address",
    ["a b@example.org", "a@example.org\r\nDATA", "a@example.org\0", "juan@a＞¨b.org", "<a@b.c>", "no address"],
)
async def test_injection(server: SmtpServer, make: Make, address: str) -> None:
    """An address that would be more than an address in a command has failed, and the server never hears of it."""
    outcome = await make(server).send(an_email(destination=address, address=address))

    assert isinstance(outcome, Failed)
    assert not server.commands


async def test_beyond_ascii(server: SmtpServer, make: Make) -> None:
    """A local part beyond ASCII goes to a server that takes such."""
    message = an_email(destination="ñandú@example.org", address="ñandú@example.org")
    assert isinstance(await make(server).send(message), Sent)

    (mail,) = server.mails
    assert mail.recipients == ("ñandú@example.org",)
    assert {"SMTPUTF8", "BODY=8BITMIME"} <= set(mail.options)


async def test_beyond_ascii_not_offered(make: Make) -> None:
    """A local part beyond ASCII has failed where the server takes none, and the connection goes on."""
    async with SmtpServer(enable_SMTPUTF8=False) as server:
        driver = make(server, connections=1)
        outcome = await driver.send(an_email(destination="ñandú@example.org", address="ñandú@example.org"))

        assert isinstance(outcome, Failed)
        assert "SMTPUTF8" in outcome.error
        assert isinstance(await driver.send(an_email()), Sent)
        assert (server.opened, server.commands["MAIL"]) == (1, 1)


async def test_beyond_ascii_domain(server: SmtpServer, make: Make) -> None:
    """A domain beyond ASCII needs nothing of the server."""
    message = an_email(destination="juan@ñandú.org", address="juan@ñandú.org")
    assert isinstance(await make(server).send(message), Sent)

    assert server.mails[0].recipients == ("juan@xn--and-6ma2c.org",)
    assert "SMTPUTF8" not in server.mails[0].options


async def test_too_big(make: Make) -> None:
    """A mail that is longer than the server takes is refused before it is sent."""
    async with SmtpServer(data_size_limit=5000) as server:
        driver = make(server)

        assert isinstance(await driver.send(an_email(data="a " * 5000)), Failed)
        assert server.commands["DATA"] == 0
        assert isinstance(await driver.send(an_email()), Sent)


async def test_campaign_without_part(server: SmtpServer, make: Make) -> None:
    """A campaign that lost its [email] table is no reason to throw its mails away."""
    assert isinstance(await make(server).send(an_email(campaign="Otra")), Deferred)
    assert server.opened == 0


# -- TLS and login -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
async def test_encrypted(authority: trustme.CA, make: Make, security: Security) -> None:
    """With a certificate of an authority that the system trusts, mails go encrypted, both ways."""
    async with SmtpServer(tls=certificate(authority), implicit=security is Security.TLS) as server:
        driver = make(server, security=security, connections=1)
        await driver.probe()

        assert isinstance(await driver.send(an_email()), Sent)
        assert server.commands["STARTTLS"] == (security is Security.STARTTLS)
        assert len(server.mails) == server.opened == 1


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
async def test_untrusted_certificate(authority: trustme.CA, make: Make, security: Security) -> None:
    """A certificate of an unknown authority is refused, and nothing is sent; one of `ca` is none."""
    async with SmtpServer(tls=certificate(authority), implicit=security is Security.TLS) as server:
        outcome = await make(server, security=security, username="u", password=PASSWORD).send(an_email())

        assert isinstance(outcome, Unreachable)
        assert "certificate refused" in outcome.error
        assert not server.logins
        assert not server.mails

        ca = authority.cert_pem.bytes().decode()
        assert isinstance(await make(server, security=security, ca=ca).send(an_email()), Sent)


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
async def test_wrong_name(authority: trustme.CA, make: Make, security: Security) -> None:
    """A good certificate of somebody else is refused, and nothing is sent."""
    tls = certificate(authority, "other.example.org")
    async with SmtpServer(tls=tls, implicit=security is Security.TLS) as server:
        outcome = await make(server, security=security, username="u", password=PASSWORD).send(an_email())

        assert isinstance(outcome, Unreachable)
        assert "not valid for" in outcome.error
        assert not server.logins
        assert not server.mails


async def test_starttls_not_offered(server: SmtpServer, make: Make) -> None:
    """A server that offers no encryption gets neither the password nor a mail."""
    outcome = await make(server, security=Security.STARTTLS, username="u", password=PASSWORD).send(an_email())

    assert outcome == Unreachable(f"127.0.0.1:{server.port}: STARTTLS: the server does not offer it")
    assert not server.logins
    assert server.commands["MAIL"] == 0


async def test_tls_to_plain_server(server: SmtpServer, make: Make) -> None:
    """TLS spoken to a server that speaks none ends in a reason."""
    outcome = await make(server, security=Security.TLS, timeout_s=5).send(an_email())

    assert isinstance(outcome, Unreachable)
    assert "TLS failed" in outcome.error


async def test_login(server: SmtpServer, make: Make) -> None:
    """One login a connection, in UTF-8."""
    driver = make(server, connections=1, username="u", password=PASSWORD)
    await driver.send(an_email())
    await driver.send(an_email())

    assert server.logins == [(b"u", PASSWORD.encode())]


async def test_wrong_password(
    server: SmtpServer, make: Make, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A refused login says why, is tried once only, and the password stands nowhere."""
    caplog.set_level(logging.DEBUG)
    wrong = "hunter2hunter2"
    driver = make(server, username="u", password=wrong)
    outcome = await driver.send(an_email())
    with pytest.raises(Unavailable) as trouble:
        await driver.probe()
    # What the server's own log holds is not ours.
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("mail.")]

    assert isinstance(outcome, Unreachable)
    assert "login: 535 5.7.8" in outcome.error
    assert [login for login, _ in server.logins] == [b"u", b"u"]
    told = [
        repr(outcome),
        repr(trouble.value),
        repr(trouble.value.__cause__),
        repr(vars(driver)),
        *ours,
        *capfd.readouterr(),
    ]
    assert not [text for text in told if wrong in text]


async def test_password_repeated(server: SmtpServer, make: Make) -> None:
    """A server that repeats what it was told does not make us repeat the password."""
    server.says = {"AUTH": "535 5.7.8 bad: AHUAaHVudGVyMmh1bnRlcjI= hunter2hunter2 aHVudGVyMmh1bnRlcjI="}
    outcome = await make(server, username="u", password="hunter2hunter2").send(an_email())

    assert isinstance(outcome, Unreachable)
    assert outcome.error.endswith("login: 535 5.7.8 bad: … … …")


async def test_other_mechanism(server: SmtpServer, make: Make) -> None:
    """A mechanism that the server offers without knowing it is no wrong password: the next one is tried."""
    server.says = {"AUTH": ["504 5.5.4 unrecognized mechanism"]}

    assert isinstance(await make(server, username="u", password=PASSWORD).send(an_email()), Sent)
    assert server.commands["AUTH"] == 2


async def test_no_login_offered(make: Make) -> None:
    """A server that offers no login gets no mail from somebody who was told to log in."""
    async with SmtpServer(auth_require_tls=True) as server:
        outcome = await make(server, username="u", password=PASSWORD).send(an_email())

        assert isinstance(outcome, Unreachable)
        assert "login: the server offers none that we know" in outcome.error


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "x" * 70 + ".example"])
async def test_no_such_host(server: SmtpServer, make: Make, host: str) -> None:
    """A host that is none is unreachable, with a reason."""
    outcome = await make(server, host=host).send(an_email())

    assert isinstance(outcome, Unreachable)
    assert outcome.error.startswith(f"{host}:{server.port}: connecting: ")


@pytest.mark.parametrize("verb", ["connect", "AUTH", "NOOP"])
async def test_probe(server: SmtpServer, make: Make, verb: str) -> None:
    """A probe logs in on a fresh connection and asks for an answer there; nothing less counts."""
    driver = make(server, connections=1, username="u", password=PASSWORD)
    await driver.send(an_email())
    await driver.probe()
    assert (server.opened, server.commands["QUIT"], server.commands["NOOP"], server.most_at_once) == (2, 1, 1, 1)
    server.says = {verb: "454 4.7.0 not now"}

    with pytest.raises(Unavailable, match="454"):
        await driver.probe()


# -- domains -------------------------------------------------------------------------------------------------------


def to(domain: str, **changes: Any) -> Message:
    return an_email(address=f"a@{domain}", destination=f"a@{domain}", **changes)


async def test_a_domain_that_refuses(server: SmtpServer, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a domain refuses, fewer mails go to it at once, the rest not now; others go as before."""
    monkeypatch.setattr(smtp, "PATIENCE_S", 0.0)
    driver = make(server, connections=8)

    async def at_once(domain: str, count: int = 8) -> Counter[type[Outcome]]:
        return Counter(map(type, await asyncio.gather(*(driver.send(to(domain)) for _ in range(count)))))

    server.says = {"RCPT": "450 4.7.1 later"}
    for limit in (8, 4, 2, 1, 1):
        assert await at_once("bad.example") == Counter({Deferred: limit, Postponed: 8 - limit})
    server.says = {}
    assert await at_once("good.example") == {Sent: 8}
    for limit in (1, 2, 2, 3, 4):
        assert await at_once("bad.example") == {Sent: limit, Postponed: 8 - limit}


async def test_a_domain_that_shuts(server: SmtpServer, make: Make) -> None:
    """A domain's 421 lets that domain rest and costs no attempt; three domains' in a row are the provider's."""
    driver = make(server)
    server.says = {"RCPT": "421 4.7.0 too many from you"}
    assert await driver.send(to("one.example")) == Postponed("RCPT: 421 4.7.0 too many from you", 1.0)
    opened = server.opened
    again = await driver.send(to("one.example"))
    assert isinstance(again, Postponed)
    assert again.error == "one.example: RCPT: 421 4.7.0 too many from you"
    assert server.opened == opened

    assert isinstance(await driver.send(to("two.example")), Postponed)
    assert isinstance(await driver.send(to("three.example")), Throttled)


async def test_connections_per_domain(server: SmtpServer, make: Make) -> None:
    """Never are there more mails at once to a domain than the configuration says, and the others have the rest.

    Some wait for a moment; the others are told when to come back, so that they hold no permit.
    """
    driver = make(server, connections=5, connections_per_domain=2)
    server.slow_s = 0.05
    domains = ["one.example"] * 10 + ["two.example"] * 3
    outcomes = await asyncio.gather(*(driver.send(to(domain)) for domain in domains))

    assert server.most_to == {"one.example": 2, "two.example": 2}
    assert Counter(map(type, outcomes)) == {Sent: 2 + 5 + 2, Postponed: 13 - 2 - 5 - 2}
    assert not driver._gate._waiting


async def test_cancelled_at_the_gate(server: SmtpServer, make: Make) -> None:
    """Who is cancelled while it waits for room leaves the gate as if it had never come."""
    driver = make(server, connections=5, connections_per_domain=1)
    server.says = {"dot": HANG}
    first, second = (asyncio.ensure_future(driver.send(to("one.example"))) for _ in range(2))
    await server.reached()
    await server.wait_until(lambda: bool(driver._gate._waiting))
    second.cancel()
    await asyncio.wait([second])
    assert second.cancelled()
    assert not driver._gate._waiting
    first.cancel()
    await asyncio.wait([first])
    server.says = {}

    assert isinstance(await driver.send(to("one.example")), Sent)


# -- the pool ------------------------------------------------------------------------------------------------------


async def test_used_again(server: SmtpServer, make: Make) -> None:
    """One connection carries one mail after the other, also after a refusal, with RSET in between."""
    driver = make(server, connections=1)
    await driver.send(an_email())
    server.says = {"RCPT": ["550 5.1.1 no such user"]}
    await driver.send(an_email())
    await driver.send(an_email())

    assert (server.opened, len(server.mails), server.commands["RSET"]) == (1, 2, 1)


async def test_many_over_few(server: SmtpServer, make: Make) -> None:
    """Fifty mails at once over five connections all arrive, once, each with its own bytes."""
    driver = make(server, connections=5)
    messages = [an_email(data=f"mail {number}\n.\n") for number in range(50)]
    outcomes = await asyncio.gather(*(driver.send(message) for message in messages))

    assert {type(outcome) for outcome in outcomes} == {Sent}
    assert len({outcome.provider_id for outcome in outcomes if isinstance(outcome, Sent)}) == 50
    expected = sorted(compose(message, EMAIL).content for message in messages)
    assert sorted(mail.content for mail in server.mails) == expected
    assert server.most_at_once == server.opened == 5


async def test_mails_per_connection(server: SmtpServer, make: Make) -> None:
    """A connection ends after so many mails, before the next one begins: there are never more than allowed."""
    driver = make(server, connections=2, mails_per_connection=3)
    for _ in range(3):
        await asyncio.gather(*(driver.send(an_email()) for _ in range(8)))

    assert len(server.mails) == 24
    assert server.most_at_once == 2
    assert 24 / 3 <= server.opened <= 24 / 3 + 1
    assert server.commands["QUIT"] >= 6


async def test_idle(server: SmtpServer, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that nobody uses says goodbye; the next mail opens another."""
    monkeypatch.setattr(smtp_pool, "IDLE_S", 0.05)
    driver = make(server)
    await driver.send(an_email())
    await server.wait_until(lambda: server.connections == 0)

    assert server.commands["QUIT"] == 1
    assert isinstance(await driver.send(an_email()), Sent)


async def test_not_idle(server: SmtpServer, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is used again is not idle, however long its mail takes."""
    monkeypatch.setattr(smtp_pool, "IDLE_S", 0.3)
    driver = make(server, connections=1)
    await driver.send(an_email())
    server.slow_s = 0.6

    assert isinstance(await driver.send(an_email()), Sent)


async def test_idle_only(server: SmtpServer, make: Make) -> None:
    """Between two mails a connection stays: idle is a minute."""
    driver = make(server, connections=1)
    await driver.send(an_email())
    await asyncio.sleep(0.1)
    await driver.send(an_email())

    assert (smtp_pool.IDLE_S, server.opened) == (60.0, 1)


@pytest.mark.parametrize("verb", ["MAIL", "RSET"])
@pytest.mark.parametrize("answer", [GO_AWAY, DROP])
async def test_stale(server: SmtpServer, make: Make, verb: str, answer: str) -> None:
    """A connection that the server has given up meanwhile costs nothing: the mail goes over a fresh one, once."""
    driver = make(server, connections=1)
    server.says = {"RCPT": ["550 no such user"]} if verb == "RSET" else {}
    await driver.send(an_email())
    server.says = {verb: [answer]}
    message = an_email()

    assert isinstance(await driver.send(message), Sent)
    assert [mail.id for mail in server.mails][-1] == message.id
    assert server.opened == 2


async def test_stale_and_closed(server: SmtpServer, make: Make) -> None:
    """After the server has cut all idle connections, each mail finds a fresh one."""
    driver = make(server, connections=3)
    await asyncio.gather(*(driver.send(an_email()) for _ in range(3)))
    server.push("421 4.4.2 you are too slow")
    server.cut()
    outcomes = await asyncio.gather(*(driver.send(an_email()) for _ in range(3)))

    assert {type(outcome) for outcome in outcomes} == {Sent}
    assert len(server.mails) == 6


async def test_stale_twice(server: SmtpServer, make: Make) -> None:
    """A fresh connection that is refused as well is not tried for ever."""
    driver = make(server, connections=1)
    await driver.send(an_email())
    server.says = {"MAIL": DROP}
    assert isinstance(await driver.send(an_email()), Unreachable)

    assert server.opened == 2


async def test_busy(server: SmtpServer, make: Make) -> None:
    """Who waits too long for a connection is told in time that we are too fast: nothing of it went."""
    driver = make(server, connections=1, timeout_s=0.3)
    connection = await driver._pool.take()
    outcome = await driver.send(an_email())
    driver._pool.give_back(connection)

    assert outcome == Throttled("all 1 connections were busy for too long")
    assert isinstance(await driver.send(an_email()), Sent)


async def test_cancelled_when_called(server: SmtpServer, make: Make) -> None:
    """A connection that goes to somebody who is cancelled at the same moment is not lost."""
    pool = make(server, connections=1)._pool
    connection = await pool.take()
    waiting = [asyncio.ensure_future(pool.take()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    pool.give_back(connection)
    waiting[1].cancel()

    assert await waiting[2] is connection
    assert waiting[0].cancelled()
    assert waiting[1].cancelled()


async def test_close(server: SmtpServer, make: Make) -> None:
    """Closed, all connections have said goodbye; a mail under way still gets its answer."""
    driver = make(server, connections=2)
    await asyncio.gather(driver.send(an_email()), driver.send(an_email()))
    server.slow_s = 0.2
    under_way = asyncio.ensure_future(driver.send(an_email()))
    await server.wait_until(lambda: server.commands["dot"] == 3)
    await driver.close()

    assert isinstance(await under_way, Sent)
    await server.wait_until(lambda: server.connections == 0)
    assert server.commands["QUIT"] == 2


async def test_close_is_bounded(server: SmtpServer, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says no goodbye does not keep us."""
    monkeypatch.setattr(smtp_connection, "QUIT_S", 0.1)
    driver = make(server)
    await driver.send(an_email())
    server.says = {"QUIT": HANG}
    async with asyncio.timeout(5):
        await driver.close()

    await server.wait_until(lambda: server.connections == 0)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """aiosmtpd says much, and for Python's own warnings of it there is no hurry."""
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("mail.log").setLevel(logging.NOTSET)
