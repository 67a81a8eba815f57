"""What an SMSC delivers to us: receipts, and what people write. Pure; nothing here fails on odd contents.

A receipt is what esm_class calls one (SMPP 3.4, 5.2.12), or what has both optional parameters of one, which only an
SMSC can set: a text that merely looks like a receipt may have been written by anybody. Its optional parameters
(5.3.2.12, 5.3.2.35) go before its text, whose form is a custom (appendix B): the spellings of its keys differ.
"""

import re
from collections.abc import Mapping
from datetime import datetime

from dialerd.drivers.smpp.pdu import (
    MESSAGE_STATE,
    NETWORK_ERROR_CODE,
    RECEIPTED_MESSAGE_ID,
    SAR_MSG_REF_NUM,
    SAR_SEGMENT_SEQNUM,
    SAR_TOTAL_SEGMENTS,
    UDHI,
    ShortMessage,
    read_name,
)
from dialerd.model.receipt import FEWEST_DIGITS, Delivery, Inbound, Receipt, address_of
from dialerd.model.text import Coding, decode, decode_half
from dialerd.settings import Alphabet, SmppProvider

__all__ = ["read_delivery", "text_of"]

#: Bits 5 to 2 of esm_class (5.2.12): a receipt of the SMSC, one of the phone, one of its user, and one on the way.
KIND = 0x3C
RECEIPT = 0x04
ACKNOWLEDGED = 0x08
READ = 0x10
INTERMEDIATE = 0x20

#: message_state (5.2.28), as text has it (appendix B). UNKNOWN says nothing of whether it was delivered.
STATES: Mapping[int, str] = {
    1: "ENROUTE", 2: "DELIVRD", 3: "EXPIRED", 4: "DELETED", 5: "UNDELIV", 6: "ACCEPTD", 7: "UNKNOWN", 8: "REJECTD",
}  # fmt: skip

#: By the first letters of the words, for which there are several spellings: DELIVRD, DELIVERED; UNDELIV, UNDELIVERABLE.
ENDS: tuple[tuple[str, Delivery], ...] = (
    ("DELIV", Delivery.DELIVERED),
    ("READ", Delivery.READ),
    ("SEEN", Delivery.READ),
    ("EXPIR", Delivery.UNDELIVERED),
    ("DELET", Delivery.UNDELIVERED),
    ("UNDEL", Delivery.UNDELIVERED),
    ("REJEC", Delivery.UNDELIVERED),
    ("FAIL", Delivery.UNDELIVERED),
    ("BLOCK", Delivery.UNDELIVERED),
)

ID = re.compile(r"\b(?:(?:message|msg)[ _]?)?id\s*[:=]\s*\"?([^\s\",;]+)", re.IGNORECASE)
STATE = re.compile(r"\b(?:message[ _]?)?stat(?:e|us)?\s*[:=]\s*\"?(\w+)", re.IGNORECASE)
ERROR = re.compile(r"\berr(?:or)?(?:[ _]?code)?\s*[:=]\s*\"?(\w+)", re.IGNORECASE)
#: What follows is the beginning of the message itself, which may hold anything.
TEXT = re.compile(r"\btext\s*[:=]", re.IGNORECASE)

#: data_coding (5.2.19) of other alphabets, as Python names them.
ALPHABETS: Mapping[int, str] = {
    0x01: "ascii", 0x03: "latin-1", 0x05: "shift_jis", 0x06: "iso8859_5", 0x07: "iso8859_8", 0x0A: "iso2022_jp",
    0x0D: "euc_jp", 0x0E: "euc_kr",
}  # fmt: skip

#: Elements of a user data header: concatenation with a reference of 8 and of 16 bits (3GPP TS 23.040, 9.2.3.24).
CONCATENATED = {0x00: 1, 0x08: 2}

#: A state and a code of the network are much shorter.
LONGEST_ERROR = 60

#: An international number (5.2.5).
INTERNATIONAL = 1


def read_delivery(message: ShortMessage, provider: SmppProvider, *, now: datetime) -> Receipt | Inbound:
    """Return what a deliver_sm or data_sm of this provider tells us; `now` is when it came."""
    kind = message.esm_class & KIND
    marked = RECEIPTED_MESSAGE_ID in message.tlvs and MESSAGE_STATE in message.tlvs
    if marked or kind in {RECEIPT, ACKNOWLEDGED, READ, INTERMEDIATE}:
        return _receipt(message, kind, provider.name)
    return _inbound(message, provider, now)


def _receipt(message: ShortMessage, kind: int, provider: str) -> Receipt:
    _, content = _split(message)
    # ASCII, whatever data_coding says of 7-bit alphabets: in GSM-7 the _ of an id would be a §.
    is_wide = message.data_coding not in ALPHABETS and _class_of(message.data_coding) is Coding.UCS2
    text = TEXT.split(decode(content, Coding.UCS2) if is_wide else content.decode("latin-1"), 1)[0]
    word = STATES.get(int.from_bytes(message.tlvs.get(MESSAGE_STATE, b"")[:1], "big"))
    if word is None:
        found = STATE.search(text)
        word = found[1].upper() if found else {ACKNOWLEDGED: "DELIVRD", READ: "READ"}.get(kind, "")
    provider_id = read_name(message.tlvs.get(RECEIPTED_MESSAGE_ID, b""))
    if not provider_id:
        found = ID.search(text)
        provider_id = read_name(found[1].encode("latin-1", "replace")) if found else ""
    delivery = next((delivery for begin, delivery in ENDS if word.startswith(begin)), None)
    if kind == INTERMEDIATE and delivery is not Delivery.DELIVERED:
        # "Not yet": what became of it in the end is told by another one.
        delivery = None
    return Receipt(
        provider=provider,
        provider_id=provider_id or None,
        delivery=delivery,
        address=_recipient(message) or None,
        # A text's "done date" names no time zone, and SMSCs use several: when it came is nearer to the truth.
        at=None,
        error=_error(message, text, word) if delivery is Delivery.UNDELIVERED else None,
    )


