"""Measures how many SendSMSv2 calls a second a daemon answers, each durable when answered, beside a bare server.

    uv run python -m tests.bench.api [--calls 30000] [--connections 50] [--hostile 100] [--rounds 3] [--v1] [--sending]

The daemon is a real `dialerd run` on PostgreSQL, which syncs to disk; the calls come from so many connections of a
client in a process of its own, each of which waits for its answer before it calls again. `bare` is an application of
one route on the same server, which puts the same rows in by the same grouping with one INSERT straight on the
database's driver: no token, no checks, no daemon. `hostile` is the daemon once more while so many connections, from a
third process, hold it up: a third send a header a second for ever, a third a body byte by byte, a third nothing.
Each figure is the median of the rounds, in turn. The campaign is out of its dates, so that what is measured is taking;
with --sending the daemon sends through the discard driver what it takes, at the same time; --v1 posts to /v1/messages.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode

import psycopg
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from dialerd.grouped import Grouped
from dialerd.model.message import new_id
from dialerd.store import Store
from dialerd.store.migrate import migrate
from tests.bench.drain import TEXT, runner
from tests.postgres import PostgresServer, free_port

SEND = "/Integra/resources/SMS/SendSMSv2"
V1 = "/v1/messages"
INSERT = (
    "INSERT INTO sms_spool (id, campaign, destination, data, priority, state, due_at, due_since, queued_at, address,"
    " zone, parts) VALUES (%s, %s, %s, %s, 1, 'queued', now(), now(), now(), %s, '?', 1)"
)
ASKED_RATE, ASKED_P99_MS, ASKED_HOSTILE = 1500, 100, 2.0


# -- the client ------------------------------------------------------------------------------------------------------


class Caller(asyncio.Protocol):
    """One connection: the next request when the answer to the last has come."""

    def __init__(self, requests: Iterator[bytes], latencies: list[float], ended: Callable[[], None]) -> None:
        self._requests, self._latencies, self._ended = requests, latencies, ended
        self._data, self._began = b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            return
        self._began = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Note how long a whole answer took."""
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._data[:end].lower()
        length = int(head[head.index(b"content-length:") + 15 :].split(b"\r\n", 1)[0])
        if len(self._data) < end + 4 + length:
            return
        if not self._data.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201", b"HTTP/1.1 202")):
            print(self._data.decode(), file=sys.stderr)
            self._transport.close()
            return
        self._data = b""
        self._latencies.append(time.perf_counter() - self._began)
        self._send()

    def connection_lost(self, _error: Exception | None) -> None:
        """Tell who waits."""
        self._ended()


