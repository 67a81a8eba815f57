"""The calls of existing integrations: exactly their paths, parameters and answers."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

from dialerd.model.errors import DatabaseGone
from tests.api.conftest import PASSWORD, MakeSite, Site, settings_of

AUTH = "/Integra/resources/auth"
SMS = "/Integra/resources/SMS"
DIALERS = "/IntegraChannels/resources/DialersResources"
MAIL = "/IntegraChannels/resources/Forms/sendEmail"
INBOUND = "/Integra/resources/InboundSMS/ReceiveURLSMS"

ONE = {"destination": "098344484", "message": "Hola", "campaign": "Ventas->"}


async def until(site: Site, sql: str, expected: object) -> None:
    """Wait until a query's only value is as expected; asked again whenever something stands in the spool."""
    async with asyncio.timeout(30):
        while [(expected,)] != await site.rows(sql):
            site.woken.clear()
            try:
                async with asyncio.timeout(0.2):
                    await site.woken.wait()
            except TimeoutError:
                pass


# -- tokens ----------------------------------------------------------------------------------------------------------


async def test_a_token_from_login_to_end(site_on_each: MakeSite) -> None:
    """A right password gives `user:uuid` in base64 as a JSON string; it works until EndSession, and never again."""
    async with site_on_each() as site:
        status, body, _ = await site.post(f"{AUTH}/getUserToken", {"user": "ana", "password": PASSWORD})
        token = json.loads(body)
        assert (200, "ana") == (status, base64.b64decode(token).decode().split(":")[0])
        for scheme in ("Basic", "Bearer"):
            headers = {"Authorization": f"{scheme} {token}"}
            assert (200, "OK", None) == await site.post(f"{SMS}/SendSMS", ONE, headers=headers)

        assert (200, "1", None) == await site.post(f"{AUTH}/EndSession", {"user": "ana", "token": token})

        assert 401 == (await site.post(f"{SMS}/SendSMS", ONE, headers=headers))[0]
        assert "0" == (await site.post(f"{AUTH}/EndSession", {"user": "ana", "token": token}))[1]

        # Or as other calls have it, in the header; a key is no session.
        other = {"Authorization": f"Basic {await site.token()}"}
        assert "0" == (await site.post(f"{AUTH}/EndSession", {"user": "eve"}, headers=other))[1]
        assert "1" == (await site.post(f"{AUTH}/EndSession", headers=other))[1]
        assert (200, "0", "missing: token") == await site.post(f"{AUTH}/EndSession", {"user": "ana"})
        key = await site.context.users.add_key("ana", "crm")
        assert "0" == (await site.post(f"{AUTH}/EndSession", {"user": "ana", "token": key}))[1]
        assert await site.context.users.user_of(key) == "ana"
        assert [(2,)] == await site.rows("SELECT count(*) FROM sms_spool")
        # A copy of the database opens nothing.
        assert token not in str(await site.rows("SELECT * FROM api_token"))


async def test_a_wrong_password(site_with: MakeSite) -> None:
    """A wrong password, user, or none, is answered 0 with status 200, all in the same words."""
    async with site_with() as site:
        for given in ({"user": "ana", "password": "wrong"}, {"user": "nobody", "password": PASSWORD}):
            answer = await site.post(f"{AUTH}/getUserToken", given)
            assert (200, "0", "wrong user or password") == answer
        assert (200, "0", "missing: password") == await site.post(f"{AUTH}/getUserToken", {"user": "ana"})


async def test_guessing_ends(site_on_each: MakeSite) -> None:
    """After ten wrong passwords for a user even the right one is refused, until a quarter of an hour has passed."""
    async with site_on_each() as site:
        site.now = datetime.now(UTC)
        for _ in range(10):
            await site.post(f"{AUTH}/getUserToken", {"user": "ana", "password": "wrong"})
        right = {"user": "ana", "password": PASSWORD}
        status, body, error = await site.post(f"{AUTH}/getUserToken", right)
        assert (200, "0") == (status, body)
        assert "too many" in (error or "")

        site.now += timedelta(minutes=16)
        assert "0" != (await site.post(f"{AUTH}/getUserToken", right))[1]


async def test_a_token_dies_of_age(site_with: MakeSite) -> None:
    """A token lives for token_hours; a key until it is taken away."""
    async with site_with(api="token_hours = 1") as site:
        site.now = datetime.now(UTC)
        token = json.loads((await site.post(f"{AUTH}/getUserToken", {"user": "ana", "password": PASSWORD}))[1])
        key = await site.context.users.add_key("ana", "crm")
        site.now += timedelta(minutes=61)

        answers = [
            (await site.post(f"{SMS}/SendSMS", ONE, headers={"Authorization": f"Bearer {one}"}))[0]
            for one in (token, key, "", "x" * 5000, "ñ")
        ]
        assert [401, 200, 401, 401, 401] == answers


