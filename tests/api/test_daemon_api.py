"""The API of a running daemon, from a user's first login to a message on its way."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.cli.calls import call as command
from tests.crash.harness import CAMPAIGN, Site
from tests.crash.processes import Process, until

SMS = "/Integra/resources/SMS/SendSMS"


def call(port: int, path: str, given: dict[str, str] | None = None, token: str = "") -> str:
    """Return the body of an answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=given and urlencode(given).encode())
    if token:
        request.add_header("Authorization", f"Basic {token}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        body: str = answer.read().decode()
    return body


def test_a_daemon_with_an_api(site_on: Callable[..., Site]) -> None:
    """A user logs in and sends; the message goes, is counted, and an answer to it is kept."""
    here = site_on("sqlite", providers='[api]\nlisten = "127.0.0.1:0"\n')
    added = command("user", "add", "ana", config=here.config, stdin="correct horse\n")
    assert 0 == added.exit_code, added.output
    daemon = here.daemon()
    port = daemon.until_event("api_listening")["port"]

    token = json.loads(call(port, "/Integra/resources/auth/getUserToken", {"user": "ana", "password": "correct horse"}))
    given = {"campaign": CAMPAIGN, "destination": "59898344484", "message": "Hola"}
    assert "OK" == call(port, SMS, given, token)
    until(lambda: here.value("SELECT count(*) FROM sms_repo WHERE status = 'sent'") == 1, "it is sent")
    assert 'outcome="sent",provider="out"} 1.0' in call(port, "/metrics")
    inbound = urlencode({"phone": "59898344484", "message": "STOP"})
    assert "OK" == call(port, f"/Integra/resources/InboundSMS/ReceiveURLSMS?{inbound}")

    assert [("59898344484", "STOP", CAMPAIGN)] == here.rows("SELECT phone, message, campaign FROM sms_inbound")
    assert 1 == here.value("SELECT count(*) FROM blacklist")
    assert json.loads(call(port, "/readyz"))["status"] == "ok"
    daemon.stop()


def ask(port: int, key: str, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
    """Return what /v1 answers."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1{path}", data=body, method=method)
    for name, value in {"Authorization": f"Bearer {key}", **headers}.items():
        request.add_header(name, value)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def test_a_base_and_a_daemon_that_dies(site_on: Callable[..., Site]) -> None:
    """Killed as it answers, reads or moves a base, the daemon loads what it answered, once, and nothing else."""
    here = site_on("sqlite", providers='[api]\nlisten = "127.0.0.1:0"\n', options="enabled = false\n")
    assert 0 == command("user", "add", "ana", config=here.config, stdin="correct horse\n").exit_code
    key = command("user", "key", "ana", "crm", config=here.config).stdout.split()[-1]
    base = "".join(f"{CAMPAIGN};5989{n:07};Hola {n};{n % 9 + 1}\n" for n in range(3000)).encode()
    lives: list[Process] = []

    def life(failpoint: str | None) -> int:
        lives.append(here.start("run", failpoint=failpoint))
        port: int = lives[-1].until_event("api_listening")["port"]
        return port

    def upload(port: int) -> Any:
        return ask(port, key, "POST", "/bases?name=march", base, **{"Idempotency-Key": "march"})

    with pytest.raises((urllib.error.URLError, http.client.HTTPException, ConnectionError)):
        upload(life("once.written"))
    lives[-1].wait()
    assert 0 == here.value("SELECT count(*) FROM upload")

    id_ = upload(life("stage.written:2"))["id"]
    for failpoint in ("move.written:3", None):
        lives[-1].wait()
        port = life(failpoint)
    told: dict[str, Any] = {}

    def is_moved() -> bool:
        told.update(ask(port, key, "GET", f"/bases/{id_}"))
        return told["counts"] == {"queued": 3000}

    until(is_moved, "it stands in the spool")
    assert (id_, 3000, 0) == (upload(port)["id"], told["accepted"], told["rejected"])
    assert [("march", "loaded")] == here.rows("SELECT base, state FROM upload")
    assert {1} == set(here.places().values())
    assert 3000 == here.value("SELECT count(DISTINCT data) FROM sms_spool")
    lives[-1].stop()
