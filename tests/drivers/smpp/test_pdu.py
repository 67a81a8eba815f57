"""The codec: what goes out comes back, somebody else reads the same, and nothing that comes in does harm."""

import random
from dataclasses import dataclass
from typing import Any

import pytest
import smpp34
from hypothesis import given
from hypothesis import strategies as st

from dialerd.drivers.smpp.deliveries import read_delivery
from dialerd.drivers.smpp.pdu import (
    DELIVER_SM,
    LARGEST,
    SUBMIT_SM,
    BadPdu,
    Bind,
    Framer,
    Pdu,
    ShortMessage,
    pack,
    read_data_sm,
    read_id,
)
from tests.drivers.smpp.test_deliveries import NOW, SMSC

octet = st.integers(0, 255)


def c_string(most: int, last: int = 255) -> st.SearchStrategy[bytes]:
    """Octets without a NUL."""
    return st.lists(st.integers(1, last), max_size=most).map(bytes)


def messages(last: int = 255) -> st.SearchStrategy[ShortMessage]:
    """Messages whose strings have octets up to this one."""
    return st.builds(
        ShortMessage,
        source=c_string(20, last), destination=c_string(20, last), text=st.binary(max_size=254), source_ton=octet,
        source_npi=octet, dest_ton=octet, dest_npi=octet, esm_class=octet, data_coding=octet,
        registered_delivery=octet, validity_period=c_string(16, last), service_type=c_string(5, last),
        protocol_id=octet, priority_flag=octet, schedule_delivery_time=c_string(16, last), replace_if_present=octet,
        sm_default_msg_id=octet, tlvs=st.dictionaries(st.integers(0, 0xFFFF), st.binary(max_size=300), max_size=5),
    )  # fmt: skip


pdus = st.builds(Pdu, octet, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=60))


@given(messages())
def test_round_trip(message: ShortMessage) -> None:
    """What is packed is read as it was, every field and every optional parameter, unknown ones too."""
    assert ShortMessage.read(message.pack()) == message


@given(st.builds(Bind, *(st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=64) for _ in range(3))))
def test_bind_round_trip(bind: Bind) -> None:
    """An account is read as it was packed."""
    assert Bind.read(bind.pack()) == bind


@given(messages(last=127))
def test_others_read_the_same(message: ShortMessage) -> None:
    """A codec that nobody here wrote reads from our octets what we put in."""
    theirs: Any = smpp34.decode(pack(SUBMIT_SM, 7, message.pack()))

    assert (theirs.command_id, theirs.sequence_number) == (SUBMIT_SM, 7)
    assert (theirs.source_addr.encode(), theirs.destination_addr.encode()) == (message.source, message.destination)
    assert (theirs.source_addr_ton, theirs.source_addr_npi) == (message.source_ton, message.source_npi)
    assert (theirs.dest_addr_ton, theirs.dest_addr_npi) == (message.dest_ton, message.dest_npi)
    assert (theirs.esm_class, theirs.data_coding) == (message.esm_class, message.data_coding)
    assert (theirs.validity_period.encode(), theirs.short_message) == (message.validity_period, message.text)
    assert theirs.registered_delivery == message.registered_delivery
    assert {tlv.tag: tlv.value for tlv in theirs.tlvs} == message.tlvs


@given(st.lists(pdus, max_size=5), st.lists(st.integers(0, 400)))
def test_any_cuts(some: list[Pdu], cuts: list[int]) -> None:
    """However a stream is cut into segments, the same PDUs come out of it."""
    stream = b"".join(pack(pdu.command, pdu.sequence, pdu.body, pdu.status) for pdu in some)
    framer, found = Framer(), []
    ends = sorted({cut for cut in cuts if cut < len(stream)} | {len(stream)})
    for start, end in zip([0, *ends], ends, strict=False):
        found += framer.feed(stream[start:end])

    assert found == some


@given(st.binary(max_size=400))
def test_any_octets(octets: bytes) -> None:
    """Whatever comes in is a PDU, or the beginning of one, or BadPdu; and a body is a message or BadPdu."""
    try:
        list(Framer().feed(octets))
    except BadPdu:
        pass
    for read in (ShortMessage.read, read_data_sm, Bind.read):
        try:
            read(octets)
        except BadPdu:
            pass
    read_id(octets)


def test_damaged_messages() -> None:
    """A good deliver_sm that was damaged (20,000 times: octets changed, cut, doubled) is read or refused, no more."""
    chance = random.Random(34)
    good = ShortMessage(
        b"59899123456", b"1234", b"\x05\x00\x03\x11\x02\x01id:7 sub:001 stat:DELIVRD err:000", esm_class=0x44,
        validity_period=b"261125093000000+", tlvs={0x001E: b"7\0", 0x0427: b"\x02", 0x0423: b"\3\0\1"},
    ).pack()  # fmt: skip
    refused = 0
    for _ in range(20_000):
        octets = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            octets[chance.randrange(len(octets))] = chance.randrange(256)
        if chance.random() < 0.3:
            del octets[chance.randrange(len(octets)) :]
        if chance.random() < 0.1:
            octets += octets[chance.randrange(len(octets) + 1) :]
        try:
            read_delivery(ShortMessage.read(bytes(octets)), SMSC, now=NOW)
        except BadPdu:
            refused += 1

    assert 1000 < refused < 19_000


@pytest.mark.parametrize("length", [0, 15, LARGEST + 1, 0xFFFFFFFF, 0x48545450])
def test_impossible_length(length: int) -> None:
    """An impossible command_length is refused once the header is there; what came before it is not lost."""
    good = pack(DELIVER_SM, 1)
    found = Framer().feed(good + length.to_bytes(4, "big") + bytes(12))

    assert next(found).command == DELIVER_SM
    with pytest.raises(BadPdu, match=f"a PDU of {length} octets"):
        next(found)


@dataclass
class Fault:
    """A message that does not fit, and what is said of it."""

    message: ShortMessage
    said: str


@pytest.mark.parametrize(
    "fault",
    [
        Fault(ShortMessage(b"", b"1", b"x" * 255), "short_message takes 254 octets, not 255"),
        Fault(ShortMessage(b"1" * 21, b"1"), "source takes 20 octets, not 21"),
        Fault(ShortMessage(b"", b"1\0" + b"2"), "destination holds a NUL"),
        Fault(ShortMessage(b"", b"1", tlvs={0x424: bytes(65536)}), "parameter takes 65535 octets, not 65536"),
    ],
)
def test_too_long(fault: Fault) -> None:
    """What does not fit is refused by name, before anything is sent."""
    with pytest.raises(BadPdu, match=fault.said):
        fault.message.pack()


def test_ids() -> None:
    """A message_id is read whatever an SMSC makes of the field."""
    assert read_id(b"7" * 5000) == "7" * 255
    assert [read_id(body) for body in (b"7f\0", b"7f", b"", b"\0", b"\xe97\0rest")] == ["7f", "7f", None, None, "é7"]
