"""What providers call back, in the form of their public references, reaches the tables before it is answered."""

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from dialerd.api.signatures import is_signed
from dialerd.model.errors import DatabaseGone
from dialerd.model.message import new_id
from dialerd.settings import HttpProvider, load
from tests.api.conftest import MakeSite, Site, settings_of
from tests.store.filled import repoed

PHONE = "59899123456"
LOGIN = 'auth = { user = "AC1", password = "12345" }\n'
PROVIDERS = {
    "tw": f'preset = "twilio"\n{LOGIN}',
    "vo": f'preset = "vonage"\n{LOGIN}',
    "signed": f'preset = "vonage"\n{LOGIN}parameters = {{ signature_secret = "secret" }}\n',
    "ib": 'preset = "infobip"\nparameters = { base_url = "http://h", key = "k" }\n',
    "ka": f'preset = "kannel"\n{LOGIN}',
    "ja": f'preset = "jasmin"\n{LOGIN}',
    "di": f'preset = "dinstar"\n{LOGIN}parameters = {{ base_url = "http://h" }}\n',
    "own/url": 'preset = "url-get"\nurl = "http://h"\n',
}
MORE = "".join(f'[providers."{name}"]\ndriver = "http"\n{lines}' for name, lines in PROVIDERS.items())

DELIVERED = "SELECT delivery, error FROM sms_repo ORDER BY seq"


def sent(site: Site, provider: str, provider_id: str | None, **given: Any) -> str:
    """Put a message into sms_repo that a provider took; return its id."""
    row = {
        "provider": provider, "provider_id": provider_id, "address": PHONE, "dateprocessed": datetime.now(UTC),
        "campaign": "Ventas->",
    }  # fmt: skip
    (id_,) = repoed(site.store, row | given)
    return id_


def twilio(url: str, fields: dict[str, str], token: str = "12345") -> dict[str, str]:
    """Return the header with which Twilio signs a call of this URL."""
    told = url + "".join(name + fields[name] for name in sorted(fields))
    digest = hmac.new(token.encode(), told.encode(), hashlib.sha1).digest()
    return {"X-Twilio-Signature": base64.b64encode(digest).decode()}


# -- receipts --------------------------------------------------------------------------------------------------------

TWILIO = {
    "AccountSid": "AC1", "From": "+15017250604", "MessageSid": "SM1342fe1b2c904d1ab04f0fc7a58abca9",
    "MessageStatus": "delivered", "SmsSid": "SM1342fe1b2c904d1ab04f0fc7a58abca9", "SmsStatus": "delivered",
    "To": f"+{PHONE}", "ApiVersion": "2010-04-01", "RawDlrDoneDate": "2611250712",
}  # fmt: skip
VONAGE = {
    "msisdn": PHONE, "to": "AcmeInc", "network-code": "12345", "messageId": "0A0000001234567B",
    "price": "0.03330000", "status": "delivered", "scts": "2001011400", "err-code": "0", "api-key": "abcd1234",
    "message-timestamp": "2020-01-01T12:00:00.000+00:00",
}  # fmt: skip
JASMIN = {
    "id": "07033084-5cfd-4812-90a4-e4d24ffb6e3d", "id_smsc": "99", "message_status": "DELIVRD", "level": "2",
    "connector": "smppc", "subdate": "1608150800", "donedate": "1608150801", "sub": "001", "dlvrd": "001", "err": "000",
    "text": "Hola",
}  # fmt: skip
KANNEL = {"status": "1", "answer": ""}


def infobip(message: str, group: str = "DELIVERED", error: str = "NO_ERROR") -> dict[str, Any]:
    return {
        "bulkId": "BULK-ID-123-xyz", "messageId": message, "to": PHONE, "sender": "InfoSMS",
        "sentAt": "2019-11-09T16:00:00.000+0000", "doneAt": "2019-11-09T16:00:07.000+0000", "messageCount": 1,
        "price": {"pricePerMessage": 0.01, "currency": "EUR"},
        "status": {"groupId": 3, "groupName": group, "id": 5, "name": "DELIVERED_TO_HANDSET"},
        "error": {"groupId": 0, "groupName": "OK", "id": 0, "name": error, "permanent": False},
    }  # fmt: skip


