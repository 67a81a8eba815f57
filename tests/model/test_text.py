"""The text of an SMS: coding, counting, cutting, transliterating."""

import time
from collections.abc import Callable

import pytest
import smsutil
from hypothesis import given
from hypothesis import strategies as st

from dialerd.model.alphabet import DEFAULT, ESCAPE, EXTENSION, NEAREST
from dialerd.model.campaign import UnicodeRule
from dialerd.model.errors import BadText
from dialerd.model.text import Coding, Encoded, count_parts, decode, encode, transliterate

GSM = sorted(set(DEFAULT) - {chr(ESCAPE)} | set(EXTENSION))
EMOJI = "\U0001f600"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"  # 8 units
THUMB = "\U0001f44d\U0001f3fd"  # 4 units
FLAG = "\U0001f1fa\U0001f1fe"  # 4 units
HEART = "\u2764\ufe0f"  # 2 units
SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"  # 14 units

gsm_texts = st.text(st.sampled_from(GSM), min_size=1, max_size=700)
escaped_texts = st.text(st.sampled_from("a€^\f"), min_size=1, max_size=700)
scraps = st.sampled_from([*GSM, *"áíçñ“–…€", EMOJI, FAMILY, THUMB, FLAG, HEART, SCOTLAND, "e\u0301", "\u200d", "я"])
mixed_texts = st.lists(scraps, min_size=1, max_size=500).map("".join)
any_texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
wild_texts = st.text(st.characters(categories=["L", "M", "N", "P", "S", "Z", "C"]))
texts = gsm_texts | escaped_texts | mixed_texts | any_texts


def refusal(text: str, rule: UnicodeRule = UnicodeRule.AUTO, **limits: int) -> BadText:
    """The error with which encode refuses the text."""
    with pytest.raises(BadText) as caught:
        encode(text, rule, **limits)
    return caught.value


def answer(parts: Callable[[str, UnicodeRule], int], text: str, rule: UnicodeRule) -> int | str:
    """The number of parts, or the reason why there are none."""
    try:
        return parts(text, rule)
    except BadText as error:
        return error.reason


def encoded_parts(text: str, rule: UnicodeRule) -> int:
    """How many parts encode makes."""
    return len(encode(text, rule).parts)


def joined(encoded: Encoded) -> str:
    """The text that a phone shows."""
    return "".join(decode(part, encoded.coding) for part in encoded.parts)


@pytest.mark.parametrize(
    ("text", "coding", "lengths"),
    [
        ("a" * 160, Coding.GSM7, [160]),
        ("a" * 161, Coding.GSM7, [153, 8]),
        ("a" * 306, Coding.GSM7, [153, 153]),
        ("a" * 307, Coding.GSM7, [153, 153, 1]),
        ("a" * 158 + "€", Coding.GSM7, [160]),
        ("a" * 159 + "€", Coding.GSM7, [153, 8]),
        ("€" * 80, Coding.GSM7, [160]),
        ("€" * 81, Coding.GSM7, [152, 10]),
        ("€" * 100, Coding.GSM7, [152, 48]),
        ("x" * 152 + "€" + "y" * 20, Coding.GSM7, [152, 22]),
        ("x" * 151 + "€" + "y" * 20, Coding.GSM7, [153, 20]),
        ("^{}\\[~]|€\f", Coding.GSM7, [20]),
        ("a\r\nb", Coding.GSM7, [4]),
        ("á" * 70, Coding.UCS2, [140]),
        ("á" * 71, Coding.UCS2, [134, 8]),
        ("á" * 134, Coding.UCS2, [134, 134]),
        ("á" * 135, Coding.UCS2, [134, 134, 2]),
        (EMOJI * 35, Coding.UCS2, [140]),
        (EMOJI * 36, Coding.UCS2, [132, 12]),
        ("á" * 66 + EMOJI + "á" * 20, Coding.UCS2, [132, 44]),
        ("a\x1bb", Coding.UCS2, [6]),
        ("\x1b", Coding.UCS2, [2]),
    ],
)
def test_parts_are_cut_where_the_specification_lets_them(text: str, coding: Coding, lengths: list[int]) -> None:
    """A message holds 160 septets or 70 units, a part 153 or 67, and no part ends inside a character."""
    encoded = encode(text)

    assert (coding, lengths) == (encoded.coding, [len(part) for part in encoded.parts])
    assert len(lengths) == count_parts(text)
    assert text == joined(encoded)


