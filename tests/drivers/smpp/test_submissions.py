"""What goes to an SMSC for a message: its address, its parts, its coding, and how long it is good for."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import smpp34
from hypothesis import given
from hypothesis import strategies as st

from dialerd.drivers.smpp.deliveries import read_delivery
from dialerd.drivers.smpp.pdu import SUBMIT_SM, ShortMessage, pack
from dialerd.drivers.smpp.submissions import reference_of, submissions
from dialerd.model.campaign import Campaign, UnicodeRule
from dialerd.model.errors import Refused
from dialerd.model.message import Channel, Message
from dialerd.model.receipt import Inbound
from dialerd.settings import Alphabet, LongSms, NumberFormat, SmppProvider
from tests.drivers.conformance import an_sms
from tests.drivers.smpp.test_deliveries import NOW, SMSC

LONG = "€ñ@" * 60  # 240 septets
WIDE = "ж😀" * 40


def made(message: Message, rule: UnicodeRule = UnicodeRule.AUTO, **keys: Any) -> list[ShortMessage]:
    """Return what goes out, read again."""
    provider = SmppProvider(name="smsc", host="h", system_id="u", **keys)
    campaign = Campaign(name="Ventas->", channel=Channel.SMS, provider="smsc", unicode=rule, region="UY")
    return [ShortMessage.read(submission.body) for submission in submissions(message, provider, campaign)]


def addressed(source: str | None, destination: str, **keys: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    (sent,) = made(an_sms(source=source, destination=destination), number_format=NumberFormat.AS_IS, **keys)
    return (sent.source, sent.source_ton, sent.source_npi), (sent.destination, sent.dest_ton, sent.dest_npi)


@pytest.mark.parametrize(
    ("text", "looks"),
    [
        ("+59899123456", (b"59899123456", 1, 1)),
        ("59899123456", (b"59899123456", 1, 1)),
        ("099123456", (b"099123456", 2, 1)),
        ("1234", (b"1234", 3, 0)),
        ("Ventas SA", (b"Ventas SA", 5, 0)),
    ],
)
def test_looks(text: str, looks: tuple[Any, ...]) -> None:
    """A name, a number with its country, one as dialled at home and a short code are told apart by their look."""
    assert addressed(text, text) == (looks, looks)


@pytest.mark.parametrize(
    ("style", "goes"),
    [
        (NumberFormat.PLUS, (b"59899123456", 1, 1)),
        (NumberFormat.E164, (b"59899123456", 1, 1)),
        (NumberFormat.NATIONAL, (b"099123456", 2, 1)),
        (NumberFormat.AS_IS, (b"99123456", 1, 1)),
    ],
)
def test_number_format(style: NumberFormat, goes: tuple[Any, ...]) -> None:
    """The number goes as the provider wants it, but for the +, which is said by its type."""
    message = an_sms(destination="99123456", address="59899123456")
    (sent,) = made(message, number_format=style, accept="^[+0-9]+$")
    assert (sent.destination, sent.dest_ton, sent.dest_npi) == goes


def test_types_by_key() -> None:
    """What the keys say goes before the look, each for itself; without a source there is nothing to look at."""
    keys = {"source_ton": 0, "source_npi": 8, "dest_ton": 4}
    assert addressed("Ventas", "+59899123456", **keys) == ((b"Ventas", 0, 8), (b"59899123456", 4, 1))
    assert addressed(None, "+59899123456", dest_npi=0) == ((b"", 0, 0), (b"59899123456", 1, 0))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"source": "Señal"}, "the source 'Señal' has characters beyond ASCII"),
        ({"address": "1999", "destination": "1999"}, "does not accept this number"),
        ({"source": "A" * 21}, "source takes 20 octets, not 21"),
        ({"address": "٠٩٩١٢٣٤٥٦"}, "the destination .* has characters beyond ASCII"),
        ({"address": "5" * 21}, "destination takes 20 octets, not 21"),
        ({"data": ""}, "the text is empty"),
        ({"data": "ж" * 40_000}, "parts"),
        ({"accepted": {2: "7"}, "reference": 7}, "the SMSC has part 2 of a text that now has 1 parts"),
    ],
)
def test_refused(changes: dict[str, Any], reason: str) -> None:
    """What cannot be carried is refused with the reason before anything is sent."""
    with pytest.raises(Refused, match=reason):
        made(an_sms(**changes), accept=r"^\+?[^1]")


def test_single() -> None:
    """A text that fits is sent as it is: GSM-7 unpacked in the default alphabet, or UCS-2."""
    (plain,) = made(an_sms(data="Año @ 5€"))
    (wide,) = made(an_sms(data="ж😀"))
    assert (plain.text, plain.data_coding, plain.esm_class) == (b"A\x7do \x00 5\x1b\x65", 0, 0)
    assert (wide.text, wide.data_coding, wide.esm_class) == ("ж😀".encode("utf-16-be"), 8, 0)


def test_campaigns_rule() -> None:
    """The campaign's unicode rule holds."""
    (sent,) = made(an_sms(data="“hola”"), UnicodeRule.TRANSLITERATE)
    assert (sent.text, sent.data_coding) == (b'"hola"', 0)
    with pytest.raises(Refused, match="GSM-7 cannot spell"):
        made(an_sms(data="ж"), UnicodeRule.GSM7)