async def test_without_a_token(site_with: MakeSite) -> None:
    """Whatever needs a token says 401 without a live one, and does nothing."""
    sms = [f"{SMS}/{name}" for name in ("SendSMS", "SendSMSv2", "ScheduleDialerSMS", "uploadbase")]
    async with site_with() as site:
        for path in (*sms, f"{DIALERS}/uploadDialerBase", f"{DIALERS}/uploadMultiChannelBlacklist", MAIL):
            for headers in ({}, {"Authorization": "Basic YW5hOng="}, {"Authorization": "nonsense"}):
                assert 401 == (await site.post(path, ONE, headers=headers))[0]
        assert [(0,)] == await site.rows("SELECT count(*) FROM sms_spool")


# -- SMS -------------------------------------------------------------------------------------------------------------


async def test_send_sms(site_on_each: MakeSite) -> None:
    """SendSMS puts a message into the spool with priority 1, agent and source; v2 names it. The spool is woken."""
    async with site_on_each() as site:
        headers = await site.headers()
        given = {**ONE, "message": "Ñandú €", "agent": "maria", "source": "port 3"}
        assert (200, "OK", None) == await site.post(f"{SMS}/SendSMS", given, headers=headers)
        status, body, _ = await site.post(f"{SMS}/SendSMSv2", given, headers=headers)

        assert 200 == status
        rows = await site.rows("SELECT data, priority, agent, source, state FROM sms_spool")
        assert [("Ñandú €", 1, "maria", "port 3", "queued")] * 2 == rows
        assert [(1,)] == await site.rows(f"SELECT count(*) FROM sms_spool WHERE id = '{json.loads(body)['id']}'")
        assert site.woken.is_set()


async def test_what_is_refused(site_with: MakeSite) -> None:
    """A refused SMS is ERROR with the reason in X-Dialerd-Error; v2 says 400 with it."""
    wrong = {
        "did you mean Ventas->?": {"campaign": "Vemtas->"},
        "too short": {"destination": "1"},
        "missing: destination": {"destination": ""},
        "missing: message": {"message": ""},
        "missing: campaign": {"campaign": ""},
        "SMS parts": {"message": "a" * 2000},
        "blacklisted": {"destination": "099999999"},
    }
    async with site_with() as site:
        await site.store.transact(
            lambda c: c.exec_driver_sql("INSERT INTO blacklist (channel, value) VALUES ('sms', '59899999999')")
        )
        headers = await site.headers()
        for why, given in wrong.items():
            status, body, error = await site.post(f"{SMS}/SendSMS", ONE | given, headers=headers)
            assert (200, "ERROR") == (status, body)
            assert why in (error or "")
            status, body, _ = await site.post(f"{SMS}/SendSMSv2", ONE | given, headers=headers)
            assert 400 == status
            assert why in json.loads(body)["error"]


async def test_how_parameters_may_come(site_with: MakeSite) -> None:
    """Form or query, UTF-8 or Latin-1, as multipart or JSON, with extra ones, and the configured campaign for none."""
    async with site_with(api='campaign = "Ventas->"') as site:
        headers = await site.headers()
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        bare = {name: value for name, value in ONE.items() if name != "campaign"} | {"message": "ñ"}
        calls = [
            {"data": urlencode(bare).encode(), "headers": headers | form},
            {"data": urlencode(bare, encoding="latin-1").encode(), "headers": headers | form},
            {"data": urlencode(bare, encoding="latin-1").encode(),
             "headers": headers | {"Content-Type": form["Content-Type"] + "; charset=ISO-8859-1"}},
            {"params": bare, "headers": headers},
            {"json": bare, "headers": headers},
            {"data": urlencode(bare | {"extra": "1"}).encode(), "headers": headers | {"Content-Type": "text/plain"}},
            {"params": {"message": "other"}, "data": urlencode(bare).encode(), "headers": headers | form},
        ]  # fmt: skip
        for call in calls:
            assert (200, "OK", None) == await site.post(f"{SMS}/SendSMS", **call)

        assert [("ñ", len(calls))] == await site.rows("SELECT data, count(*) FROM sms_spool GROUP BY data")


