"""Each preset against a gateway that behaves as the provider's public reference says.

The answers are those of the references that the preset files name; what is asked is read back with other readers than
ours. No test goes to a provider.
"""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from dialerd.drivers import Driver, build
from dialerd.model.campaign import Campaign
from dialerd.model.message import Channel
from dialerd.model.outcome import Deferred, Failed, InDoubt, Outcome, Partly, Sent, Throttled, Unreachable
from dialerd.settings import HttpProvider, load
from tests.drivers.conformance import an_sms
from tests.fakes.gateway import DROP, Asked, Gateway, answer

CAMPAIGNS = {"Ventas->": Campaign(name="Ventas->", channel=Channel.SMS, provider="p", region="UY")}
USER = "user = 'us', password = 'pw'"
TEXT = "Hola ñandú; ¿qué tal? € #param# &+%"

Make = Callable[..., Driver]


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with Gateway() as gateway:
        yield gateway


@pytest.fixture
async def make(gateway: Gateway, tmp_path: Path) -> AsyncIterator[Make]:
    """Return the driver of a provider whose table is written, as an operator would."""
    drivers: list[Driver] = []

    def make_one(preset: str, keys: str = "") -> Driver:
        keys = keys.replace("BASE", f"base_url = '{gateway.url}'")
        (tmp_path / "dialerd.toml").write_text(f"[providers.p]\ndriver = 'http'\npreset = '{preset}'\n{keys}\n")
        provider = load(tmp_path, environ={}).providers["p"]
        assert isinstance(provider, HttpProvider)
        drivers.append(build(provider, CAMPAIGNS))
        return drivers[-1]

    yield make_one
    for driver in drivers:
        await driver.close()


async def outcomes(driver: Driver, gateway: Gateway, *answers: bytes) -> list[Outcome]:
    """Return what each answer comes to."""
    found = []
    for said in answers:
        gateway.says = said
        found.append(await driver.send(an_sms()))
    return found


def kinds(found: list[Outcome]) -> list[type]:
    return [type(outcome) for outcome in found]


#: What every gateway that says nothing of its own is judged by.
BY_STATUS = [answer("", 500), answer("", 503), answer("", 429), answer("", 404), answer("", 401), DROP]
WHAT_THEY_ARE = [Deferred, Throttled, Throttled, Deferred, Unreachable, InDoubt]


# -- the original's family -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["url-get", "url-get-auth"])
async def test_url_get(gateway: Gateway, make: Make, preset: str) -> None:
    """A GET of the operator's URL, `id={id}` without the dollar sign included; any 2xx is a success."""
    keys = f"url = '{gateway.url}/send?tel=${{phone}}&sms=${{message}}&id={{id}}'\n"
    driver = make(preset, keys + ("parameters = { " + USER + " }" if preset == "url-get-auth" else ""))
    message = an_sms(data=TEXT)
    assert await driver.send(message) == Sent()
    (asked,) = gateway.asked
    assert (asked.method, asked.path, asked.body) == ("GET", "/send", b"")
    assert asked.query == {"tel": "+59899000001", "sms": TEXT, "id": message.id}
    assert asked.headers.get("authorization") == ("Basic dXM6cHc=" if preset == "url-get-auth" else None)
    assert kinds(await outcomes(driver, gateway, *BY_STATUS)) == WHAT_THEY_ARE


@pytest.mark.parametrize("preset", ["url-post", "url-post-auth"])
async def test_url_post(gateway: Gateway, make: Make, preset: str) -> None:
    """A POST of a form to the operator's URL, in which placeholders may stand as well."""
    keys = f"url = '{gateway.url}/${{id}}'\n"
    driver = make(preset, keys + ("parameters = { " + USER + " }" if preset == "url-post-auth" else ""))
    message = an_sms(data=TEXT)
    assert await driver.send(message) == Sent()
    (asked,) = gateway.asked
    assert (asked.method, asked.path) == ("POST", f"/{message.id}")
    assert asked.form == {"phone": "+59899000001", "message": TEXT, "id": message.id, "source": "59899000000"}
    assert asked.headers.get("authorization") == ("Basic dXM6cHc=" if preset == "url-post-auth" else None)
    assert kinds(await outcomes(driver, gateway, *BY_STATUS)) == WHAT_THEY_ARE


