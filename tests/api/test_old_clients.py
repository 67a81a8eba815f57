"""Clients as they are: samples copied out of the original's documentation, odd charsets, half characters, lost ends."""

import asyncio
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from dialerd.api import limits
from dialerd.model.errors import DatabaseGone
from tests.api.conftest import MakeSite
from tests.api.test_integra import AUTH, INBOUND, MAIL, ONE, SMS

#: As the original's documentation has it, but for the comma that it lacks after `schedule`.
MAIL_SAMPLE = """{
"campaign": "Mail",
"to": "adress@ucontactcloud.com",
"subject": "Subject",
"body": "This is an email body can be HTML",
"attachments": [
],
"schedule": {
"title": "Date title",
"organizer": "Myself",
"from": "2018-08-24 00:00:00",
"to": "2018-08-24 01:00:00"
},
"template": "templateName",
"variables": {
"var1":"value",
"var2":"value2"
}
}"""

SCHEDULE_SAMPLE = """{
"calldate" : "2035-10-11 15:00:00", // Sms date
"campaign" : "Ventas->", // Sms dialer campaign
"destination" : "098344484", // Sms destination
"data" : "Message" // Sms text message
}"""


async def test_the_samples(site_with: MakeSite) -> None:
    """The original's sample bodies are taken, with the comments in them and an organizer that is a name alone."""
    async with site_with() as site:
        headers = await site.headers()
        status, body, _ = await site.post(MAIL, MAIL_SAMPLE, headers=headers)
        assert (200, ["guid"]) == (status, list(json.loads(body)))
        assert (200, "1", None) == await site.post(
            f"{SMS}/ScheduleDialerSMS", {"sms": SCHEDULE_SAMPLE}, headers=headers
        )
        assert [("Message",)] == await site.rows("SELECT data FROM sms_scheduler")
        # What looks like a comment in a text is none.
        url = SCHEDULE_SAMPLE.replace("Message", "http://example.com // a")
        assert "1" == (await site.post(f"{SMS}/ScheduleDialerSMS", {"sms": url}, headers=headers))[1]
        assert [(1,)] == await site.rows("SELECT count(*) FROM sms_scheduler WHERE data = 'http://example.com // a'")


async def test_spare_slashes(site_with: MakeSite) -> None:
    """A path with a slash at its end, or two where one belongs, is the call that it names."""
    async with site_with() as site:
        headers = await site.headers()
        for path in (f"{SMS}/SendSMS/", f"/{SMS}/SendSMS", f"{SMS}//SendSMS"):
            assert (200, "OK", None) == await site.post(path, ONE, headers=headers, allow_redirects=False)


async def test_json_in_latin_1(site_with: MakeSite) -> None:
    """JSON in Latin-1, or behind a byte order mark, arrives as it was meant; a variable may be a number."""
    async with site_with() as site:
        headers = await site.headers() | {"Content-Type": "application/json"}
        mail = '{"campaign": "Mail", "to": "ana@example.com", "body": "mañana ${sum}", "variables": {"sum": 1.5}}'
        for encoding in ("utf-8", "utf-8-sig", "latin-1"):
            assert 200 == (await site.post(MAIL, mail.encode(encoding), headers=headers))[0]
        assert [("mañana ${sum}", 3)] == await site.rows("SELECT data, count(*) FROM sms_spool GROUP BY data")
        sms = json.dumps(ONE | {"message": "ñ"}, ensure_ascii=False).encode("latin-1")
        assert "OK" == (await site.post(f"{SMS}/SendSMS", sms, headers=headers))[1]
        assert [(1,)] == await site.rows("SELECT count(*) FROM sms_spool WHERE data = 'ñ'")


@pytest.mark.parametrize("charset", ["undefined", "punycode", "idna", "utf-16", "hex", "", "x" * 1000])
async def test_odd_charsets(site_with: MakeSite, charset: str) -> None:
    """A charset that is none, or none for forms, is passed over."""
    async with site_with() as site:
        kind = {"Content-Type": f"application/x-www-form-urlencoded; charset={charset}"}
        body = urlencode(ONE | {"message": "mañana"}, encoding="latin-1").encode()
        assert (200, "OK", None) == await site.post(f"{SMS}/SendSMS", body, headers=await site.headers() | kind)
        assert [("mañana",)] == await site.rows("SELECT data FROM sms_spool")


