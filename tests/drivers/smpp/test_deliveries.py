"""What SMSCs deliver: receipts in all their spellings, and what people write."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from dialerd.drivers.smpp.deliveries import read_delivery
from dialerd.drivers.smpp.pdu import ShortMessage
from dialerd.model.receipt import Delivery, Inbound, Receipt
from dialerd.settings import Alphabet, SmppProvider

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SMSC = SmppProvider(name="smsc", host="h", system_id="u")


def read(**fields: Any) -> Receipt | Inbound:
    given: dict[str, Any] = {"source": b"59899123456", "destination": b"1234"}
    return read_delivery(ShortMessage(**given | fields), SMSC, now=NOW)


def receipt(text: bytes, **fields: Any) -> tuple[str | None, Delivery | None, str | None]:
    """Read a receipt; return the id, what became of the message, and the error."""
    found = read(text=text, esm_class=0x04, **fields)
    assert isinstance(found, Receipt)
    return found.provider_id, found.delivery, found.error


def inbound(**fields: Any) -> Inbound:
    found = read(**fields)
    assert isinstance(found, Inbound)
    return found


DELIVERED, UNDELIVERED = Delivery.DELIVERED, Delivery.UNDELIVERED
DATES = b"submit date:2611251030 done date:2611251031"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"id:0123456789 sub:001 dlvrd:001 " + DATES + b" stat:DELIVRD err:000 text:", ("0123456789", DELIVERED, None)),
        (b"id:7 sub:001 dlvrd:000 " + DATES + b" stat:UNDELIV err:021 text:", ("7", UNDELIVERED, "UNDELIV err:021")),
        (b"id:7 stat:EXPIRED err:000", ("7", UNDELIVERED, "EXPIRED")),
        (b"id:7 stat:REJECTD err:00a", ("7", UNDELIVERED, "REJECTD err:00a")),
        (b"id:7 stat:DELETED", ("7", UNDELIVERED, "DELETED")),
        (b"id:7 stat:FAILED error:7", ("7", UNDELIVERED, "FAILED err:7")),
        (b"id:7 stat:ENROUTE err:000", ("7", None, None)),
        (b"id:7 stat:ACCEPTD err:000", ("7", None, None)),
        (b"id:7 stat:UNKNOWN err:000", ("7", None, None)),
        (b"ID:ab-cd_EF SUB:1 DLVRD:1 SUBMIT_DATE:1 DONE_DATE:1 STAT:DELIVERED ERR:0", ("ab-cd_EF", DELIVERED, None)),
        (b"id: 7 status: delivrd", ("7", DELIVERED, None)),
        (b"message_id:7 state:Undeliverable err_code:9", ("7", UNDELIVERED, "UNDELIVERABLE err:9")),
        (b'msgid="7" stat="READ"', ("7", Delivery.READ, None)),
        (b"stat:DELIVRD err:000 id:3f-9a done date:2611251031", ("3f-9a", DELIVERED, None)),
        (b"id:7 stat:DELIVRD text:id:8 stat:UNDELIV err:005", ("7", DELIVERED, None)),
        (b"text:id:8 stat:DELIVRD", (None, None, None)),
        (b"done", (None, None, None)),
        (b"", (None, None, None)),
        ("id:7 stat:DELIVRD".encode("utf-16-be"), (None, None, None)),
    ],
)  # fmt: skip
def test_receipt_texts(text: bytes, says: tuple[Any, ...]) -> None:
    """A receipt's text says which message, what became of it, and why; the message's own words say nothing."""
    assert receipt(text) == says


def test_nothing_is_endless() -> None:
    """Names and errors of any length become ones that a database can index and a person can read."""
    long = b"9" * 5000
    provider_id, _, error = receipt(b"", tlvs={0x0424: b"id:" + long + b" stat:UNDELIV err:" + long})
    assert (len(provider_id or ""), len(error or "")) == (255, 60)
    found = inbound(source=long, destination=long, text=b"x")
    assert (len(found.phone), len(found.to or "")) == (255, 255)
    found = inbound(text=b"x", tlvs={0x001E: b"\0"})
    assert found.provider_id is None


def test_receipt_in_ucs2() -> None:
    """A receipt in UCS-2 is read as such."""
    assert receipt("id:7 stat:DELIVRD".encode("utf-16-be"), data_coding=8) == ("7", DELIVERED, None)


@pytest.mark.parametrize(
    ("state", "delivery", "error"),
    [
        (1, None, None), (2, DELIVERED, None), (3, UNDELIVERED, "EXPIRED"), (4, UNDELIVERED, "DELETED"),
        (5, UNDELIVERED, "UNDELIV"), (6, None, None), (7, None, None), (8, UNDELIVERED, "REJECTD"),
        (99, DELIVERED, None),
    ],
)  # fmt: skip
def test_receipt_parameters(state: int, delivery: Delivery | None, error: str | None) -> None:
    """The optional parameters go before the text; a state that nobody knows leaves the word to the text."""
    tlvs = {0x001E: b"A7\0", 0x0427: bytes([state]), 0x1400: b"vendor"}
    assert receipt(b"id:9 stat:DELIVRD err:000", tlvs=tlvs) == ("A7", delivery, error)


def test_network_error() -> None:
    """The network's own error code is told; a text in message_payload is as good as one in short_message."""
    tlvs = {0x0423: b"\x03\x01\x02", 0x0424: b"id:7 stat:UNDELIV err:000"}
    assert receipt(b"", tlvs=tlvs) == ("7", UNDELIVERED, "UNDELIV err:258")


