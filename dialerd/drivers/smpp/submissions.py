"""What is sent for a message: its text cut, addressed and spelt as an SMSC wants it. Pure."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from dialerd.drivers.smpp.pdu import (
    MESSAGE_PAYLOAD,
    SAR_MSG_REF_NUM,
    SAR_SEGMENT_SEQNUM,
    SAR_TOTAL_SEGMENTS,
    UDHI,
    BadPdu,
    ShortMessage,
)
from dialerd.examine import number_for
from dialerd.model.campaign import Campaign, UnicodeRule
from dialerd.model.errors import BadText, Refused
from dialerd.model.message import Message
from dialerd.model.text import Coding, decode, encode
from dialerd.settings import Alphabet, LongSms, SmppProvider

__all__ = ["Submission", "reference_of", "submissions"]

#: data_coding (5.2.19): the SMSC's default alphabet, which is GSM 03.38's where it follows the standard, and UCS-2.
DEFAULT_ALPHABET, UCS2 = 0x00, 0x08

#: Type of number and numbering plan (5.2.5, 5.2.6) of names, of numbers with a country code, of those as dialled at
#: home, and of short codes, which only one network knows.
ALPHANUMERIC = 5, 0
INTERNATIONAL = 1, 1
NATIONAL = 2, 1
SHORT_CODE = 3, 0

#: Numbers with fewer digits, or as many, are short codes.
LONGEST_SHORT_CODE = 6


class Submission(NamedTuple):
    """One submit_sm: the body, and the number (from 1) of the part that it carries; a whole message is part 1."""

    part: int
    body: bytes


def submissions(message: Message, provider: SmppProvider, campaign: Campaign | None) -> list[Submission]:
    """Return what is to be sent of a message: all of its parts that the SMSC has not taken at earlier attempts.

    Without a campaign (its file has gone meanwhile) its rules are the defaults. Raises Refused: it cannot be sent as it
    is, and why.
    """
    rule = UnicodeRule.AUTO if campaign is None else campaign.unicode
    parts, data_coding = _encoded(message.data, rule, provider.alphabet)
    is_wider = data_coding == UCS2 and provider.alphabet is not Alphabet.GSM7 and not message.accepted
    if is_wider and campaign is not None and len(parts) > max(campaign.max_parts, message.parts or 1):
        # At intake it was counted as GSM 03.38 has it, before the SMSC's alphabet made it UCS-2.
        raise Refused(
            f"the text needs {len(parts)} SMS parts, since the SMSC's alphabet {provider.alphabet} lacks letters of it;"
            f" campaign {campaign.name} allows {campaign.max_parts}"
        )
    region = None if campaign is None else campaign.region
    number = number_for(provider, message.channel, message.destination, message.address, region)
    if message.accepted and max(message.accepted) > len(parts):
        raise Refused(f"the SMSC has part {max(message.accepted)} of a text that now has {len(parts)} parts")
    try:
        is_single = len(parts) == 1
        base = _addressed(message, number, provider, parts[0] if is_single else b"", data_coding)
        if is_single:
            return [Submission(1, base.pack())]
        if provider.long is LongSms.PAYLOAD and not message.accepted:
            return [Submission(1, base._replace(tlvs={MESSAGE_PAYLOAD: b"".join(parts)}).pack())]
        part_of = _with_fields if provider.long is LongSms.SAR else _with_header
        reference = reference_of(message)
        return [
            Submission(n, part_of(base, part, reference, len(parts), n).pack())
            for n, part in enumerate(parts, 1)
            if n not in message.accepted
        ]
    except BadPdu as error:
        raise Refused(str(error)) from error


@lru_cache(maxsize=64)
def _encoded(text: str, rule: UnicodeRule, alphabet: Alphabet) -> tuple[tuple[bytes, ...], int]:
    """Return the text as its parts, and their data_coding; in bulk many messages have the same one.

    They are cut as GSM 03.38's, since that is what goes over the air. What another alphabet of the SMSC's cannot spell
    goes in UCS-2, but not under the rule gsm7: it may take more parts. Raises BadText.
    """
    encoded = encode(text, rule)
    if encoded.coding is Coding.UCS2:
        return encoded.parts, UCS2
    if alphabet is Alphabet.GSM7:
        return encoded.parts, DEFAULT_ALPHABET
    said = [decode(part, Coding.GSM7) for part in encoded.parts]
    try:
        return tuple(part.encode(alphabet) for part in said), DEFAULT_ALPHABET
    except UnicodeEncodeError as error:
        if rule is UnicodeRule.GSM7:
            letter = error.object[error.start]
            raise BadText(f"the SMSC's alphabet {alphabet} cannot spell {letter!r}", "not GSM-7") from None
    return encode("".join(said), coding=Coding.UCS2).parts, UCS2


def reference_of(message: Message) -> int:
    """Return the reference that all parts carry, at every attempt: of messages in a row no two have the same."""
    return message.seq & 0xFFFF if message.reference is None else message.reference


def _with_header(base: ShortMessage, part: bytes, reference: int, parts: int, number: int) -> ShortMessage:
    """Return a part whose text begins with a header (3GPP TS 23.040, 9.2.3.24.1): 8 bits of reference."""
    header = bytes((5, 0, 3, reference & 0xFF, parts, number))
    return base._replace(esm_class=UDHI, text=header + part)


def _with_fields(base: ShortMessage, part: bytes, reference: int, parts: int, number: int) -> ShortMessage:
    """Return a part for which the SMSC makes the header (5.3.2.22 to 24): 16 bits of reference."""
    fields = {
        SAR_MSG_REF_NUM: (reference & 0xFFFF).to_bytes(2, "big"),
        SAR_TOTAL_SEGMENTS: bytes((parts,)),
        SAR_SEGMENT_SEQNUM: bytes((number,)),
    }
    return base._replace(text=part, tlvs=fields)


def _addressed(message: Message, number: str, provider: SmppProvider, text: bytes, data_coding: int) -> ShortMessage:
    """Return what all parts have in common, with this text."""
    # An SMSC that gives us a number of its own wants none of ours, and no type of one.
    sender = _address(message.source, "source") if message.source else (b"", 0, 0)
    recipient = _address(number, "destination")
    return ShortMessage(
        source=sender[0],
        source_ton=sender[1] if provider.source_ton is None else provider.source_ton,
        source_npi=sender[2] if provider.source_npi is None else provider.source_npi,
        destination=recipient[0],
        dest_ton=recipient[1] if provider.dest_ton is None else provider.dest_ton,
        dest_npi=recipient[2] if provider.dest_npi is None else provider.dest_npi,
        text=text,
        data_coding=data_coding,
        registered_delivery=int(provider.receipts),
        validity_period=b"" if message.expires_at is None else _absolute(message.expires_at),
    )


@lru_cache(maxsize=1024)
def _address(text: str, what: str) -> tuple[bytes, int, int]:
    """Return an address as it goes over the wire, where a number has no +, and what it looks to be."""
    if not text.isascii() or not text.isprintable():
        raise BadPdu(f"the {what} {text!r} has characters beyond ASCII, which SMPP cannot carry")
    digits = text.removeprefix("+")
    if not digits.isdecimal():
        return text.encode(), *ALPHANUMERIC
    if text.startswith("+"):
        return digits.encode(), *INTERNATIONAL
    if len(digits) <= LONGEST_SHORT_CODE:
        return text.encode(), *SHORT_CODE
    return text.encode(), *(NATIONAL if text.startswith("0") else INTERNATIONAL)


def _absolute(at: datetime) -> bytes:
    """Return a time as SMPP spells it (7.1.1), in UTC: YYMMDDhhmmss, tenths of a second, quarter hours off UTC, +."""
    return at.astimezone(UTC).strftime("%y%m%d%H%M%S000+").encode()