def dinstar(user_id: int, status: str = "DELIVERED") -> dict[str, Any]:
    return {
        "port": 1, "number": f"+{PHONE}", "user_id": user_id, "time": "2016-07-12 01:46:02", "status": status,
        "count": 1, "succ_count": 1, "ref_id": 215, "imsi": "460004642148063",
    }  # fmt: skip


async def test_receipts(site_on_each: MakeSite) -> None:
    """A receipt in each provider's form marks its message before it is answered; a second one changes nothing."""
    async with site_on_each(more=MORE) as site:
        own = [new_id() for _ in range(2)]
        calls: list[tuple[str, str | None, dict[str, Any], str]] = [
            ("tw", TWILIO["MessageSid"], {"data": TWILIO, "headers": twilio(site.url("/receipts/tw"), TWILIO)}, ""),
            ("vo", VONAGE["messageId"], {"params": VONAGE}, ""),
            ("vo", "form", {"data": VONAGE | {"messageId": "form"}}, ""),
            ("vo", "json", {"json": VONAGE | {"messageId": "json"}}, ""),
            ("ja", JASMIN["id"], {"params": JASMIN}, "ACK/Jasmin"),
            ("ja", "other", {"data": JASMIN | {"id": "other"}}, "ACK/Jasmin"),
            ("ka", None, {"params": KANNEL | {"ours": own[0]}}, ""),
            ("ib", own[1], {"json": {"results": [infobip(own[1])]}}, ""),
            ("di", "77", {"data": json.dumps({"sn": "xxxx", "sms_result": [dinstar(77)]})}, ""),
        ]
        for n, (provider, provider_id, given, expected) in enumerate(calls):
            mine = {"ka": own[0], "ib": own[1]}.get(provider)
            sent(site, provider, provider_id, **({"id": mine} if mine else {}))
            ask = site.get if "params" in given else site.post
            for _ in range(2):
                assert (200, expected, None) == await ask(f"/receipts/{provider}", **given)
                assert [("delivered", None)] * (n + 1) == await site.rows(DELIVERED)
        assert [(0,)] == await site.rows("SELECT count(*) FROM parked_receipt")
        ((at,),) = await site.rows("SELECT delivered_at FROM sms_repo WHERE provider = 'ib'")
        assert "2019-11-09 16:00:07" == str(at)[:19]


async def test_other_words(site_with: MakeSite) -> None:
    """What is no end leaves a message as it is; a failure is kept with its reason; what was delivered stays so."""
    async with site_with(more=MORE) as site:
        sent(site, "vo", "a")
        for status, delivery in (
            ("accepted", None), ("buffered", None), ("failed", "undelivered"), ("delivered", "delivered"),
            ("expired", "delivered"),
        ):  # fmt: skip
            call = VONAGE | {"messageId": "a", "status": status, "err-code": "6"}
            assert 200 == (await site.get("/receipts/vo", params=call))[0]
            assert (delivery,) == (await site.rows(DELIVERED))[0][:1], status
        sent(site, "ka", "a", id=(own := new_id()))
        await site.get("/receipts/ka", params={"ours": own, "status": "16", "answer": "NACK/5 no route"})
        assert ("undelivered", "NACK/5 no route") == (await site.rows(DELIVERED))[1]


async def test_several_in_one_body(site_on_each: MakeSite) -> None:
    """Each receipt of a body goes its own way: to its message, or, unknown, aside; what is none keeps no other back."""
    async with site_on_each(more=MORE) as site:
        ids = [sent(site, "ib", None) for _ in range(150)]
        results: list[Any] = [infobip(id_) for id_ in ids[:149]]
        results += [infobip(ids[149], "UNDELIVERABLE", "EC_ABSENT_SUBSCRIBER"), infobip("unknown"), "x", {}, None]
        assert 200 == (await site.post("/receipts/ib", json={"results": results}))[0]

        found = await site.rows(DELIVERED)
        assert [("delivered", None)] * 149 + [("undelivered", "EC_ABSENT_SUBSCRIBER")] == found
        assert [("unknown",)] == await site.rows("SELECT provider_id FROM parked_receipt")
        assert 200 == (await site.post("/receipts/ib", json={"results": []}))[0]

        many = json.dumps({"sms_result": [{}] * 6000})
        assert 413 == (await site.post("/receipts/di", data=many))[0]


