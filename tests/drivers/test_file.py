"""The file driver: whole lines only, in the file that stands at the path, and no outcome that the file belies."""

import asyncio
import json
import os
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Collection
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_string
from pathlib import Path
from typing import Any, ClassVar

import pytest

from dialerd.drivers import file as module
from dialerd.drivers.file import File
from dialerd.model.campaign import Campaign, EmailPart
from dialerd.model.errors import Unavailable
from dialerd.model.message import Channel, Message
from dialerd.model.outcome import Deferred, Failed, InDoubt, Outcome, Sent, Unreachable
from dialerd.settings import FileProvider
from tests.drivers.conformance import DriverConformance, Kind, Peer, an_email, an_sms

CAMPAIGNS = {
    "Correo": Campaign(
        name="Correo",
        channel=Channel.EMAIL,
        provider="sandbox",
        email=EmailPart(sender="Ventas <ventas@example.com>", subject="Novedades"),
    )
}

Build = Callable[..., File]


def lines(path: Path) -> list[dict[str, Any]]:
    content = path.read_bytes().decode()
    assert content == "" or content.endswith("\n")
    return [json.loads(line) for line in content.split("\n")[:-1]]


class FilePeer:
    """A file in a folder that can go away."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "outbox" / "sandbox.jsonl"
        self.driver = File(FileProvider(name="sandbox", path=self.path), CAMPAIGNS)

    async def script(self, kind: Kind) -> None:
        folder = self.path.parent
        self.driver._latency_s = 3600.0 if kind is Kind.SLOW else 0.0
        if kind in {Kind.UNREACHABLE, Kind.DOWN}:
            shutil.rmtree(folder, ignore_errors=True)
            folder.write_text("a file where the folder was")
        elif folder.is_file():
            folder.unlink()

    async def reached(self) -> None:
        await asyncio.sleep(0)
        assert len(self.accepted()) == 1

    def accepted(self) -> Collection[str]:
        return [line["id"] for line in lines(self.path)] if self.path.exists() else []


class OfFile(DriverConformance):
    """The list, as far as a file can be put to it."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({Kind.ACCEPTED, Kind.UNREACHABLE, Kind.SLOW, Kind.UP, Kind.DOWN})

    @pytest.fixture
    async def peer(self, tmp_path: Path) -> AsyncIterator[Peer]:
        peer = FilePeer(tmp_path)
        yield peer
        await peer.driver.close()


class TestSms(OfFile):
    """As a provider of SMS."""


class TestEmail(OfFile):
    """As a provider of e-mail."""

    message: ClassVar[Callable[..., Message]] = staticmethod(an_email)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox" / "sandbox.jsonl"


@pytest.fixture
async def build(path: Path) -> AsyncIterator[Build]:
    drivers: list[File] = []

    def make(where: Path = path, **keys: Any) -> File:
        drivers.append(File(FileProvider(name="sandbox", path=where, **keys), CAMPAIGNS))
        return drivers[-1]

    yield make
    for driver in drivers:
        await driver.close()


async def test_sms_line(build: Build, path: Path) -> None:
    """An SMS's line has exactly the keys of the contract, times in ISO 8601 and UTC."""
    calldate = datetime(2026, 3, 1, 9, tzinfo=timezone(timedelta(hours=-3)))
    before = datetime.now(UTC)
    message = an_sms(calldate=calldate, parts=2)
    assert await build().send(message) == Sent()

    (line,) = lines(path)
    assert list(line) == [
        "id", "campaign", "channel", "destination", "source", "data", "priority", "base", "calldate", "parts",
        "sent_at",
    ]  # fmt: skip
    assert before <= datetime.fromisoformat(line.pop("sent_at")) <= datetime.now(UTC)
    assert line == {
        "id": message.id, "campaign": "Ventas->", "channel": "sms", "destination": "59899000001",
        "source": "59899000000", "data": "Hola ñandú; ¿qué tal?", "priority": 9999, "base": "base.csv",
        "calldate": "2026-03-01T12:00:00+00:00", "parts": 2,
    }  # fmt: skip
    assert "ñandú" in path.read_text()


