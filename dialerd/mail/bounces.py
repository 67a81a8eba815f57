"""Reads what mail servers write back of our mails: delivery status notifications (RFC 3464) first, then odd ones.

Only this file knows flufl.bounce, which knows the odd ones. Which message a bounce is of stands in the address that it
came to (VERP, see composer.py), or in the headers that it brings back. An id of ours cannot be guessed, so nobody can
speak of a mail that was not sent to him.
"""

import email
import re
from collections.abc import Iterator
from email.message import Message as Part

from flufl.bounce import all_failures

from dialerd.mail.headers import one_line
from dialerd.model.bounce import Bounce, BounceKind

__all__ = ["read_bounce"]

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
VERP = re.compile(rf"\+({UUID})@", re.IGNORECASE)
MESSAGE_ID = re.compile(rf"<({UUID})@", re.IGNORECASE)
#: Some quote the headers in their text.
QUOTED_ID = re.compile(rf"^[> \t]{{0,100}}message-id:[ \t]*<({UUID})@".encode(), re.IGNORECASE | re.MULTILINE)

#: Where mail servers note to whom they deliver a mail.
DELIVERED_TO = ("Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "To")

#: No piece of an IP address.
STATUS = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?!\.?\d)")
#: The reply code in the words of the server that refused.
REPLY = re.compile(r"(?:^|[\s;:])([245])\d\d[\s-]")

#: The same in free text, where numbers may be anything: behind a reply code, or as qmail has it, (#5.1.1).
STATED = re.compile(rf"(?:\b[245]\d\d[\s-]#?|#)({STATUS.pattern})")
SAID = re.compile(r"^.{0,500}(?:\b[45]\d\d[\s-]|#[45]\.\d).{0,500}$", re.MULTILINE)
#: Where the text of a bounce ends and the mail that it brings back begins.
BROUGHT_BACK = re.compile(r"^(?:-{3,}|(?:return-path|received):)", re.IGNORECASE | re.MULTILINE)

#: Failures that are not the address's (RFC 3463): our own address's, a full mailbox's, a server's or a network's. All
#: of X.3 (mail system), X.6 (content) and X.7 (policy) are so. Exchange says X.4.1 of nobody, Hotmail X.5.0.
NOT_THE_ADDRESS = {
    "1": {"7", "8"},
    "2": {"2", "3"},
    "4": {"2", "3", "5", "6", "7", "14", "300", "316"},
    "5": {"1", "2", "3", "4", "5", "6"},
}
#: What servers say where the status tells nothing: that there is nobody, or, if not that, that it is something else.
NOBODY = re.compile(
    r"(?<!ip )(?<!sender )(?:user|recipient|mailbox|address|account)[\w\s<>@.,:'\"-]{0,80}?"
    r"(?:unknown|n(?:ot|[o']t) (?:found|exist|known|have)|no longer|invalid|disabled|unavailable|inactive)"
    r"|(?:unknown|no such|invalid|unroute?able|undeliverable) (?:local )?(?:user|recipient|mailbox|address|account)"
    r"|no (?:mailbox|user|account) (?:here|by that)",
    re.IGNORECASE,
)
ELSE = re.compile(
    r"\b(?:spam\w*|junk|virus|malware|phishing|(?:black|block)(?:ed|ing|[ -]?list\w*)|(?:dns|r)bl|reputation|polic\w+"
    r"|denied|not (?:authori[sz]ed|permitted|allowed)|relay\w*|spf|dkim|dmarc|content|quota|storage|full|size"
    r"|too (?:large|big|many|long)|exceed\w*|time[d-]? ?out|expired|loop\w*|hops?|rate|limit\w*|gr[ea]ylist\w*"
    r"|temporar\w+|try again)\b",
    re.IGNORECASE,
)

#: The deepest that parts of a bounce are looked at within one another.
DEEPEST = 5
LONGEST_TEXT = 500
#: What a bounce has to say for itself, it says in so many bytes.
MOST_READ = 20_000


def read_bounce(content: bytes, recipient: str | None = None) -> Bounce | None:
    """Return what a mail says that came to a return path of ours; None where it is no bounce of a mail of ours.

    `recipient` is the address that it came to, if the mail server tells.
    """
    mail = email.message_from_bytes(content)
    message_id = _message_id(mail, content, recipient)
    found = (_notified(mail) or _recognized(mail)) if message_id is not None else None
    if message_id is None or found is None:
        return None
    kind, status, text = found
    return Bounce(message_id=message_id, kind=kind, status=status, text=one_line(text)[:LONGEST_TEXT])