def test_septets_are_those_of_the_tables() -> None:
    """Each character has the code of TS 23.038 section 6.2.1, those of the extension behind an escape."""
    assert Encoded(Coding.GSM7, (bytes([0x00, 0x02, 0x10, 0x20, 0x41, 0x5D, 0x7D, 0x7F]),)) == encode("@$Δ AÑñà")
    assert Encoded(Coding.GSM7, (b"\x1b\x65\x1b\x14\x1b\x0a\x1b\x2f\x1b\x40",)) == encode("€^\f\\|")
    assert Encoded(Coding.UCS2, (b"\x00\xe1\xd8\x3d\xde\x00",)) == encode("á" + EMOJI)


@pytest.mark.parametrize("text", ["ç", "á", "í", "ó", "ú", "Á", "`", "\t", "’", "\u00a0", "\x1b", "ê", "μ"])
def test_likes_of_gsm_characters_are_not_gsm(text: str) -> None:
    """What only looks like a character of the alphabet needs UCS-2."""
    assert Coding.UCS2 is encode(text).coding


@given(gsm_texts | escaped_texts)
def test_gsm_parts_are_those_of_smsutil(text: str) -> None:
    """For GSM-7 the cuts are the greedy ones that smsutil makes too."""
    oracle = smsutil.split(text)

    assert [smsutil.encode(part.content) for part in oracle.parts] == list(encode(text).parts)


@given(mixed_texts | any_texts)
def test_counts_are_those_of_smsutil(text: str) -> None:
    """No text takes more parts than smsutil's greedy split, whatever is kept whole (it takes a raw escape for GSM)."""
    text = text.replace("\x1b", "")
    if text:
        assert len(smsutil.split(text).parts) == count_parts(text)


@given(texts | wild_texts, st.sampled_from(UnicodeRule))
def test_count_is_what_encode_makes(text: str, rule: UnicodeRule) -> None:
    """The fast count and the encoder agree on every text, or refuse it for the same reason."""
    assert answer(encoded_parts, text, rule) == answer(count_parts, text, rule)


@given(texts)
def test_parts_give_the_text_back_within_their_limits(text: str) -> None:
    """Each part decodes for itself, together they are the text, and none is empty or longer than a message holds."""
    encoded = encode(text)
    single, several = (160, 153) if encoded.coding is Coding.GSM7 else (140, 134)

    assert text == joined(encoded)
    assert text == decode(b"".join(encoded.parts), encoded.coding)
    assert all(0 < len(part) <= (several if len(encoded.parts) > 1 else single) for part in encoded.parts)


@given(escaped_texts | mixed_texts)
def test_no_part_ends_inside_a_character(text: str) -> None:
    """No part ends with an escape, nor with the first half of a surrogate pair."""
    encoded = encode(text)

    if encoded.coding is Coding.GSM7:
        assert not any(part.endswith(b"\x1b") for part in encoded.parts)
    else:
        assert not any(0xD8 <= part[-2] <= 0xDB for part in encoded.parts)


@pytest.mark.parametrize("one", [FAMILY, THUMB, FLAG, HEART, SCOTLAND, "e\u0301\u0302"])
def test_what_is_shown_as_one_is_not_cut(one: str) -> None:
    """A joined emoji, a flag or a letter with its accents goes whole into the next part."""
    units = len(one.encode("utf-16-be")) // 2
    for before in range(68 - units, 67):
        text = "á" * before + one + "á" * 30
        first, rest = (decode(part, Coding.UCS2) for part in encode(text).parts)

        assert (text[:before], text[before:]) == (first, rest)