async def test_dinstar(gateway: Gateway, make: Make) -> None:
    """Ports in turn, digests, and an error_code that counts, whatever the status line says."""
    codes = {"code": 202}

    def says(asked: Asked) -> bytes:
        if 'username="us"' not in asked.headers.get("authorization", ""):
            return answer("", 401, WWW_Authenticate='Digest realm="Web", nonce="1", qop="auth"')
        return answer({"error_code": codes["code"], "sn": "db00", "sms_in_queue": 2, "task_id": 1284})

    gateway.says = says
    driver = make("dinstar", "parameters = { BASE, " + USER + ", ports = '(0.3)' }")
    for port in (0, 1, 2, 3, 0):
        assert await driver.send(an_sms(data=TEXT, seq=77, source=None)) == Sent("77")
        asked = gateway.asked[-1]
        assert (asked.method, asked.path) == ("POST", "/api/send_sms")
        assert asked.json == {
            "text": "#param#", "port": [port], "encoding": "unicode", "request_status_report": True,
            "param": [{"number": "+59899000001", "text_param": [TEXT], "user_id": 77}],
        }  # fmt: skip
    await driver.send(an_sms(data="plain", source="(5.6)"))
    assert (gateway.asked[-1].json["port"], gateway.asked[-1].json["encoding"]) == ([5], "gsm-7bit")

    for code, kind in ((400, Failed), (413, Failed), (550, Throttled), (500, Deferred)):
        codes["code"] = code
        assert isinstance(await driver.send(an_sms()), kind)
    gateway.says = answer("", 401, WWW_Authenticate='Digest realm="Web", nonce="1", qop="auth"')
    assert isinstance(await driver.send(an_sms()), Unreachable)

    # As README points a provider at a gateway: user and password in `auth`, how they are told is the preset's.
    bare = make("dinstar", "parameters = { BASE }\nauth = { " + USER + " }")
    gateway.says, codes["code"] = says, 202
    assert await bare.send(an_sms(seq=78, source=None)) == Sent("78")
    assert "port" not in gateway.asked[-1].json


# -- clouds ----------------------------------------------------------------------------------------------------------


async def test_twilio(gateway: Gateway, make: Make) -> None:
    """201 with a SID; 400 with a code that is about this message; 401; 429, which Twilio calls safe to retry."""
    sid = "SM" + "0" * 32
    gateway.says = answer({"sid": sid, "status": "queued", "error_code": None, "body": "code 21211"}, 201)
    driver = make("twilio", "parameters = { BASE, user = 'AC1', password = 'pw' }")
    assert await driver.send(an_sms(data=TEXT, source="+15005550006")) == Sent(sid)
    (asked,) = gateway.asked
    assert (asked.method, asked.path) == ("POST", "/2010-04-01/Accounts/AC1/Messages.json")
    assert asked.form == {"To": "+59899000001", "From": "+15005550006", "Body": TEXT}
    assert asked.headers["authorization"] == "Basic QUMxOnB3"

    def said(status: int, code: int) -> bytes:
        return answer({"code": code, "message": "The 'To' number is no number", "status": status}, status)

    found = await outcomes(
        driver, gateway, said(400, 21211), said(400, 21610), said(400, 21611), said(401, 20003), said(429, 20429),
        said(500, 20500), said(503, 20503), answer("<html>", 504), DROP,
    )  # fmt: skip
    assert kinds(found) == [
        Failed, Failed, Deferred, Unreachable, Throttled, Deferred, Throttled, InDoubt, InDoubt,
    ]  # fmt: skip
    assert "no number" in found[0].error  # type: ignore[union-attr]

    other = make(
        "twilio",
        "parameters = { BASE, account = 'AC2', user = 'SK', password = 'p', service = 'MG1', callback = 'http://us' }",
    )
    await other.send(an_sms(source=None))
    assert gateway.asked[-1].path == "/2010-04-01/Accounts/AC2/Messages.json"
    form = gateway.asked[-1].form
    assert (form["MessagingServiceSid"], form["StatusCallback"], "From" in form) == ("MG1", "http://us", False)