async def test_what_is_no_receipt(site_with: MakeSite) -> None:
    """What says nothing of a message is a 400; a provider that is not known, or calls nobody back, a 404."""
    async with site_with(more=MORE) as site:
        wrong: list[tuple[str, dict[str, Any]]] = [
            ("vo", {}), ("vo", {"data": b"\x00\xff"}), ("vo", {"json": {"status": "delivered"}}),
            ("vo", {"json": {"messageId": "x"}}), ("vo", {"json": {"messageId": ["x"], "status": "delivered"}}),
            ("vo", {"json": [1]}), ("vo", {"data": "{", "headers": {"Content-Type": "application/json"}}),
            ("vo", {"data": b"{" * 100_000}), ("ib", {"json": {"results": {}}}), ("ib", {"json": {"results": ["x"]}}),
            ("ib", {"data": "results=1"}), ("di", {"json": {"sms_deliver_status": [{"ref_id": 215}]}}),
            ("ka", {"data": "&".join(f"a{n}=1" for n in range(200))}),
        ]  # fmt: skip
        for provider, given in wrong:
            status, body, _ = await site.post(f"/receipts/{provider}", **given)
            assert 400 == status, given
            assert json.loads(body)["title"]
        for provider in ("nobody", "outbox", "own/url", ""):
            assert 404 == (await site.post(f"/receipts/{provider}", data=VONAGE))[0]
        assert [(0,)] == await site.rows("SELECT count(*) FROM parked_receipt")


async def test_the_database_is_away(site_with: MakeSite) -> None:
    """What cannot be recorded is a 503, so that the provider tells it again; then it is there, once."""
    async with site_with(more=MORE) as site:
        sent(site, "ib", None, id=(own := new_id()))
        transact = site.store.transact

        async def gone(*_: object, **__: object) -> None:
            raise DatabaseGone("the server at db:5432 does not answer")

        site.store.transact = gone  # type: ignore[method-assign]
        body = {"results": [infobip(own), infobip("x")]}
        status, told, _ = await site.post("/receipts/ib", json=body)
        assert (503, False) == (status, "5432" in told)
        site.store.transact = transact  # type: ignore[method-assign]
        assert 200 == (await site.post("/receipts/ib", json=body))[0]
        assert [("delivered", None)] == await site.rows(DELIVERED)


# -- inbound ---------------------------------------------------------------------------------------------------------

TWILIO_SMS = {
    "ToCountry": "US", "MessageSid": "SM9", "NumMedia": "0", "From": f"+{PHONE}", "To": "+15017250604", "Body": "Stop!",
    "SmsStatus": "received", "AccountSid": "AC1", "ApiVersion": "2010-04-01",
}  # fmt: skip
VONAGE_SMS = {
    "api-key": "abcd1234", "msisdn": PHONE, "to": "447700900000", "messageId": "0A0000000123ABCD1",
    "text": "Hola ñandú", "type": "unicode", "keyword": "HOLA", "message-timestamp": "2020-01-01 12:00:00 +0000",
}  # fmt: skip
INFOBIP_SMS = {
    "results": [
        {"messageId": "817790313235066447", "from": PHONE, "to": "385921004026", "text": "QUIZ Correct answer is Paris",
         "cleanText": "Correct answer is Paris", "keyword": "QUIZ", "receivedAt": "2016-10-06T09:28:39.220+0000",
         "smsCount": 1, "price": {"pricePerMessage": 0, "currency": "EUR"}, "callbackData": "callbackData"},
        {"messageId": "2", "from": PHONE, "to": "385921004026", "text": "BAJA", "smsCount": 1},
    ],
    "messageCount": 1,
    "pendingMessageCount": 0,
}  # fmt: skip
JASMIN_SMS = {
    "id": "a1", "from": PHONE, "to": "1234", "origin-connector": "smppc", "coding": "8", "binary": "00d100e1",
    "content": "\x00\xd1\x00\xe1", "priority": "1",
}  # fmt: skip
DINSTAR_SMS = {
    "sn": "xxxx-xxxx-xxxx-xxxx",
    "sms": [{"incoming_sms_id": 1, "port": 1, "number": f"+{PHONE}", "smsc": "+8613800757511",
             "timestamp": "2016-07-12 15:46:18", "text": "test"}],
}  # fmt: skip