def test_flags_are_pairs_from_their_beginning() -> None:
    """In a row of flags the cut is after a whole one."""
    first = decode(encode("á" + FLAG * 30).parts[0], Coding.UCS2)

    assert first == "á" + FLAG * 16


@pytest.mark.parametrize(
    "text",
    [
        "á" * 64 + FAMILY + "á" * 62,  # 134 units are two parts only if both are full
        "á" * 67 + "á" * 66 + FLAG + "á" * 64,
        "e" + "\u0301" * 200,
        FAMILY.replace("\U0001f467", "\U0001f467\u200d") * 40,
    ],
)
def test_keeping_characters_whole_costs_no_part(text: str) -> None:
    """An emoji is cut when the message would take a part more without that."""
    assert len(smsutil.split(text).parts) == len(encode(text).parts)
    assert text == joined(encode(text))


def test_too_long_names_the_count() -> None:
    """A text of more parts than allowed is refused with the number that it takes."""
    assert len(encode("a" * 306, max_parts=2).parts) == 2

    error = refusal("a" * 307, max_parts=2)

    assert error.reason == "too long"
    assert "3 parts" in str(error)
    assert "2 are allowed" in str(error)


def test_a_message_has_no_more_than_255_parts() -> None:
    """The header counts parts in one octet, whatever a campaign allows."""
    assert len(encode("a" * 153 * 255, max_parts=1000).parts) == 255
    assert refusal("a" * (153 * 255 + 1), max_parts=1000).reason == "too long"


def test_rule_gsm7_names_what_it_refuses() -> None:
    """The first characters that GSM-7 lacks are named, each once, and the others counted."""
    error = refusal("Canción á í ó ç ê “", UnicodeRule.GSM7)

    assert error.reason == "not GSM-7"
    assert "'ó' (U+00F3), 'á' (U+00E1), 'í' (U+00ED), 'ç' (U+00E7), 'ê' (U+00EA) and 1 more" in str(error)
    assert Coding.GSM7 is encode("ñandú €".replace("ú", "ù"), UnicodeRule.GSM7).coding


@pytest.mark.parametrize("rule", list(UnicodeRule))
@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "empty text"), ("a\0b", "bad text"), ("\ud83d", "bad text"), ("a\ude00 á", "bad text")],
)
def test_texts_that_cannot_be_sent_are_refused(rule: UnicodeRule, text: str, reason: str) -> None:
    """Nothing, NUL (PostgreSQL refuses it) and half surrogate pairs are refused under every rule, counted or not."""
    assert reason == refusal(text, rule).reason
    with pytest.raises(BadText) as caught:
        count_parts(text, rule)
    assert reason == caught.value.reason


def test_what_transliterates_to_nothing_is_empty() -> None:
    """A text of invisible characters only is an empty one under the rule transliterate."""
    assert refusal("\u200b\ufeff", UnicodeRule.TRANSLITERATE).reason == "empty text"


