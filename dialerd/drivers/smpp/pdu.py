"""The PDUs of SMPP 3.4: octets to values and back. Pure; knows nothing of connections.

Sections named here are of "Short Message Peer to Peer Protocol Specification v3.4", issue 1.2. Numbers are written
with the most significant octet first (3.1); a PDU is a header of four of them and a body (3.2).
"""

from collections.abc import Iterator, Mapping
from struct import Struct
from typing import NamedTuple, Self

__all__ = [
    "ALERT_NOTIFICATION",
    "BIND_RECEIVER",
    "BIND_TRANSCEIVER",
    "BIND_TRANSMITTER",
    "DATA_SM",
    "DELIVER_SM",
    "ENQUIRE_LINK",
    "GENERIC_NACK",
    "LARGEST",
    "MESSAGE_PAYLOAD",
    "MESSAGE_STATE",
    "NETWORK_ERROR_CODE",
    "OUTBIND",
    "RECEIPTED_MESSAGE_ID",
    "RESPONSE",
    "SAR_MSG_REF_NUM",
    "SAR_SEGMENT_SEQNUM",
    "SAR_TOTAL_SEGMENTS",
    "SUBMIT_SM",
    "UDHI",
    "UNBIND",
    "BadPdu",
    "Bind",
    "Framer",
    "Pdu",
    "ShortMessage",
    "pack",
    "read_data_sm",
    "read_id",
    "read_name",
]

# Commands (5.1.2.1); a response is its request with the highest bit set.
BIND_RECEIVER = 0x00000001
BIND_TRANSMITTER = 0x00000002
SUBMIT_SM = 0x00000004
DELIVER_SM = 0x00000005
UNBIND = 0x00000006
BIND_TRANSCEIVER = 0x00000009
OUTBIND = 0x0000000B
ENQUIRE_LINK = 0x00000015
ALERT_NOTIFICATION = 0x00000102
DATA_SM = 0x00000103
RESPONSE = 0x80000000
GENERIC_NACK = 0x80000000

# Optional parameters (5.3.2).
RECEIPTED_MESSAGE_ID = 0x001E
SAR_MSG_REF_NUM = 0x020C
SAR_TOTAL_SEGMENTS = 0x020E
SAR_SEGMENT_SEQNUM = 0x020F
NETWORK_ERROR_CODE = 0x0423
MESSAGE_PAYLOAD = 0x0424
MESSAGE_STATE = 0x0427

#: The bit of esm_class that says: the text begins with a user data header (5.2.12).
UDHI = 0x40

#: The largest PDU that is taken: a message_payload has up to 64 KiB, and some fields go with it.
LARGEST = 0x10000 + 4096

#: An id has up to 64 octets and an address 20 (5.2.23, 5.2.8); what an SMSC makes longer is cut here.
LONGEST_NAME = 255

#: The most octets that short_message can have (5.2.21).
LARGEST_TEXT = 254

#: The most octets of each field that ends with a NUL, without it (4.4.1). Those of a bind have less room in 4.1.1 (15,
#: 8 and 12), but many SMSCs give out longer passwords: whether they take them, they say themselves.
ROOM = {
    "system_id": 64,
    "password": 64,
    "system_type": 64,
    "service_type": 5,
    "source": 20,
    "destination": 20,
    "schedule_delivery_time": 16,
    "validity_period": 16,
}

_HEADER = Struct(">IIII")
_TLV = Struct(">HH")


class BadPdu(ValueError):
    """What came is no PDU of SMPP 3.4, or what was to be sent does not fit into one; the text says why."""


class Pdu(NamedTuple):
    """One PDU: the header's fields, and the body as it came."""

    command: int
    status: int
    sequence: int
    body: bytes