@pytest.mark.parametrize(
    ("source", "destination", "address"),
    [
        (b"59899123456", b"1234", "+59899123456"), (b"59899123456", b"59899000000", "+59899123456"),
        (b"1234", b"59899123456", "59899123456"), (b"Ventas", b"59899123456", "59899123456"),
        (b"1234", b"777", "+1234"), (b"", b"", None),
    ],
)  # fmt: skip
def test_receipt_address(source: bytes, destination: bytes, address: str | None) -> None:
    """A receipt comes from the number that the message went to; one that comes from a short code is about the other."""
    found = read(text=b"id:7 stat:DELIVRD", esm_class=0x04, source=source, source_ton=1, destination=destination)
    assert isinstance(found, Receipt)
    assert (found.address, found.provider, found.own_id, found.at) == (address, "smsc", None, None)


def test_kinds_of_receipt() -> None:
    """A receipt on the way is not the last word; a phone's and a user's acknowledgement are receipts too."""
    text = b"id:7 stat:UNDELIV err:000"
    kinds = {kind: read(text=text, esm_class=kind) for kind in (0x20, 0x04, 0x44)}
    assert [found.delivery for found in kinds.values() if isinstance(found, Receipt)] == [
        None, UNDELIVERED, UNDELIVERED,
    ]  # fmt: skip
    for kind, delivery in ((0x08, DELIVERED), (0x10, Delivery.READ)):
        found = read(esm_class=kind, tlvs={0x001E: b"7\0"})
        assert isinstance(found, Receipt)
        assert (found.provider_id, found.delivery) == ("7", delivery)


def test_receipt_without_mark() -> None:
    """What has both parameters of a receipt is one, whatever esm_class says; what merely reads like one is a text."""
    assert isinstance(read(tlvs={0x001E: b"7\0", 0x0427: b"\x02"}), Receipt)
    forged = inbound(text=b"id:7 stat:DELIVRD err:000")
    assert forged.message == "id:7 stat:DELIVRD err:000"


@pytest.mark.parametrize(
    ("data_coding", "text", "means"),
    [
        (0, b"\x00 \x1b\x65 \x02 \x7d", "@ € $ ñ"),
        (0, "Año".encode("latin-1"), "Año"),
        (0, "Año".encode(), "Año"),
        (1, b"STOP@", "STOP@"),
        (3, "¿Sí?".encode("latin-1"), "¿Sí?"),
        (4, b"caf\xc3\xa9", "café"),
        (4, b"\xff\xfe", "ÿþ"),
        (6, "Да".encode("iso8859-5"), "Да"),
        (8, "Sí 😀".encode("utf-16-be"), "Sí 😀"),
        (8, b"\x00S\x00", "S\ufffd"),
        (14, "네".encode("euc_kr"), "네"),
        (0x11, b"\x00", "@"),
        (0x18, "ж".encode("utf-16-be"), "ж"),
        (0xF0, b"\x00", "@"),
        (0xF5, b"caf\xe9", "café"),
        (0xE0, "ж".encode("utf-16-be"), "ж"),
        (3, b"a\0b", "ab"),
    ],
)
def test_codings(data_coding: int, text: bytes, means: str) -> None:
    """A text is read by its data_coding, SMPP's or the network's; where the octets speak against it, by them."""
    assert inbound(text=text, data_coding=data_coding).message == means


