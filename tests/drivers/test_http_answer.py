"""What a gateway's answer comes to: rules first, then its status."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialerd.drivers.http_answer import Judge, Reply, decoded
from dialerd.drivers.http_request import Requests
from dialerd.model.outcome import Deferred, Failed, InDoubt, Outcome, Partly, Sent, Throttled, Unreachable
from dialerd.settings import Answer, HttpProvider, JsonEquals, ProviderId
from tests.drivers.conformance import an_sms

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def judged(status: int, text: str = "", headers: dict[str, str] | None = None, **keys: Any) -> Outcome:
    provider = HttpProvider(name="gw", url="http://gw.example/", **keys)
    request = Requests(provider, {}).of(an_sms())
    return Judge(provider).outcome(Reply(status, headers or {}, text), request, NOW)


def rule(*statuses: int, **keys: Any) -> Answer:
    return Answer(status=frozenset(statuses) if statuses else None, **keys)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, Sent), (202, Sent), (299, Sent), (101, InDoubt),
     (301, Deferred), (302, InDoubt), (303, InDoubt), (307, Deferred), (308, Deferred), (304, Deferred),
     (400, Deferred), (401, Unreachable), (403, Deferred), (404, Deferred), (407, Unreachable), (408, Deferred),
     (429, Throttled), (500, Deferred), (501, Deferred), (502, InDoubt), (503, Throttled), (504, InDoubt),
     (520, InDoubt), (524, InDoubt), (599, Deferred)],
)  # fmt: skip
def test_by_status(status: int, kind: type) -> None:
    """Without rules the status decides; what a proxy says of a gateway that did not answer is a doubt."""
    assert type(judged(status, "said")) is kind


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [(200, "OK 1", Sent), (200, "ERROR: invalid number", Failed), (200, "ERROR: no credit", Unreachable),
     (200, "ERROR: too fast", Throttled), (200, "ERROR: later", Deferred), (500, "", Deferred),
     # Nobody can tell what was done.
     (200, "", InDoubt), (204, "\r\n", InDoubt),
     # Accepted, and repeats a text that sounds like a refusal.
     (200, "OK 'your invalid number'", Sent), (500, "invalid number", Failed), (404, "OK", Deferred)],
)  # fmt: skip
def test_by_body(status: int, text: str, kind: type) -> None:
    """A body that is recognised decides, success before all others."""
    outcome = judged(
        status, text, success=rule(200, body="^OK"), permanent=rule(body="invalid number"),
        unavailable=rule(body="no credit"), throttled=rule(body="too fast"),
    )  # fmt: skip
    assert type(outcome) is kind


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ([0, 0, 0], Sent("a1", ("a1", "a2", "a3"))),
        ([0], Sent("a1")),
        ([0, 1, 0], Partly({1: "a1", 3: "a3"}, None, Throttled("HTTP 200 OK, s is 1"))),
        ([0, 4, 2], Partly({1: "a1"}, None, Failed('HTTP 200 OK: {"m": [[0, "a1"], [4, "a2"], [2, "a3"]]}'))),
        ([4, 1], Throttled("HTTP 200 OK, s is 1")),
        ([9, 4], Deferred('HTTP 200 OK: {"m": [[9, "a1"], [4, "a2"]]}')),
    ],
)
def test_each_part(said: list[int], outcome: Outcome) -> None:
    """With an entry for each part all are judged: what was taken is told, and the weightiest of what was not."""
    entries = [{"s": status, "id": f"a{n}"} for n, status in enumerate(said, 1)]
    found = judged(
        200, json.dumps({"m": entries}), each="m", id=ProviderId(json="id"),
        success=Answer(json=JsonEquals(path="s", equals=0)), permanent=Answer(json=JsonEquals(path="s", equals=2)),
        throttled=Answer(json=JsonEquals(path="s", equals=1)), unavailable=Answer(json=JsonEquals(path="s", equals=4)),
    )  # fmt: skip
    short = json.dumps({"m": entries}), json.dumps({"m": [[entry["s"], entry["id"]] for entry in entries]})
    assert repr(found).replace(*short) == repr(outcome)


@pytest.mark.parametrize("text", ['{"m": []}', '{"m": 7}', '{"error": "x"}', '{"s": 0}', "no json"])
def test_no_parts(text: str) -> None:
    """Where the array is not there, the whole answer is judged as ever."""
    success = Answer(json=JsonEquals(path="s", equals=0))
    assert judged(200, text, each="m", success=success) == judged(200, text, success=success)


def test_success_by_status_alone() -> None:
    """A success that looks at the status only gives way to what the body says."""
    keys = {"success": rule(200), "permanent": rule(body="invalid")}
    assert judged(200, "invalid number", **keys) == Failed("HTTP 200 OK: invalid number")
    assert judged(200, "fine", **keys) == Sent()
    assert isinstance(judged(201, "fine", **keys), Deferred)


@pytest.mark.parametrize(
    ("text", "kind"),
    [('{"messages": [{"status": "0", "id": "a"}]}', Sent), ('{"messages": [{"status": 0, "id": "a"}]}', Sent),
     ('{"messages": [{"status": "3"}]}', Failed), ('{"messages": [{"status": 9}]}', Deferred),
     ('{"messages": []}', Deferred), ('{"messages": [{"status": {}}]}', Deferred), ("<html>", InDoubt), ("", InDoubt),
     ("[" * 100_000, InDoubt)],
)  # fmt: skip
def test_by_json(text: str, kind: type) -> None:
    """A path into the JSON decides, 0 and "0" alike; a 2xx that is no JSON where there should be one is a doubt."""
    path = "messages.0.status"
    outcome = judged(
        200, text, success=rule(json=JsonEquals(path=path, equals=0)), id=ProviderId(json="messages.0.id"),
        permanent=rule(json=JsonEquals(path=path, equals=("3", 6))),
    )  # fmt: skip
    assert type(outcome) is kind
    if isinstance(outcome, Sent):
        assert outcome.provider_id == "a"


def test_alternatives() -> None:
    """A rule may have alternatives: one of them is enough."""
    keys = {"permanent": rule(400, **{"or": rule(200, body="no such", **{"or": rule(404)})})}
    assert [type(judged(status, "no such", **keys)) for status in (400, 200, 404, 500)] == [Failed] * 3 + [Deferred]
    assert judged(200, "yes", **keys) == Sent()


@pytest.mark.parametrize(
    ("where", "found"),
    [({"json": "a.1.id"}, "x y"), ({"json": "a.9.id"}, None), ({"json": "a"}, None), ({"json": "n"}, "12"),
     ({"json": "f"}, None), ({"body": r'"id": "(\w+)'}, "x"), ({"body": "(nothing)"}, None), ({"header": "X-Id"}, "h"),
     ({"header": "No"}, None), ({"body": "(Z*)"}, None)],
)  # fmt: skip
def test_id(where: dict[str, str], found: str | None) -> None:
    """The provider's id is found in JSON, by a regular expression or in a header; there may be none."""
    text = '{"a": [0, {"id": "x\\ty"}], "n": 12.0, "f": false}'
    assert judged(200, text, {"x-id": "h"}, id=ProviderId(**where)) == Sent(found)