async def test_schedule(site_on_each: MakeSite) -> None:
    """ScheduleDialerSMS takes the original's sample; what is wrong with it is 0 and the reason."""
    async with site_on_each() as site:
        headers = await site.headers()
        sample = {
            "calldate": "2030-10-11 15:00:00", "campaign": "Ventas->", "destination": "098344484", "data": "Message",
        }  # fmt: skip
        assert (200, "1", None) == await site.post(
            f"{SMS}/ScheduleDialerSMS", {"sms": json.dumps(sample)}, headers=headers
        )
        for wrong in (
            '{"calldate"',
            "[]",
            json.dumps(sample | {"calldate": "soon"}),
            json.dumps(sample | {"data": ""}),
        ):
            status, body, error = await site.post(f"{SMS}/ScheduleDialerSMS", {"sms": wrong}, headers=headers)
            assert (200, "0") == (status, body)
            assert error

        ((calldate, data),) = await site.rows("SELECT calldate, data FROM sms_scheduler")
        assert ("2030-10-11 18:00:00", "Message") == (str(calldate)[:19], data)


async def test_inbound(site_with: MakeSite, tmp_path: Path, sqlite_url: str) -> None:
    """Who may deliver inbound SMS without a token: by address, by what trusted proxies forward, or by the key."""
    proxy = 'trusted_proxies = ["127.0.0.1/32"]'
    key, elsewhere = '[api.inbound]\nkey = "k3y"', '[api.inbound]\nallow = ["203.0.113.0/24"]'
    cases: list[tuple[str, dict[str, str], str, int]] = [
        ("", {}, "", 200),
        ("", {"X-Forwarded-For": "127.0.0.1"}, "", 401),
        ("", {"Forwarded": "for=127.0.0.1"}, "", 401),
        (proxy, {"X-Forwarded-For": "203.0.113.9"}, "", 401),
        (proxy, {"X-Forwarded-For": "127.0.0.2, 203.0.113.9"}, "", 401),
        (proxy, {"X-Forwarded-For": "nonsense"}, "", 401),
        (f"{proxy}\n{elsewhere}", {"X-Forwarded-For": "10.0.0.1, 203.0.113.9"}, "", 200),
        (f"{proxy}\n{elsewhere}", {"X-Forwarded-For": "203.0.113.9, 10.0.0.1"}, "", 401),
        (elsewhere, {}, "", 401),
        (key, {}, "", 401),
        (key, {}, "k3", 401),
        (key, {"X-Forwarded-For": "203.0.113.9"}, "k3y", 200),
    ]
    async with site_with() as site:
        for api, headers, given, status in cases:
            site.settings = settings_of(tmp_path, sqlite_url, api=api)
            site.received.clear()
            query = {"phone": "+59898344484", "message": "STOP ñ", "key": given}
            answer = await site.get(INBOUND, params=query, headers=headers)
            assert (api, headers, status) == (api, headers, answer[0])
            assert ([("+59898344484", "STOP ñ")] if status == 200 else []) == site.received
            assert status != 200 or answer[1] == "OK"


# -- bases -----------------------------------------------------------------------------------------------------------


async def test_upload_base(site_on_each: MakeSite) -> None:
    """uploadbase answers 1 at once and loads in the background; a `+` that came as a space is read as one."""
    async with site_on_each() as site:
        base = "Ventas->;098344484;¿¿¿>>>~~~?;9999\n;098344485;Hola;1\n".encode()
        encoded = base64.b64encode(base).decode()
        assert "+" in encoded or "/" in encoded
        body = f"filename=march.csv&campaign=Ventas-%3E&fileb64={encoded}"
        headers = await site.headers() | {"Content-Type": "application/x-www-form-urlencoded"}
        assert (200, "1", None) == await site.post(f"{SMS}/uploadbase", body, headers=headers)

        await until(site, "SELECT count(*) FROM sms_spool", 2)
        assert [("march.csv", "loaded", 2, 0)] == await site.rows("SELECT base, state, accepted, rejected FROM upload")


async def test_upload_survives_a_restart(site_with: MakeSite) -> None:
    """A file that was answered 1 is loaded by the next life, if this one ended before; a wrong one stops no other."""
    async with site_with() as site:
        incoming = site.context.incoming
        headers = await site.headers()
        for name, content in (("bad.csv", b"PK\x03\x04zip"), ("good.csv", b"Mail;ana@example.com;Hola;;;5\n")):
            given = {
                "filename": name, "fileb64": base64.b64encode(content).decode(), "channel": "email",
                "dialer": "Mail", "cant": "7",
            }  # fmt: skip
            assert (200, "1", None) == await site.post(f"{DIALERS}/uploadDialerBase", given, headers=headers)
        await until(site, "SELECT count(*) FROM sms_spool", 1)
        async with asyncio.timeout(30):
            while list(incoming._folder.glob("*.json")):
                await asyncio.sleep(0)