def test_inbound() -> None:
    """An SMS to us says who wrote it, to which of our numbers, and when it came."""
    assert inbound(text=b"Hola", source_ton=1) == Inbound(
        provider="smsc", phone="+59899123456", message="Hola", received=NOW, to="1234"
    )


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"esm_class": 0x40, "text": b"\x05\x00\x03\xaa\x03\x02Hola"}, (0xAA, 2, 3)),
        ({"esm_class": 0x40, "text": b"\x06\x08\x04\x01\xaa\x03\x02Hola"}, (0x1AA, 2, 3)),
        ({"esm_class": 0x40, "text": b"\x0b\x05\x04\x0b\x84\x00\x00\x00\x03\xaa\x02\x01Hola"}, (0xAA, 1, 2)),
        ({"esm_class": 0x40, "text": b"\x03\x24\x01\x01Hola"}, (None, 1, 1)),
        ({"esm_class": 0x40, "text": b"\x05\x00\x03\xaa\x02\x03Hola"}, (None, 1, 1)),
        ({"esm_class": 0x40, "text": b"\x05\x00\x03\xaa\x01\x01Hola"}, (None, 1, 1)),
        ({"text": b"Hola", "tlvs": {0x020C: b"\x01\xaa", 0x020E: b"\x03", 0x020F: b"\x02"}}, (0x1AA, 2, 3)),
        ({"text": b"Hola", "tlvs": {0x020C: b"\x01\xaa", 0x020E: b"\x03"}}, (None, 1, 1)),
        ({"tlvs": {0x0424: b"Hola"}}, (None, 1, 1)),
    ],
)
def test_parts(fields: dict[str, Any], place: tuple[int | None, int, int]) -> None:
    """A part of a long SMS says so, by its header or by its fields; the header is not text."""
    found = inbound(**fields)
    assert (found.message, found.reference, found.part, found.parts) == ("Hola", *place)


def test_part_of_an_emoji() -> None:
    """The half of an emoji at the edge of a part stays; alone in a text, or half an octet pair, it is none."""
    header = {"esm_class": 0x40, "data_coding": 8}
    assert inbound(text=b"\x05\x00\x03\xaa\x02\x01\x00a\xd8\x3d", **header).message == "a\ud83d"
    assert inbound(text=b"\x05\x00\x03\xaa\x02\x02\xde\x42\x00", **header).message == "\ude42\ufffd"
    assert inbound(text=b"\x00a\xd8\x3d", data_coding=8).message == "a\ufffd"


def test_impossible_header() -> None:
    """A header that is longer than the text is none: the text is kept as it is."""
    assert inbound(esm_class=0x40, text=b"Hola").message == "Hola"


@pytest.mark.parametrize(
    ("alphabet", "octets", "text"),
    [
        (Alphabet.GSM7, b"\x00 5\x1b\x65 A\x7do", "@ 5€ Año"),
        (Alphabet.LATIN_1, b"@ A\xf1o {\xc3\xa9}", "@ Año {Ã©}"),
        (Alphabet.ASCII, b"@ A~o {\xc3\xa9}", "@ A~o {é}"),
    ],
)
def test_default_alphabet(alphabet: Alphabet, octets: bytes, text: str) -> None:
    """At data_coding 0 the octets are what `alphabet` says; at others they are what those say."""
    smsc = replace(SMSC, alphabet=alphabet)
    for coding, content in ((0, octets), (3, text.encode("latin-1", "replace")), (8, text.encode("utf-16-be"))):
        message = ShortMessage(b"59899123456", b"1234", content, data_coding=coding)
        found = read_delivery(message, smsc, now=NOW)
        assert isinstance(found, Inbound)
        assert found.message == (text.replace("€", "?") if coding == 3 else text)
