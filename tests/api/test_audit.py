"""The audit lines: who has logged in, and who has changed what. Never a text, an address, a password or a token."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dialerd import log
from dialerd.mail.unsubscribe import token
from tests.api.conftest import PASSWORD, MakeSite
from tests.api.test_unsubscribe import with_links

AUTH = "/Integra/resources/auth"
PHONE, TEXT, MAIL = "59898344484", "very private", "ana@example.com"


@pytest.fixture
def logging() -> Iterator[None]:
    log.configure("info", json=True)
    yield
    log.configure("warning")


async def test_every_login_and_control_call_is_told(
    site_with: MakeSite, tmp_path: Path, logging: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each login, good or bad, its end, and each call that controls something is one line with the user's name."""
    async with site_with() as site:
        site.settings = with_links(tmp_path)
        right = {"user": "ana", "password": PASSWORD}
        shown = json.loads((await site.post(f"{AUTH}/getUserToken", right))[1])
        await site.post(f"{AUTH}/getUserToken", {"user": "ana", "password": "wrong horse"})
        headers = {"Authorization": f"Bearer {shown}"}
        at = {"campaign": "Ventas->", "destination": PHONE, "text": TEXT, "at": "2035-01-01T10:00:00Z"}
        client, url = site.client, site.url
        async with client.post(url("/v1/messages"), json=at, headers=headers) as answer:
            id_ = (await answer.json())["id"]
        for method, path, given in (
            ("PATCH", f"/v1/messages/{id_}", {"text": f"{TEXT}!"}),
            ("DELETE", f"/v1/messages/{id_}", None),
            ("POST", "/v1/campaigns/Ventas->/pause", {"reason": "holiday"}),
            ("POST", "/v1/campaigns/Ventas->/resume", None),
            ("PUT", "/v1/blacklist", {"value": MAIL, "channel": "email"}),
            ("DELETE", f"/v1/blacklist?value={MAIL}", None),
        ):
            async with client.request(method, url(path), json=given, headers=headers) as answer:
                assert 200 == answer.status, await answer.text()
        file = {"filename": "b.csv", "fileb64": base64.b64encode(f"{MAIL}\n".encode()).decode(), "channel": "email"}
        await site.post(
            "/IntegraChannels/resources/DialersResources/uploadMultiChannelBlacklist", file, headers=headers
        )
        await site.post("/unsubscribe", params={"token": token("s3cret-of-campaign", "Mail", MAIL)})
        await site.post("/receipts/nobody", {"phone": PHONE, "message": TEXT})
        await site.get("/Integra/resources/InboundSMS/ReceiveURLSMS", params={"phone": PHONE, "message": TEXT})
        assert "1" == (await site.post(f"{AUTH}/EndSession", {"user": "ana", "token": shown}))[1]

        written = capsys.readouterr().err
        events = [json.loads(line) for line in written.splitlines()]
    told = [(event["event"], event.get("user")) for event in events if event["event"] != "api_listening"]
    assert [
        ("logged_in", "ana"), ("login_refused", "ana"), ("message_changed", "ana"), ("message_cancelled", "ana"),
        ("campaign_paused", "ana"), ("campaign_resumed", "ana"), ("blacklisted", "ana"), ("unblacklisted", "ana"),
        ("file_taken", "ana"), ("recipient_unsubscribed", None), ("callback_refused", None), ("inbound_stored", None),
        ("logged_out", "ana"),
    ] == told  # fmt: skip
    assert [id_, id_] == [event["message_id"] for event in events if event["event"].startswith("message_")]
    assert {"127.0.0.1"} == {event["address_of_caller"] for event in events if event["event"].startswith("log")}
    for private in (PHONE, TEXT, MAIL, PASSWORD, "wrong horse", shown):
        assert private not in written