@pytest.mark.parametrize("alphabet", [Alphabet.LATIN_1, Alphabet.ASCII])
def test_alphabets(alphabet: Alphabet) -> None:
    """An SMSC whose default alphabet is not GSM's gets its own; what that lacks goes in UCS-2, or is refused."""
    (plain,) = made(an_sms(data="@{hola}_$"), alphabet=alphabet)
    assert (plain.text, plain.data_coding) == (b"@{hola}_$", 0)
    first, second = made(an_sms(data="[@]" * 60), alphabet=alphabet)  # cut as GSM 03.38, where [ and ] count twice
    assert (first.text[6:], second.text[6:]) == (b"[@]" * 30 + b"[@", b"]" + b"[@]" * 29)
    (accented,) = made(an_sms(data="Año"), alphabet=alphabet)
    is_latin = alphabet is Alphabet.LATIN_1
    assert (accented.text, accented.data_coding) == ((b"A\xf1o", 0) if is_latin else ("Año".encode("utf-16-be"), 8))
    most = "ñ€" * 201  # 603 septets, and 6 parts of 67 letters
    assert 6 == len(made(an_sms(data=most, parts=4), alphabet=alphabet))
    with pytest.raises(Refused, match=f"needs 7 SMS parts, .* alphabet {alphabet} lacks .* campaign Ventas-> allows 6"):
        made(an_sms(data=most + "ñ", parts=4), alphabet=alphabet)
    wide = made(an_sms(data="€" * 71), alphabet=alphabet)
    assert (len(wide), {part.data_coding for part in wide}) == (2, {8})
    with pytest.raises(Refused, match="alphabet .* cannot spell '€'"):
        made(an_sms(data="5 €"), UnicodeRule.GSM7, alphabet=alphabet)


def test_udh() -> None:
    """Parts carry a header with an 8-bit reference, and say so in esm_class."""
    first, second = made(an_sms(data=LONG, seq=0x1234), long=LongSms.UDH)
    assert (first.esm_class, second.esm_class) == (0x40, 0x40)
    assert (first.text[:6], second.text[:6]) == (b"\5\0\3\x34\2\1", b"\5\0\3\x34\2\2")
    assert (len(first.text), first.tlvs) == (6 + 153 - 1, {})  # an escape and its letter stay together