async def test_email_line(build: Build, path: Path) -> None:
    """An e-mail's line has its subject, its sender and the whole message too."""
    message = an_email(details={"subject": "Su pedido"}, base=None, source=None)
    assert await build().send(message) == Sent()

    (line,) = lines(path)
    mime = message_from_string(line["mime"])
    assert list(line)[-3:] == ["subject", "from", "mime"]
    assert (line["subject"], line["from"]) == ("Su pedido", "Ventas <ventas@example.com>")
    assert (mime["To"], mime["Message-ID"]) == ("juan@example.org", f"<{message.id}@example.com>")
    assert (line["base"], line["source"], line["calldate"]) == (None, None, None)


async def test_half_characters(build: Build, path: Path) -> None:
    """Text that UTF-8 cannot spell is written in JSON's own spelling, and read back as it was."""
    await build().send(an_sms(data="a\ud83db"))

    assert lines(path)[0]["data"] == "a\ud83db"


async def test_email_without_part(build: Build, path: Path) -> None:
    """A campaign that lost its [email] table is no reason to throw its mails away."""
    assert isinstance(await build().send(an_email(campaign="Otra")), Deferred)
    assert not path.exists()


async def test_bad_address(build: Build, path: Path) -> None:
    """An address that no mail can carry has failed for good."""
    assert isinstance(await build().send(an_email(destination="a b", address="a b")), Failed)
    assert not path.exists()


@pytest.mark.parametrize("found", [b'{"id":"1"}\n{"id":"2"', b"x"])
async def test_unfinished_line_is_ended(build: Build, path: Path, found: bytes) -> None:
    """What a killed process left unfinished spoils no line but its own."""
    path.parent.mkdir()
    path.write_bytes(found)
    await build().send(an_sms())

    assert path.read_bytes().startswith(found + b"\n{")


async def test_unfinished_line_of_another(build: Build, path: Path) -> None:
    """That holds while the file is open, too."""
    driver = build()
    await driver.send(an_sms())
    with path.open("ab") as other:
        other.write(b'{"id":')
    await driver.send(an_sms())

    first, second, third, rest = path.read_bytes().split(b"\n")
    assert (json.loads(first)["parts"], second, json.loads(third)["parts"], rest) == (1, b'{"id":', 1, b"")


async def test_whole_file_stays(build: Build, path: Path) -> None:
    """A file that ends with a whole line is just gone on with."""
    await build().send(an_sms())
    await build().send(an_sms())

    assert len(lines(path)) == 2


async def test_deleted_file(build: Build, path: Path) -> None:
    """After the file was deleted, with its folder, the next line stands in a new one."""
    driver = build()
    await driver.send(an_sms())
    shutil.rmtree(path.parent)
    message = an_sms()
    await driver.send(message)

    assert [line["id"] for line in lines(path)] == [message.id]


async def test_rotated_file(build: Build, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After logrotate moved the file away, lines go into the new one from the next look on."""
    monkeypatch.setattr(module, "LOOK_S", 0.0)
    driver = build()
    await driver.send(an_sms())
    path.rename(path.with_suffix(".1"))
    await driver.send(an_sms())

    assert len(lines(path.with_suffix(".1"))) == len(lines(path)) == 1


async def test_emptied_file(build: Build, path: Path) -> None:
    """After logrotate's copytruncate the file begins anew, without a hole."""
    driver = build()
    await driver.send(an_sms())
    os.truncate(path, 0)
    await driver.send(an_sms())

    assert len(lines(path)) == 1


async def test_full_disk(build: Build) -> None:
    """Where nothing could be written, nothing was sent."""
    outcome = await build(Path("/dev/full")).send(an_sms())

    assert outcome == Unreachable("cannot write /dev/full: No space left on device")


async def test_disk_full_within_a_line(build: Build, path: Path) -> None:
    """Of a line that does not fit nothing stays, and once there is room it is written."""
    driver = build()
    await driver.send(an_sms())
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, hard))
    try:
        outcome = await driver.send(an_sms())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert isinstance(outcome, Unreachable)
    assert "no room for more than 100 of" in outcome.error
    assert path.read_bytes() == before
    assert await driver.send(an_sms()) == Sent()
    assert len(lines(path)) == 2


