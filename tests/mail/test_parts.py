"""What is composed is what the standard library's EmailMessage composes, with `cte_type="7bit"`."""

import email
import email.policy
import random
import re
from email.message import EmailMessage, MIMEPart
from email.policy import SMTP
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dialerd.mail.parts import File, attached
from dialerd.mail.plain import text_of
from dialerd.model.campaign import EmailPart, TemplateSource
from dialerd.model.mail import Mail
from tests.bench.compose import rates
from tests.mail.composed import a_message, compose

POLICY = SMTP.clone(cte_type="7bit")

HTML = "<html><body><h1>{{title}}</h1>\n<p>Estimada ${name}, su señal:</p>\n<p>{{amount}}</p></body></html>\n"
TEXT = "{{title}}\n\nEstimada ${name}, su señal:\n{{amount}}\n"

#: Text as people write it, and text as nobody should.
WORDS = st.text(max_size=400) | st.text(alphabet="ab ñ€😀\t\r\n=.<>&\x0c\x85 ", max_size=400) | st.text(
    alphabet="абв \n", max_size=2000
)  # fmt: skip


def wire(message: EmailMessage | MIMEPart) -> list[tuple[str, dict[str, str], bytes]]:
    """Return of each leaf its type, the fields that tell how it is to be read, and its bytes as they are sent."""
    told = []
    for part in message.walk():
        if part.is_multipart():
            told.append((part.get_content_type(), {}, b""))
            continue
        fields = {name: str(part[name]) for name in ("Content-Type", "Content-Transfer-Encoding", "Content-Disposition")
                  if part[name]}  # fmt: skip
        payload = part.get_payload()
        assert isinstance(payload, str)
        told.append((part.get_content_type(), fields, payload.encode()))
    return told


def read(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=POLICY)
    assert isinstance(message, EmailMessage)
    assert [part.defects for part in message.walk() if part.defects] == []
    return message


def same(mail: Mail, expected: EmailMessage) -> None:
    """Compare: every leaf byte for byte, and what each field says."""
    ours, theirs = read(mail.content), read(expected.as_bytes())
    assert wire(ours) == wire(theirs)
    structure = {"Content-Type", "Content-Transfer-Encoding", "MIME-Version"}
    assert {k: str(v) for k, v in ours.items() if k not in structure} == {
        k: str(v) for k, v in theirs.items() if k not in structure
    }
    assert mail.content.isascii()
    assert b"\n" not in mail.content.replace(b"\r\n", b"")
    assert max(map(len, mail.content.split(b"\r\n"))) <= 998


def stdlib(mail: Mail, text: str, html: str | None) -> EmailMessage:
    """Build the same mail with the standard library alone."""
    expected = EmailMessage(policy=POLICY)
    expected["From"] = "Ventas <ventas@example.com>"
    expected["To"] = mail.recipient
    if mail.subject:
        expected["Subject"] = mail.subject
    ours = read(mail.content)
    for name in ("Date", "Message-ID", "Auto-Submitted"):
        expected[name] = str(ours[name])
    expected.set_content(text)
    if html is not None:
        expected.add_alternative(html, subtype="html")
    return expected


def as_sent(text: str) -> str:
    return text.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@given(title=WORDS, name=WORDS, amount=st.integers() | st.floats(allow_nan=False) | st.none())
@example(title="x" * 998, name="", amount=None)
@example(title="con espacio al final \t", name="=\r.\n", amount=1)
def test_a_template_as_the_library_would(title: str, name: str, amount: Any) -> None:
    """Text and HTML of a template, whatever the variables hold, are encoded as EmailMessage encodes them."""
    part = EmailPart(
        sender="Ventas <ventas@example.com>",
        template="t",
        templates={"t": TemplateSource(name="t", html=HTML, text=TEXT)},
    )
    mail = compose(a_message("", variables={"title": title, "name": name, "amount": amount}), part)

    spelled = {"title": title, "name": name, "amount": "" if amount is None else str(amount)}
    text = re.sub(r"\{\{(\w+)\}\}|\$\{(\w+)\}", lambda m: spelled[m[1] or m[2]], TEXT)
    escaped = {
        key: value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;").replace(
            '"', "&#34;"
        )
        for key, value in spelled.items()
    }  # fmt: skip
    html = re.sub(r"\{\{(\w+)\}\}|\$\{(\w+)\}", lambda m: escaped[m[1] or m[2]], HTML)
    same(mail, stdlib(mail, as_sent(text), as_sent(html)))


#: Texts whose encoding is another if one line more, or less, is judged.
TENTH, ELEVENTH = ("\n".join(["a"] * before + ["я" * 40]) for before in (9, 10))


@given(WORDS.filter(str.strip))
@example(TENTH)
@example(ELEVENTH)
def test_a_body_as_the_library_would(data: str) -> None:
    """A body that stands in its row goes as EmailMessage would send it, with a text made of it if it is HTML."""
    for body in (data, f"<p>{data}</p>"):
        mail = compose(a_message(body), EmailPart(sender="Ventas <ventas@example.com>"))
        is_html = len(list(read(mail.content).walk())) > 1
        text, html = (text_of(body), as_sent(body)) if is_html else (body, None)
        same(mail, stdlib(mail, as_sent(text), html))


def test_composing_is_not_what_is_slow() -> None:
    """Thousands of mails a second are composed on a core where EmailMessage makes hundreds."""
    found = rates(400)

    assert found["dialerd"] > 3 * found["EmailMessage"]


def test_a_file_as_the_library_would() -> None:
    """A file is encoded as EmailMessage does it, and has its name, whatever the name holds."""
    content = random.Random(1).randbytes(100_000)
    for name in ("plain.pdf", 'with "quotes" and \\.pdf', "Año señal.pdf"):
        expected = EmailMessage(policy=POLICY)
        expected.set_content(content, "application", "pdf", disposition="attachment", filename=name)
        ours = read(bytes(attached(File(name=name, kind="application/pdf", content=content))))

        assert ours.get_payload() == read(expected.as_bytes()).get_payload()
        assert (ours.get_filename(), ours.get_content_disposition()) == (name, "attachment")


@pytest.mark.parametrize("kind", ["a", "r", "m"])
def test_no_body_ends_its_part(kind: str) -> None:
    """A body that holds the id of its own message, and so the mark between parts, stays whole."""
    message = a_message("")
    body = f"<p>uno</p>\n--=_{kind}_{message.id}\n\ndos"
    read_back = read(compose(a_message(body), EmailPart(sender="a@example.com")).content)

    html = read_back.get_body(("html",))
    assert html is not None
    assert html.get_content().replace("\r\n", "\n") == body + "\n"