@pytest.mark.parametrize("preset", ["vonage", "nexmo"])
async def test_vonage(gateway: Gateway, make: Make, preset: str) -> None:
    """200 to everything; the status of the message says what it is, and the type whether it needs Unicode."""

    def said(status: int, **more: str) -> bytes:
        return answer({"message-count": "1", "messages": [{"status": str(status), **more}]})

    driver = make(preset, "parameters = { BASE, " + USER + " }")
    gateway.says = said(0, **{"message-id": "0C000000217B7F02", "to": "59899000001"})
    message = an_sms(data=TEXT)
    assert await driver.send(message) == Sent("0C000000217B7F02")
    (asked,) = gateway.asked
    assert (asked.method, asked.path) == ("POST", "/sms/json")
    assert asked.form == {
        "api_key": "us", "api_secret": "pw", "to": "59899000001", "from": "59899000000", "text": TEXT,
        "type": "unicode", "client-ref": message.id,
    }  # fmt: skip
    gateway.says = said(0)
    await driver.send(an_sms(data="¿qué?"))
    assert gateway.asked[-1].form["type"] == "text"

    text = {"error-text": "Invalid sender"}
    found = await outcomes(driver, gateway, *(said(number, **text) for number in (1, 3, 4, 5, 6, 7, 9, 15)))
    assert kinds(found) == [Throttled, Failed, Unreachable, Deferred, Failed, Failed, Unreachable, Failed]
    assert kinds(await outcomes(driver, gateway, *BY_STATUS, answer("no json"))) == [*WHAT_THEY_ARE, InDoubt]

    # A long one has an entry for each part.
    def of_parts(*statuses: str) -> bytes:
        entries = [{"status": status, "message-id": f"0C{n}"} for n, status in enumerate(statuses, 1)]
        return answer({"message-count": str(len(entries)), "messages": entries})

    gateway.says = of_parts("0", "0")
    assert await driver.send(message) == Sent("0C1", ("0C1", "0C2"))
    gateway.says = of_parts("0", "9")
    taken = await driver.send(message)
    assert isinstance(taken, Partly)
    assert (taken.accepted, taken.reference, type(taken.rest)) == ({1: "0C1"}, None, Unreachable)


async def test_infobip(gateway: Gateway, make: Make) -> None:
    """Its groups say whether a message is under way or rejected; our own id is its id too."""

    def said(group: int, name: str, message_id: str = "x") -> bytes:
        status = {"groupId": group, "groupName": "G", "id": 26, "name": name, "description": "said"}
        return answer({"bulkId": "1", "messages": [{"messageId": message_id, "status": status, "destination": "1"}]})

    driver = make("infobip", "parameters = { BASE, key = 'k-1' }")
    message = an_sms(data=TEXT)
    gateway.says = said(1, "PENDING_ACCEPTED", message.id)
    assert await driver.send(message) == Sent(message.id)
    (asked,) = gateway.asked
    assert (asked.method, asked.path, asked.headers["authorization"]) == ("POST", "/sms/3/messages", "App k-1")
    assert asked.json == {
        "messages": [
            {
                "sender": "59899000000",
                "destinations": [{"to": "59899000001", "messageId": message.id}],
                "content": {"text": TEXT},
            }
        ]
    }
    unauthorised = answer({"requestError": {"serviceException": {"messageId": "UNAUTHORIZED", "text": "no"}}}, 401)
    bad = answer({"requestError": {"serviceException": {"messageId": "BAD_REQUEST", "text": "Bad Request"}}}, 400)
    found = await outcomes(
        driver, gateway, said(5, "REJECTED_DESTINATION"), said(5, "REJECTED_NOT_ENOUGH_CREDITS"), unauthorised, bad,
        answer("", 429), answer("", 500), answer("", 503), DROP,
    )  # fmt: skip
    assert kinds(found) == [Failed, Unreachable, Unreachable, Failed, Throttled, Deferred, Throttled, InDoubt]

    with_callback = make("infobip", "parameters = { BASE, key = 'k', callback = 'http://us/r' }")
    await with_callback.send(an_sms())
    assert gateway.asked[-1].json["messages"][0]["webhooks"] == {"delivery": {"url": "http://us/r"}}


