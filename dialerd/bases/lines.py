"""One line of a base, taken apart. Pure; what is in the fields is judged elsewhere.

    campaign;number;text;priority
    campaign;address;body;subject;"Var1":"value","Var2":"value";priority

Who writes such files seldom quotes, so a line is read from both ends: what stands between the fields that can be told
apart is the text, `;` and quotes included. A field is quoted only if its closing quote is followed by `;` or the
line's end.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from json.scanner import make_scanner
from typing import Any, NamedTuple, NoReturn

from dialerd.model.message import BULK, Channel
from dialerd.model.storable import is_storable

__all__ = [
    "ADDRESS_WORDS",
    "CAMPAIGN_WORDS",
    "PLAIN_SMS",
    "QUOTED",
    "Fields",
    "is_header",
    "plain",
    "read_line",
    "split_left",
    "unquote",
]

# Possessive: a quote inside is always one of a pair, and an unclosed field is found out in one pass.
QUOTED = re.compile(r'"((?:[^"]++|"")*+)"(?=;|\Z)')
QUOTED_AT_END = re.compile(r';"((?:[^"]++|"")*+)"\Z')
PRIORITY = re.compile(r"0*[1-9][0-9]{0,3}")
#: Most lines of a base of SMS: without quotes, and with a priority, there is one way to read them.
PLAIN_SMS = re.compile(r'([^;"]*);([^;"]*);([^"]*);([1-9][0-9]{0,3})')
#: What somebody may have meant as a priority: after it, a last `;` is no part of the text.
NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?")

#: Where the members of a JSON object may begin, and what stands between two of them.
MEMBERS = re.compile(r';\s*(?=")')
COLON = re.compile(r"\s*:\s*")
COMMA = re.compile(r'\s*,\s*"')
END = re.compile(r"\s*\Z")

#: A header's first three words, without accents and in lower case. No number or address reads like the second.
CAMPAIGN_WORDS = frozenset(
    {"campaign", "campaigns", "campaignname", "campname", "campana", "campanas", "campanha", "dialer"}
)
TEXT_WORDS = frozenset(
    {
        "text",
        "texto",
        "message",
        "mensaje",
        "mensagem",
        "msg",
        "sms",
        "data",
        "body",
        "cuerpo",
        "corpo",
        "contenido",
        "html",
    }
)
ADDRESS_WORDS = frozenset(
    {"number", "numero", "phone", "phonenumber", "telephone", "telefono", "telefone", "tel", "cel", "celular", "movil"}
    | {"mobile", "msisdn", "destination", "destino", "destinatario", "recipient", "to", "para", "address", "direccion"}
    | {"email", "emailaddress", "mail", "correo", "correoelectronico"}
)


class Fields(NamedTuple):
    """A line's fields as they stand there. `fault` is the reason why the priority or the variables cannot be read."""

    campaign: str
    destination: str
    data: str
    priority: int = BULK
    details: Mapping[str, Any] | None = None
    fault: str | None = None


def read_line(line: str, channel: Channel) -> Fields:
    """Take a line apart; fields that are not there are empty."""
    if channel is Channel.SMS and (plain := PLAIN_SMS.fullmatch(line)):
        campaign, destination, data, priority = plain.groups()
        return Fields(campaign.strip(), destination.strip(), data, int(priority))
    campaign, rest = split_left(line)
    destination, rest = split_left(rest)
    if rest is None:
        return Fields(campaign.strip(), destination.strip(), "")
    read = _sms if channel is Channel.SMS else _email
    return read(campaign.strip(), destination.strip(), rest)


def split_left(line: str | None) -> tuple[str, str | None]:
    """Return the first field, unquoted, and what follows its `;`, None if nothing does."""
    if line is None:
        return "", None
    if quoted := QUOTED.match(line):
        return unquote(quoted), line[quoted.end() + 1 :] if quoted.end() < len(line) else None
    field, semicolon, rest = line.partition(";")
    return field, rest if semicolon else None


def is_header(line: str) -> bool:
    """Tell whether a file's first line names the columns."""
    first, rest = split_left(line)
    second, rest = split_left(rest)
    third, _ = split_left(rest)
    campaign, address, text = (plain(field) for field in (first, second, third))
    return address in ADDRESS_WORDS and (campaign in CAMPAIGN_WORDS or not campaign or text in TEXT_WORDS)


