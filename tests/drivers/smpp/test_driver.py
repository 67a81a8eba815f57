"""The driver and its sessions, against a scripted SMSC: sending, binds, timers, and what goes wrong."""

import asyncio
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from dialerd.drivers.base import NothingSent
from dialerd.drivers.smpp import Smpp, link
from dialerd.drivers.smpp.pdu import (
    BIND_RECEIVER,
    BIND_TRANSCEIVER,
    BIND_TRANSMITTER,
    ENQUIRE_LINK,
    GENERIC_NACK,
    RESPONSE,
    SUBMIT_SM,
    UNBIND,
    Bind,
    Pdu,
    ShortMessage,
    pack,
)
from dialerd.drivers.smpp.pending import Lost
from dialerd.drivers.smpp.session import Session
from dialerd.drivers.smpp.statuses import STATUSES, outcome_of
from dialerd.model.errors import DatabaseGone, Unavailable
from dialerd.model.message import Message
from dialerd.model.outcome import Deferred, Failed, InDoubt, Outcome, Partly, Sent, Throttled, Unreachable
from dialerd.model.receipt import Inbound, Receipt
from dialerd.settings import Bind as BindKind
from dialerd.settings import LongSms, Tls
from tests.drivers.conformance import an_sms
from tests.drivers.smpp.conftest import Make, make_provider
from tests.fakes.smsc import CUT, SILENCE, Smsc

LONG = "x" * 400  # three parts
WAITED = "not sent: the answer to the part before was waited for"


def start(send: Awaitable[Outcome]) -> "asyncio.Future[Outcome]":
    return asyncio.ensure_future(send)