class Bind(NamedTuple):
    """The body of the three bind requests (4.1.1); interface_version is 3.4, the address range is left empty."""

    system_id: str
    password: str
    system_type: str = ""

    def pack(self) -> bytes:
        """Return the octets. Raises BadPdu when a field is too long or not ASCII."""
        fields = (_text(name, value) for name, value in self._asdict().items())
        return b"".join((*fields, b"\x34\0\0\0"))

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Return the account that a bind request names. Raises BadPdu."""
        system_id, at = _c_string(body, 0)
        password, at = _c_string(body, at)
        system_type, at = _c_string(body, at)
        return cls(_ascii(system_id), _ascii(password), _ascii(system_type))


class ShortMessage(NamedTuple):
    """The body of submit_sm (4.4.1) and deliver_sm (4.6.1), which are alike; data_sm lacks some of it (4.7.1).

    `text` is short_message as octets. `tlvs` has the optional parameters, of one that comes twice the last.
    """

    source: bytes
    destination: bytes
    text: bytes = b""
    source_ton: int = 0
    source_npi: int = 0
    dest_ton: int = 0
    dest_npi: int = 0
    esm_class: int = 0
    data_coding: int = 0
    registered_delivery: int = 0
    validity_period: bytes = b""
    service_type: bytes = b""
    protocol_id: int = 0
    priority_flag: int = 0
    schedule_delivery_time: bytes = b""
    replace_if_present: int = 0
    sm_default_msg_id: int = 0
    tlvs: Mapping[int, bytes] = {}

    def pack(self) -> bytes:
        """Return the octets. Raises BadPdu when a field is too long or holds a NUL."""
        (
            source, destination, text, source_ton, source_npi, dest_ton, dest_npi, esm_class, data_coding,
            registered_delivery, validity_period, service_type, protocol_id, priority_flag, schedule_delivery_time,
            replace_if_present, sm_default_msg_id, tlvs,
        ) = self  # fmt: skip
        if len(text) > LARGEST_TEXT:
            raise BadPdu(f"short_message takes {LARGEST_TEXT} octets, not {len(text)}")
        return b"".join(
            (
                _field("service_type", service_type),
                bytes((source_ton, source_npi)),
                _field("source", source),
                bytes((dest_ton, dest_npi)),
                _field("destination", destination),
                bytes((esm_class, protocol_id, priority_flag)),
                _field("schedule_delivery_time", schedule_delivery_time),
                _field("validity_period", validity_period),
                bytes((registered_delivery, replace_if_present, data_coding, sm_default_msg_id, len(text))),
                text,
                _pack_tlvs(tlvs) if tlvs else b"",
            )
        )

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Return what the body of a submit_sm or deliver_sm says. Raises BadPdu."""
        service_type, at = _c_string(body, 0)
        source_ton, source_npi = _octets(body, at, 2)
        source, at = _c_string(body, at + 2)
        dest_ton, dest_npi = _octets(body, at, 2)
        destination, at = _c_string(body, at + 2)
        esm_class, protocol_id, priority_flag = _octets(body, at, 3)
        schedule_delivery_time, at = _c_string(body, at + 3)
        validity_period, at = _c_string(body, at)
        registered_delivery, replace_if_present, data_coding, sm_default_msg_id, length = _octets(body, at, 5)
        at += 5
        return cls(
            source, destination, _octets(body, at, length), source_ton, source_npi, dest_ton, dest_npi, esm_class,
            data_coding, registered_delivery, validity_period, service_type, protocol_id, priority_flag,
            schedule_delivery_time, replace_if_present, sm_default_msg_id, _read_tlvs(body, at + length),
        )  # fmt: skip

    @property
    def payload(self) -> bytes:
        """The text, wherever it stands: in message_payload, if short_message is empty (5.3.2.32)."""
        return self.text or self.tlvs.get(MESSAGE_PAYLOAD, b"")


