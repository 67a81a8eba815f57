"""What a gateway is asked: each value encoded for its place, read back by somebody else's reader."""

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialerd.drivers.http_request import Request, Requests
from dialerd.model.campaign import Campaign, UnicodeRule
from dialerd.model.errors import Refused
from dialerd.model.message import Channel
from dialerd.settings import Codings, HttpProvider, Method, NumberFormat
from tests.drivers.conformance import an_sms

CAMPAIGNS = {
    "Ventas->": Campaign(name="Ventas->", channel=Channel.SMS, provider="gw", region="UY"),
    "Llano": Campaign(name="Llano", channel=Channel.SMS, provider="gw", region="UY", unicode=UnicodeRule.TRANSLITERATE),
}

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=300)


def asked(message: dict[str, Any] | None = None, **keys: Any) -> Request:
    provider = HttpProvider(**{"name": "gw", "url": "http://gw.example/send"} | keys)
    return Requests(provider, CAMPAIGNS).of(an_sms(**message or {}))


def query(request: Request) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(request.url).query, keep_blank_values=True, strict_parsing=True)


@given(texts)
def test_any_text_arrives(text: str) -> None:
    """Whatever a text holds, it arrives as it is: in URL, query, form, JSON, and plain, XML and JSON bodies."""
    message = {"data": text}
    assert query(asked(message, url="http://h/?a=1&t=${message}", query={"m": "${message}"}))[1:] == [
        ("t", text),
        ("m", text),
    ]
    path = urlsplit(asked(message, url="http://h/sms/${message}/x").url).path
    assert path.count("/") == 3
    form = asked(message, form={"m": "<${message}>"})
    assert form.body is not None
    assert dict(parse_qsl(form.body.decode(), strict_parsing=True)) == {"m": f"<{text}>"}
    carried = asked(message, json={"messages": [{"text": "${message}", "n": 1}]})
    assert json.loads(carried.body or b"") == {"messages": [{"text": text, "n": 1}]}
    assert json.loads(asked(message, body='{"text": "a ${message}"}').body or b"") == {"text": f"a {text}"}
    assert asked(message, body="${message}").body == text.encode()
    header = asked(message, headers={"X-Text": "${message}"}).headers["X-Text"]
    assert not set(header) & {"\r", "\n", "\0"}


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=100))
def test_xml(text: str) -> None:
    """In XML a text can close neither its element nor an attribute."""
    request = asked({"data": text}, body="<sms to='${message}'>${message}</sms>")
    root = ElementTree.fromstring(request.body or b"")
    assert (root.text, root.get("to"), len(root)) == (text, text, 0)
    assert request.headers["Content-Type"] == "application/xml; charset=utf-8"


def test_what_a_message_tells() -> None:
    """Every placeholder has its value; {id} is taken for ${id}."""
    names = ["phone", "message", "id", "source", "campaign", "agent", "base", "parts", "seq", "coding", "hex"]
    message = an_sms(agent="ana", seq=7, parts=2, data="ñ€")
    provider = HttpProvider(
        name="gw", url="http://h/{id}", query={name: f"${{{name}}}" for name in names}, coding=Codings(gsm7="0")
    )
    request = Requests(provider, CAMPAIGNS).of(message)
    assert urlsplit(request.url).path == f"/{message.id}"
    assert dict(query(request)) == {
        "phone": "+59899000001", "message": "ñ€", "id": message.id, "source": "59899000000", "campaign": "Ventas->",
        "agent": "ana", "base": "base.csv", "parts": "2", "seq": "7", "coding": "0", "hex": "7d1b65",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("style", "number"), [("plus", "+59899000001"), ("e164", "59899000001"), ("national", "099000001"), ("as_is", "x")]
)
def test_number_format(style: str, number: str) -> None:
    """The number is written as the provider wants it."""
    request = asked({"destination": "x"}, url="http://h/?n=${phone}", number_format=NumberFormat(style))
    assert query(request) == [("n", number)]


def test_numbers_not_accepted() -> None:
    """A number that `accept` does not match is refused before anything is asked, as rows of other systems may be."""
    with pytest.raises(Refused, match="does not accept"):
        asked(accept="^[+]5989[1-8]")


@pytest.mark.parametrize("data", ["", "a\0b", "half \ud800"])
def test_texts_that_cannot_be_sent(data: str) -> None:
    """What is no text of an SMS is refused before anything is asked."""
    with pytest.raises(Refused):
        asked({"data": data})


def test_coding() -> None:
    """Whether a text needs UCS-2 is told in the gateway's words, and its octets are those of GSM 03.38 or UTF-16."""
    keys = {"query": {"c": "${coding}", "h": "${hex}"}, "coding": Codings(gsm7="0", ucs2="2")}
    assert query(asked({"data": "a[ñ"}, **keys)) == [("c", "0"), ("h", "611b3c7d")]
    assert query(asked({"data": "á😀"}, **keys)) == [("c", "2"), ("h", "00e1d83dde00")]
    long = dict(query(asked({"data": "á" * 100}, **keys)))
    assert long["h"] == "00e1" * 100


