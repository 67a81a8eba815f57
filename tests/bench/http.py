"""Measures how fast queued SMS reach sms_repo through the HTTP driver, beside a bare client in the same run.

    uv run python -m tests.bench.http [--messages 20000] [--connections 50] [--rounds 3] [--max-in-flight 500]

A sink in a process of its own takes each POST of a form and answers with an id. The bare client posts the same forms
with aiohttp, so many at once, and does nothing else; the engine drains the spool on PostgreSQL, which syncs to disk, as
`dialerd run --once` does. Every measurement is a process of its own; each figure is the median of the rounds, bare
client and engine in turn. `wire` is the bare client's rate, and what is asked of the engine is 0.5 of it.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import cast
from urllib.parse import urlencode

import aiohttp

from dialerd import log
from dialerd.batch import run_once
from dialerd.model.message import new_id
from dialerd.settings import load
from tests.bench.drain import TEXT, fill, print_figures, runner
from tests.postgres import PostgresServer

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nOK id=1234567"


# -- the sink --------------------------------------------------------------------------------------------------------


class Sink(asyncio.Protocol):
    """One connection: an answer to each request whose content has come."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what is written to."""
        # uvloop's transports are no asyncio.Transport, and have its methods.
        self._transport, self._data = cast("asyncio.Transport", transport), b""

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._data) < end + 4 + length:
                return
            self._data = self._data[end + 4 + length :]
            self._transport.write(ANSWER)


async def serve() -> None:
    """Tell the port on stdout and serve until stdin ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Sink, "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


# -- what is measured ------------------------------------------------------------------------------------------------


async def post_bare(url: str, messages: int, connections: int) -> None:
    """Post so many forms, so many at once."""
    connector = aiohttp.TCPConnector(limit=connections)
    left = iter(range(messages))

    async def work(session: aiohttp.ClientSession) -> None:
        for _ in left:
            form = {"phone": "+59898344484", "message": TEXT, "id": new_id(), "source": "1234"}
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            async with session.post(url, data=urlencode(form).encode(), headers=headers) as answer:
                assert (await answer.read()).startswith(b"OK")

    began = time.perf_counter()
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(work(session))
    print_figures(time.perf_counter() - began, messages)


def drain_with_engine(database: str, url: str, connections: int, max_in_flight: int) -> None:
    """Drain with the engine as `dialerd run --once` does."""
    log.configure("info")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder)
        (config / "campaigns").mkdir()
        (config / "dialerd.toml").write_text(
            f'[daemon]\nstate_dir = "{folder}/var"\n[database]\nurl = "{database}"\n'
            f'[providers.sink]\ndriver = "http"\npreset = "url-post"\nurl = "{url}/send"\n'
            f"id = {{ body = 'id=(\\d+)' }}\nmax_in_flight = {max_in_flight}\n"
            f"connections = {connections}\n"
        )
        (config / "campaigns" / "c0.toml").write_text(
            'name = "c0"\nchannel = "sms"\nprovider = "sink"\nsource = "1234"\nregion = "UY"\n'
        )
        settings = load(config)
        began = time.perf_counter()
        summary = runner(run_once(settings))
        print_figures(time.perf_counter() - began, summary.ended["sent"])


# -- the comparison --------------------------------------------------------------------------------------------------


def measured(kind: str, url: str, arguments: argparse.Namespace, database: str = "") -> dict[str, float]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.http", "--child", kind, "--url", url, "--database", database]
    command += ["--messages", str(arguments.messages), "--connections", str(arguments.connections)]
    command += ["--max-in-flight", str(arguments.max_in_flight)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, float] = json.loads(output.splitlines()[-1])
    if figures["messages"] != arguments.messages:
        raise SystemExit(f"{kind}: {figures['messages']} of {arguments.messages} messages")
    return figures


def compare(server: PostgresServer, url: str, arguments: argparse.Namespace) -> None:
    """Print the table."""
    found: dict[str, list[dict[str, float]]] = {"bare client": [], "engine": []}
    for round_ in range(arguments.rounds):
        found["bare client"].append(measured("bare", url, arguments))
        database = server.create_database(f"bench_http_{round_}")
        fill(database, arguments.messages, 1, 0)
        found["engine"].append(measured("engine", url, arguments, database))
        server.drop_database(f"bench_http_{round_}")
    print(f"\n{arguments.messages:,} messages, {arguments.connections} connections, {arguments.rounds} rounds")
    print(f"{'':16}{'messages/s':>11}{'of bare':>9}{'CPU s/1,000':>13}{'peak MiB':>10}")
    bare = statistics.median(f["messages"] / f["seconds"] for f in found["bare client"])
    for kind, figures in found.items():
        rate = statistics.median(f["messages"] / f["seconds"] for f in figures)
        cpu = statistics.median(1000 * f["cpu_s"] / f["messages"] for f in figures)
        peak = max(f["peak_mib"] for f in figures)
        print(f"{kind:16}{rate:11,.0f}{rate / bare:9.2f}{cpu:13.3f}{peak:10.0f}")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--max-in-flight", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", choices=["sink", "bare", "engine"], help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    parser.add_argument("--database", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    match arguments.child:
        case "sink":
            runner(serve())
        case "bare":
            runner(post_bare(f"{arguments.url}/send", arguments.messages, arguments.connections))
        case "engine":
            drain_with_engine(arguments.database, arguments.url, arguments.connections, arguments.max_in_flight)
        case _:
            print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, aiohttp {aiohttp.__version__}")
            command = [sys.executable, "-m", "tests.bench.http", "--child", "sink"]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sink:
                assert sink.stdout is not None
                url = f"http://127.0.0.1:{sink.stdout.readline().strip()}"
                try:
                    with PostgresServer(fsync=True) as server:
                        compare(server, url, arguments)
                finally:
                    sink.kill()


if __name__ == "__main__":
    main()