def read_data_sm(body: bytes) -> ShortMessage:
    """Return what the body of a data_sm says (4.7.1). Raises BadPdu."""
    service_type, at = _c_string(body, 0)
    source_ton, source_npi = _octets(body, at, 2)
    source, at = _c_string(body, at + 2)
    dest_ton, dest_npi = _octets(body, at, 2)
    destination, at = _c_string(body, at + 2)
    esm_class, registered_delivery, data_coding = _octets(body, at, 3)
    return ShortMessage(
        source=source, destination=destination, source_ton=source_ton, source_npi=source_npi, dest_ton=dest_ton,
        dest_npi=dest_npi, esm_class=esm_class, data_coding=data_coding, registered_delivery=registered_delivery,
        service_type=service_type, tlvs=_read_tlvs(body, at + 3),
    )  # fmt: skip


def read_id(body: bytes) -> str | None:
    """Return the message_id of a submit_sm_resp (4.4.2), None if there is none; whatever it is, it never raises.

    Some SMSCs leave the NUL away, or the whole body. What is no ASCII is read as Latin-1, so that it stays itself.
    """
    return read_name(body) or None


def read_name(octets: bytes) -> str:
    """Return an address or an id from its octets: up to a NUL, cut at a length that every database can index."""
    return octets.split(b"\0", 1)[0][:LONGEST_NAME].decode("latin-1").strip()


def pack(command: int, sequence: int, body: bytes = b"", status: int = 0) -> bytes:
    """Return a whole PDU (3.2)."""
    return _HEADER.pack(16 + len(body), command, status, sequence) + body


class Framer:
    """Cuts a stream into PDUs by their command_length, however the octets come in."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Pdu]:
        """Yield the PDUs that are whole with these octets; to be exhausted before the next call.

        Raises:
            BadPdu: the next one has an impossible length; where the one after it begins nobody knows.
        """
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        while end - at >= 16:
            length, command, status, sequence = _HEADER.unpack_from(data, at)
            if not 16 <= length <= LARGEST:
                self._rest = b""
                raise BadPdu(f"a PDU of {length} octets")
            if end - at < length:
                break
            yield Pdu(command, status, sequence, data[at + 16 : at + length])
            at += length
        self._rest = data[at:]


def _c_string(body: bytes, at: int) -> tuple[bytes, int]:
    """Return the octets up to the next NUL, and where it goes on after it."""
    end = body.find(b"\0", at)
    if end < 0:
        raise BadPdu(f"a field that begins at octet {at} of the body has no end")
    return body[at:end], end + 1


def _octets(body: bytes, at: int, number: int) -> bytes:
    found = body[at : at + number]
    if len(found) < number:
        raise BadPdu(f"the body ends after {len(body)} octets, within a field of {number}")
    return found


def _field(name: str, value: bytes) -> bytes:
    if not value:
        return b"\0"
    if len(value) > ROOM[name]:
        raise BadPdu(f"{name} takes {ROOM[name]} octets, not {len(value)}")
    if b"\0" in value:
        raise BadPdu(f"{name} holds a NUL")
    return value + b"\0"


def _text(name: str, value: str) -> bytes:
    if not value.isascii():
        raise BadPdu(f"{name} takes ASCII only")
    return _field(name, value.encode())


def _ascii(octets: bytes) -> str:
    return octets.decode("ascii", "replace")


def _pack_tlvs(tlvs: Mapping[int, bytes]) -> bytes:
    """Return optional parameters: tag, length and value each (5.3.1)."""
    too_long = next((value for value in tlvs.values() if len(value) > 0xFFFF), None)
    if too_long is not None:
        raise BadPdu(f"an optional parameter takes 65535 octets, not {len(too_long)}")
    return b"".join(_TLV.pack(tag, len(value)) + value for tag, value in tlvs.items())


def _read_tlvs(body: bytes, at: int) -> Mapping[int, bytes]:
    """Return all optional parameters by their tags, those that nobody here knows too (3.3: they are to be ignored)."""
    found = {}
    while at < len(body):
        tag, length = _TLV.unpack(_octets(body, at, 4))
        found[tag] = _octets(body, at + 4, length)
        at += 4 + length
    return found
