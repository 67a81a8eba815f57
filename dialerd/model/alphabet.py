"""What GSM 03.38 can spell, and the nearest spelling of what it cannot."""

__all__ = ["DEFAULT", "ESCAPE", "EXTENSION", "NEAREST"]

#: The code that leads into the extension table; no character of its own.
ESCAPE = 0x1B

#: The default alphabet, 3GPP TS 23.038 section 6.2.1: the place of a character is its septet.
DEFAULT = (
    "@£$¥èéùìòÇ\nØø\rÅå"
    "Δ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
    " !\"#¤%&'()*+,-./"
    "0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNO"
    "PQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)

#: The extension table, section 6.2.1.1: each costs two septets, the escape and this one.
EXTENSION = {
    "\f": 0x0A,
    "^": 0x14,
    "{": 0x28,
    "}": 0x29,
    "\\": 0x2F,
    "[": 0x3C,
    "~": 0x3D,
    "]": 0x3E,
    "|": 0x40,
    "€": 0x65,
}

_GREEK = "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"

#: Spellings that neither a letter's accents nor Unicode's compatibility mappings give away, by character.
NEAREST = {
    # Grave and acute accent standing alone, modifier letters, single quotes and primes
    **dict.fromkeys("\u0060\u00b4\u02b9\u02bb\u02bc\u02bd\u02c8\u02ca\u02cb\u2018\u2019\u201a\u201b\u2032\u2035", "'"),
    # Diaeresis standing alone, guillemets, double quotes and primes
    **dict.fromkeys("\u00a8\u02ba\u00ab\u00bb\u201c\u201d\u201e\u201f\u2033\u2036\u275d\u275e\u301d\u301e\u301f", '"'),
    # Hyphens, dashes, the minus sign
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\ufe58\ufe63", "-"),
    # Soft hyphen, zero-width space, word joiner, byte order mark: nothing to see
    **dict.fromkeys("\u00ad\u200b\u2060\ufeff", ""),
    # Tab, Ogham space; the other spaces are compatibility characters
    **dict.fromkeys("\t\u1680", " "),
    # Vertical tab, next line, line and paragraph separator
    **dict.fromkeys("\v\u0085\u2028\u2029", "\n"),
    **dict.fromkeys("\u00b7\u2219\u22c5", "."),  # middle dots
    **dict.fromkeys("\u2022\u2023\u25aa\u25cf\u2217\u204e", "*"),  # bullets, low asterisks
    **dict.fromkeys("\u2044\u2215\u00f7", "/"),  # fraction and division slash, division sign
    **dict.fromkeys("\u02dc\u223c\u2248", "~"),
    "\u00b0": "o",  # 25 °C, and what Spanish keyboards give for º
    "\u00b5": "u",  # micro, as in ISO 2955; the Greek letter itself stays
    "\u00d7": "x",
    "\u00a2": "c",
    "\u00a6": "|",
    "\u00b8": ",",
    "\u02c6": "^",
    "\u2236": ":",
    "\u2039": "<",
    "\u203a": ">",
    "\u00a9": "(c)",
    "\u00ae": "(r)",
    "\u00b1": "+/-",
    "\u2190": "<-",
    "\u2192": "->",
    "\u21d2": "=>",
    "\u2264": "<=",
    "\u2265": ">=",
    # Latin letters that are no letter with an accent
    "Đ": "D",
    "đ": "d",
    "Ð": "D",
    "ð": "d",
    "Þ": "Th",
    "þ": "th",
    "Ħ": "H",
    "ħ": "h",
    "\u0131": "i",
    "Ł": "L",
    "ł": "l",
    "Ŋ": "Ng",
    "ŋ": "ng",
    "Œ": "OE",
    "œ": "oe",
    "Ŧ": "T",
    "ŧ": "t",
    "ẞ": "SS",
    "Ə": "E",
    "ə": "e",
    "ƒ": "f",
    # GSM 03.38 holds only those Greek capitals that no Latin one looks like
    **dict(zip(_GREEK, "ABEZHIKMNOPTYX", strict=True)),
}