async def test_what_cannot_be_kept(site_on_each: MakeSite) -> None:
    """Half characters, NULs and broken forms are refused as whatever else is wrong, by each call in its own way."""
    async with site_on_each() as site:
        headers = await site.headers()
        half = '"\\ud800"'
        in_json = headers | {"Content-Type": "application/json"}
        one = json.dumps(ONE)[:-1]
        refused: list[tuple[str, Any, dict[str, str], str]] = [
            (f"{SMS}/SendSMS", f'{one}, "source": {half}}}', in_json, "ERROR"),
            (f"{SMS}/SendSMS", ONE | {"agent": "a\0b"}, headers, "ERROR"),
            (f"{SMS}/SendSMS", ONE | {"campaign": "a\0b"}, headers, "ERROR"),
            (f"{SMS}/SendSMS", b"x", headers | {"Content-Type": "multipart/form-data; boundary=b"}, "ERROR"),
            (f"{SMS}/ScheduleDialerSMS", {"sms": SCHEDULE_SAMPLE.replace("Message", "\\ud800")}, headers, "0"),
            (f"{SMS}/ScheduleDialerSMS", {"sms": "[" * 50_000}, headers, "0"),
            (f"{SMS}/ScheduleDialerSMS", {"sms": '{"a": ' + "1" * 5000 + "}"}, headers, "0"),
            (f"{SMS}/uploadbase", {"filename": "a\0b", "fileb64": "eA=="}, headers, "0"),
            (f"{AUTH}/getUserToken", f'{{"user": {half}, "password": {half}}}', in_json, "0"),
            (f"{AUTH}/getUserToken", {"user": "a\0b", "password": "x"}, {}, "0"),
            (f"{AUTH}/EndSession", {"user": "a\0b", "token": "a\0b"}, {}, "0"),
        ]
        for path, data, given, answer in refused:
            status, body, error = await site.post(path, data, headers=given)
            assert (200, answer) == (status, body), path
            assert error, path
        for member in ("body", "subject", "to", "template"):
            mail = f'{{"campaign": "Mail", "to": "ana@example.com", "body": "x", "{member}": {half}}}'
            status, body, _ = await site.post(MAIL, mail, headers=in_json)
            assert (400, ["error"]) == (status, list(json.loads(body)))
        assert 400 == (await site.post(f"{SMS}/SendSMSv2", f'{one}, "source": {half}}}', headers=in_json))[0]
        # What somebody wrote to us is kept as far as it can be.
        assert "OK" == (await site.get(f"{INBOUND}?phone=59898344484&message=%00"))[1]


async def test_strangers_are_short(site_with: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a caller without a live token no long body is read, whatever it calls."""
    monkeypatch.setattr(limits, "MOST_OF_STRANGERS", 5000)
    async with site_with() as site:
        long = ONE | {"more": "x" * 10_000}
        assert (200, "OK", None) == await site.post(f"{SMS}/SendSMS", long, headers=await site.headers())
        for path in (f"{SMS}/SendSMS", MAIL, f"{AUTH}/getUserToken", "/v1/messages", "/v1/messages/batch"):
            given = {"json": {"text": "x" * 10_000}} if path.startswith("/v1") else {"data": long}
            assert 401 == (await site.post(path, **given))[0], path
            assert 401 == (await site.post(path, headers={"Authorization": "Basic x"}, **given))[0], path


async def test_cut_off(site_with: MakeSite, capsys: pytest.CaptureFixture[str]) -> None:
    """A caller that goes away in the middle of its request is no error of ours."""
    async with site_with() as site:
        for path in (f"{SMS}/SendSMS", MAIL, "/v1/messages"):
            _, writer = await asyncio.open_connection("127.0.0.1", site.port)
            token = await site.token()
            writer.write(f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {token}\r\n".encode())
            writer.write(b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\nx")
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        assert 200 == (await site.get("/healthz"))[0]
    assert "api_failed" not in capsys.readouterr().err


async def test_the_database_is_away_at_the_door(site_with: MakeSite) -> None:
    """While nobody's token can be looked up sendEmail is a 500 that says so, and /metrics tell what they know."""
    async with site_with() as site:
        headers = await site.headers()

        async def gone(*_: object, **__: object) -> None:
            raise DatabaseGone("the server at db:5432 does not answer")

        site.store.read = gone  # type: ignore[method-assign]
        status, body, _ = await site.post(MAIL, "{}", headers=headers)
        assert (500, "the server cannot do this now: try again") == (status, json.loads(body)["error"])
        assert (200, "ERROR") == (await site.post(f"{SMS}/SendSMS", ONE, headers=headers))[:2]
        assert (200, "0") == (await site.post(f"{AUTH}/getUserToken", {"user": "ana", "password": "x"}))[:2]
        status, body, _ = await site.get("/metrics")
        assert (200, True) == (status, "dialerd_database_up 0.0" in body.splitlines())
