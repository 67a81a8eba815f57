"""Attachments: from below one folder only, whole, and never more than allowed."""

import asyncio
import email
import email.policy
import os
import threading
from collections.abc import Iterable
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

import pytest

from dialerd.mail import composer
from dialerd.mail.attachments import read_files
from dialerd.mail.composer import Composer
from dialerd.mail.parts import File
from dialerd.model.campaign import Campaign, EmailPart
from dialerd.model.mail import Mail
from dialerd.model.message import Channel
from dialerd.model.outcome import Deferred, Failed, Postponed
from tests.mail.composed import a_message

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    (folder / "in").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "files-too").mkdir()
    (tmp_path / "files-too" / "a.txt").write_text("secret")
    (folder / "factura ñ.pdf").write_bytes(b"%PDF-1.4\n\0\xff")
    (folder / "in" / "logo.png").write_bytes(PNG)
    (folder / "logo.png").write_bytes(PNG)
    (folder / "notes.tar.gz").write_bytes(b"\x1f\x8b")
    (folder / "out").symlink_to(tmp_path)
    (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "within.png").symlink_to("in/logo.png")
    (folder / "null").symlink_to("/dev/null")
    os.mkfifo(folder / "pipe")
    return folder


async def compose(folder: Path | None, data: str = "Hola", **details: object) -> Mail | Deferred | Postponed | Failed:
    part = EmailPart(
        sender="a@example.com", attachments=str(folder) if folder is not None else None, max_attachments_mb=0.05
    )
    campaign = Campaign(name="Correo", channel=Channel.EMAIL, provider="p", email=part)
    return await Composer({"Correo": campaign}).compose(a_message(data, **details))


def read(mail: object) -> EmailMessage:
    assert isinstance(mail, Mail), mail
    message = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not [part for part in message.walk() if part.defects]
    return message


async def test_attached(folder: Path) -> None:
    """Files arrive byte for byte, with their names and types, by paths from the folder on or absolute ones."""
    given = ["factura ñ.pdf", str(folder / "in" / "logo.png"), "notes.tar.gz", "within.png"]
    message = read(await compose(folder, attachments=given))

    assert message.get_content_type() == "multipart/mixed"
    first, *files = message.iter_parts()
    assert first.get_content() == "Hola\r\n"
    assert [(part.get_filename(), part.get_content_type(), part.get_content_disposition()) for part in files] == [
        ("factura ñ.pdf", "application/pdf", "attachment"),
        ("logo.png", "image/png", "attachment"),
        ("notes.tar.gz", "application/gzip", "attachment"),
        ("within.png", "image/png", "attachment"),
    ]
    assert [part.get_content() for part in files] == [b"%PDF-1.4\n\0\xff", PNG, b"\x1f\x8b", PNG]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.PDF", "application/pdf"),
        ("a.b.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("a.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ("a.ods", "application/vnd.oasis.opendocument.spreadsheet"),
        ("a.webp", "image/webp"),
        ("a.eml", "application/octet-stream"),
        ("data:text,html", "application/octet-stream"),
        ("pdf", "application/octet-stream"),
    ],
)
async def test_what_kind_of_file(folder: Path, name: str, kind: str) -> None:
    """What people send is announced as what it is, by its ending, the same with every Python; the rest as bytes."""
    (folder / name).write_bytes(b"x")
    _, file = read(await compose(folder, attachments=[name])).iter_parts()

    assert (file.get_content_type(), file.get_payload(decode=True)) == (kind, b"x")


async def test_images_in_html(folder: Path) -> None:
    """An image that the HTML shows by `cid:` goes inline beside it, whether or not the message asks for it."""
    for details in ({}, {"attachments": ["logo.png", "notes.tar.gz"]}):
        message = read(await compose(folder, '<p>Hola</p><img src="cid:logo.png">', **details))

        related = message.get_body(("related",))
        assert related is not None
        html, image = related.iter_parts()
        assert html.get_content_type() == "text/html"
        assert (image["Content-ID"], image.get_content_disposition()) == ("<logo.png>", "inline")
        assert image.get_content() == PNG
        others = [part.get_filename() for part in message.walk() if part.get_content_disposition() == "attachment"]
        assert others == (["notes.tar.gz"] if details else [])


