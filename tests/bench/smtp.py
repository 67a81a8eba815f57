"""Measures how fast queued mails reach sms_repo through a mail server: the whole engine, beside a bare loop.

    uv run python -m tests.bench.smtp [--mails 20000] [--connections 10] [--rounds 3] [--body text|html]

The server is Postfix's smtp-sink, the database PostgreSQL, which syncs to disk. The bare loop hands the same mails,
composed beforehand, to aiosmtplib over as many connections on the same kind of event loop: no database, no rules,
nothing to compose. Each figure is the median of the rounds, bare loop and engine in turn; every measurement is a
process of its own. The last columns say what the measured process itself used.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import aiosmtplib
import psycopg

from dialerd import log
from dialerd.batch import run_once
from dialerd.model.campaign import EmailPart
from dialerd.model.mail import Mail
from dialerd.model.message import new_id
from dialerd.settings import load
from dialerd.store import Store
from dialerd.store.migrate import migrate
from tests.bench.drain import COLUMNS, figures_of, print_figures, runner
from tests.drivers.conformance import an_email
from tests.fakes.postfix import Sink
from tests.mail.composed import compose
from tests.postgres import PostgresServer

EMAIL = EmailPart(sender="Ventas <ventas@example.com>", subject="Su factura de noviembre")
PARAGRAPH = "Estimado cliente, su factura número 4711 vence el día 30; páguela en línea y evite recargos. "
BODIES = {
    "text": "\n\n".join([PARAGRAPH * 4] * 4),
    "html": "<html><body>" + f"<p style='margin:1em'>{PARAGRAPH}</p>\n" * 16 + "</body></html>",
}
DOMAINS = 50


def recipient(number: int) -> str:
    """Return the address of one of the recipients; they are spread over some domains."""
    return f"cliente{number}@example{number % DOMAINS}.org"


def fill(url: str, mails: int, body: str) -> None:
    """Make the tables and load the mails."""
    store = Store(url)
    store.transact_here(migrate)
    store.close()
    now = datetime.now(UTC)
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        with connection.cursor() as cursor, cursor.copy(f"COPY sms_spool ({COLUMNS}) FROM STDIN") as copy:
            for number in range(mails):
                to = recipient(number)
                copy.write_row((new_id(), "Correo", to, body, 9999, "bench", "queued", now, now, now, to, "?", 1))
        connection.execute("VACUUM ANALYZE sms_spool")
        connection.execute("CHECKPOINT")


def send_with_engine(arguments: argparse.Namespace) -> None:
    """Send as `dialerd run --once` does."""
    log.configure("info")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder)
        (config / "campaigns").mkdir()
        (config / "dialerd.toml").write_text(
            f'[daemon]\nstate_dir = "{folder}/var"\n[database]\nurl = "{arguments.url}"\n'
            f'[providers.mail]\ndriver = "smtp"\nhost = "127.0.0.1"\nport = {arguments.port}\nsecurity = "none"\n'
            f"connections = {arguments.connections}\nmails_per_connection = 1000000\nmax_in_flight = 500\n"
        )
        (config / "campaigns" / "correo.toml").write_text(
            f'name = "Correo"\nchannel = "email"\nprovider = "mail"\n'
            f'[email]\nfrom = "{EMAIL.sender}"\nsubject = "{EMAIL.subject}"\n'
        )
        settings = load(config)
        began, started = time.perf_counter(), time.process_time()
        summary = runner(run_once(settings))
        print_figures(time.perf_counter() - began, summary.ended["sent"], cpu_before_s=started)


def send_bare(arguments: argparse.Namespace) -> None:
    """Send ready-made mails with aiosmtplib alone."""
    mails = []
    for number in range(arguments.mails):
        to = recipient(number)
        mails.append(compose(an_email(destination=to, address=to, data=BODIES[arguments.body]), EMAIL))
    composed = time.process_time()
    seconds, sent = runner(_bare_loop(mails, arguments))
    print_figures(seconds, sent, cpu_before_s=composed)


async def _bare_loop(mails: list[Mail], arguments: argparse.Namespace) -> tuple[float, int]:
    sent = 0

    async def one_connection() -> None:
        nonlocal sent
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=arguments.port, start_tls=False)
        async with client:
            while mails:
                mail = mails.pop()
                await client.sendmail(mail.sender, mail.recipient, mail.content)
                sent += 1

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(arguments.connections):
            group.create_task(one_connection())
    return time.perf_counter() - began, sent


def measured(kind: str, url: str, port: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.smtp", "--child", kind, "--url", url, "--port", str(port)]
    for name in ("mails", "connections", "body"):
        command += [f"--{name}", str(getattr(arguments, name))]
    return figures_of(command, arguments.mails)


def compare(arguments: argparse.Namespace) -> None:
    """Print the table."""
    found: dict[str, list[dict[str, float]]] = {"bare": [], "engine": []}
    with PostgresServer(fsync=True) as server, Sink() as sink:
        for round_ in range(arguments.rounds):
            found["bare"].append(measured("bare", "", sink.port, arguments))
            url = server.create_database(f"bench_{round_}")
            fill(url, arguments.mails, BODIES[arguments.body])
            found["engine"].append(measured("engine", url, sink.port, arguments))
            server.drop_database(f"bench_{round_}")
    size = len(compose(an_email(data=BODIES[arguments.body]), EMAIL).content)
    print(
        f"\n{arguments.mails:,} mails of {size:,} bytes ({arguments.body}), {arguments.connections} connections,"
        f" {arguments.rounds} rounds, PostgreSQL"
    )
    print(f"{'':12}{'mails/s':>9}{'of bare':>9}{'CPU s/1,000':>13}{'peak MiB':>10}")
    bare = statistics.median(f["messages"] / f["seconds"] for f in found["bare"])
    for kind, figures in found.items():
        rate = statistics.median(f["messages"] / f["seconds"] for f in figures)
        cpu = statistics.median(1000 * f["cpu_s"] / f["messages"] for f in figures)
        print(f"{kind:12}{rate:9,.0f}{rate / bare:9.2f}{cpu:13.3f}{max(f['peak_mib'] for f in figures):10.0f}")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mails", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--body", choices=list(BODIES), default="text")
    parser.add_argument("--child", choices=["bare", "engine"], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        {"bare": send_bare, "engine": send_with_engine}[arguments.child](arguments)
        return
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, aiosmtplib {aiosmtplib.__version__}")
    compare(arguments)


if __name__ == "__main__":
    main()