def test_charset() -> None:
    """A gateway that knows no UTF-8 gets its own charset, and never a text that this would spoil."""
    keys: dict[str, Any] = {"charset": "iso-8859-1", "url": "http://h/ñ?m=${message}"}
    assert asked({"data": "señor"}, **keys).url == "http://h/%F1?m=se%F1or"
    assert asked({"data": "señor"}, form={"m": "¡${message}"}, **keys).body == b"m=%A1se%F1or"
    plain = asked({"data": "señor"}, body="${message}", **keys)
    assert (plain.body, plain.headers["Content-Type"]) == ("señor".encode("latin-1"), "text/plain; charset=iso-8859-1")
    with pytest.raises(Refused, match=r"iso-8859-1 cannot spell U\+20AC"):
        asked({"data": "5 €"}, **keys)


def test_transliterated() -> None:
    """A campaign that transliterates sends what its parts were counted of."""
    request = asked({"data": "“sí”", "campaign": "Llano"}, query={"m": "${message}", "c": "${coding}"})
    assert query(request) == [("m", '"si"'), ("c", "gsm7")]


def test_what_is_not_there_is_left_out() -> None:
    """A member that uses an absent source or an empty parameter is left out, up to the tables that held only it."""
    keys: dict[str, Any] = {
        "parameters": {"callback": "", "smsc": "a"},
        "query": {"from": "${source}", "smsc": "${smsc}", "dlr": "${callback:+3}", "url": "${callback}?x"},
        "headers": {"X-From": "${source}"},
        "json": {
            "from": "${source}",
            "hooks": {"url": "${callback}"},
            "ports": ["${port:int}"],
            "empty": {},
            "n": None,
        },
    }
    request = asked({"source": None}, **keys)
    assert query(request) == [("smsc", "a")]
    assert "X-From" not in request.headers
    assert json.loads(request.body or b"") == {"empty": {}, "n": None}

    keys["parameters"]["callback"] = "http://us/?"
    assert ("dlr", "3") in query(asked({"source": None}, **keys))
    assert urlsplit(asked({"source": None}, url="http://h/a${source}b").url).path == "/ab"
    assert asked({"source": None}, json={"from": "${source}", "to": ["${port:int}"]}).body == b"{}"


def test_url_stays_a_url() -> None:
    """What a URL says itself stays; letters beyond ASCII are encoded, a fragment is not sent."""
    request = asked(url="http://h:81/señal-y-más/?a=%20b&c={id}#top", query={"k y": "1&2"})
    path, _, rest = request.url.partition("?")
    assert path == "http://h:81/se%C3%B1al-y-m%C3%A1s/"
    assert rest.startswith("a=%20b&c=")
    assert rest.endswith("&k%20y=1%262")
    assert "top" not in rest
    assert asked(url="http://h/?a=${id:+ñ%}&b=ñ%").url == "http://h/?a=%C3%B1%25&b=%C3%B1%"


def test_ports_are_taken_in_turn() -> None:
    """(0.3) rotates 0-1-2-3-0; a message or its campaign may name its own; a sender id is no port."""
    provider = HttpProvider(
        name="gw", url="http://h/", json={"port": ["${port:int}"]}, parameters={"ports": "(2.0)"}
    )  # fmt: skip
    requests = Requests(provider, CAMPAIGNS)

    def ports(source: str | None, times: int) -> list[Any]:
        return [json.loads(requests.of(an_sms(source=source)).body or b"{}").get("port") for _ in range(times)]

    assert ports(None, 4) == [[0], [1], [2], [0]]
    assert ports("(0.3)", 5) == [[0], [1], [2], [3], [0]]
    assert ports("5", 2) == [[5], [5]]
    assert ports("7,9", 3) == [[7], [9], [7]]
    assert ports("59899000000", 1) == [[1]]


@pytest.mark.parametrize(
    ("keys", "method", "kind"),
    [({}, "GET", None), ({"form": {"a": "b"}}, "POST", "application/x-www-form-urlencoded"),
     ({"json": {}}, "POST", "application/json"), ({"body": " [1]"}, "POST", "application/json"),
     ({"body": "x", "method": Method.PUT}, "PUT", "text/plain; charset=utf-8"),
     ({"form": {"a": "b"}, "method": Method.GET}, "GET", "application/x-www-form-urlencoded")],
)  # fmt: skip
def test_method_and_kind(keys: dict[str, Any], method: str, kind: str | None) -> None:
    """GET, or POST with something to carry, unless the table says otherwise; the content says what it is."""
    request = asked(**keys)
    assert (request.method, request.headers.get("Content-Type")) == (method, kind)


def test_a_content_type_of_ones_own() -> None:
    """Content-Type in headers decides how a body's values are escaped."""
    request = asked(
        {"data": "a&b"}, body="m=${message}", headers={"content-type": "application/x-www-form-urlencoded; charset=x"}
    )
    assert request.body == b"m=a%26b"
    assert [name for name in request.headers if name.lower() == "content-type"] == ["content-type"]