async def test_inbound(site_on_each: MakeSite) -> None:
    """An SMS in each provider's form is stored once, under its provider, and its opt-out words act."""
    async with site_on_each(more=MORE) as site:
        signed = twilio(site.url("/inbound/tw"), TWILIO_SMS)
        calls: list[tuple[str, dict[str, Any], str, list[str]]] = [
            ("vo", {"params": VONAGE_SMS}, "", ["Hola ñandú"]),
            ("ja", {"data": JASMIN_SMS}, "ACK/Jasmin", ["Ñá"]),
            ("ja", {"params": JASMIN_SMS | {"id": "a2", "coding": "0", "binary": "486f6c61"}}, "ACK/Jasmin", ["Hola"]),
            ("ka", {"params": {"id": "7", "phone": f"+{PHONE}", "to": "1234", "message": "¿Qué?"}}, "", ["¿Qué?"]),
            ("di", {"json": DINSTAR_SMS}, "", ["test"]),
            ("own/url", {"params": {"phone": PHONE, "message": "hi"}}, "OK", ["hi"]),
            ("tw", {"data": TWILIO_SMS, "headers": signed}, "<Response/>", ["Stop!"]),
            ("ib", {"json": INFOBIP_SMS}, "", ["QUIZ Correct answer is Paris", "BAJA"]),
        ]  # fmt: skip
        expected: list[tuple[str, str]] = []
        for provider, given, answer, texts in calls:
            expected += [(provider, text) for text in texts]
            ask = site.get if "params" in given else site.post
            for _ in range(2):
                assert (200, answer, None) == await ask(f"/inbound/{provider}", **given)
            found = await site.rows("SELECT provider, message FROM sms_inbound ORDER BY received")
            assert sorted(expected) == sorted(found)
            if provider == "own/url":
                assert [(0,)] == await site.rows("SELECT count(*) FROM blacklist")
            if provider == "tw":
                assert [("sms", PHONE)] == await site.rows("SELECT channel, value FROM blacklist")
        assert {PHONE} == {phone.lstrip("+") for (phone,) in await site.rows("SELECT phone FROM sms_inbound")}


async def test_a_long_sms_is_joined(site_with: MakeSite) -> None:
    """Parts of a long SMS that come one by one, and in no order, are one SMS."""
    async with site_with(more=MORE) as site:
        for number, text in ((2, "mundo"), (1, "Hola ")):
            part = {"concat": "true", "concat-ref": "a1", "concat-total": "2", "concat-part": str(number)}
            call = VONAGE_SMS | part | {"messageId": f"m{number}", "text": text}
            assert 200 == (await site.post("/inbound/vo", data=call))[0]
        assert [("Hola mundo",)] == await site.rows("SELECT message FROM sms_inbound")


async def test_what_is_no_sms(site_with: MakeSite) -> None:
    """What names no sender or no text is a 400, and nothing is stored."""
    async with site_with(more=MORE) as site:
        for provider, given in (
            ("vo", {}), ("vo", {"msisdn": PHONE}), ("vo", {"text": "x"}), ("vo", {"msisdn": " ", "text": "x"}),
            ("ja", JASMIN_SMS | {"binary": "xyz"}), ("ib", {"results": "x"}),
        ):  # fmt: skip
            assert 400 == (await site.post(f"/inbound/{provider}", data=given))[0], given
        assert 404 == (await site.post("/inbound/outbox", data={"phone": PHONE, "message": "x"}))[0]
        assert [(0,)] == await site.rows("SELECT count(*) FROM sms_inbound")


