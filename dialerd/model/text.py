"""The text of an SMS: which coding it needs, how many parts, and where they are cut.

Sources: 3GPP TS 23.038 section 6.2.1 (GSM 7 bit default alphabet), 6.2.1.1 (its extension table) and 6.2.3 (UCS-2);
TS 23.040 section 9.2.3.24.1 (concatenated messages with an 8-bit reference). A message holds 140 octets: 160 septets or
70 UCS-2 units. The header of a part of a longer one takes 6 of them: 153 septets or 67 units are left.

Where a message is cut: never between an escape and its character, nor between the halves of a surrogate pair. What
is shown as one character (letter and combining marks, joined emoji, flags) is not cut either, as long as the
message needs no more parts that way than when every part is filled to the brim: nobody pays for a prettier cut.
"""

import codecs
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from dialerd.model.alphabet import DEFAULT, ESCAPE, EXTENSION, NEAREST
from dialerd.model.campaign import UnicodeRule
from dialerd.model.errors import BadText

__all__ = ["MOST_PARTS", "Coding", "Encoded", "count_parts", "decode", "decode_half", "encode", "join", "transliterate"]

#: The number of parts is one octet of the header (TS 23.040, section 9.2.3.24.1).
MOST_PARTS = 255

#: So many of the characters that GSM-7 lacks are named in a refusal.
MOST_NAMED = 5


class Coding(StrEnum):
    """How the characters of a message become octets."""

    GSM7 = "gsm7"
    UCS2 = "ucs2"


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text as its parts: septets, one in a byte, not packed, for GSM7; UTF-16BE for UCS2. Without headers."""

    coding: Coding
    parts: tuple[bytes, ...]


class _Room(NamedTuple):
    """The bytes that a single message and a part of a longer one hold; no part ends with a unit led by `leads`."""

    single: int
    part: int
    unit: int
    leads: range


_SEPTET_ROOM = _Room(single=160, part=153, unit=1, leads=range(ESCAPE, ESCAPE + 1))
_UCS2_ROOM = _Room(single=140, part=134, unit=2, leads=range(0xD8, 0xDC))
_ROOM = {Coding.GSM7: _SEPTET_ROOM, Coding.UCS2: _UCS2_ROOM}

_LETTERS = DEFAULT.replace(chr(ESCAPE), "")
_GSM = frozenset(_LETTERS) | frozenset(EXTENSION)
_SEPTETS = str.maketrans(
    {letter: chr(DEFAULT.index(letter)) for letter in _LETTERS}
    | {letter: chr(ESCAPE) + chr(code) for letter, code in EXTENSION.items()}
)
_EXTENDED = {code: letter for letter, code in EXTENSION.items()}

_is_default = re.compile(f"[{re.escape(_LETTERS)}]+").fullmatch
_is_gsm = re.compile(f"[{re.escape(''.join(sorted(_GSM)))}]+").fullmatch

_MARKS = "\u0300-\u036f\u20e3\ufe0e\ufe0f"
_CLUSTER = re.compile(f"[^{re.escape(''.join(sorted(_GSM)))}][{_MARKS}]*|.[{_MARKS}]+", re.DOTALL)
_AFTER_DIGIT = re.compile(r"(?<=\d)(?=([¼½¾⅐-⅞↉])|[¹²³⁰⁴-⁻])")
_PRESENTATION = {0xFE0E: None, 0xFE0F: None}
_REFUSED = re.compile("[\0\ud800-\udfff]")

_ZWJ = "\u200d"
_FLAG_LETTERS = "".join(map(chr, range(0x1F1E6, 0x1F200)))
_SKIN_TONES_AND_TAGS = frozenset(map(chr, (*range(0x1F3FB, 0x1F400), *range(0xE0020, 0xE0080))))


def encode(
    text: str, rule: UnicodeRule = UnicodeRule.AUTO, *, max_parts: int = MOST_PARTS, coding: Coding | None = None
) -> Encoded:
    """Return the text as the parts to send (3GPP TS 23.038 section 6.2, TS 23.040 section 9.2.3.24.1).

    BadText is raised with the reason `empty text`; `bad text` for NUL and half a surrogate pair; `not GSM-7` under
    the rule gsm7; `too long` when it takes more than `max_parts` (255 at most), with the number that it takes. With
    `coding`, UCS2, that one is taken though another would do.
    """
    chosen, text = _coded(text, rule)
    coding = coding or chosen
    data = _data(text, coding)
    ends = _ends(data, _ROOM[coding])
    allowed = min(max_parts, MOST_PARTS)
    if len(ends) > allowed:
        raise BadText(f"the text takes {len(ends)} parts, and no more than {allowed} are allowed", "too long")
    if coding is Coding.UCS2 and len(ends) > 1:
        return Encoded(coding, _whole_characters(text, len(ends)))
    return Encoded(coding, tuple(data[start:end] for start, end in zip([0, *ends], ends, strict=False)))


def count_parts(text: str, rule: UnicodeRule = UnicodeRule.AUTO) -> int:
    """Return how many parts the text takes: as many as `encode` makes, which it refuses above `max_parts`.

    Raises BadText as `encode` does, but for `too long`: a count above 255 is an answer here.
    """
    # Most texts of a bulk load: a look at each character, and no bytes are built.
    if _is_default(text):
        return 1 if len(text) <= _SEPTET_ROOM.single else -(-len(text) // _SEPTET_ROOM.part)
    coding, text = _coded(text, rule)
    return len(_ends(_data(text, coding), _ROOM[coding]))


def decode(part: bytes, coding: Coding) -> str:
    """Return the text of one part, or of a message's parts joined (3GPP TS 23.038 section 6.2.1.1).

    It never fails on what a network delivers: as the specification asks, an escape before a septet that the extension
    table lacks shows that septet's letter of the default alphabet, and one before nothing or a second escape a space.
    Octets above 0x7F and halves of surrogate pairs become U+FFFD.
    """
    if coding is Coding.UCS2:
        return part.decode("utf-16-be", "replace")
    first, *escaped = part.split(bytes([ESCAPE]))
    return _default(first) + "".join(
        (_EXTENDED.get(piece[0]) or _default(piece[:1])) + _default(piece[1:]) if piece else " " for piece in escaped
    )


def decode_half(part: bytes) -> str:
    """Return the text of one UCS-2 part of several; halves of surrogate pairs stay what they are, for `join`.

    Phones cut by octets: the halves of an emoji may be the end of one part and the beginning of the next.
    """
    whole = len(part) // 2 * 2
    return part[:whole].decode("utf-16-be", "surrogatepass") + part[whole:].decode("utf-16-be", "replace")


def join(parts: Iterable[str]) -> str:
    """Return the text of a message's parts in their order; halves without their other half become U+FFFD."""
    return "".join(parts).encode("utf-16-be", "surrogatepass").decode("utf-16-be", "replace")