async def test_disk_full_beside_another(build: Build, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process appended after half a line of ours is not cut off: ours is in doubt, its line is ended."""
    driver = build()
    await driver.send(an_sms())
    write = os.write

    def half(fd: int, line: bytes) -> int:
        monkeypatch.undo()
        written = write(fd, line[:50])
        with path.open("ab") as other:
            other.write(b'{"id":"other"}\n{"id"')
        return written

    monkeypatch.setattr(os, "write", half)
    assert isinstance(await driver.send(an_sms()), InDoubt)
    assert await driver.send(an_sms()) == Sent()

    _, glued, other, ours, rest = path.read_bytes().split(b"\n")
    assert glued.endswith(b'{"id":"other"}')
    assert (other, json.loads(ours)["parts"], rest) == (b'{"id"', 1, b"")


@pytest.mark.parametrize(("reached", "outcome"), [(0, Unreachable), (50, InDoubt)])
async def test_failed_write(
    build: Build, path: Path, monkeypatch: pytest.MonkeyPatch, reached: int, outcome: type[Outcome]
) -> None:
    """After a failed write the file's length says whether anything can stand there."""
    driver = build()
    await driver.send(an_sms())
    write = os.write

    def fail(fd: int, line: bytes) -> int:
        monkeypatch.undo()
        if reached:
            write(fd, line[:reached])
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "write", fail)
    assert isinstance(await driver.send(an_sms()), outcome)
    assert await driver.send(an_sms()) == Sent()


async def test_full_disk_is_probed(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk without room fails the probe, so that a spool is not thrown at it."""
    room = os.fstatvfs(0)
    full = os.statvfs_result([*room[:3], 0, 0, *room[5:]])
    driver = build()
    await driver.probe()
    monkeypatch.setattr(os, "fstatvfs", lambda _fd: full)

    with pytest.raises(Unavailable, match="no space left"):
        await driver.probe()


async def test_line_stands_before_the_answer(build: Build, path: Path) -> None:
    """With a latency the line is there while the answer is under way, so an answer that is lost leaves a doubt."""
    driver = build(latency_ms=60_000)
    attempt = asyncio.ensure_future(driver.send(an_sms()))
    await asyncio.sleep(0)

    assert (len(lines(path)), attempt.done()) == (1, False)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt


async def test_attempt_limit(build: Build) -> None:
    """A file that answers at once is never waited for; a slow one has more time than it takes."""
    assert build().attempt_limit_s is None
    limit_s = build(latency_ms=60_000).attempt_limit_s
    assert limit_s is not None
    assert limit_s > 60


async def test_not_for_everybody(build: Build, path: Path) -> None:
    """Numbers and texts are for the daemon's user and group only."""
    await build().send(an_sms())

    assert stat.S_IMODE(path.stat().st_mode) & 0o027 == 0


def test_processes_side_by_side(path: Path) -> None:
    """A daemon and a `run --once` that write into one file leave whole lines, none of them empty."""
    program = """
import asyncio, sys
from pathlib import Path
from tests.drivers.conformance import an_email, an_sms
from tests.drivers.test_file import CAMPAIGNS, File, FileProvider

async def main():
    driver = File(FileProvider(name="sandbox", path=Path(sys.argv[1])), CAMPAIGNS)
    for number in range(300):
        await driver.send(an_email(data="a" * 9000) if number % 10 == 0 else an_sms())

asyncio.run(main())
"""
    writers = [subprocess.Popen([sys.executable, "-c", program, path]) for _ in range(3)]

    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len({line["id"] for line in lines(path)}) == len(lines(path)) == 900
