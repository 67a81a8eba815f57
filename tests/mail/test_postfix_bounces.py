"""A real Postfix sends our mails back, and what it writes is understood."""

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dialerd.drivers.smtp import Smtp
from dialerd.mail.bounces import read_bounce
from dialerd.model.bounce import BounceKind
from dialerd.model.campaign import Campaign, EmailPart
from dialerd.model.message import Channel
from dialerd.model.outcome import Sent
from dialerd.settings import Security, SmtpProvider
from tests.drivers.conformance import an_email
from tests.fakes.smtp import SmtpServer
from tests.peers import program

pytestmark = pytest.mark.xdist_group("postfix")

MAIN = """
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
maillog_file_prefixes = {home}
maillog_file = {home}/log
multi_instance_directories =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.example.net
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
smtpd_reject_unlisted_recipient = no
smtpd_peername_lookup = no
smtp_tls_security_level = none
transport_maps = inline:{{ {{ example.com = smtp:[127.0.0.1]:{ours} }},
    {{ nobody.example = error:5.1.1 mailbox unavailable }}, {{ full.example = error:5.2.2 mailbox full }},
    {{ refused.example = smtp:[127.0.0.1]:{theirs} }} }}
"""

MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""

EMAIL = EmailPart(sender="Ventas <ventas@example.com>", subject="Año", return_path="bounces@example.com")
CAMPAIGNS = {"Correo": Campaign(name="Correo", channel=Channel.EMAIL, provider="p", email=EMAIL)}


@pytest.fixture
def home() -> Iterator[Path]:
    # Not below pytest's folder, which only its owner may enter: Postfix has several users.
    folder = Path(tempfile.mkdtemp(prefix="dialerd-bounces-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


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
def postfix(home: Path, return_path: SmtpServer, theirs: SmtpServer) -> Iterator[int]:
    """Run Postfix; return its port."""
    command = program("postfix")
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Postfix starts for root only")
    port = free_port()
    places = {"home": home, "port": port, "ours": return_path.port, "theirs": theirs.port}
    (home / "main.cf").write_text(MAIN.format(**places))
    (home / "master.cf").write_text(MASTER.format(**places))
    for folder, owner in (("data", "postfix"), ("queue", "root")):
        (home / folder).mkdir()
        shutil.chown(home / folder, owner)
    subprocess.run([command, "-c", home, "check"], check=True, capture_output=True)
    master = Path(command).parents[1] / "lib/postfix/sbin/master"
    with subprocess.Popen([master, "-c", home, "-d"], stdin=subprocess.DEVNULL, start_new_session=True) as process:
        yield port
        process.terminate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def listening(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            await asyncio.sleep(0.02)


async def test_bounces_of_postfix(postfix: int, return_path: SmtpServer) -> None:
    """Mails that Postfix took and cannot deliver come back to their own return paths, and say why."""
    await listening(postfix)
    driver = Smtp(
        SmtpProvider(name="p", host="127.0.0.1", port=postfix, security=Security.NONE, timeout_s=20.0), CAMPAIGNS
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