@pytest.mark.parametrize(
    "path",
    ["absent.pdf", "in/absent.pdf", "logo.png/x", "../secret.txt", "in/../../secret.txt", "out/secret.txt", "out.txt",
     "/etc/hostname", "../files-too/a.txt", "null", "/dev/zero", "pipe", "in", ".", "", "a\0b", "/"],
)  # fmt: skip
async def test_not_below_the_folder(folder: Path, path: str) -> None:
    """What is not there, or not a regular file below the folder, fails the message; nothing else is opened."""
    failed = await compose(folder, attachments=[path])

    assert isinstance(failed, Failed)
    assert not path or "\0" in path or repr(path) in failed.error


async def test_a_missing_image(folder: Path) -> None:
    """A mail that would show a gap fails, and says which image is missing."""
    failed = await compose(folder, "<p>Hola</p><img src='cid:absent.png'>")

    assert isinstance(failed, Failed)
    assert "'absent.png'" in failed.error


async def test_too_large(folder: Path) -> None:
    """The files of one mail together have a limit; what is larger is not even read to its end."""
    for name in ("a.bin", "b.bin"):
        (folder / name).write_bytes(b"x" * 30_000)
    assert isinstance(await compose(folder, attachments=["a.bin"]), Mail)
    with (folder / "huge.bin").open("wb") as file:
        file.truncate(1 << 40)
    for paths in (["a.bin", "b.bin"], ["huge.bin"]):
        failed = await compose(folder, attachments=paths)
        assert isinstance(failed, Failed)
        assert repr(paths[-1]) in failed.error


async def test_no_folder(tmp_path: Path) -> None:
    """A campaign without a folder sends no files; one whose folder is away for now waits, at no attempt."""
    assert isinstance(await compose(None, attachments=["a"]), Failed)
    assert isinstance(await compose(None, '<img src="cid:a">'), Mail)
    assert isinstance(await compose(tmp_path / "absent", attachments=["a"]), Postponed)


async def test_a_folder_that_hangs(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that does not answer holds up its own campaign's files and nobody else's, nor other work in threads.

    Its mails wait without an attempt being spent.
    """
    goes_on = threading.Event()

    def read_slowly(at: str, paths: Iterable[str], *, most_mb: float) -> list[File]:
        if at.endswith("hangs"):
            goes_on.wait()
        return read_files(str(folder), paths, most_mb=most_mb)

    monkeypatch.setattr(composer, "read_files", read_slowly)
    campaigns = {
        name: Campaign(
            name=name, channel=Channel.EMAIL, provider="p",
            email=EmailPart(sender="a@example.com", attachments=str(tmp_path / name)),
        )
        for name in ("hangs", "Correo")
    }  # fmt: skip
    composing = Composer(campaigns)
    message = a_message(attachments=["logo.png"])
    hung = [asyncio.ensure_future(composing.compose(replace(message, campaign="hangs"))) for _ in range(100)]
    try:
        async with asyncio.timeout(20):
            assert isinstance(await composing.compose(message), Mail)
            await asyncio.to_thread(lambda: None)
            assert isinstance(await composing.compose(replace(message, campaign="hangs", details={})), Mail)
        assert not any(task.done() for task in hung)
        monkeypatch.setattr(composer, "READ_S", 0.1)
        late = await composing.compose(replace(message, campaign="hangs"))
        assert late == Postponed("the campaign's folder of attachments: no answer within 0.1 s", composer.AWAY_S)
    finally:
        goes_on.set()
    assert {type(mail) for mail in await asyncio.gather(*hung)} == {Mail}