def transliterate(text: str) -> str:
    """Return the text with every character that GSM 03.38 lacks in its nearest spelling, where there is one.

    Quotes, dashes, spaces, dots and symbols become their ASCII likes; a letter loses those accents that GSM 03.38
    cannot spell (á becomes a; à, ñ and é stay); Greek capitals become the Latin ones that they look like. What has
    no near spelling (emoji, other scripts) stays as it is. So do negations, ≠ is no =, and circled digits. What a
    digit before it would change keeps apart from it: 2½ is 2 1/2, and 10² is 10^2.
    """
    if _is_gsm(text):
        return text
    text = _AFTER_DIGIT.sub(lambda found: " " if found[1] else "^", text)
    return _CLUSTER.sub(_spelled, text)


def _spelled(found: re.Match[str]) -> str:
    """Return what _nearest makes of a character and its marks; only so many of them are looked at, and remembered."""
    cluster = found[0]
    head = cluster[:8]
    spelled = _nearest(head)
    return cluster if spelled == head else spelled


@lru_cache(maxsize=4096)
def _nearest(cluster: str) -> str:
    """Return the GSM spelling of one character and the marks on it, or both as they are."""
    plain = cluster.translate(_PRESENTATION)
    if not plain:
        return cluster
    base, *marks = list(unicodedata.normalize("NFD", plain))
    if base.isalpha():
        for mark in marks:
            letter = unicodedata.normalize("NFC", base + mark)
            if letter in _GSM:
                return letter
        if base in _GSM:
            return base
        if base in NEAREST:
            return NEAREST[base]
    if plain in _GSM:
        return plain
    if plain in NEAREST:
        return NEAREST[plain]
    spelled = unicodedata.normalize("NFKC", plain)
    if spelled == plain or unicodedata.decomposition(plain[0]).startswith("<circle>"):
        return cluster
    spelled = transliterate(spelled)
    return spelled if _is_gsm(spelled) else cluster