def _error(message: ShortMessage, text: str, word: str) -> str:
    """Return why it was not delivered: the state, and the network's own code where there is one (5.3.2.31)."""
    network = message.tlvs.get(NETWORK_ERROR_CODE, b"")
    found = ERROR.search(text)
    if len(network) == 3 and any(network[1:]):
        code = str(int.from_bytes(network[1:], "big"))
    else:
        code = found[1] if found and found[1].strip("0") else ""
    return (f"{word} err:{code}" if code else word)[:LONGEST_ERROR]


def _inbound(message: ShortMessage, provider: SmppProvider, now: datetime) -> Inbound:
    header, content = _split(message)
    reference, parts, part = _concatenation(header) or _segment(message.tlvs) or (None, 1, 1)
    return Inbound(
        provider=provider.name,
        phone=_number(message.source, message.source_ton),
        to=read_name(message.destination) or None,
        message=_text(content, message.data_coding, provider.alphabet, is_part=parts > 1),
        received=now,
        provider_id=read_name(message.tlvs.get(RECEIPTED_MESSAGE_ID, b"")) or None,
        reference=reference,
        part=part,
        parts=parts,
    )


def _split(message: ShortMessage) -> tuple[bytes, bytes]:
    """Return the user data header without its length, and what follows it; a header that cannot be is content."""
    content = message.payload
    if message.esm_class & UDHI and content and content[0] < len(content):
        return content[1 : 1 + content[0]], content[1 + content[0] :]
    return b"", content


def _concatenation(header: bytes) -> tuple[int, int, int] | None:
    """Return reference, number of parts and this part's number, if the header tells (TS 23.040, 9.2.3.24.1 and 8)."""
    at = 0
    while at + 2 <= len(header):
        element, length = header[at], header[at + 1]
        value = header[at + 2 : at + 2 + length]
        size = CONCATENATED.get(element)
        if size is not None and len(value) == size + 2:
            return _if_possible(int.from_bytes(value[:size], "big"), value[size], value[size + 1])
        at += 2 + length
    return None


def _segment(tlvs: Mapping[int, bytes]) -> tuple[int, int, int] | None:
    """Return the same, if the sar_ parameters tell (5.3.2.22 to 24)."""
    values = [tlvs.get(tag, b"") for tag in (SAR_MSG_REF_NUM, SAR_TOTAL_SEGMENTS, SAR_SEGMENT_SEQNUM)]
    if not all(values):
        return None
    reference, parts, part = (int.from_bytes(value, "big") for value in values)
    return _if_possible(reference, parts, part)


def _if_possible(reference: int, parts: int, part: int) -> tuple[int, int, int] | None:
    # One part of one is no concatenation; part 3 of 2 is to be ignored (TS 23.040, 9.2.3.24.1).
    return (reference, parts, part) if 2 <= parts <= 255 and 1 <= part <= parts else None


def _text(content: bytes, data_coding: int, default: Alphabet, *, is_part: bool) -> str:
    """Return the characters, as well as can be: no octets make it fail. NULs, which no database takes, are left out."""
    if data_coding == 0 and default is not Alphabet.GSM7:
        # What is called ASCII and has other octets has them from somewhere.
        data_coding = 0x03 if default is Alphabet.LATIN_1 else 0x01
    return _characters(content, data_coding, is_part=is_part).replace("\0", "")


def _characters(content: bytes, data_coding: int, *, is_part: bool = False) -> str:
    alphabet = ALPHABETS.get(data_coding)
    if alphabet is not None:
        return content.decode(alphabet, "replace") if alphabet != "ascii" else _eight_bit(content)
    match _class_of(data_coding):
        case Coding.UCS2:
            return decode_half(content) if is_part else decode(content, Coding.UCS2)
        case Coding.GSM7 if max(content, default=0) < 0x80:
            return decode(content, Coding.GSM7)
    return _eight_bit(content)


def _class_of(data_coding: int) -> Coding | None:
    """Return the coding by SMPP's own values and by those of 3GPP TS 23.038, section 4; None for 8-bit data."""
    group = data_coding >> 4
    if data_coding == 0x08 or group == 0xE:
        return Coding.UCS2
    if group == 0xF:
        return None if data_coding & 0x04 else Coding.GSM7
    if 1 <= group <= 7:
        return {0x00: Coding.GSM7, 0x08: Coding.UCS2}.get(data_coding & 0x0C)
    return None if data_coding in {0x02, 0x04, 0x09} else Coding.GSM7


def _eight_bit(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _recipient(message: ShortMessage) -> str:
    """Return whom the message went to that a receipt is about: who the receipt comes from.

    Some SMSCs leave both addresses as they were when it went out. A name or a short code, such as we send from, has
    no phone: it is the other one then.
    """
    source = address_of(read_name(message.source)) or ""
    destination = address_of(read_name(message.destination)) or ""
    if len(source) < FEWEST_DIGITS <= len(destination):
        return _number(message.destination, message.dest_ton)
    return _number(message.source, message.source_ton)


def _number(address: bytes, ton: int) -> str:
    """Return an address; a number that is called international says so by its +."""
    number = read_name(address)
    return f"+{number}" if ton == INTERNATIONAL and number.isdecimal() else number


def text_of(content: bytes, data_coding: int) -> str:
    """Return the text of octets in a coding that SMPP has a number for; the default alphabet (0) is GSM 03.38."""
    return _characters(content, data_coding).replace("\0", "")
