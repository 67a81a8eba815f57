"""What a provider tells us by itself over HTTP, and how it signs that: the tables receipt, inbound and signature."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from dialerd.settings.gateway import Scalars
from dialerd.settings.tables import STRICT, Clash
from dialerd.settings.values import FreeText, Name, Secret, one_of

__all__ = ["InboundFields", "ReceiptFields", "Signature", "SignatureScheme"]

Words = tuple[Scalars, ...]


class SignatureScheme(StrEnum):
    """How a provider signs its callbacks."""

    TWILIO = "twilio"
    VONAGE = "vonage"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Signature:
    """A provider's callbacks count only where they are signed with `secret`, in the provider's own way."""

    scheme: Annotated[SignatureScheme, one_of(SignatureScheme)]
    secret: Secret = Field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ReceiptFields:
    """Where a provider's callback tells what became of a message: names of its fields, or paths into its JSON.

    `each` is the array with the receipts, where one body brings several; the others are looked up in each of them.
    `id` holds the provider's own id, `ours` the one that we gave (`${id}`), where it comes back. `status` holds one of
    the words listed; any other is no end. `error` may say why, `address` to whom it went, `at` when it arrived (ISO
    8601, UTC without an offset). `answer` is what the provider wants to hear.
    """

    each: Name | None = None
    id: Name | None = None
    ours: Name | None = None
    status: Name
    delivered: Words
    undelivered: Words
    read: Words = ()
    error: Name | None = None
    address: Name | None = None
    at: Name | None = None
    answer: FreeText = ""

    @staticmethod
    def clashes(given: Mapping[str, Any]) -> Iterator[Clash]:
        """Yield what the keys have against each other."""
        if not given.keys() & {"id", "ours"}:
            yield "", "expected id or ours: without them no message is found"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class InboundFields:
    """Where a provider's callback has an SMS that somebody sent to us: as in ReceiptFields.

    `phone` is who sent it, `to` the number it was sent to, `id` the provider's name for it, by which a repetition is
    known. The text stands in `message`, of a query in the charset that `charset` names; or its octets in `hex` and
    their data_coding (SMPP 3.4, section 5.2.19) in `coding`. Of one `part` of `parts` the `reference` tells which
    belong together.
    """

    each: Name | None = None
    phone: Name
    message: Name | None = None
    charset: Name | None = None
    hex: Name | None = None
    coding: Name | None = None
    to: Name | None = None
    id: Name | None = None
    reference: Name | None = None
    part: Name | None = None
    parts: Name | None = None
    answer: FreeText = ""

    @staticmethod
    def clashes(given: Mapping[str, Any]) -> Iterator[Clash]:
        """Yield what the keys have against each other."""
        if len(given.keys() & {"message", "hex"}) != 1:
            yield "", "expected message or hex"
        split = given.keys() & {"reference", "part", "parts"}
        if len(split) not in (0, 3):
            yield "", "expected reference, part and parts together"