class Nobody:
    """An inbox for SMSCs that deliver nothing; it keeps outcomes that come late."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[tuple[str, Outcome]] = asyncio.Queue()
        self.faults: list[Exception] = []

    async def receipt(self, receipt: Receipt) -> None: ...
    async def inbound(self, inbound: Inbound) -> None: ...
    async def late(self, provider: str, message: Message, outcome: Outcome) -> None:
        if self.faults:
            raise self.faults.pop()
        await self.told.put((message.id, outcome))


def part_of(message: ShortMessage) -> int:
    """Return the number of a part from its header."""
    return message.text[5] if message.esm_class & 0x40 else 1


# -- what is said of a message ---------------------------------------------------------------------------------------


async def test_sent(smsc: Smsc, make: Make) -> None:
    """What the SMSC took carries its name for it, and its names for all parts."""
    smsc.policy = lambda message: f"id-{part_of(message)}"
    driver = make()
    assert await driver.send(an_sms()) == Sent("id-1", ("id-1",))
    assert await driver.send(an_sms(data=LONG)) == Sent("id-1", ("id-1", "id-2", "id-3"))


async def test_sent_without_name(smsc: Smsc, make: Make) -> None:
    """An SMSC that takes a message and gives it no name has taken it all the same."""
    smsc.policy = lambda _message: ""
    assert await make().send(an_sms()) == Sent(None, (None,))


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0x0B, Failed("0x0000000B ESME_RINVDSTADR: wrong destination address")),
        (0x08, Deferred("0x00000008 ESME_RSYSERR: system error")),
        (0x14, Throttled("0x00000014 ESME_RMSGQFUL: message queue full")),
        (0x58, Throttled("0x00000058 ESME_RTHROTTLED: throttled: too many messages a second")),
        (0x04, Unreachable("0x00000004 ESME_RINVBNDSTS: wrong bind status for this command")),
        (0x401, Deferred("0x00000401")),
    ],
)
def test_statuses(status: int, outcome: Outcome) -> None:
    """Each kind of error code has its outcome, with the number and its name; one that nobody knows is temporary."""
    assert outcome_of(status) == outcome


def test_table_of_statuses() -> None:
    """All error codes of SMPP 3.4, section 5.1.3, are in the table."""
    codes = [*range(0x01, 0x09), *range(0x0A, 0x10), 0x11, *range(0x13, 0x16), 0x33, 0x34, 0x40, *range(0x42, 0x46),
             *range(0x48, 0x4A), *range(0x50, 0x52), *range(0x53, 0x56), 0x58, *range(0x61, 0x68),
             *range(0xC0, 0xC5), 0xFE, 0xFF]  # fmt: skip
    assert sorted(STATUSES) == codes


async def test_first_part_refused(smsc: Smsc, make: Make) -> None:
    """A long message whose first part is refused goes no further: nothing of it was taken."""
    smsc.policy = lambda _message: 0x0B
    assert isinstance(await make().send(an_sms(data=LONG)), Failed)
    assert len(smsc.received) == 1


@pytest.mark.parametrize("long", [LongSms.UDH, LongSms.SAR])
async def test_partly(smsc: Smsc, make: Make, long: LongSms) -> None:
    """Parts that were taken are told with their names; at another attempt only the missing ones go, as before."""
    answers = iter(["a", 0x08, "c", "b"])
    smsc.policy = lambda _message: next(answers)
    driver = make(long=long)
    message = an_sms(data=LONG, seq=77)
    outcome = await driver.send(message)

    assert outcome == Partly({1: "a", 3: "c"}, 77, Deferred("0x00000008 ESME_RSYSERR: system error"))
    assert await driver.send(an_sms(data=LONG, seq=77, accepted=outcome.accepted, reference=77)) == Sent(
        "a", ("a", "b", "c")
    )
    assert smsc.received[3] == smsc.received[1]
    assert len(smsc.received) == 4


@pytest.mark.parametrize(
    ("answers", "rest"),
    [
        (["a", 0x58, 0x0B], Failed),
        (["a", 0x58, 0x08], Deferred),
        (["a", 0x58, 0x14], Throttled),
        (["a", 0x0B, CUT], InDoubt),
    ],
)
async def test_partly_by_weight(smsc: Smsc, make: Make, answers: list[Any], rest: type[Outcome]) -> None:
    """Of several refusals the weightiest counts: a doubt before the end, the end before another try."""
    policy = iter(answers)
    smsc.policy = lambda _message: next(policy)
    outcome = await make().send(an_sms(data=LONG))

    assert isinstance(outcome, Partly)
    assert (outcome.accepted, type(outcome.rest)) == ({1: "a"}, rest)


# -- window and order --------------------------------------------------------------------------------------------------


async def test_window(smsc: Smsc, make: Make) -> None:
    """Never more than `window` requests are without an answer, and who came first goes first."""
    smsc.policy = lambda _message: SILENCE
    driver = make(window=3)
    sends = [start(driver.send(an_sms(data=f"{n:02}"))) for n in range(20)]
    await smsc.until(lambda: len(smsc.unanswered) == 3)
    most = 0
    for number in range(20):
        await smsc.until(lambda number=number: len(smsc.received) > number)
        most = max(most, len(smsc.unanswered))
        connection, pdu, message = smsc.unanswered.pop(0)
        connection.settle(pdu, message, "id")
    await asyncio.gather(*sends)

    assert most == 3
    assert [message.text for message in smsc.received] == [b"%02d" % n for n in range(20)]


async def test_given_up_while_waiting(smsc: Smsc, make: Make) -> None:
    """Attempts that are given up while they wait for room neither go later nor keep others from going."""
    smsc.policy = lambda _message: SILENCE
    driver = make(window=1)
    first = start(driver.send(an_sms(data="first")))
    await smsc.until(lambda: smsc.unanswered)
    waiting = [start(driver.send(an_sms(data=f"{n}"))) for n in range(4)]
    await asyncio.sleep(0)
    for attempt in waiting[:3]:
        attempt.cancel()
    smsc.policy = smsc.take_all
    connection, pdu, message = smsc.unanswered.pop()
    connection.settle(pdu, message, "id")

    assert isinstance(await first, Sent)
    assert isinstance(await waiting[3], Sent)
    assert [message.text for message in smsc.received] == [b"first", b"3"]


async def test_cut_off(smsc: Smsc, make: Make) -> None:
    """Cut off by the drain, what was not written goes back, taken parts are kept, and no answer is waited for."""
    smsc.policy = lambda message: "id" if message.text.endswith(b"x") and part_of(message) == 1 else SILENCE
    driver = make(window=3, response_timeout_s=600.0)
    # Both have room for their first part; the other ones of the first message leave room for one of the second.
    parted = [start(driver.send(an_sms(data=LONG))) for _ in range(2)]
    await smsc.until(lambda: len(smsc.unanswered) == 3)
    plain = start(driver.send(an_sms()))
    await asyncio.sleep(0)
    for attempt in (*parted, plain):
        attempt.cancel()

    answered, sent = InDoubt("cut off before it was answered"), Unreachable("cut off before it was sent")
    assert [await attempt for attempt in parted] == [Partly({1: "id"}, 1, answered)] * 2
    with pytest.raises(asyncio.CancelledError) as cut:
        await plain
    assert cut.type is NothingSent
    # Its other parts wait behind all that has no answer.
    waiting = start(driver.send(an_sms(data=LONG, accepted={1: "id", 2: "id"}, reference=1)))
    for _ in range(3):  # it begins, its part begins, and waits
        await asyncio.sleep(0)
    waiting.cancel()
    assert await waiting == Partly({1: "id", 2: "id"}, 1, sent)
    async with asyncio.timeout(60):
        await driver.close()
    assert (len(smsc.received), smsc.unbinds) == (5, 1)


async def test_no_room(smsc: Smsc, make: Make) -> None:
    """Without room in time nothing was sent: that is too fast, and costs no attempt."""
    smsc.policy = lambda _message: SILENCE
    driver = make(window=1, response_timeout_s=2.0)
    driver._sessions.room_s = 0.05
    first = start(driver.send(an_sms()))
    await smsc.until(lambda: smsc.unanswered)
    second = await driver.send(an_sms())

    assert second == Throttled("no room in the window for 0.05 s")
    assert len(smsc.received) == 1
    first.cancel()
    connection, pdu, message = smsc.unanswered.pop()
    connection.settle(pdu, message, "id")


async def test_binds(smsc: Smsc, make: Make) -> None:
    """Several binds share the work; each has its own window."""
    smsc.policy = lambda _message: SILENCE
    driver = make(binds=3, window=2)
    first = start(driver.send(an_sms()))
    await smsc.until(lambda: len(smsc.bound()) == 3 and smsc.unanswered)
    sends = [start(driver.send(an_sms())) for _ in range(9)]
    await smsc.until(lambda: len(smsc.unanswered) == 6)

    assert list(Counter(id(connection) for connection, _, _ in smsc.unanswered).values()) == [2, 2, 2]
    smsc.policy = smsc.take_all
    for connection, pdu, message in smsc.unanswered:
        connection.settle(pdu, message, "id")
    assert {type(outcome) for outcome in await asyncio.gather(first, *sends)} == {Sent}


# -- binds -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bind", "commands"),
    [
        (BindKind.TRANSCEIVER, [BIND_TRANSCEIVER]),
        (BindKind.BOTH, [BIND_TRANSMITTER, BIND_RECEIVER]),
        (BindKind.TRANSMITTER, [BIND_TRANSMITTER]),
    ],
)
async def test_kinds_of_bind(smsc: Smsc, make: Make, bind: BindKind, commands: list[int]) -> None:
    """Messages go over the bind that sends; where there are two, both are kept."""
    driver = make(bind=bind)
    assert isinstance(await driver.send(an_sms()), Sent)
    await smsc.until(lambda: all(smsc.bound(command) for command in commands))

    assert len(smsc.open()) == len(commands)
    assert SUBMIT_SM in [pdu.command for pdu in smsc.bound(commands[0])[0].pdus]
    await driver.close()
    assert smsc.unbinds == len(commands)


async def test_receiver_refused(smsc: Smsc, make: Make) -> None:
    """A check tells of a bind that may not receive; sending goes on without it, also for who probes while listening."""
    smsc.bind_statuses[BIND_RECEIVER] = 0x0D
    driver = make(bind=BindKind.BOTH)
    with pytest.raises(Unavailable, match="receiver: .* bind: 0x0000000D ESME_RBINDFAIL"):
        await driver.probe()
    assert isinstance(await driver.send(an_sms()), Sent)
    listening = asyncio.ensure_future(driver.listen(Nobody()))
    await asyncio.sleep(0)
    await driver.probe()
    listening.cancel()


async def test_bind_refused(smsc: Smsc, make: Make) -> None:
    """A refused bind tells why, and not the password; nothing is sent."""
    smsc.account = Bind("dialerd", "another")
    driver = make(password=SecretStr("s3cret"))
    with pytest.raises(Unavailable, match="bind: 0x0000000E ESME_RINVPASWD: wrong password") as trouble:
        await driver.probe()
    outcome = await driver.send(an_sms())

    assert isinstance(outcome, Unreachable)
    assert "ESME_RINVPASWD" in outcome.error
    assert "s3cret" not in f"{trouble.value}{outcome.error}"


async def test_one_try_for_all(smsc: Smsc, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused bind is tried once for all who came meanwhile: SMSCs lock accounts with many wrong passwords."""
    monkeypatch.setattr(link, "FIRST_WAIT_S", 3600.0)
    smsc.answers_binds = False
    driver = make()
    listening = asyncio.ensure_future(driver.listen(Nobody()))
    await smsc.until(lambda: smsc.connections and smsc.connections[0].pdus)
    sending = [asyncio.ensure_future(driver.send(an_sms())) for _ in range(5)]
    await asyncio.sleep(0)  # all of them wait for the bind now
    (first,) = smsc.connections
    first.answer(first.pdus[0], status=0x0E)

    assert {type(outcome) for outcome in await asyncio.gather(*sending)} == {Unreachable}
    # Who connects last is answered last.
    reader, writer = await asyncio.open_connection("127.0.0.1", smsc.port)
    writer.write(pack(ENQUIRE_LINK, 1))
    await reader.readexactly(16)
    writer.close()
    await writer.wait_closed()
    assert len(smsc.connections) == 2
    listening.cancel()


