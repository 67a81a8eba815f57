"""The API of a daemon that stops: it says so, takes calls as long as attempts are under way, and ends those it has."""

import json
import signal
import socket
import threading
import urllib.error
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.api.test_daemon_api import SMS, call
from tests.cli.calls import call as command
from tests.crash.harness import CAMPAIGN, Site
from tests.crash.processes import until


@pytest.fixture
def held() -> Iterator[tuple[int, threading.Event, threading.Event]]:
    """A gateway that answers nobody before it is let: its port, whether it was asked, and what lets it answer."""
    asked, may_answer = threading.Event(), threading.Event()

    class Held(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.set()
            may_answer.wait(60)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"OK")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Held) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port, asked, may_answer
        may_answer.set()
        server.shutdown()
        thread.join()


def test_a_daemon_that_drains(site_on: Callable[..., Site], held: tuple[int, threading.Event, threading.Event]) -> None:
    """While an attempt ends /readyz is 503 and calls are taken; a call that is under way at the end is answered."""
    port_of_gateway, asked, may_answer = held
    gateway = f'[providers.held]\ndriver = "http"\nmethod = "GET"\nurl = "http://127.0.0.1:{port_of_gateway}/"\n'
    gateway += 'query = { to = "${phone}" }\ntimeout_s = 60\n'
    here = site_on(
        "sqlite", drain_s=60, options='provider = "held"', providers=f'{gateway}[api]\nlisten = "127.0.0.1:0"\n'
    )
    added = command("user", "add", "ana", config=here.config, stdin="correct horse\n")
    assert 0 == added.exit_code, added.output
    key = json.loads(command("user", "key", "ana", "crm", "--json", config=here.config).stdout)["secret"]
    daemon = here.daemon()
    port = daemon.until_event("api_listening")["port"]
    given = {"campaign": CAMPAIGN, "destination": "59898344484", "message": "Hola"}
    assert "OK" == call(port, SMS, given, key)
    assert asked.wait(30)
    body = "&".join(f"{name}={value}" for name, value in given.items()).encode()

    with socket.create_connection(("127.0.0.1", port), timeout=60) as slow:
        slow.sendall(f"POST {SMS}v2 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n".encode())
        slow.sendall(f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:10])
        daemon.send(signal.SIGTERM)
        daemon.until_event("daemon_draining")
        with pytest.raises(urllib.error.HTTPError) as refused:
            call(port, "/readyz")
        assert (503, ["draining"]) == (refused.value.code, json.loads(refused.value.read())["problems"])
        assert "OK" == call(port, SMS, given, key)

        may_answer.set()
        until(lambda: not is_open(port), "no more calls are taken")
        slow.sendall(body[10:])
        answer = slow.recv(10_000)

    assert answer.startswith(b"HTTP/1.1 200 "), answer
    assert 0 == daemon.wait()
    assert 1 == here.value("SELECT count(*) FROM sms_repo WHERE status = 'sent'")
    assert 2 == here.value("SELECT count(*) FROM sms_spool WHERE state = 'queued'")


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True