def test_sar() -> None:
    """Parts carry fields with a 16-bit reference, and no header."""
    first, second = made(an_sms(data=LONG, seq=0x1234), long=LongSms.SAR)
    assert (first.esm_class, first.tlvs) == (0, {0x020C: b"\x12\x34", 0x020E: b"\2", 0x020F: b"\1"})
    assert second.tlvs == {0x020C: b"\x12\x34", 0x020E: b"\2", 0x020F: b"\2"}


def test_payload() -> None:
    """A long text goes whole, a short one in its usual place."""
    (whole,) = made(an_sms(data=WIDE), long=LongSms.PAYLOAD)
    (short,) = made(an_sms(data="Hola"), long=LongSms.PAYLOAD)
    assert (whole.text, whole.tlvs, whole.data_coding) == (b"", {0x0424: WIDE.encode("utf-16-be")}, 8)
    assert (short.text, short.tlvs) == (b"Hola", {})


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=161, max_size=400),
       st.sampled_from([LongSms.UDH, LongSms.SAR]))  # fmt: skip
def test_parts_join(text: str, long: LongSms) -> None:
    """Read by the rules for what people write to us, the parts give the text back; no part is too long for anybody."""
    sent = made(an_sms(data=text), long=long)
    found = [read_delivery(part, SMSC, now=NOW) for part in sent]

    assert all(isinstance(part, Inbound) for part in found)
    assert [(part.part, part.parts) for part in found] == [(n, len(sent)) for n in range(1, len(sent) + 1)]  # type: ignore[union-attr]
    # A letter beyond U+FFFF may be cut, where the text is nothing else: its halves join as octets.
    joined = b"".join(part.text[6:] if long is LongSms.UDH else part.text for part in sent)
    whole = sent[0]._replace(text=joined, esm_class=0, tlvs={})
    alone = read_delivery(whole, SMSC, now=NOW)
    assert isinstance(alone, Inbound)
    assert alone.message == text
    assert max(len(part.text) for part in sent) <= 159


def test_missing_parts() -> None:
    """At another attempt only the parts that are missing go, under the reference that the others have."""
    message = an_sms(data="a" * 400, seq=5, accepted={1: "x", 3: None}, reference=0x2B2)
    (second,) = made(message)
    assert (second.text[:6], reference_of(message)) == (b"\5\0\3\xb2\3\2", 0x2B2)
    # Parts that lie at the SMSC already are completed as parts, whatever the key says by now.
    assert [part.text[:6] for part in made(message, long=LongSms.PAYLOAD)] == [b"\5\0\3\xb2\3\2"]


def test_reference_is_stable() -> None:
    """Every attempt carries the same reference; two messages in a row do not share one."""
    first, second = (an_sms(data=LONG, seq=seq) for seq in (70_000, 70_001))
    assert made(first) == made(first)
    assert reference_of(first) != reference_of(second)


def test_validity() -> None:
    """A message that expires says when, in UTC; a receipt is asked for by key."""
    at = datetime(2026, 3, 1, 9, 30, 15, tzinfo=timezone(timedelta(hours=-3)))
    (sent,) = made(an_sms(expires_at=at))
    assert (sent.validity_period, sent.registered_delivery) == (b"260301123015000+", 1)
    (sent,) = made(an_sms(), receipts=False)
    assert (sent.validity_period, sent.registered_delivery) == (b"", 0)


def test_others_read_the_parts() -> None:
    """A codec that nobody here wrote reads the parts as we meant them."""
    provider = SmppProvider(name="smsc", host="h", system_id="u", long=LongSms.SAR)
    for part, body in submissions(an_sms(data=LONG, seq=9), provider, None):
        theirs: Any = smpp34.decode(pack(SUBMIT_SM, 1, body))
        assert {tlv.tag: tlv.as_int() for tlv in theirs.tlvs} == {
            smpp34.TLV_SAR_MSG_REF_NUM: 9, smpp34.TLV_SAR_TOTAL_SEGMENTS: 2, smpp34.TLV_SAR_SEGMENT_SEQNUM: part,
        }  # fmt: skip