async def test_account_that_does_not_fit(smsc: Smsc, make: Make) -> None:
    """An account that no bind can carry is told as such."""
    with pytest.raises(Unavailable, match="system_id takes ASCII only"):
        await make(system_id="señal").probe()


async def test_host_that_cannot_be(smsc: Smsc, make: Make) -> None:
    """A host whose name nobody can spell is told as such."""
    with pytest.raises(Unavailable, match="no such host: its name cannot be spelt"):
        await make(host="a..b").probe()


async def test_nack_of_bind(smsc: Smsc, make: Make) -> None:
    """A generic_nack is no bind, whatever its status."""
    smsc.behind_bind = pack(GENERIC_NACK, 1)
    smsc.answers_binds = False
    assert isinstance(await make().send(an_sms()), Unreachable)
    assert smsc.received == []


async def test_peer_that_only_writes(smsc: Smsc, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SMSC that asks and asks, and reads no answer, ends the session instead of filling the memory."""
    monkeypatch.setattr("dialerd.drivers.smpp.session.MOST_WAITING", 100)
    await make().probe()
    (connection,) = smsc.connections
    connection.transport.pause_reading()
    for number in range(200):
        connection.transport.write(b"".join(pack(ENQUIRE_LINK, n) for n in range(number * 5000, (number + 1) * 5000)))
    await smsc.until(lambda: connection.closed)


@pytest.mark.parametrize(("tls", "missing"), [(Tls.NONE, "answer to the bind"), (Tls.TLS, "TLS connection")])
async def test_no_answer_to_bind(make: Make, tls: Tls, missing: str) -> None:
    """A server that takes the connection and says nothing is away, and it is told what it did not say."""

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    async with server:
        driver = make(port=server.sockets[0].getsockname()[1], response_timeout_s=0.2, tls=tls)
        with pytest.raises(Unavailable, match=f"no {missing} within 0.2 s"):
            await driver.probe()
        assert isinstance(await driver.send(an_sms()), Unreachable)
        await driver.close()


async def test_bound_anew(smsc: Smsc, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever listens is bound again by himself after the SMSC was away."""
    monkeypatch.setattr("dialerd.drivers.smpp.link.FIRST_WAIT_S", 0.01)
    driver = make()
    listening = asyncio.ensure_future(driver.listen(Nobody()))
    await smsc.until(smsc.bound)
    await smsc.stop()
    await smsc.start()
    await smsc.until(smsc.bound)

    assert isinstance(await driver.send(an_sms()), Sent)
    listening.cancel()


async def test_wrong_bind_status(smsc: Smsc, make: Make) -> None:
    """When the SMSC takes the session for unbound nothing of the message went, and a fresh session is bound."""
    smsc.policy = lambda _message: 0x04
    driver = make()
    assert isinstance(await driver.send(an_sms()), Unreachable)
    await smsc.until(lambda: smsc.unbinds == 1)
    smsc.policy = smsc.take_all

    assert isinstance(await driver.send(an_sms()), Sent)
    assert len(smsc.connections) == 2


async def test_smsc_unbinds(smsc: Smsc, make: Make) -> None:
    """An SMSC that says goodbye gets its answer after what was under way; the next message goes over a new bind."""
    smsc.policy = lambda _message: SILENCE
    driver = make()
    first = start(driver.send(an_sms()))
    await smsc.until(lambda: smsc.unanswered)
    connection, pdu, message = smsc.unanswered.pop()
    connection.transport.write(pack(UNBIND, 99))
    session = driver._links[0].session
    assert session is not None
    async with asyncio.timeout(30):
        while not session.leaving:
            await asyncio.sleep(0)
    second = start(driver.send(an_sms()))
    smsc.policy = smsc.take_all
    connection.settle(pdu, message, "id")

    assert await first == Sent("id", ("id",))
    assert isinstance(await second, Sent)
    await smsc.until(lambda: connection.closed)
    assert connection.answers[99].command == UNBIND | RESPONSE
    assert len(smsc.connections) == 2


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """A certificate authority that the system trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return authority


@pytest.mark.parametrize("is_named", [False, True])
@pytest.mark.parametrize("is_known", [True, False])
async def test_tls(authority: trustme.CA, is_known: bool, is_named: bool) -> None:
    """With TLS the SMSC's certificate is verified, where `ca` is given by that alone; a stranger gets no password."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    private = trustme.CA()
    vouching, ca = (private, private.cert_pem.bytes().decode()) if is_named else (authority, None)
    stranger = authority if is_named else trustme.CA()
    (vouching if is_known else stranger).issue_cert("127.0.0.1").configure_cert(context)
    smsc = Smsc(context)
    await smsc.start()
    driver = Smpp(make_provider(smsc, tls=Tls.TLS, ca=ca), {})
    outcome = await driver.send(an_sms())

    if is_known:
        assert isinstance(outcome, Sent)
    else:
        assert isinstance(outcome, Unreachable)
        assert "certificate refused" in outcome.error
        assert not any(connection.pdus for connection in smsc.connections)
    await driver.close()
    await smsc.stop()


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [ENQUIRE_LINK | RESPONSE, GENERIC_NACK])
async def test_doubtful_session(smsc: Smsc, make: Make, command: int) -> None:
    """After a request without answer nothing more goes before an enquiry is answered, be it by a nack without error."""
    smsc.policy = lambda _message: SILENCE
    smsc.answers_enquiries = False
    driver = make(response_timeout_s=1.5)
    assert isinstance(await driver.send(an_sms(data="first")), InDoubt)
    second = start(driver.send(an_sms(data="second")))
    (connection,) = smsc.connections
    await smsc.until(lambda: connection.pdus[-1].command == ENQUIRE_LINK)
    assert len(smsc.received) == 1
    smsc.policy = lambda _message: "second"
    late, pdu, message = smsc.unanswered.pop()
    late.settle(pdu, message, "late")
    connection.transport.write(pack(command, connection.pdus[-1].sequence))

    assert await second == Sent("second", ("second",))
    assert len(smsc.connections) == 1