def _coded(text: str, rule: UnicodeRule) -> tuple[Coding, str]:
    """Return the coding that the rule chooses, and the text to write in it."""
    if _is_gsm(text):
        return Coding.GSM7, text
    if rule is UnicodeRule.TRANSLITERATE:
        text = transliterate(text)
        if _is_gsm(text):
            return Coding.GSM7, text
    if not text:
        raise BadText("the text is empty", "empty text")
    if refused := _REFUSED.search(text):
        what = "NUL" if refused[0] == "\0" else "half a surrogate pair"
        raise BadText(f"the text holds {what} (U+{ord(refused[0]):04X})", "bad text")
    if rule is UnicodeRule.GSM7:
        foreign = list(dict.fromkeys(letter for letter in text if letter not in _GSM))
        named = ", ".join(f"{letter!r} (U+{ord(letter):04X})" for letter in foreign[:MOST_NAMED])
        more = f" and {len(foreign) - MOST_NAMED} more" if len(foreign) > MOST_NAMED else ""
        raise BadText(f"GSM-7 cannot spell {named}{more}", "not GSM-7")
    return Coding.UCS2, text


def _data(text: str, coding: Coding) -> bytes:
    """Return the text in one piece."""
    if coding is Coding.GSM7:
        return text.translate(_SEPTETS).encode("latin-1")
    return text.encode("utf-16-be")


def _ends(data: bytes, room: _Room) -> list[int]:
    """Return where each part ends when all are filled to the brim: no cut makes fewer."""
    if len(data) <= room.single:
        return [len(data)]
    ends = []
    end = room.part
    while end < len(data):
        if data[end - room.unit] in room.leads:
            end -= room.unit
        ends.append(end)
        end += room.part
    return [*ends, len(data)]


def _whole_characters(text: str, number: int) -> tuple[bytes, ...]:
    """Return the text in so many UCS-2 parts, the fewest possible, with few of its visible characters cut.

    Each part ends before the last character that would be cut, unless the rest then takes a part more.
    """
    parts = []
    start = 0
    for left in range(number - 1, -1, -1):
        filled = text[start : start + _UCS2_ROOM.part // 2].encode("utf-16-be")[: _UCS2_ROOM.part]
        end = start + len(filled.decode("utf-16-be", "ignore"))  # without the half of a pair
        cut = end
        while start < cut < len(text) and _is_one_character(text, cut):
            cut -= 1
        if start < cut < end and _fits(text[cut:], left):
            end = cut
        parts.append(text[start:end].encode("utf-16-be"))
        start = end
    return tuple(parts)


def _fits(text: str, number: int) -> bool:
    """Say whether the rest of a longer message fits into so many parts."""
    return len(_ends(text.encode("utf-16-be"), _UCS2_ROOM._replace(single=_UCS2_ROOM.part))) <= number


def _is_one_character(text: str, at: int) -> bool:
    """Say whether what stands before and after text[at] is shown as one (Unicode UAX #29, without Hangul and Indic)."""
    before, after = text[at - 1], text[at]
    if after in _FLAG_LETTERS:
        # A flag is a pair of these letters, counted from where the row of them begins.
        return (at - len(text[:at].rstrip(_FLAG_LETTERS))) % 2 == 1
    return (
        before == _ZWJ
        or after in {_ZWJ, "\u200c"}
        or after in _SKIN_TONES_AND_TAGS
        or unicodedata.category(after).startswith("M")
    )


def _default(septets: bytes) -> str:
    """Return septets in the default alphabet, without escapes, as text."""
    return codecs.charmap_decode(septets, "replace", DEFAULT)[0]
