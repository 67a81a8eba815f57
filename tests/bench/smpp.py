"""Measures how fast queued SMS reach sms_repo over SMPP: the whole engine, beside a bare client in the same run.

    uv run python -m tests.bench.smpp [--messages 50000] [--window 100] [--binds 1] [--in-flight 1000] [--rounds 3]

All rows queued to all rows in sms_repo, on PostgreSQL that syncs to disk, against a sink in its own process (PyPI's
smpp34, a server in Rust). The bare client sends as many messages with the engine's own codec and session, and the same
window, and nothing else: no database, no rules. Each figure is the median of the rounds, bare client and engine in
turn. Every measurement is a process of its own.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dialerd import log
from dialerd.batch import run_once
from dialerd.drivers.smpp.pdu import BIND_TRANSCEIVER, SUBMIT_SM, Bind, Pdu, ShortMessage
from dialerd.drivers.smpp.session import Session
from dialerd.settings import load
from tests.bench.drain import TEXT, fill, print_figures, runner
from tests.postgres import PostgresServer

SINK = Path(__file__).parents[1] / "fakes" / "smpp34_smsc.py"
CAMPAIGNS = 5


@contextmanager
def sink() -> Iterator[int]:
    """Run an SMSC that takes everything, and yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    with subprocess.Popen([sys.executable, SINK, str(port), "sink"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        try:
            yield port
        finally:
            process.terminate()


class Alone:
    """The owner of a session that only sends."""

    def came(self, session: Session, pdu: Pdu) -> None: ...
    def began(self, session: Session) -> None: ...
    def freed(self, session: Session) -> None: ...
    def ended(self, session: Session, reason: str) -> None: ...


async def send_bare(port: int, messages: int, window: int) -> None:
    """Send with so many requests under way at any time."""
    session = Session(Alone(), window=window, response_timeout_s=10, enquire_link_s=30)
    await session.bind("127.0.0.1", port, None, BIND_TRANSCEIVER, Bind("bench", "bench"))
    left = iter(range(messages))

    async def lane() -> None:
        for number in left:
            message = ShortMessage(
                source=b"59899000000", destination=b"%d" % (59890000000 + number), text=TEXT.encode(), source_ton=1,
                source_npi=1, dest_ton=1, dest_npi=1, registered_delivery=1,
            )  # fmt: skip
            answer = await session.request(SUBMIT_SM, message.pack())
            assert isinstance(answer, Pdu)
            assert answer.status == 0

    began = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(window)))
    print_figures(time.perf_counter() - began, messages)
    await session.unbind()


def send_with_engine(url: str, port: int, arguments: argparse.Namespace) -> None:
    """Send what stands in the spool, as `dialerd run --once` does."""
    log.configure("warning")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder)
        (config / "campaigns").mkdir()
        (config / "dialerd.toml").write_text(
            f'[daemon]\nstate_dir = "{folder}/var"\n[database]\nurl = "{url}"\n'
            f'[providers.smsc]\ndriver = "smpp"\nhost = "127.0.0.1"\nport = {port}\nsystem_id = "bench"\n'
            f"window = {arguments.window}\nbinds = {arguments.binds}\nmax_in_flight = {arguments.in_flight}\n"
        )
        for number in range(CAMPAIGNS):
            (config / "campaigns" / f"c{number}.toml").write_text(
                f'name = "c{number}"\nchannel = "sms"\nprovider = "smsc"\nsource = "59899000000"\n'
            )
        settings = load(config)
        began = time.perf_counter()
        summary = runner(run_once(settings))
        print_figures(time.perf_counter() - began, summary.ended["sent"])


def measured(kind: str, url: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Run one measurement in a process of its own, against a fresh sink."""
    with sink() as port:
        command = [sys.executable, "-m", "tests.bench.smpp", "--child", kind, "--url", url, "--port", str(port)]
        for name in ("messages", "window", "binds", "in_flight"):
            command += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    figures: dict[str, float] = json.loads(output.splitlines()[-1])
    if figures["messages"] != arguments.messages:
        raise SystemExit(f"{kind}: {figures['messages']} of {arguments.messages} messages")
    return figures


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--window", type=int, default=100)
    parser.add_argument("--binds", type=int, default=1)
    parser.add_argument("--in-flight", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", choices=["bare", "engine"], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child == "bare":
        runner(send_bare(arguments.port, arguments.messages, arguments.window))
        return
    if arguments.child == "engine":
        send_with_engine(arguments.url, arguments.port, arguments)
        return
    found: dict[str, list[dict[str, float]]] = {"bare client": [], "engine": []}
    with PostgresServer(fsync=True) as server:
        for round_ in range(arguments.rounds):
            found["bare client"].append(measured("bare", "", arguments))
            url = server.create_database(f"bench_smpp_{round_}")
            fill(url, arguments.messages, CAMPAIGNS, 0)
            found["engine"].append(measured("engine", url, arguments))
            server.drop_database(f"bench_smpp_{round_}")
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}; {arguments.messages:,} messages,", end=" ")
    print(f"window {arguments.window}, {arguments.binds} binds, {arguments.rounds} rounds")
    print(f"{'':16}{'messages/s':>11}{'of bare':>9}{'CPU s/1,000':>13}{'peak MiB':>10}")
    bare = statistics.median(f["messages"] / f["seconds"] for f in found["bare client"])
    for kind, figures in found.items():
        rate = statistics.median(f["messages"] / f["seconds"] for f in figures)
        cpu = statistics.median(1000 * f["cpu_s"] / f["messages"] for f in figures)
        print(f"{kind:16}{rate:11,.0f}{rate / bare:9.2f}{cpu:13.3f}{max(f['peak_mib'] for f in figures):10.0f}")


if __name__ == "__main__":
    main()