#: The text of a message, its parts that the SMSC has, what it answers late, and what that makes of the message.
LATE: list[tuple[str, dict[int, str], Any, Outcome | None]] = [
    ("x", {}, "late", Sent("late", ("late",))),
    ("x", {}, 0x58, Throttled("0x00000058 ESME_RTHROTTLED: throttled: too many messages a second")),
    (LONG, {}, "late", Partly({1: "late"}, 1, Unreachable(WAITED))),
    (LONG, {2: "b", 3: "c"}, "late", Sent("late", ("late", "b", "c"))),
    ("x", {}, None, None),
]


async def test_late_answers(smsc: Smsc, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that comes after its message was called a doubt is told; with the session's end none is waited for."""
    monkeypatch.setattr("dialerd.drivers.smpp.driver.TELL_AGAIN_S", 0.01)
    smsc.policy = lambda _message: SILENCE
    driver, inbox = make(response_timeout_s=2.0), Nobody()
    listening = asyncio.ensure_future(driver.listen(inbox))
    attempts = []
    for n, (data, before, _, _) in enumerate(LATE):
        attempts.append(start(driver.send(an_sms(id=str(n), data=data, accepted=before, reference=1))))
        await smsc.until(lambda: len(smsc.unanswered) == len(attempts))
    assert {type(getattr(await attempt, "rest", await attempt)) for attempt in attempts} == {InDoubt}

    inbox.faults = [DatabaseGone("away"), DatabaseGone("away")]
    for n, (_, _, answer, outcome) in enumerate(LATE):
        if outcome is not None:
            connection, pdu, message = smsc.unanswered[n]
            connection.settle(pdu, message, answer)
            async with asyncio.timeout(30):
                assert await inbox.told.get() == (str(n), outcome)
    # Nor is what answers something else.
    connection, pdu, _ = smsc.unanswered[-1]
    connection.transport.write(pack(ENQUIRE_LINK | RESPONSE, pdu.sequence))
    connection.transport.close()
    async with asyncio.timeout(30):
        while driver._awaiting:
            await asyncio.sleep(0)
    assert inbox.told.empty()
    listening.cancel()


async def test_silence_ends_session(smsc: Smsc, make: Make) -> None:
    """An SMSC that has been silent is asked whether it is there; without an answer the session ends."""
    driver = make(enquire_link_s=0.05, response_timeout_s=1.0)
    await driver.probe()
    (connection,) = smsc.connections
    await smsc.until(lambda: [pdu.command for pdu in connection.pdus].count(ENQUIRE_LINK) >= 3)
    assert not connection.closed
    smsc.answers_enquiries = False

    await smsc.until(lambda: connection.closed)


async def test_answers_enquiries(smsc: Smsc, make: Make) -> None:
    """The SMSC's own enquiries are answered; what we do not know is refused by name, with its own number."""
    await make().probe()
    (connection,) = smsc.connections
    connection.transport.write(pack(ENQUIRE_LINK, 41) + pack(0x00010203, 42) + pack(0x00000102, 43) + pack(0x15, 44))
    await smsc.until(lambda: 44 in connection.answers)

    assert connection.answers[41] == Pdu(ENQUIRE_LINK | RESPONSE, 0, 41, b"")
    assert connection.answers[42] == Pdu(GENERIC_NACK, 0x03, 42, b"")
    assert 43 not in connection.answers  # alert_notification has no answer


# -- the end of a session ----------------------------------------------------------------------------------------------


class Quiet:
    """An owner that does nothing."""

    def came(self, session: Session, pdu: Pdu) -> None: ...
    def began(self, session: Session) -> None: ...
    def freed(self, session: Session) -> None: ...
    def ended(self, session: Session, reason: str) -> None: ...


async def test_written_or_not(smsc: Smsc) -> None:
    """What was not written when the session ended is certain not to have gone; what was written is not."""
    session = Session(Quiet(), window=10, response_timeout_s=5, enquire_link_s=30)
    await session.bind("127.0.0.1", smsc.port, None, BIND_TRANSCEIVER, smsc.account)
    smsc.policy = lambda _message: SILENCE
    body = ShortMessage(b"1", b"2").pack()
    written = session.request(SUBMIT_SM, body)
    await smsc.until(lambda: smsc.received)
    unwritten = session.request(SUBMIT_SM, body)
    session.abort("over")
    after = session.request(SUBMIT_SM, body)

    assert await written == Lost("over", written=True)
    assert [await unwritten, await after] == [Lost("over", written=False)] * 2
    await smsc.until(lambda: not smsc.open())
    assert len(smsc.received) == 1


async def test_numbers_go_round(smsc: Smsc) -> None:
    """Sequence numbers go round after 2**31 - 1, and pass over one that still waits for its answer."""
    session = Session(Quiet(), window=10, response_timeout_s=5, enquire_link_s=30)
    await session.bind("127.0.0.1", smsc.port, None, BIND_TRANSCEIVER, smsc.account)
    smsc.policy = lambda _message: SILENCE
    body = ShortMessage(b"1", b"2").pack()
    session._pending._last = 0
    session.request(SUBMIT_SM, body)
    session._pending._last = 0x7FFFFFFE
    session.request(SUBMIT_SM, body)
    session.request(SUBMIT_SM, body)
    await smsc.until(lambda: len(smsc.received) == 3)

    assert [pdu.sequence for _, pdu, _ in smsc.unanswered] == [1, 0x7FFFFFFF, 2]
    session.abort("over")


async def test_peer_that_does_not_read(smsc: Smsc, make: Make) -> None:
    """What an SMSC that reads nothing has not been sent is Unreachable; what filled the network is in doubt."""
    driver = make(window=10_000, response_timeout_s=1.0, long=LongSms.PAYLOAD)
    await driver.probe()
    smsc.answers_enquiries = False
    smsc.connections[0].transport.pause_reading()
    outcomes = await asyncio.gather(*(driver.send(an_sms(data="x" * 39_000)) for _ in range(400)))

    assert {type(outcome) for outcome in outcomes} == {InDoubt, Unreachable}
    smsc.connections[0].transport.abort()


@pytest.mark.parametrize(
    "answer",
    [
        lambda pdu: pack(ENQUIRE_LINK | RESPONSE, pdu.sequence),
        lambda pdu: pack(GENERIC_NACK, 0, status=0x02),
        lambda pdu: pack(SUBMIT_SM | RESPONSE, pdu.sequence, b"id\0")[:18],
        lambda pdu: b"\0\0\0\x0f" + bytes(20),
    ],
)
async def test_out_of_step(smsc: Smsc, make: Make, answer: Callable[[Pdu], bytes]) -> None:
    """An answer of another kind, a nack for nothing, half an answer, an impossible length: in doubt, and a new bind."""
    smsc.policy = lambda _message: SILENCE
    driver = make()
    attempt = start(driver.send(an_sms()))
    await smsc.until(lambda: smsc.unanswered)
    connection, pdu, _ = smsc.unanswered.pop()
    connection.transport.write(answer(pdu))
    connection.transport.close()

    assert isinstance(await attempt, InDoubt)
    smsc.policy = smsc.take_all
    assert isinstance(await driver.send(an_sms()), Sent)


async def test_nack_of_a_request(smsc: Smsc, make: Make) -> None:
    """A generic_nack with a request's number is its refusal, by its code; without one it is no answer, and no yes."""
    driver = make()
    for status, expected in ((0x08, Deferred), (0x02, Failed), (0x00, InDoubt)):
        smsc.policy = lambda _message: SILENCE
        attempt = start(driver.send(an_sms()))
        await smsc.until(lambda: smsc.unanswered)
        connection, pdu, _ = smsc.unanswered.pop()
        connection.transport.write(pack(GENERIC_NACK, pdu.sequence, status=status))

        assert isinstance(await attempt, expected)


async def test_cut_at_every_octet(smsc: Smsc, make: Make) -> None:
    """However an SMSC's stream is cut, a message whose answer was whole is sent, and any other is in doubt."""
    driver = make()
    smsc.policy = lambda _message: SILENCE
    whole = pack(ENQUIRE_LINK, 7) + pack(SUBMIT_SM | RESPONSE, 2, b"id-1\0")
    for end in range(len(whole) + 1):
        attempt = start(driver.send(an_sms()))
        await smsc.until(lambda: smsc.unanswered)
        connection, pdu, _ = smsc.unanswered.pop()
        assert pdu.sequence == 2
        connection.transport.write(whole[:end])
        connection.transport.close()

        assert await attempt == (Sent("id-1", ("id-1",)) if end == len(whole) else InDoubt("connection lost"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.builds(
                lambda command, sequence, body, status: pack(command, sequence, body, status),
                st.sampled_from([0x80000004, 0x80000000, 0x80000015, 5, 6, 0x15, 0x103, 0x0B, 0x102, 9]),
                st.integers(0, 4), st.binary(max_size=40), st.integers(0, 0x500),
            ),
        ),
        max_size=6,
    )
)  # fmt: skip
def test_any_stream(stream: list[bytes]) -> None:
    """Whatever an SMSC sends, a message has an outcome, nothing is raised, and a sane SMSC is served again."""

    async def story() -> None:
        smsc = Smsc()
        await smsc.start()
        raised: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: raised.append(context))
        driver = Smpp(make_provider(smsc), {})
        smsc.policy = lambda _message: SILENCE
        attempt = start(driver.send(an_sms()))
        await smsc.until(lambda: smsc.unanswered)
        for octets in stream:
            smsc.connections[0].transport.write(octets)
        smsc.connections[0].transport.close()
        outcome = await attempt
        smsc.policy = smsc.take_all
        async with asyncio.timeout(30):
            while driver._sessions.bound:
                await asyncio.sleep(0)

        assert isinstance(outcome, Outcome)
        assert isinstance(await driver.send(an_sms()), Sent)
        await driver.close()
        await smsc.stop()
        assert raised == []

    asyncio.run(story())


