"""Mails: what is composed can be read back by any mail program, and nothing in a field becomes a header."""

import email
import email.policy
import re
from dataclasses import replace
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialerd.mail import composer
from dialerd.mail.plain import looks_like_html
from dialerd.model.campaign import EmailPart
from dialerd.model.mail import Mail
from dialerd.model.outcome import Deferred, Failed
from dialerd.model.placeholders import Missing
from tests.mail.composed import ID, a_message, compose, composed

PART = EmailPart(
    sender="Ventas <ventas@example.com>", reply_to=("Ana <a@example.com>", "b@example.com"), subject="Novedades"
)


def mail(data: str = "Hola", *, part: EmailPart = PART, to: str = "juan@example.org", **details: Any) -> Mail:
    return compose(a_message(data, to=to, **details), part)


def parsed(composed: Mail) -> EmailMessage:
    message = email.message_from_bytes(composed.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def lines(message: EmailMessage) -> list[str]:
    content: str = message.get_content()
    assert content.endswith("\n")
    return content.removesuffix("\n").removesuffix("\r").replace("\r\n", "\n").split("\n")


def test_headers() -> None:
    """A mail carries the campaign's headers, its own time and an id that every attempt shares."""
    composed = mail()

    assert dict(parsed(composed)) == {
        "From": "Ventas <ventas@example.com>",
        "To": "juan@example.org",
        "Reply-To": "Ana <a@example.com>, b@example.com",
        "Subject": "Novedades",
        "Date": "Sun, 01 Mar 2026 12:30:05 +0000",
        "Message-ID": f"<{ID}@example.com>",
        "Auto-Submitted": "auto-generated",
        "MIME-Version": "1.0",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": "7bit",
    }
    assert (composed.mailbox, composed.sender) == ("Ventas <ventas@example.com>", "ventas@example.com")
    assert (composed.recipient, composed.subject) == ("juan@example.org", "Novedades")


def test_date_of_the_first_attempt() -> None:
    """A mail that waited is dated by its first attempt, not by when it came in."""
    waited = replace(a_message(), first_claimed_at=datetime(2026, 3, 9, 8, 0, 1, 999999, tzinfo=UTC))

    assert "Mon, 09 Mar 2026 08:00:01 +0000" == parsed(compose(waited, PART))["Date"]


@pytest.mark.parametrize("data", ["Hola ñandú", "<p>Hola <b>ñandú</b></p>"])
def test_same_bytes(data: str) -> None:
    """Every attempt of a message sends the same bytes."""
    assert mail(data).content == mail(data).content


def test_own_subject() -> None:
    """A message's own subject goes before the campaign's."""
    assert mail(subject="Su pedido").subject == "Su pedido"
    assert "Subject" not in parsed(mail(part=EmailPart(sender="a@example.com")))


@given(st.text(max_size=300))
def test_subject_is_read_back(subject: str) -> None:
    """Whatever a subject holds, it is read back as one line; nothing of it becomes another header."""
    composed = mail(subject=subject)
    message = parsed(composed)

    assert list(message) == list(parsed(mail()))
    assert message["Subject"] == composed.subject
    assert "\n" not in composed.subject


@given(st.text(alphabet='ab ñ=?_,;:<>()"\\\r\n😀', max_size=120))
def test_awkward_subject_is_read_back(subject: str) -> None:
    """Text that looks like an encoded word, or is long or oddly spaced, is read back as it was written."""
    composed = mail(subject=subject)

    assert parsed(composed)["Subject"] == composed.subject
    assert composed.subject == (" ".join(subject.split()) or "Novedades")
    assert all(len(line) <= 76 for line in composed.content.partition(b"\r\n\r\n")[0].split(b"\r\n"))


@pytest.mark.parametrize(
    "field", ["Hola\r\nBcc: eve@example.com", "Hola\nBcc: eve@example.com", "=?utf-8?q?=0D=0ABcc:?="]
)
def test_subject_injects_nothing(field: str) -> None:
    """A line end in a subject is a space."""
    assert parsed(mail(subject=field))["Bcc"] is None
    assert parsed(mail(subject=field))["Subject"] == " ".join(field.split())


@pytest.mark.parametrize(
    "to", ["a@example.com\r\nBcc: eve@example.com", "a@example.com, eve@example.com", "a b@example.com", "a", "", "a@",
           "<a@example.com>", "a@" + "x" * 70 + "ñ.com", "a@ñ..com"]
)  # fmt: skip
def test_bad_recipient(to: str) -> None:
    """What is no single address is refused before anything is built of it."""
    assert isinstance(composed(a_message(to=to), PART), Failed)


def test_recipient_as_written() -> None:
    """The mail goes to the address as it was given: some servers tell upper from lower case."""
    assert mail(to=" Juan@Example.org ").recipient == "Juan@Example.org"


def test_international_addresses() -> None:
    """A domain goes out in ASCII; a local part beyond it is UTF-8, for servers with SMTPUTF8."""
    composed = mail(to="ñandú@señal.uy")

    assert composed.recipient == "ñandú@xn--seal-hqa.uy"
    assert "To: ñandú@xn--seal-hqa.uy\r\n".encode() in composed.content
    assert mail(to="a@señal.uy").content.isascii()


@pytest.mark.parametrize(
    "name", ["Señal", "Ventas, S.A.", 'El "Bueno"', "Razón social larguísima de una empresa con sede en Montevideo" * 2]
)
def test_sender_name(name: str) -> None:
    """The sender's name is shown as the campaign has it."""
    quoted = name.replace('"', '\\"')
    message = email.message_from_bytes(mail(part=EmailPart(sender=f'"{quoted}" <ventas@example.com>')).content)
    # Not the newer policies: in Python 3.11 they put spaces between the encoded words of a name.
    shown, address = parseaddr(str(make_header(decode_header(message["From"].replace("\r\n", "")))))

    assert (shown, address) == (name, "ventas@example.com")


@given(st.text())
def test_body_is_read_back(data: str) -> None:
    """A text arrives as it was written, in lines that every relay passes on."""
    if looks_like_html(data) or not data.strip():
        return
    composed = mail(data)

    written = re.sub(r"(\r\n|\r|\n)\Z", "", data.replace("\0", ""))
    assert lines(parsed(composed)) == re.split(r"\r\n|\r|\n", written)
    assert composed.content.isascii()
    assert all(len(line) <= 998 for line in composed.content.split(b"\r\n"))
    assert b"\n" not in composed.content.replace(b"\r\n", b"")


@pytest.mark.parametrize("data", ["a" * 5000, "ñ" * 5000, "Hola \ud800 y \ud83d\ude00", "uno\0dos", ".\r\n.\nFrom x\n"])
def test_odd_bodies(data: str) -> None:
    """Long lines, halves of characters and dots arrive, or something readable in their place."""
    expected = data.replace("\0", "").replace("\ud800", "\ufffd").replace("\ud83d\ude00", "😀")

    assert lines(parsed(mail(data))) == expected.removesuffix("\n").replace("\r\n", "\n").split("\n")


def test_html() -> None:
    """An HTML body goes with a text that says the same."""
    html = "<html><head><title>x</title><style>p {}</style></head><body><p>Hola <b>ñandú</b></p></body></html>"
    message = parsed(mail(html))
    text, rich = message.iter_parts()

    assert message.get_content_type() == "multipart/alternative"
    assert (text.get_content_type(), text.get_content()) == ("text/plain", "Hola ñandú\r\n")
    assert (rich.get_content_type(), rich.get_content()) == ("text/html", html + "\r\n")


def test_variables_are_filled_in() -> None:
    """Both spellings of a variable are filled into subject and text, and escaped in HTML; no value stays out."""
    plain = parsed(
        mail("Estimada ${name}: {{ amount }}", subject="Hola {{name}}", variables={"name": "Ana", "amount": 5})
    )
    html = mail("<p>${name}</p>", variables={"name": "<b>Ana & Co</b>"})

    assert ("Hola Ana", "Estimada Ana: 5") == (plain["Subject"], plain.get_content().strip())
    assert b"&lt;b&gt;Ana &amp; Co&lt;/b&gt;" in html.content


def test_a_missing_variable_is_named() -> None:
    """A text that asks for a value which the message does not bring is refused with the name."""
    failed = composed(a_message("${name} ${amount}", variables={"name": "Ana"}), PART)

    assert isinstance(failed, Failed)
    assert "'amount'" in failed.error


def test_the_campaigns_subject_is_filled_in() -> None:
    """A campaign's subject means its placeholders: nobody gets to read one, whatever the message brings."""
    part = EmailPart(sender="a@example.com", subject="Hola ${name}, {{name}}")

    assert compose(a_message(variables={"name": "Ana"}), part).subject == "Hola Ana, Ana"
    assert compose(a_message(subject="${name}"), part).subject == "${name}"
    assert compose(a_message(), part, missing=Missing.BLANK).subject == "Hola ,"
    failed = composed(a_message(), part)
    assert isinstance(failed, Failed)
    assert "'name'" in failed.error


def test_a_text_without_variables_stays_as_it_stands() -> None:
    """Where no values are given, what looks like a variable is text."""
    assert "cuesta ${500} {{x}}" in parsed(mail("cuesta ${500} {{x}}")).get_content()


def test_german_domains() -> None:
    """A domain goes out as today's IDNA spells it (RFC 5891), which is not how RFC 3490 did: another's domain."""
    composed = mail(part=EmailPart(sender="Ventas <ventas@straße.de>"))

    assert parsed(composed)["From"] == "Ventas <ventas@xn--strae-oqa.de>"
    assert parsed(composed)["Message-ID"] == f"<{ID}@xn--strae-oqa.de>"


def test_who_takes_a_mail() -> None:
    """Only a local part beyond ASCII needs a server with SMTPUTF8; a domain, a name or a text do not."""
    assert mail(to="ñandú@example.com").needs_smtputf8
    part = EmailPart(sender="Señal <a@señal.uy>", reply_to=("Ñandú <b@señal.uy>",), return_path="b@señal.uy")
    assert not mail("ñandú", part=part, to="a@señal.uy", subject="ñ").needs_smtputf8


def test_return_path() -> None:
    """With a return path, each mail has one of its own, at most as long as the standard allows; From stays."""
    composed = mail(part=EmailPart(sender="ventas@example.com", return_path="a" * 27 + "@señal.uy"))

    assert composed.sender == "a" * 27 + f"+{ID}@xn--seal-hqa.uy"
    assert len(composed.sender.partition("@")[0]) == 64
    assert parsed(composed)["From"] == "ventas@example.com"


@given(st.text(max_size=300))
def test_own_headers(value: str) -> None:
    """A campaign's own header fields are read back as one line each, whatever is in them."""
    message = parsed(mail(part=EmailPart(sender="a@example.com", headers={"X-Own": " ".join(value.split()) or "x"})))

    assert list(message)[-5:] == [
        "Auto-Submitted",
        "X-Own",
        "MIME-Version",
        "Content-Type",
        "Content-Transfer-Encoding",
    ]


@pytest.mark.parametrize(
    "value",
    ["<https://example.com/" + "h" * 900 + ">, <mailto:a@example.com>", "a:b:" + "c" * 80, "uno  dos " * 40 + "fin"],
)
def test_own_headers_with_a_structure(value: str) -> None:
    """A field that programs read stays as it was written, folded at its spaces only."""
    composed = mail(part=EmailPart(sender="a@example.com", headers={"List-Help": value}))
    raw = composed.content.partition(b"\r\nList-Help: ")[2].partition(b"\r\nMIME-Version")[0].decode()

    assert raw.replace("\r\n", "") == value
    assert all(
        len(line.rstrip()) <= 76 or " " not in line[1:].rstrip() for line in f"List-Help: {raw}".split("\r\n")[1:]
    )
    assert max(map(len, composed.content.split(b"\r\n"))) <= 998


def test_a_template_that_has_gone() -> None:
    """A template that was there when the message came in may come back: the message is tried again."""
    assert isinstance(composed(a_message("", template="gone"), PART), Deferred)


def test_a_bug_is_no_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong while a mail is composed, nothing of it has gone: it has failed, and says so."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(composer, "word", fail)

    assert composed(a_message(), PART) == Failed("cannot be composed: ZeroDivisionError")
