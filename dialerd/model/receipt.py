"""What providers tell us by themselves: what became of a message they took, and what people write to us."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

__all__ = [
    "FEWEST_DIGITS",
    "Delivery",
    "Inbound",
    "Receipt",
    "ReceiptIds",
    "address_of",
    "answers_for",
    "is_short",
    "named",
    "outranks",
    "receipts_for",
    "same_address",
]

#: Message ids are numbers of at most 64 bits where they are numbers at all: what is longer is only ever itself.
_is_decimal = re.compile(r"[0-9]{1,20}").fullmatch
_is_hex = re.compile(r"[0-9a-fA-F]{1,16}").fullmatch
_SEPARATORS = str.maketrans("", "", " \t\u00a0+-./()")

#: Numbers of so many digits a counter may give twice within the days in which receipts come (modems count to 255,
#: others to 65535); where several readings are tried, longer ones may be two numbers of the same days.
SHORT_ID, SHORT_ID_BY_ANY_READING = 5, 9
#: Fewer digits than these name no subscriber on their own.
FEWEST_DIGITS = 7


class Delivery(StrEnum):
    """What a receipt says in the end; `delivery` of sms_repo."""

    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    READ = "read"


class ReceiptIds(StrEnum):
    """How an SMSC spells the id of a message: first in its answer, then in the receipt."""

    AUTO = "auto"
    SAME = "same"
    HEX_DEC = "hex-dec"
    DEC_HEX = "dec-hex"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One receipt for one SMS (part) or e-mail.

    `provider_id` is the provider's own name for it, spelt as in the receipt; `own_id` is our message's id, where the
    provider echoes it. `delivery` is None while it is still on its way (ENROUTE, ACCEPTED). `address` is the recipient
    as the provider spells it. `at` is when it happened, in aware UTC, if the provider says so.
    """

    provider: str
    provider_id: str | None = None
    own_id: str | None = None
    delivery: Delivery | None
    address: str | None = None
    at: datetime | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """An SMS that somebody sent to us, or one part of it: `part` of `parts` (from 1), all with one `reference`.

    `phone` is the sender and `to` the number it was sent to, as the provider spells them. `provider_id` is the
    provider's own name for it, by which a repetition is known.
    """

    provider: str
    phone: str
    message: str
    received: datetime
    to: str | None = None
    provider_id: str | None = None
    reference: int | None = None
    part: int = 1
    parts: int = 1


#: What is known for better outranks what is known for worse. Undelivered can become delivered: SMSCs and aggregators
#: that gave up waiting say so, and the handset's own confirmation may still come behind it; no network ever takes a
#: confirmation back. So the result does not depend on the order in which receipts come.
_RANK = {None: 0, Delivery.UNDELIVERED: 1, Delivery.DELIVERED: 2, Delivery.READ: 3}


def outranks(new: Delivery | None, old: Delivery | None) -> bool:
    """Tell whether a receipt's word takes the place of an earlier one: read over delivered over undelivered."""
    return _RANK[new] > _RANK[old]


def named(provider_id: str) -> str:
    """Return an id without what its spellings differ in: case, and zeros in front."""
    return provider_id.lower().lstrip("0")


def is_short(provider_id: str, reading: ReceiptIds) -> bool:
    """Tell whether an id may well be that of a counter, so that another message may have it too."""
    key = named(provider_id)
    longest = SHORT_ID_BY_ANY_READING if reading is ReceiptIds.AUTO else SHORT_ID
    return len(key) <= longest and (not key or _is_hex(key) is not None)


def answers_for(receipt_id: str, reading: ReceiptIds) -> frozenset[str]:
    """Return what the provider may have answered to the submission of the message that a receipt calls so, as `named`.

    SMPP 3.4 leaves the format of message_id to the vendor (section 5.2.23); many give it in hexadecimal in the answer
    and in decimal in the receipt, or the other way round (Kannel's manual, `msg-id-type`).
    """
    return _spellings(receipt_id, reading, to_hex=ReceiptIds.HEX_DEC, to_decimal=ReceiptIds.DEC_HEX)


def receipts_for(answered_id: str) -> frozenset[str]:
    """Return what a receipt may call the message to which the provider answered so, by any reading, as `named`."""
    return _spellings(answered_id, ReceiptIds.AUTO, to_hex=ReceiptIds.DEC_HEX, to_decimal=ReceiptIds.HEX_DEC)


def _spellings(given: str, reading: ReceiptIds, *, to_hex: ReceiptIds, to_decimal: ReceiptIds) -> frozenset[str]:
    found = set()
    if reading in {to_hex, ReceiptIds.AUTO} and _is_decimal(given):
        found.add(f"{int(given):x}".lstrip("0"))
    if reading in {to_decimal, ReceiptIds.AUTO} and _is_hex(given):
        found.add(str(int(given, 16)).lstrip("0"))
    if reading in {ReceiptIds.SAME, ReceiptIds.AUTO} or not found:
        found.add(named(given))
    return frozenset(found)


def address_of(given: str | None) -> str | None:
    """Return a provider's spelling of an address as digits, or an e-mail address in lower case; None if it is none."""
    if given is None:
        return None
    if "@" in given:
        return given.strip().lower()
    digits = given.translate(_SEPARATORS)
    return digits if digits.isascii() and digits.isdigit() else None


def same_address(one: str, other: str) -> bool:
    """Tell whether two addresses (see address_of) are one: 099123456 is 59899123456, and so is 0059899123456."""
    if "@" in one or "@" in other:
        return one == other
    one, other = one.lstrip("0"), other.lstrip("0")
    if one == other:
        return True
    return min(len(one), len(other)) >= FEWEST_DIGITS and (one.endswith(other) or other.endswith(one))