async def test_close_lets_end(smsc: Smsc, make: Make) -> None:
    """At the close what is under way gets its answer, what waits is given back, and the SMSC is told goodbye."""
    smsc.policy = lambda _message: SILENCE
    driver = make(window=1)
    under_way = start(driver.send(an_sms()))
    await smsc.until(lambda: smsc.unanswered)
    waiting = start(driver.send(an_sms()))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(driver.close())
    assert await waiting == Unreachable("the driver is closed")
    connection, pdu, message = smsc.unanswered.pop()
    connection.settle(pdu, message, "id")
    await closing

    assert await under_way == Sent("id", ("id",))
    assert smsc.unbinds == 1
    assert not smsc.open()


def test_on_uvloop() -> None:
    """On the loop that the daemon uses it is the same."""

    async def story() -> None:
        smsc = Smsc()
        await smsc.start()
        driver = Smpp(make_provider(smsc, window=5), {})
        outcomes = await asyncio.gather(*(driver.send(an_sms(data=LONG)) for _ in range(50)))
        assert {type(outcome) for outcome in outcomes} == {Sent}
        await smsc.stop()
        assert isinstance(await driver.send(an_sms()), Unreachable)
        await smsc.start()
        await driver.probe()
        await driver.close()
        assert smsc.unbinds == 1
        await smsc.stop()

    uvloop.run(story())