def test_errors_tell_what_was_said() -> None:
    """A refusal tells the gateway's words, on one short line without tags; what may be logged tells none."""
    page = "<html><b>Bad\r\n sender</b> " + "x" * 1000
    failed = judged(400, page, permanent=rule(400))
    assert isinstance(failed, Failed)
    assert failed.error.startswith("HTTP 400 Bad Request: Bad sender x")
    assert len(failed.error) < 300

    assert judged(429, page) == Throttled("HTTP 429 Too Many Requests")
    assert judged(200, "no credit", unavailable=rule(body="credit")) == Unreachable(
        "HTTP 200 OK, its body matches 'credit'"
    )
    json = rule(json=JsonEquals(path="code", equals=4))
    assert judged(200, '{"code": 4}', unavailable=json) == Unreachable("HTTP 200 OK, code is 4")


@pytest.mark.parametrize("text", ["+59899000001", "59899000001", "99000001", "598 99.000-001", "(99) 000 001",
                                  "Hola ñandú; ¿qué tal?", "Hola%20%C3%B1and%C3%BA",
                                  "Hola \\u00f1and\\u00fa; \\u00bfqu\\u00e9 tal?"])  # fmt: skip
def test_errors_tell_no_numbers_and_texts(text: str) -> None:
    """Number and text are left out of a refusal, however the gateway spells them."""
    whole = text.replace("Hola%20%C3%B1and%C3%BA", "Hola%20%C3%B1and%C3%BA%3B%20%C2%BFqu%C3%A9%20tal%3F")
    failed = judged(400, f"no: {whole}!", permanent=rule(400))
    assert isinstance(failed, Failed)
    assert failed.error == "HTTP 400 Bad Request: no: …!"


@pytest.mark.parametrize(
    ("headers", "wish"),
    [({"retry-after": "120"}, 120), ({"retry-after": " 0 "}, 0), ({"retry-after": "-5"}, None), ({}, None),
     ({"retry-after": "Sun, 01 Mar 2026 00:01:00 GMT"}, 60), ({"retry-after": "Sat, 28 Feb 2026 00:00:00 GMT"}, 0),
     ({"retry-after": "Sun, 01 Mar 2026 00:01:00 -0000"}, 60), ({"retry-after": "soon"}, None),
     ({"retry-after": "Sun, 01 Mar 2026 00:01:00 GMT", "date": "never"}, None), ({"retry-after": "9" * 50}, None)],
)  # fmt: skip
def test_retry_after(headers: dict[str, str], wish: float | None) -> None:
    """Seconds or a date (RFC 9110, 10.2.3); what cannot be read is no wish."""
    assert judged(429, headers=headers) == Throttled("HTTP 429 Too Many Requests", wish)
    assert judged(500, headers=headers) == Deferred("HTTP 500 Internal Server Error", wish)


@given(
    st.integers(100, 599), st.text(), st.dictionaries(st.sampled_from(["retry-after", "location", "date"]), st.text())
)
def test_any_answer_is_an_outcome(status: int, text: str, headers: dict[str, str]) -> None:
    """Whatever is answered, there is an outcome and no exception."""
    keys = {"success": rule(json=JsonEquals(path="a.0", equals=1)), "id": ProviderId(json="a.1")}
    assert isinstance(judged(status, text, headers, **keys), Outcome)


@given(st.binary(), st.one_of(st.none(), st.text(), st.sampled_from(["utf-7", "utf-16", "idna", "hex", "punycode"])))
def test_any_octets_are_text(content: bytes, charset: str | None) -> None:
    """Whatever octets come, in whatever charset, they become text."""
    assert isinstance(decoded(content, charset), str)