def plain(field: str) -> str:
    """Return a header's word as the lists above spell it: without accents, in lower case, letters and digits only."""
    spelled = unicodedata.normalize("NFKD", field[:40]).casefold()
    return "".join(letter for letter in spelled if letter.isalnum())


def unquote(quoted: re.Match[str]) -> str:
    """Return what stands in a field that QUOTED has found."""
    return quoted[1].replace('""', '"')


def _sms(campaign: str, number: str, rest: str) -> Fields:
    if quoted := QUOTED.match(rest):
        priority = _last_field(rest[quoted.end() + 1 :])
        if quoted.end() < len(rest) and priority is not None:
            return _with_priority(priority, campaign, number, unquote(quoted))
    text, priority = _from_right(rest, least=0)
    return _with_priority(priority, campaign, number, text)


def _email(campaign: str, address: str, rest: str) -> Fields:
    rest, priority = _from_right(rest, least=2)
    found = _split_members(rest)
    if found is None:
        return _with_priority(priority, campaign, address, rest, fault="bad variables")
    head, variables = found
    body, subject = _body_and_subject(head)
    details: dict[str, Any] = {}
    if subject:
        details["subject"] = subject
    if variables:
        details["variables"] = variables
    return _with_priority(priority, campaign, address, body, details=details or None)


def _with_priority(
    field: str, campaign: str, destination: str, data: str, *, details: Mapping[str, Any] | None = None,
    fault: str | None = None,
) -> Fields:  # fmt: skip
    text = field.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].strip()
    if not text:
        return Fields(campaign, destination, data, BULK, details, fault)
    if PRIORITY.fullmatch(text):
        return Fields(campaign, destination, data, int(text), details, fault)
    return Fields(campaign, destination, data, BULK, details, "bad priority")


def _from_right(rest: str, *, least: int) -> tuple[str, str]:
    """Return what stands before the priority, and the priority; `least` is the number of `;` that must stay before.

    A `;` after the priority is left out: where an empty field or a number stands before it.
    """
    before, _, priority = rest.rpartition(";")
    if not priority.strip():
        shorter, semicolon, candidate = before.rpartition(";")
        stripped = candidate.strip()
        if semicolon and shorter.count(";") >= least and (not stripped or NUMBER.fullmatch(stripped.strip('"'))):
            return shorter, candidate
    return before, priority


def _last_field(tail: str) -> str | None:
    """Return the one field that `tail` is, with or without a `;` after it; None if it is several."""
    field = tail.rstrip()
    field = field.removesuffix(";")
    return None if ";" in field else field


# The end of an e-mail's line


def _split_members(text: str) -> tuple[str, dict[str, Any]] | None:
    """Cut the longest tail of JSON members off `body;subject;members`; None if there is none, not even an empty one."""
    second = text.find(";", text.find(";") + 1)
    if text.count(";", 0, second + 1) < 2:
        return None
    for candidate in MEMBERS.finditer(text, second):
        variables = _read_members(text, candidate.end())
        if variables is not None:
            return text[: candidate.start()], variables
    head, _, last = text.rpartition(";")
    return None if last.strip() else (head, {})


def _read_members(text: str, start: int) -> dict[str, Any] | None:
    """Read JSON members from their first quote to the end of `text`, without copying it."""
    members: dict[str, Any] = {}
    at = start
    try:
        while True:
            key, at = _scan_value(text, at)
            colon = COLON.match(text, at)
            if colon is None:
                return None
            members[key], at = _scan_value(text, colon.end())
            comma = COMMA.match(text, at)
            if comma is None:
                return members if END.match(text, at) and is_storable(members) else None
            at = comma.end() - 1
    except (ValueError, StopIteration, RecursionError):
        return None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


#: Reads one JSON value at a place of a text and says where it ends.
_scan_value: Callable[[str, int], tuple[Any, int]] = make_scanner(
    json.JSONDecoder(parse_constant=_refuse_constant)  # type: ignore[arg-type]  # typeshed knows no context but itself
)


def _body_and_subject(head: str) -> tuple[str, str]:
    quoted = QUOTED.match(head)
    if quoted and quoted.end() < len(head):
        subject, rest = split_left(head[quoted.end() + 1 :])
        if rest is None:
            return unquote(quoted), subject.strip()
    if head.endswith('"') and (last := QUOTED_AT_END.search(head)):
        return head[: last.start()], unquote(last).strip()
    body, _, subject = head.rpartition(";")
    return body, subject.strip()
