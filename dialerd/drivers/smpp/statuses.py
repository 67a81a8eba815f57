"""What the error codes of SMPP 3.4 (command_status, section 5.1.3) mean for a message.

    permanent   the message is what is wrong: Failed
    temporary   the SMSC, now: Deferred, the attempt counts
    too fast    Throttled: costs no attempt, and the pace slows down
    session     the account or the session, not the message: Unreachable, and the session is bound anew

A code that is not in the table, such as those that vendors define (0x400 to 0x4FF), is temporary: it is tried again as
often as the campaign's `retry` says, and then failed.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

from dialerd.model.outcome import Deferred, Failed, Throttled, Unreachable

__all__ = ["INVALID_COMMAND", "INVALID_LENGTH", "OK", "TRY_LATER", "Kind", "kind_of", "outcome_of", "spelt"]

OK = 0x00000000
INVALID_LENGTH = 0x00000002
INVALID_COMMAND = 0x00000003
#: ESME_RX_T_APPN: our answer to what we could not store; the SMSC delivers it again.
TRY_LATER = 0x00000064


class Kind(Enum):
    """Whose fault a code is."""

    PERMANENT = auto()
    TEMPORARY = auto()
    TOO_FAST = auto()
    SESSION = auto()


class _Status(NamedTuple):
    name: str
    meaning: str
    kind: Kind


STATUSES: Mapping[int, _Status] = {
    0x01: _Status("ESME_RINVMSGLEN", "wrong message length", Kind.PERMANENT),
    0x02: _Status("ESME_RINVCMDLEN", "wrong command length", Kind.PERMANENT),
    0x03: _Status("ESME_RINVCMDID", "the SMSC does not take this command here", Kind.SESSION),
    0x04: _Status("ESME_RINVBNDSTS", "wrong bind status for this command", Kind.SESSION),
    0x05: _Status("ESME_RALYBND", "bound already", Kind.SESSION),
    0x06: _Status("ESME_RINVPRTFLG", "wrong priority flag", Kind.PERMANENT),
    0x07: _Status("ESME_RINVREGDLVFLG", "wrong registered_delivery", Kind.PERMANENT),
    0x08: _Status("ESME_RSYSERR", "system error", Kind.TEMPORARY),
    0x0A: _Status("ESME_RINVSRCADR", "wrong source address", Kind.PERMANENT),
    0x0B: _Status("ESME_RINVDSTADR", "wrong destination address", Kind.PERMANENT),
    0x0C: _Status("ESME_RINVMSGID", "wrong message id", Kind.PERMANENT),
    0x0D: _Status("ESME_RBINDFAIL", "bind failed", Kind.SESSION),
    0x0E: _Status("ESME_RINVPASWD", "wrong password", Kind.SESSION),
    0x0F: _Status("ESME_RINVSYSID", "wrong system_id", Kind.SESSION),
    0x11: _Status("ESME_RCANCELFAIL", "cancel failed", Kind.TEMPORARY),
    0x13: _Status("ESME_RREPLACEFAIL", "replace failed", Kind.TEMPORARY),
    0x14: _Status("ESME_RMSGQFUL", "message queue full", Kind.TOO_FAST),
    0x15: _Status("ESME_RINVSERTYP", "wrong service type", Kind.PERMANENT),
    0x33: _Status("ESME_RINVNUMDESTS", "wrong number of destinations", Kind.PERMANENT),
    0x34: _Status("ESME_RINVDLNAME", "wrong distribution list", Kind.PERMANENT),
    0x40: _Status("ESME_RINVDESTFLAG", "wrong destination flag", Kind.PERMANENT),
    0x42: _Status("ESME_RINVSUBREP", "wrong submit with replace", Kind.PERMANENT),
    0x43: _Status("ESME_RINVESMCLASS", "wrong esm_class", Kind.PERMANENT),
    0x44: _Status("ESME_RCNTSUBDL", "cannot submit to the distribution list", Kind.PERMANENT),
    0x45: _Status("ESME_RSUBMITFAIL", "submit failed", Kind.TEMPORARY),
    0x48: _Status("ESME_RINVSRCTON", "wrong source type of number", Kind.PERMANENT),
    0x49: _Status("ESME_RINVSRCNPI", "wrong source numbering plan", Kind.PERMANENT),
    0x50: _Status("ESME_RINVDSTTON", "wrong destination type of number", Kind.PERMANENT),
    0x51: _Status("ESME_RINVDSTNPI", "wrong destination numbering plan", Kind.PERMANENT),
    0x53: _Status("ESME_RINVSYSTYP", "wrong system_type", Kind.SESSION),
    0x54: _Status("ESME_RINVREPFLAG", "wrong replace flag", Kind.PERMANENT),
    0x55: _Status("ESME_RINVNUMMSGS", "wrong number of messages", Kind.PERMANENT),
    0x58: _Status("ESME_RTHROTTLED", "throttled: too many messages a second", Kind.TOO_FAST),
    0x61: _Status("ESME_RINVSCHED", "wrong scheduled time", Kind.PERMANENT),
    0x62: _Status("ESME_RINVEXPIRY", "wrong validity period", Kind.PERMANENT),
    0x63: _Status("ESME_RINVDFTMSGID", "wrong predefined message", Kind.PERMANENT),
    0x64: _Status("ESME_RX_T_APPN", "temporary error of the receiver", Kind.TEMPORARY),
    0x65: _Status("ESME_RX_P_APPN", "permanent error of the receiver", Kind.PERMANENT),
    0x66: _Status("ESME_RX_R_APPN", "rejected by the receiver", Kind.PERMANENT),
    0x67: _Status("ESME_RQUERYFAIL", "query failed", Kind.TEMPORARY),
    0xC0: _Status("ESME_RINVOPTPARSTREAM", "error in the optional part", Kind.PERMANENT),
    0xC1: _Status("ESME_ROPTPARNOTALLWD", "optional parameter not allowed", Kind.PERMANENT),
    0xC2: _Status("ESME_RINVPARLEN", "wrong parameter length", Kind.PERMANENT),
    0xC3: _Status("ESME_RMISSINGOPTPARAM", "optional parameter missing", Kind.PERMANENT),
    0xC4: _Status("ESME_RINVOPTPARAMVAL", "wrong optional parameter", Kind.PERMANENT),
    0xFE: _Status("ESME_RDELIVERYFAILURE", "delivery failed", Kind.TEMPORARY),
    0xFF: _Status("ESME_RUNKNOWNERR", "unknown error", Kind.TEMPORARY),
}


def kind_of(status: int) -> Kind:
    """Return whose fault an error code is."""
    known = STATUSES.get(status)
    return Kind.TEMPORARY if known is None else known.kind


def spelt(status: int) -> str:
    """Return an error code as an operator reads it: its number, its name and what it means."""
    known = STATUSES.get(status)
    return f"0x{status:08X}" if known is None else f"0x{status:08X} {known.name}: {known.meaning}"


def outcome_of(status: int) -> Failed | Deferred | Throttled | Unreachable:
    """Return what follows for a message that was answered with this error code; it was not taken."""
    text = spelt(status)
    match kind_of(status):
        case Kind.PERMANENT:
            return Failed(text)
        case Kind.TOO_FAST:
            return Throttled(text)
        case Kind.SESSION:
            return Unreachable(text)
    return Deferred(text)