async def test_blacklist(site_on_each: MakeSite) -> None:
    """uploadMultiChannelBlacklist blocks addresses; by subject it cannot, and says so."""
    async with site_on_each() as site:
        headers = await site.headers()
        given = {"filename": "b.csv", "fileb64": base64.b64encode(b"Ana@Example.com\n").decode(), "channel": "email"}
        path = f"{DIALERS}/uploadMultiChannelBlacklist"
        assert (200, "1", None) == await site.post(path, given | {"filter": "email"}, headers=headers)
        status, body, error = await site.post(path, given | {"filter": "subject"}, headers=headers)
        assert (200, "0") == (status, body)
        assert "subject" in (error or "")
        async with asyncio.timeout(30):
            while [("ana@example.com",)] != await site.rows("SELECT value FROM blacklist"):
                await asyncio.sleep(0.02)


async def test_a_file_that_is_no_base64(site_with: MakeSite) -> None:
    """What cannot be decoded is 0 with the reason, and nothing is kept."""
    async with site_with() as site:
        headers = await site.headers()
        for fileb64 in ("", "%%%", "a", "===="):
            given = {"filename": "x.csv", "fileb64": fileb64, "campaign": "Ventas->"}
            status, body, error = await site.post(f"{SMS}/uploadbase", given, headers=headers)
            assert (200, "0") == (status, body)
            assert "fileb64" in (error or "") or "empty" in (error or "")
        assert not site.context.incoming._folder.exists()


# -- e-mail ----------------------------------------------------------------------------------------------------------


async def test_send_email(site_with: MakeSite) -> None:
    """sendEmail answers with the guid under which the mail stands in the spool; what is wrong is 400 and why."""
    async with site_with() as site:
        headers = await site.headers()
        mail = {"campaign": "Mail", "to": "Ana@Example.com", "subject": "Hola", "body": "<b>Hola</b>"}
        async with site.client.post(site.url(MAIL), json=mail, headers=headers) as answer:
            guid = (await answer.json())["guid"]
            assert 200 == answer.status
        assert [(guid, 1)] == [
            (str(id_), priority) for id_, priority in await site.rows("SELECT id, priority FROM sms_spool")
        ]
        for wrong in (mail | {"to": "nobody"}, mail | {"campaign": "Ventas->"}, mail | {"body": ""}, mail | {"to": 1.5},
                      mail | {"attachments": "x"}, mail | {"variables": [1]}):  # fmt: skip
            async with site.client.post(site.url(MAIL), json=wrong, headers=headers) as answer:
                assert 400 == answer.status
                assert (await answer.json())["error"]
        # The original's own sample lacks a comma.
        broken = '{"campaign": "Email", "schedule": {"title": "x"} "template": "t"}'
        status, body, _ = await site.post(MAIL, broken, headers=headers)
        assert 400 == status
        assert "no JSON" in body


# -- limits ----------------------------------------------------------------------------------------------------------


async def test_limits(site_with: MakeSite) -> None:
    """A body above max_body_mb is 413; an unknown path 404 and another method 405, with nothing of our inside."""
    async with site_with(api="max_body_mb = 0.01") as site:
        headers = await site.headers()
        assert 413 == (await site.post(f"{SMS}/SendSMS", b"x" * 20_000, headers=headers))[0]

        async def slowly() -> object:
            for _ in range(20):
                yield b"x" * 1000

        assert 413 == (await site.post(f"{SMS}/SendSMS", slowly(), headers=headers))[0]
        assert 404 == (await site.post("/Integra/nothing"))[0]
        async with site.client.get(site.url(f"{SMS}/SendSMS")) as answer:
            assert 405 == answer.status
            assert "Server" not in answer.headers


async def test_the_database_is_away(site_with: MakeSite) -> None:
    """While the database is away SendSMS says ERROR, v2 503, and sendEmail 500: try again; nothing inside is shown."""
    async with site_with() as site:
        headers = await site.headers()
        user_of = site.context.users.user_of

        async def known(_token: str) -> str:
            return "ana"

        site.context.users.user_of = known  # type: ignore[method-assign]
        transact = site.store.transact

        async def gone(*_: object, **__: object) -> None:
            raise DatabaseGone("the server at db:5432 does not answer")

        site.store.transact = gone  # type: ignore[method-assign]
        assert (200, "ERROR", "the server cannot do this now: try again") == await site.post(
            f"{SMS}/SendSMS", ONE, headers=headers
        )
        assert 503 == (await site.post(f"{SMS}/SendSMSv2", ONE, headers=headers))[0]
        mail = {"campaign": "Mail", "to": "ana@example.com", "body": "x"}
        async with site.client.post(site.url(MAIL), json=mail, headers=headers) as answer:
            assert (500, False) == (answer.status, "5432" in await answer.text())
        site.store.transact = transact  # type: ignore[method-assign]
        site.context.users.user_of = user_of  # type: ignore[method-assign]
