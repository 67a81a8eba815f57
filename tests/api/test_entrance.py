"""`dialerd api`: the API in a process of its own, beside a daemon on the same database."""

import base64
import json
import signal
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from dialerd.lease import FileLock
from tests.api.test_daemon_api import call
from tests.cli.calls import call as command
from tests.cli.calls import configure, refused
from tests.crash.harness import CAMPAIGN, Site
from tests.crash.processes import Process, until
from tests.systemd import ServiceManager

SMS = "/Integra/resources/SMS"
#: The daemons do not listen; the API says where it does by itself.
API = "[api]\ntoken_hours = 1\n"


def served(here: Site) -> tuple[Process, int]:
    """Start the API; return its process and port."""
    process = here.start("api", "--listen", "127.0.0.1:0")
    return process, process.until_event("api_listening")["port"]


def login(here: Site, port: int) -> str:
    added = command("user", "add", "ana", config=here.config, stdin="correct horse\n")
    assert 0 == added.exit_code, added.output
    answer = call(port, "/Integra/resources/auth/getUserToken", {"user": "ana", "password": "correct horse"})
    return str(json.loads(answer))


def base_of(*lines: str) -> dict[str, str]:
    encoded = base64.b64encode("\n".join(lines).encode()).decode()
    return {"filename": "base.csv", "fileb64": encoded, "campaign": CAMPAIGN}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_beside_a_daemon(site_on: Callable[..., Site], kind: str) -> None:
    """What the API takes, the daemon sends: messages, bases, and what is due later; a receipt reaches the message."""
    gateway = '[providers.gw]\ndriver = "http"\nurl = "http://127.0.0.1:9"\nreceipt = { ours = "ref", status = "st", '
    gateway += 'delivered = ["ok"], undelivered = ["no"] }\n'
    here = site_on(kind, providers=API + gateway)
    api, port = served(here)
    daemon = here.daemon()
    assert not daemon.events("api_listening")
    token = login(here, port)

    given = {"campaign": CAMPAIGN, "destination": "59898344484", "message": "Hola"}
    id_ = json.loads(call(port, f"{SMS}/SendSMSv2", given, token))["id"]
    until(lambda: id_ in here.sent(), "it is sent")
    assert "1" == call(
        port, f"{SMS}/uploadbase", base_of(*(f"{CAMPAIGN};5989834448{n};Hola;1" for n in range(9))), token
    )
    until(lambda: len(here.sent()) == 10, "the base is sent")
    sms = json.dumps(
        {"calldate": "2020-01-01 10:00:00", "campaign": CAMPAIGN, "destination": "59898344484", "data": "x"}
    )
    assert "1" == call(port, f"{SMS}/ScheduleDialerSMS", {"sms": sms}, token)
    until(lambda: len(here.sent()) == 11, "the scheduled one is sent")
    call(port, "/receipts/gw", {"ref": id_, "st": "ok"})
    assert "delivered" == here.value("SELECT delivery FROM sms_repo WHERE id = :id", id=id_)

    assert "ok" == json.loads(call(port, "/readyz"))["status"]
    # It holds nothing, so it is no node.
    assert 1 == here.value("SELECT count(*) FROM node")
    for process in (api, daemon):
        process.stop()


def test_signals(site_on: Callable[..., Site], tmp_path: Path) -> None:
    """SIGHUP reads the configuration anew, or says why not; SIGTERM lets a request under way end. systemd is told."""
    with ServiceManager(tmp_path) as manager:
        here = site_on("sqlite", providers=API, environment=manager.environment)
        api, port = served(here)
        manager.until("READY", "1")
        token = login(here, port)

        here.more = {"nueva": ""}
        here.write()
        api.send(signal.SIGHUP)
        manager.until("RELOADING", "1")
        assert "the new configuration holds" in manager.until("READY", "1")["STATUS"]
        given = {"campaign": "nueva", "destination": "59898344484", "message": "Hola"}
        assert "OK" == call(port, f"{SMS}/SendSMS", given, token)
        here.more = {"nueva": "nonsense = 1"}
        here.write()
        api.send(signal.SIGHUP)
        assert "refused" in manager.until("READY", "1")["STATUS"]

        body = urlencode(given).encode()
        with socket.create_connection(("127.0.0.1", port), timeout=60) as slow:
            head = f"POST {SMS}/SendSMS HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
            slow.sendall(f"{head}Authorization: Basic {token}\r\n\r\n".encode() + body[:10])
            # Another call that is answered shows that this one has been begun.
            assert "OK" == call(port, f"{SMS}/SendSMS", given, token)
            api.send(signal.SIGTERM)
            manager.until("STOPPING", "1")
            until(lambda: not _takes(port), "it takes no more connections")
            slow.sendall(body[10:])
            answer = b""
            while chunk := slow.recv(65536):
                answer += chunk
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"OK")
        assert 0 == api.wait()
        assert api.events("api_stopped")
        assert 3 == here.value("SELECT count(*) FROM sms_spool")


def _takes(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    except OSError:
        return False
    return True


def test_a_file_outlives_the_process_that_took_it(site_on: Callable[..., Site]) -> None:
    """Killed after it answered 1 for a file, and before that was loaded, the API loads it when it runs again."""
    here = site_on("sqlite", providers=API)
    api, port = served(here)
    token = login(here, port)
    lock = FileLock(here.folder / "state" / "incoming" / "lock")
    assert lock.take()
    assert "1" == call(port, f"{SMS}/uploadbase", base_of(f"{CAMPAIGN};59898344484;Hola;1"), token)
    api.until_event("incoming_waits")
    assert api.kill()
    lock.release()

    api, _ = served(here)
    until(lambda: here.value("SELECT count(*) FROM sms_spool") == 1, "it is loaded")
    api.stop()


def test_where_it_listens(tmp_path: Path) -> None:
    """Without an address it serves nothing and says so; a wrong one is a wrong configuration, one in use is refused."""
    config = configure(tmp_path, main_file="[api]\ntoken_hours = 1\n")
    assert "--listen" in refused("api", config=config)
    result: Any = command("api", "--listen", "nonsense", config=config)
    assert 2 == result.exit_code
    assert "api.listen" in result.stderr
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        assert "in use" in refused("api", "--listen", taken, config=config)


def test_a_daemon_that_leaves_the_api_to_others(site_on: Callable[..., Site]) -> None:
    """With --no-api a daemon listens nowhere, so that the API of the same configuration can."""
    here = site_on("sqlite", providers='[api]\nlisten = "127.0.0.1:0"\n')
    daemon = here.daemon("--no-api")
    api = here.start("api")
    port = api.until_event("api_listening")["port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30) as answer:
        assert 200 == answer.status
    assert not daemon.events("api_listening")
    for process in (api, daemon):
        process.stop()