# -- who may call ----------------------------------------------------------------------------------------------------


async def test_who_may_call(site_with: MakeSite, tmp_path: Path, sqlite_url: str) -> None:
    """Receipts and SMS are taken as [api.inbound] says, by address, key and trusted proxies, or with a token."""
    proxy = 'trusted_proxies = ["127.0.0.1/32"]\n'
    elsewhere = '[api.inbound]\nallow = ["203.0.113.0/24"]\n'
    key = 'key = "k3y"\n'
    cases: list[tuple[str, dict[str, str], str, int]] = [
        ("", {}, "", 200),
        ("", {"X-Forwarded-For": "127.0.0.1"}, "", 401),
        ("", {"X-Real-IP": "127.0.0.1"}, "k3y", 401),
        (proxy, {"X-Forwarded-For": "203.0.113.9"}, "", 401),
        (proxy + elsewhere, {"X-Forwarded-For": "203.0.113.9"}, "", 200),
        (proxy + elsewhere, {"X-Forwarded-For": "203.0.113.9, 10.0.0.1"}, "", 401),
        (proxy + elsewhere + key, {"X-Forwarded-For": "203.0.113.9"}, "k3y", 200),
        (proxy + elsewhere + key, {"X-Forwarded-For": "203.0.113.9"}, "k3", 401),
        (proxy + elsewhere + key, {"X-Forwarded-For": "10.0.0.1"}, "k3y", 401),
        (elsewhere, {}, "", 401),
        (elsewhere + key, {}, "k3y", 401),
        (elsewhere + key, {"Via": "1.1 x"}, "k3y", 200),
        ("[api.inbound]\n" + key, {}, "k3y", 200),
        ("[api.inbound]\n" + key, {}, "", 401),
    ]
    async with site_with(more=MORE) as site:
        token = await site.headers()
        sent(site, "vo", "n1")
        for n, (api, headers, given, status) in enumerate(cases):
            site.settings = settings_of(tmp_path, sqlite_url, api=api, more=MORE)
            for path, call in (
                ("receipts/vo", VONAGE | {"messageId": "n1"}), ("inbound/vo", VONAGE_SMS),
                ("Integra/resources/InboundSMS/ReceiveURLSMS", {"phone": PHONE, "message": str(n)}),
            ):  # fmt: skip
                answer = await site.get(f"/{path}", params=call | {"key": given}, headers=headers)
                assert status == answer[0], (path, api, headers, given)
                assert 200 == (await site.get(f"/{path}", params=call, headers=headers | token))[0]
        site.settings = settings_of(tmp_path, sqlite_url, api=elsewhere, more=MORE)
        assert 401 == (await site.get("/receipts/nobody"))[0]  # who may not call learns no names


async def test_signatures(site_with: MakeSite, tmp_path: Path, sqlite_url: str) -> None:
    """What a provider signs counts only with its signature, over the URL that it called, behind proxies too."""
    async with site_with(more=MORE) as site:
        sent(site, "tw", TWILIO["MessageSid"])
        forged: list[tuple[dict[str, str], dict[str, str]]] = [
            (TWILIO, {}),
            (TWILIO, {"X-Twilio-Signature": "x"}),
            (TWILIO, twilio(site.url("/receipts/tw"), TWILIO, token="guess")),
            (TWILIO, twilio(site.url("/inbound/tw"), TWILIO)),
            (TWILIO | {"MessageStatus": "undelivered"}, twilio(site.url("/receipts/tw"), TWILIO)),
        ]
        for fields, headers in forged:
            assert 403 == (await site.post("/receipts/tw", data=fields, headers=headers))[0]
        for given in ({}, {"sig": ""}, {"sig": "0" * 32}, {"sig": "ñ" * 32}):
            assert 403 == (await site.get("/receipts/signed", params=VONAGE | given))[0]
            assert 403 == (await site.get("/inbound/signed", params=VONAGE_SMS | given))[0]
        half = {"messageId": "\ud800", "status": "delivered", "sig": "\ud800" * 32}
        assert 403 == (await site.post("/receipts/signed", json=half))[0]
        assert 403 == (await site.post("/receipts/tw", json=half))[0]
        assert [(None, None)] == await site.rows(DELIVERED)

        outside = "https://sms.example.com/receipts/tw"
        for url, headers in (
            (outside, {"Host": "sms.example.com"}), (f"{outside}?key=k&b=1", {"Host": "sms.example.com"}),
            ("https://sms.example.com:443/receipts/tw", {"Host": "sms.example.com"}),
        ):  # fmt: skip
            query = url.partition("?")[2]
            path = f"/receipts/tw?{query}" if query else "/receipts/tw"
            assert 200 == (await site.post(path, data=TWILIO, headers=headers | twilio(url, TWILIO)))[0], url

        # Behind a proxy that changes names and paths, the URL that Twilio was given counts.
        given = 'parameters = { callback = "https://out.example.com/tw" }\n'
        more = MORE.replace(PROVIDERS["tw"], PROVIDERS["tw"] + given)
        site.settings = settings_of(tmp_path, sqlite_url, more=more)
        headers = twilio("https://out.example.com/tw", TWILIO)
        assert 200 == (await site.post("/receipts/tw", data=TWILIO, headers=headers))[0]


