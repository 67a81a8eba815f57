"""Postfix's smtp-sink, which takes every mail, and a Postfix of one's own, each on a loopback port, gone afterwards."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.peers import program, unavailable
from tests.postgres import free_port

__all__ = ["Postfix", "Relay", "Sink"]

START_S = 60

MAIN = """
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
maillog_file_prefixes = {home}
maillog_file = {home}/log
multi_instance_directories =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
smtpd_peername_lookup = no
smtp_tls_security_level = none
"""

RELAY = """
myhostname = relay.example.net
default_transport = smtp:[127.0.0.1]:{sink}
relay_domains = example.org
relay_transport = smtp:[127.0.0.1]:{sink}
relay_recipient_maps = regexp:{home}/recipients
smtpd_delay_reject = no
smtpd_sender_restrictions = check_sender_access inline:{{ {{ spam@example.com = REJECT }} }}
smtpd_recipient_restrictions = check_recipient_access regexp:{home}/greylist, permit_mynetworks, reject
message_size_limit = 20000
smtpd_tls_security_level = may
smtpd_tls_cert_file = {home}/tls.pem
smtpd_tls_session_cache_database =
tls_random_source = dev:/dev/urandom
smtpd_error_sleep_time = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_connection_count_limit = 0
default_destination_concurrency_limit = 20
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


class Sink:
    """smtp-sink: takes mails from as many connections as come; with `dump` each stands in a file of that folder."""

    def __init__(self, *, dump: Path | None = None) -> None:
        self.dump = dump
        self.port = free_port()

    def __enter__(self) -> Self:
        command = [program("smtp-sink"), "-4", "-m", "1000"]
        if os.geteuid() == 0:
            command += ["-u", "nobody"]
        if self.dump is not None:
            command += ["-d", f"{self.dump}/%Y."]
            if os.geteuid() == 0:
                shutil.chown(self.dump, "nobody")
        self._process = subprocess.Popen([*command, f"127.0.0.1:{self.port}", "1000"], stdin=subprocess.DEVNULL)
        await_port(self.port, self._process)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()


class Postfix:
    """Postfix of one's own, with queue and configuration in a temporary folder; `more` are lines for its main.cf.

    In them `{home}` stands for the folder, `{name}` for one of the `ports`, and a brace is written twice.
    """

    def __init__(self, more: str, **ports: int) -> None:
        self._master = Path(program("postfix")).parents[1] / "lib/postfix/sbin/master"
        if os.geteuid() != 0:
            unavailable("Postfix starts for root only")
        self.port = free_port()
        # Not below pytest's folder, which only its owner may enter: Postfix has several users.
        self.home = Path(tempfile.mkdtemp(prefix="dialerd-postfix-", dir="/tmp"))
        self.home.chmod(0o755)
        (self.home / "main.cf").write_text((MAIN + more).format(home=self.home, **ports))
        (self.home / "master.cf").write_text(MASTER.format(port=self.port))
        for folder, owner in (("data", "postfix"), ("queue", "root")):
            (self.home / folder).mkdir()
            shutil.chown(self.home / folder, owner)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def start(self) -> None:
        """Start it; after a stop, on the same queue and the same port."""
        if not (self.home / "queue" / "active").exists():
            subprocess.run([program("postfix"), "-c", self.home, "check"], check=True, capture_output=True)
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._master, "-c", self.home, "-d"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        await_port(self.port, self._process)

    def stop(self) -> None:
        """End it and all that it has started, as `postfix stop` does."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(START_S)
        # It has ended its children, who go in their own time; they are of the group that it leads.
        with contextlib.suppress(ProcessLookupError):
            give_up_at = time.monotonic() + START_S
            while time.monotonic() < give_up_at:
                os.killpg(self._process.pid, 0)
                time.sleep(0.01)


class Relay(Postfix):
    """One that hands on to a mail server on the port `sink`.

    It knows recipients whose local part ends in a digit, answers 450 while their local part begins with "grey", takes
    nothing from spam@example.com and nothing longer than 20,000 bytes.
    """

    def __init__(self, sink: int, certificate: bytes) -> None:
        super().__init__(RELAY, sink=sink)
        (self.home / "recipients").write_text("/[0-9]@example\\.org$/ known\n")
        (self.home / "tls.pem").write_bytes(certificate)
        self.greylist(True)

    def greylist(self, on: bool) -> None:
        """Answer recipients that begin with "grey" with 450, or no longer; who is connected may see it late."""
        (self.home / "greylist").write_text("/^grey/ 450 4.7.1 Greylisted, please come back\n" if on else "")


def await_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Return once something listens there. Raises RuntimeError when its process ends before."""
    give_up_at = time.monotonic() + START_S
    while time.monotonic() < give_up_at and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}")
