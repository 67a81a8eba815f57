"""The API of a running daemon, from a user's first login to a message on its way."""

import json
import urllib.request
from collections.abc import Callable
from urllib.parse import urlencode

from tests.cli.calls import call as command
from tests.crash.harness import CAMPAIGN, Site
from tests.crash.processes import until

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