def a_provider(tmp_path: Path, name: str) -> HttpProvider:
    (tmp_path / "dialerd.toml").write_text(MORE)
    provider = load(tmp_path, environ={}).providers[name]
    assert isinstance(provider, HttpProvider)
    return provider


def test_twilios_own_example(tmp_path: Path) -> None:
    """The request that Twilio's security page signs as an example has the signature that stands there."""
    fields = {
        "CallSid": "CA1234567890ABCDE", "Caller": "+12349013030", "Digits": "1234", "From": "+12349013030",
        "To": "+18005551212",
    }  # fmt: skip
    scope = {
        "type": "http", "raw_path": b"/myapp.php", "query_string": b"foo=1&bar=2", "path": "/myapp.php",
        "headers": [(b"host", b"mycompany.com"), (b"x-twilio-signature", b"0/KCTR6DLpKmkAf8muzZqo1nDgQ=")],
    }  # fmt: skip
    provider = a_provider(tmp_path, "tw")

    assert is_signed(Request(scope), b"", fields, provider)
    assert not is_signed(Request(scope), b"", fields | {"Digits": "1235"}, provider)


@pytest.mark.parametrize(
    ("method", "signature"),
    [
        ("md5hash", "6af838ef94998832dbfc29020b564830"),
        ("md5", None),
        ("sha1", None),
        ("sha256", None),
        ("sha512", None),
    ],
)
def test_vonages_ways(tmp_path: Path, method: str, signature: str | None) -> None:
    """Each method that an account can be set to is known; the example of Vonage's own client has its signature."""
    provider = a_provider(tmp_path, "signed")
    fields = {"a": "1", "b": "2", "timestamp": "1461605396"}
    told = b"&a=1&b=2&timestamp=1461605396"
    signed = signature or hmac.new(b"secret", told, method).hexdigest()
    request = Request({"type": "http", "query_string": b"", "path": "/", "headers": []})

    assert is_signed(request, b"", fields | {"sig": signed}, provider)
    assert is_signed(request, b"", fields | {"sig": signed.upper(), "key": "ours"}, provider)
    assert not is_signed(request, b"", fields | {"sig": signed, "c": "3"}, provider)
    if method == "sha256":
        odd = hmac.new(b"secret", b"&text=a_b_c", method).hexdigest()
        assert is_signed(request, b"", {"text": "a&b=c", "sig": odd}, provider)


async def test_many_at_once(site_with: MakeSite) -> None:
    """Callbacks that come together are all recorded, each answered once its own is."""
    async with site_with(more=MORE) as site:
        for n in range(100):
            sent(site, "ja", f"id{n}")
        answers = await asyncio.gather(
            *(site.get("/receipts/ja", params=JASMIN | {"id": f"id{n}"}) for n in range(100))
        )
        assert {(200, "ACK/Jasmin", None)} == set(answers)
        assert [(100,)] == await site.rows("SELECT count(*) FROM sms_repo WHERE delivery = 'delivered'")