async def call(port: int, path: str, token: str, calls: int, connections: int) -> None:
    """Make so many calls over so many connections, and print their figures; a tenth before that warms up."""
    await _calls(port, path, token, calls // 10, connections)
    began = time.perf_counter()
    latencies = await _calls(port, path, token, calls, connections)
    took = time.perf_counter() - began
    if len(latencies) != calls:
        raise SystemExit(f"{len(latencies)} of {calls} calls were answered as they should")
    latencies.sort()
    print(json.dumps({
        "calls": len(latencies),
        "rate": len(latencies) / took,
        "p50_ms": 1000 * latencies[len(latencies) // 2],
        "p99_ms": 1000 * latencies[len(latencies) * 99 // 100],
        "most_ms": 1000 * latencies[-1],
    }), flush=True)  # fmt: skip


async def _calls(port: int, path: str, token: str, calls: int, connections: int) -> list[float]:
    loop = asyncio.get_running_loop()
    ended, left, latencies = asyncio.Event(), connections, list[float]()

    def one_ended() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            ended.set()

    requests = _requests(port, path, token, calls)
    for _ in range(connections):
        await loop.create_connection(lambda: Caller(requests, latencies, one_ended), "127.0.0.1", port)
    await ended.wait()
    return latencies


def _requests(port: int, path: str, token: str, calls: int) -> Iterator[bytes]:
    for number in range(calls):
        destination = f"59898{number % 1_000_000:06d}"
        if path == V1:
            kind, body = "application/json", json.dumps({"campaign": "c", "destination": destination, "text": TEXT})
        else:
            kind = "application/x-www-form-urlencoded; charset=UTF-8"
            body = urlencode({"destination": destination, "message": TEXT, "campaign": "c", "agent": "ana"})
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        yield f"{head}Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


# -- those who hold it up --------------------------------------------------------------------------------------------


async def hold_up(port: int, connections: int) -> None:
    """Keep so many connections open that never become a whole request, until killed; say so when they stand."""
    standing = asyncio.Barrier(connections + 1)
    async with asyncio.TaskGroup() as group:
        for number in range(connections):
            group.create_task(_hostile(port, number % 3, standing))
        await standing.wait()
        print("standing", flush=True)


async def _hostile(port: int, kind: int, standing: asyncio.Barrier) -> None:
    first = True
    # One that is cut off comes again.
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            head = f"POST {SEND} HTTP/1.1\r\nHost: a\r\n"
            drops, every_s = {0: (b"X-A: b\r\n", 1.0), 1: (b"a", 0.1), 2: (b"", 1.0)}[kind]
            if kind == 1:
                head += "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000000\r\n\r\n"
            writer.write(b"" if kind == 2 else head.encode())
            await writer.drain()
            if first:
                first = False
                await standing.wait()
            while not writer.is_closing():
                writer.write(drops)
                await writer.drain()
                await asyncio.sleep(every_s)
        except OSError:
            await asyncio.sleep(0.1)


# -- what is measured ------------------------------------------------------------------------------------------------


async def serve_bare(port: int, url: str) -> None:
    """Serve the bare application."""
    connection = await psycopg.AsyncConnection.connect(url.replace("+psycopg", ""))

    async def put(some: Sequence[tuple[Any, ...]]) -> list[str]:
        async with connection.cursor() as cursor:
            await cursor.executemany(INSERT, some)
        await connection.commit()
        return [row[0] for row in some]

    grouped = Grouped(put)

    async def send(request: Request) -> JSONResponse:
        given = dict(parse_qsl((await request.body()).decode()))
        number = given["destination"]
        return JSONResponse({"id": await grouped((new_id(), given["campaign"], number, given["message"], number))})

    app = Starlette(routes=[Route(SEND, send, methods=["POST"])])
    config = uvicorn.Config(app, port=port, log_config=None, access_log=False, lifespan="off")
    await uvicorn.Server(config).serve()


@contextmanager
def child(*arguments: str, **given: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a process to the end of the block."""
    with subprocess.Popen([sys.executable, "-m", *arguments], text=True, **given) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def daemon(folder: Path, url: str, port: int, *, sending: bool) -> Iterator[tuple[str, int]]:
    """Run a daemon with an API; yield a key to it and its process id."""
    (folder / "campaigns").mkdir()
    (folder / "dialerd.toml").write_text(
        f'[daemon]\nstate_dir = "{folder}/var"\n[database]\nurl = "{url}"\n[api]\nlisten = "127.0.0.1:{port}"\n'
        '[providers.null]\ndriver = "discard"\nmax_in_flight = 500\n'
    )
    (folder / "campaigns" / "c.toml").write_text(
        'name = "c"\nchannel = "sms"\nprovider = "null"\nregion = "UY"\n'
        + ("" if sending else "dates = { end = 2020-01-01 }\n")
    )
    command = [sys.executable, "-m", "dialerd", "--config", str(folder), "user"]
    subprocess.run([*command, "add", "ana"], input="correct horse\n", text=True, check=True, stdout=subprocess.DEVNULL)
    made = subprocess.run([*command, "key", "ana", "bench", "--json"], check=True, capture_output=True, text=True)
    with (
        (folder / "log").open("w") as log,
        child("dialerd", "run", "--config", str(folder), stderr=log, stdout=log) as it,
    ):
        _until_open(port)
        yield json.loads(made.stdout)["secret"], it.pid


def _until_open(port: int) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


def measured(
    process: int, port: int, path: str, token: str, url: str, arguments: argparse.Namespace
) -> dict[str, float]:
    """Run the client in a process of its own; every call that it made has to stand in the database."""
    before_s = _cpu_s(process)
    command = [sys.executable, "-m", "tests.bench.api", "--child", "client", "--port", str(port), "--path", path]
    command += ["--token", token, "--calls", str(arguments.calls), "--connections", str(arguments.connections)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    figures: dict[str, float] = json.loads(output.splitlines()[-1])
    figures["cpu_s"] = _cpu_s(process) - before_s
    expected = arguments.calls + arguments.calls // 10
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        row = connection.execute("SELECT (SELECT count(*) FROM sms_spool) + (SELECT count(*) FROM sms_repo)").fetchone()
    if figures["calls"] != arguments.calls or row != (expected,):
        raise SystemExit(f"{path}: {figures['calls']} answers, {row} rows of {expected}")
    return figures


def measure(kind: str, server: PostgresServer, arguments: argparse.Namespace) -> dict[str, float]:
    """Measure one kind on a database of its own."""
    name = f"bench_{kind.replace(' ', '_')}"
    url = server.create_database(name)
    port = free_port()
    path = V1 if arguments.v1 and kind != "bare" else SEND
    try:
        with tempfile.TemporaryDirectory() as folder:
            if kind == "bare":
                store = Store(url)
                store.transact_here(migrate)
                store.close()
                with child("tests.bench.api", "--child", "bare", "--port", str(port), "--url", url) as process:
                    _until_open(port)
                    return measured(process.pid, port, path, "x", url, arguments)
            with daemon(Path(folder), url, port, sending=arguments.sending) as (key, pid):
                if kind == "daemon":
                    return measured(pid, port, path, key, url, arguments)
                hostile = ["--child", "hostile", "--port", str(port), "--connections", str(arguments.hostile)]
                with child("tests.bench.api", *hostile, stdout=subprocess.PIPE) as holding:
                    assert holding.stdout is not None
                    assert "standing\n" == holding.stdout.readline()
                    return measured(pid, port, path, key, url, arguments)
    finally:
        server.drop_database(name)


def _cpu_s(pid: int) -> float:
    """Return the CPU time that a process has used (proc(5): fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compare(server: PostgresServer, arguments: argparse.Namespace) -> bool:
    """Print the table; tell whether what is asked for was reached."""
    kinds = ["bare", "daemon", "hostile"]
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for _ in range(arguments.rounds):
        for kind in kinds:
            found[kind].append(measure(kind, server, arguments))
    print(
        f"\n{arguments.calls:,} calls of {V1 if arguments.v1 else SEND}, {arguments.connections} connections, ", end=""
    )
    print(f"{arguments.rounds} rounds, {arguments.hostile} hostile connections")
    print(f"{'':10}{'calls/s':>9}{'of bare':>9}{'p50 ms':>9}{'p99 ms':>9}{'most ms':>9}{'CPU s/1,000':>13}")

    def median(kind: str, name: str) -> float:
        return statistics.median(figures[name] for figures in found[kind])

    for kind in kinds:
        rate = median(kind, "rate")
        print(f"{kind:10}{rate:9,.0f}{rate / median('bare', 'rate'):9.2f}", end="")
        print(f"{median(kind, 'p50_ms'):9.1f}{median(kind, 'p99_ms'):9.1f}{median(kind, 'most_ms'):9.1f}", end="")
        print(f"{1000 * median(kind, 'cpu_s') / (1.1 * arguments.calls):13.3f}")
    rate, p99_ms = median("daemon", "rate"), median("daemon", "p99_ms")
    slower = median("hostile", "p99_ms") / p99_ms
    print(
        f"asked: {ASKED_RATE:,} calls/s with p99 below {ASKED_P99_MS} ms; beside hostile ones below x{ASKED_HOSTILE:g}"
    )
    print(f"found: {rate:,.0f} calls/s with p99 {p99_ms:.1f} ms; beside hostile ones x{slower:.2f}")
    return rate >= ASKED_RATE and p99_ms < ASKED_P99_MS and slower < ASKED_HOSTILE


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=30_000)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--hostile", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--v1", action="store_true")
    parser.add_argument("--sending", action="store_true")
    parser.add_argument("--child", choices=["client", "bare", "hostile"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--path", default=SEND, help=argparse.SUPPRESS)
    parser.add_argument("--token", default="", help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    match arguments.child:
        case "client":
            runner(call(arguments.port, arguments.path, arguments.token, arguments.calls, arguments.connections))
        case "bare":
            runner(serve_bare(arguments.port, arguments.url))
        case "hostile":
            runner(hold_up(arguments.port, arguments.connections))
        case _:
            print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, uvicorn {uvicorn.__version__}")
            with PostgresServer(fsync=True) as server:
                reached = compare(server, arguments)
            sys.exit(not reached)


if __name__ == "__main__":
    main()
