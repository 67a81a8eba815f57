"""Bounces: of which message they are, and whether they speak of the address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialerd.mail.bounces import read_bounce
from dialerd.model.bounce import Bounce, BounceKind
from tests.mail.composed import ID
from tests.mail.returned import exim, notification, qmail

VERP = f"bounces+{ID}@example.com"
OTHER = "0192f3c4"


@pytest.mark.parametrize(
    ("action", "status", "diagnostic", "kind", "told"),
    [
        ("failed", "5.1.1", "smtp; 550 5.1.1 <juan@example.org>: User unknown", BounceKind.HARD, "5.1.1"),
        ("failed", "5.0.0", "smtp; 550 5.1.1 User unknown", BounceKind.HARD, "5.1.1"),
        ("failed", "5.0.0", "smtp; 550 User unknown", BounceKind.HARD, "5.0.0"),
        ("failed", "5.4.4", "X-Postfix; Host or domain name not found", BounceKind.HARD, "5.4.4"),
        ("Failed", "5.2.1 (disabled)", "", BounceKind.HARD, "5.2.1"),
        ("failed", "5.2.2", "smtp; 552 5.2.2 Mailbox full", BounceKind.FAILED, "5.2.2"),
        ("failed", "5.0.0", "smtp; 552-5.2.2 over quota", BounceKind.FAILED, "5.2.2"),
        ("failed", "5.7.1", "smtp; 550 5.7.1 Your network is on a blocklist", BounceKind.FAILED, "5.7.1"),
        ("failed", "5.3.4", "smtp; 552 5.3.4 Message too big", BounceKind.FAILED, "5.3.4"),
        ("failed", "4.4.1", "X-Postfix; connection timed out", BounceKind.FAILED, "4.4.1"),
        ("failed", "-", "smtp; 450 try later", BounceKind.FAILED, "4.0.0"),
        ("failed", "5.1.8", "smtp; 553 5.1.8 sender's domain does not exist", BounceKind.FAILED, "5.1.8"),
        ("failed", "5.4.6", "smtp; 554 5.4.6 too many hops", BounceKind.FAILED, "5.4.6"),
        ("failed", "5.4.1", "smtp; 550 5.4.1 Recipient address rejected: Access denied", BounceKind.HARD, "5.4.1"),
        ("failed", "5.0.0", "smtp; 554 Client host [192.5.2.1] blocked using a list", BounceKind.FAILED, "5.0.0"),
        ("failed", "5.0.0", "smtp; 550 no such user; our policy: x.example", BounceKind.HARD, "5.0.0"),
        ("failed", "5.0.0", "smtp; 550 rechazado", BounceKind.HARD, "5.0.0"),
        ("delayed", "4.4.1", "X-Postfix; connection timed out", BounceKind.SOFT, "4.4.1"),
        ("delivered", "2.0.0", "", BounceKind.DELIVERED, "2.0.0"),
    ],
)  # fmt: skip
def test_notifications(action: str, status: str, diagnostic: str, kind: BounceKind, told: str) -> None:
    """Only a refusal that speaks of the address is hard; neither a full mailbox nor a blocked sender is."""
    found = read_bounce(notification((action, status, diagnostic)))

    assert found is not None
    assert (found.message_id, found.kind, found.status) == (ID, kind, told)


def test_international_notifications() -> None:
    """Notifications about addresses beyond ASCII (RFC 6533) say the same, whatever ends their lines."""
    content = notification(("failed", "5.1.1", "smtp; 550 no"))
    content = content.replace(b"message/delivery-status", b"message/global-delivery-status")

    for found in (read_bounce(content), read_bounce(content.replace(b"\n", b"\r\n"))):
        assert found == Bounce(message_id=ID, kind=BounceKind.HARD, status="5.1.1", text="550 no")


def test_what_tells_nothing() -> None:
    """That a mail went on to a server without notifications says nothing of its delivery."""
    assert read_bounce(notification(("relayed", "2.0.0", ""))) is None


def test_the_worst_counts() -> None:
    """Of several recipients, as a forwarding address has them, the worst is told, with the server's words."""
    found = read_bounce(
        notification(("delivered", "2.0.0", ""), ("failed", "5.1.1", "smtp; 550 no"), ("delayed", "4.2.0", ""))
    )

    assert found == Bounce(message_id=ID, kind=BounceKind.HARD, status="5.1.1", text="550 no")