def _message_id(mail: Part, content: bytes, recipient: str | None) -> str | None:
    told = [recipient or "", *(str(value) for name in DELIVERED_TO for value in mail.get_all(name, []))]
    for address in told:
        if found := VERP.search(address):
            return found[1].lower()
    for part in _parts(mail):
        if part.get_content_type() in {"message/rfc822", "text/rfc822-headers", "message/global"}:
            for name in _headers(part).get_all("Message-ID", []):
                if found := MESSAGE_ID.search(str(name)):
                    return found[1].lower()
    quoted = QUOTED_ID.search(content)
    return quoted[1].decode().lower() if quoted else None


def _headers(part: Part) -> Part:
    """Return the mail that a part brings back, or its headers."""
    payload = part.get_payload()
    if isinstance(payload, list):
        return payload[0] if payload and isinstance(payload[0], Part) else part
    decoded = part.get_payload(decode=True)
    return email.message_from_bytes(decoded if isinstance(decoded, bytes) else b"")


def _notified(mail: Part) -> tuple[BounceKind, str | None, str] | None:
    """Return what a delivery status notification says of the recipient whom it says the worst of."""
    told = [
        found
        for part in _parts(mail)
        if part.get_content_type() in {"message/delivery-status", "message/global-delivery-status"}
        for group in _groups(part)
        if (found := _of_group(group))
    ]
    worst = list(BounceKind)
    return min(told, key=lambda found: worst.index(found[0]), default=None)


def _groups(part: Part) -> Iterator[Part]:
    """Yield the groups of fields of a notification, for the mail and for each recipient."""
    for group in part.get_payload() if part.is_multipart() else []:
        if isinstance(group, Part):
            yield group
            # Of message/global-delivery-status (RFC 6533), email's parser knows the first group only.
            rest = group.get_payload()
            yield from map(email.message_from_string, re.split(r"\r?\n\r?\n", rest) if isinstance(rest, str) else ())


def _of_group(group: Part) -> tuple[BounceKind, str | None, str] | None:
    action = str(group.get("Action", "")).split(";")[0].strip().lower()
    status = _status(str(group.get("Status", "")))
    diagnostic = str(group.get("Diagnostic-Code", ""))[:MOST_READ]
    text = diagnostic.partition(";")[2].strip() or diagnostic or action
    if status is None or status.endswith(".0.0"):
        # The words of the server that refused say more than 5.0.0.
        status = _status(diagnostic) or status or _class_of(diagnostic)
    match action:
        case "failed":
            return _failed(status, diagnostic), status, text
        case "delayed":
            return BounceKind.SOFT, status, text
        case "delivered":
            return BounceKind.DELIVERED, status, text
    return None


def _recognized(mail: Part) -> tuple[BounceKind, str | None, str] | None:
    """Return what flufl.bounce makes of a bounce that is no notification by the standard."""
    try:
        temporary, permanent = all_failures(mail)
    except Exception:  # noqa: BLE001  # its sixty readers of other people's formats meet whatever mail there is
        return None
    own = _own_text(mail)
    stated, said = STATED.search(own), SAID.search(own)
    text = said[0] if said else str(mail.get("Subject", ""))
    status = stated[1] if stated else _class_of(text)
    if permanent:
        return _failed(status, own), status, text
    return (BounceKind.SOFT, status, text) if temporary else None


def _own_text(mail: Part) -> str:
    """Return what a bounce says itself, without the mail that it brings back."""
    for part in _parts(mail):
        if part.get_content_maintype() == "text" and not part.is_multipart():
            content = part.get_payload(decode=True)
            text = content[:MOST_READ].decode("utf-8", "replace") if isinstance(content, bytes) else ""
            return BROUGHT_BACK.split(text.replace("\r\n", "\n"), maxsplit=1)[0]
    return ""


def _status(text: str) -> str | None:
    found = STATUS.search(text)
    return found[0] if found else None


def _class_of(diagnostic: str) -> str | None:
    found = REPLY.search(diagnostic)
    return f"{found[1]}.0.0" if found else None


def _failed(status: str | None, text: str) -> BounceKind:
    """Tell whether a failure is the address's (RFC 3463): not our mail's, our name's, or a full mailbox's."""
    kind, subject, detail = (status or "5.0.0").split(".")
    if kind != "5":
        # What was temporary until the server gave up.
        return BounceKind.FAILED
    if subject == "0":
        # The status says nothing: the words do. Servers mostly mean the address.
        return BounceKind.HARD if NOBODY.search(text) or not ELSE.search(text) else BounceKind.FAILED
    is_else = subject in {"3", "6", "7"} or detail in NOT_THE_ADDRESS.get(subject, ())
    return BounceKind.FAILED if is_else else BounceKind.HARD


def _parts(mail: Part, depth: int = 0) -> Iterator[Part]:
    """Yield a mail's own parts, not those of a mail that it brings back."""
    yield mail
    if mail.get_content_maintype() == "multipart" and mail.is_multipart() and depth < DEEPEST:
        for part in mail.get_payload():
            if isinstance(part, Part):
                yield from _parts(part, depth + 1)