# -- gateways of one's own -------------------------------------------------------------------------------------------


async def test_kannel(gateway: Gateway, make: Make) -> None:
    """202 and its first digit; 403 is about us, 503 about its queue; UCS-2 is asked for where GSM-7 does not do."""
    driver = make("kannel", "parameters = { BASE, " + USER + ", smsc = 'fast', callback = 'http://us/r?' }")
    gateway.says = answer("0: Accepted for delivery", 202)
    message = an_sms(data=TEXT)
    assert await driver.send(message) == Sent()
    (asked,) = gateway.asked
    assert (asked.method, asked.path) == ("GET", "/cgi-bin/sendsms")
    assert asked.query == {
        "username": "us", "password": "pw", "to": "+59899000001", "from": "59899000000", "text": TEXT,
        "charset": "UTF-8", "coding": "2", "smsc": "fast", "dlr-mask": "19",
        "dlr-url": f"http://us/r?ours={message.id}&status=%d&answer=%A",
    }  # fmt: skip
    bare = make("kannel", "parameters = { BASE, " + USER + " }")
    await bare.send(an_sms(data="a", source=None))
    assert gateway.asked[-1].query.keys() == {"username", "password", "to", "text", "charset", "coding"}
    assert gateway.asked[-1].query["coding"] == "0"

    found = await outcomes(
        driver, gateway, answer("3: Queued for later delivery", 202), answer("Missing receiver number, rejected", 400),
        answer("Authorization failed for sendsms", 403), answer("Temporal failure, try again later.", 503),
        answer("", 500), DROP,
    )  # fmt: skip
    assert kinds(found) == [Sent, Failed, Unreachable, Throttled, Deferred, InDoubt]


async def test_jasmin(gateway: Gateway, make: Make) -> None:
    """A quoted id, octets in hex, and refusals that are told apart by what they say."""
    driver = make("jasmin", "parameters = { BASE, " + USER + ", callback = 'http://us/r' }")
    gateway.says = answer('Success "07033084-5cfd-4812-90a4-e4d24ffb6e3d"')
    assert await driver.send(an_sms(data="¿ñ€?")) == Sent("07033084-5cfd-4812-90a4-e4d24ffb6e3d")
    (asked,) = gateway.asked
    assert (asked.method, asked.path) == ("POST", "/send")
    assert asked.form == {
        "username": "us", "password": "pw", "to": "+59899000001", "from": "59899000000", "coding": "0",
        "hex-content": "607d1b653f", "dlr": "yes", "dlr-level": "2", "dlr-url": "http://us/r", "dlr-method": "GET",
    }  # fmt: skip
    await driver.send(an_sms(data="á"))
    assert (gateway.asked[-1].form["coding"], gateway.asked[-1].form["hex-content"]) == ("8", "00e1")

    found = await outcomes(
        driver, gateway, answer('Error "Argument [to] has an invalid value: [x]."', 400),
        answer('Error "Authentication failure for username:us"', 403), answer('Error "User throughput exceeded"', 403),
        answer('Error "Cannot charge submit_sm, check RouterPB log file for details"', 403),
        answer('Error "No route found"', 412), answer('Error "Cannot send submit_sm"', 500), DROP,
    )  # fmt: skip
    assert kinds(found) == [Failed, Unreachable, Throttled, Unreachable, Deferred, Deferred, InDoubt]