def test_transliterate_spares_parts_or_leaves_ucs2() -> None:
    """Under the rule transliterate GSM-7 is used if the nearest spelling fits it, else UCS-2."""
    assert Encoded(Coding.GSM7, (b"Cancion",)) == encode("Canción", UnicodeRule.TRANSLITERATE)
    assert Coding.UCS2 is encode("Canción " + EMOJI, UnicodeRule.TRANSLITERATE).coding
    assert (count_parts("ó" * 80), count_parts("ó" * 80, UnicodeRule.TRANSLITERATE)) == (2, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("“Hola” ‘che’ «sí» `a´", "\"Hola\" 'che' \"si\" 'a'"),
        ("a–b—c−d‐e", "a-b-c-d-e"),
        ("espera…", "espera..."),
        ("a\u00a0b\u2009c\td\u3000e", "a b c d e"),
        ("a\u2028b\r\nc\fd", "a\nb\r\nc\fd"),
        ("co\u00adope\u200bra\ufeff", "coopera"),
        ("áéíóúàèìòùâêîôû", "aéiouàèìòùaeiou"),
        ("ÁÉÍÓÚÀÂÇçÑñÜüÖöÄäÅåÆæØøß", "AÉIOUAAÇcÑñÜüÖöÄäÅåÆæØøß"),
        ("a\u0301e\u0301n\u0303x\u0303", "aéñx"),
        ("Łódź Đặng İstanbul ǿ Ǽ œ", "Lodz Dang Istanbul ø Æ oe"),
        ("Nº 5, 1ª, 25°C", "No 5, 1a, 25oC"),
        ("½ 2½ m² 10² 10⁻² H₂O", "1/2 2 1/2 m2 10^2 10^-2 H2O"),
        ("Ｆｕｌｌ １ 𝐁𝐨𝐥𝐝 ﬁ ㎏", "Full 1 Bold fi kg"),
        ("© ® ™️ €5", "(c) (r) TM €5"),
        ("ΑΘΗΝΑ Ώρα \u2126", "AΘHNA Ωρα Ω"),
        ("a ≠ b =\u0338 ① 5\ufe0f\u20e3", "a ≠ b =\u0338 ① 5\ufe0f\u20e3"),
        (f"Привет й {FAMILY} {HEART} 你好 क्षि", f"Привет й {FAMILY} {HEART} 你好 क्षि"),
        ("x" + "\u0301" * 100, "x"),
        ("\u0301a", "\u0301a"),
        ("\ud83d", "\ud83d"),
        ("", ""),
    ],
)
def test_transliterate_finds_the_nearest_spelling(text: str, expected: str) -> None:
    """Quotes, dashes, spaces, accents get their nearest GSM spelling; what has none stays as it is."""
    assert expected == transliterate(text)


@given(texts | wild_texts)
def test_transliterate_twice_changes_nothing_more(text: str) -> None:
    """Transliterating is idempotent."""
    once = transliterate(text)

    assert once == transliterate(once)


@given(gsm_texts)
def test_transliterate_leaves_gsm_texts_alone(text: str) -> None:
    """What GSM-7 can spell stays, whatever it stands beside."""
    assert text == transliterate(text)


@given(texts | wild_texts)
def test_transliterate_never_adds_foreign_characters(text: str) -> None:
    """No character becomes one that GSM-7 lacks: those left in the result stood in the text."""
    assert set(transliterate(text)) - set(GSM) <= set(text)


def test_every_nearest_spelling_is_gsm() -> None:
    """The table spells only what GSM-7 lacks, in nothing but GSM-7."""
    assert not [key for key, spelling in NEAREST.items() if key in GSM or not set(spelling) <= set(GSM)]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (b"\x1b\x65", "€"),
        (b"a\x1b", "a "),
        (b"\x1b\x1b\x65", " €"),
        (b"\x1bA\x1b\x00", "A@"),
        (b"\x80\x1b\xff", "\ufffd\ufffd"),
        (b"", ""),
    ],
)
def test_decode_shows_what_the_specification_asks_for(part: bytes, expected: str) -> None:
    """Unknown escapes show the letter of the default alphabet, a lone one a space, and nothing fails."""
    assert expected == decode(part, Coding.GSM7)


@given(st.binary(max_size=200), st.sampled_from(Coding))
def test_decode_never_fails(part: bytes, coding: Coding) -> None:
    """Whatever a network delivers becomes a text that can be stored."""
    decode(part, coding).encode("utf-8")


@pytest.mark.parametrize("rule", list(UnicodeRule))
@pytest.mark.parametrize("unit", ["a", "€", "á", EMOJI, FLAG, "\u0301"])
def test_a_megabyte_is_answered_quickly(unit: str, rule: UnicodeRule) -> None:
    """A text of a million characters is refused, or counted, in seconds at the worst."""
    text = "x" + unit * (1_000_000 // len(unit))
    started = time.monotonic()

    assert answer(encoded_parts, text, rule) in {"too long", "not GSM-7", 1}
    assert answer(count_parts, text, rule) in {"not GSM-7", *range(1, 31_000)}
    assert time.monotonic() - started < 10