@pytest.mark.parametrize("header", ["To", "Delivered-To", "X-Original-To"])
def test_of_which_message(header: str) -> None:
    """The address it came to tells: as the mail server says, or as the headers have it."""
    bare = notification(("failed", "5.1.1", ""), id_=OTHER)
    assert read_bounce(bare) is None

    for found in (read_bounce(bare, VERP.upper()), read_bounce(f"{header}: <{VERP}>\n".encode() + bare)):
        assert found is not None
        assert found.message_id == ID


def test_odd_formats() -> None:
    """What follows no standard is recognized too; its message may stand in quoted headers only."""
    expected = Bounce(message_id=ID, kind=BounceKind.HARD, status="5.0.0", text="Remote host said: 550 User unknown")
    assert read_bounce(qmail(to=VERP)) == expected
    assert read_bounce(qmail()) == expected


@pytest.mark.parametrize(
    ("reason", "kind", "status"),
    [
        ("550 5.1.1 <juan@example.org>: User unknown", BounceKind.HARD, "5.1.1"),
        ("Sorry, no mailbox here by that name. (#5.1.1)", BounceKind.HARD, "5.1.1"),
        ("Unrouteable address", BounceKind.HARD, None),
        ("all relevant MX records point to non-existent hosts", BounceKind.HARD, None),
        ("552 5.2.2 mailbox full", BounceKind.FAILED, "5.2.2"),
        ("mailbox is full: retry timeout exceeded", BounceKind.FAILED, None),
        ("554 5.7.1 Client host [192.5.1.1] blocked", BounceKind.FAILED, "5.7.1"),
        ("554 Client host [192.5.1.1] blocked using\n    zen.spamhaus.example", BounceKind.FAILED, "5.0.0"),
        ("Your IP address has no valid name: blocked", BounceKind.FAILED, None),
        ("552 message size exceeds our limit", BounceKind.FAILED, "5.0.0"),
    ],
)
def test_odd_formats_blame_the_address_for_what_is_its_fault(reason: str, kind: BounceKind, status: str | None) -> None:
    """Without a notification, the server's own words say whether there is nobody, or our mail was not welcome."""
    found = read_bounce(exim(reason, to=VERP))

    assert found is not None
    assert (found.kind, found.status) == (kind, status)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\xff",
        f"To: {VERP}\nSubject: Out of office\nAuto-Submitted: auto-replied\n\nBack on Monday.\n".encode(),
        f"To: {VERP}\nSubject: Re: Novedades\n\n> 550 5.1.1 User unknown\nThanks!\n".encode(),
        qmail(OTHER),
    ],
    ids=["empty", "binary", "absence", "answer", "another's"],
)
def test_no_bounces(content: bytes) -> None:
    """An answer and a notice of absence are none; a bounce of another's mail is none of ours."""
    assert read_bounce(content) is None


@given(st.binary(max_size=300), st.integers(0, 1900), st.integers(0, 200))
def test_whatever_comes(noise: bytes, at: int, cut: int) -> None:
    """No mail, however broken, is more than no bounce or one whose text a database takes."""
    whole = notification(("failed", "5.1.1", "smtp; 550 no"))
    found = read_bounce(whole[:at] + noise + whole[at + cut :])

    assert found is None or (found.text.isprintable() and found.text.encode() is not None)


@pytest.mark.parametrize("noise", [b"\n", b">", b"> \n", b"message-id: <\n", b"550 5.1.1 ", b"--x\n", b"user "])
def test_a_long_mail_takes_a_moment(noise: bytes) -> None:
    """Anybody can write to a return path: a mail made to be slow to read is read at once."""
    many = noise * (300_000 // len(noise))
    assert read_bounce(f"To: {VERP}\n\n".encode() + many) is None
    assert read_bounce(exim(many.decode(), to=VERP)) is not None
    assert read_bounce(notification(("failed", "5.0.0", "smtp; 550 " + many.decode().replace("\n", " ")))) is not None
