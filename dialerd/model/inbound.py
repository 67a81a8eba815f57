"""What people write to us: the words that stop messages, and those that let them come again."""

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["OPT_IN", "OPT_OUT", "InboundRules", "Scope", "Wish", "plain_word", "wish_of"]

#: In English, Spanish, Portuguese and French; what networks and regulators ask for, and what people write.
OPT_OUT = ("STOP", "BAJA", "SALIR", "CANCELAR", "SAIR", "PARAR", "ARRET")
OPT_IN = ("UNSTOP", "ALTA")


class Scope(StrEnum):
    """Whether an opt-out is from all campaigns, or from that which wrote last."""

    ALL = "all"
    CAMPAIGN = "campaign"


class Wish(StrEnum):
    """What somebody asks for with a word."""

    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundRules:
    """What becomes of inbound SMS. `campaign` is that of a phone to which nothing was sent; replies may be absent."""

    campaign: str | None = None
    opt_out: tuple[str, ...] = OPT_OUT
    opt_in: tuple[str, ...] = OPT_IN
    scope: Scope = Scope.ALL
    opt_out_reply: str | None = None
    opt_in_reply: str | None = None


def plain_word(message: str) -> str:
    """Return a message as opt-out words are compared: capital letters without accents, one space between words.

    What is no letter and no digit only parts words: Stop! and «baja» are words.
    """
    decomposed = unicodedata.normalize("NFKD", message[:1000])
    letters = "".join(letter for letter in decomposed if not unicodedata.combining(letter)).upper()
    words = "".join(letter if letter.isalnum() else " " for letter in letters).split()
    return " ".join(words)


def wish_of(message: str, rules: InboundRules) -> Wish | None:
    """Return what a message asks for: its whole text must be one of the words, as is the custom of networks.

    "STOP" stops, "baja el volumen" does not: a first word alone would take many an answer for an opt-out.
    """
    word = plain_word(message)
    if _is_in(word, rules.opt_out):
        return Wish.OPT_OUT
    return Wish.OPT_IN if _is_in(word, rules.opt_in) else None


def _is_in(word: str, words: Collection[str]) -> bool:
    return bool(word) and any(word == plain_word(one) for one in words)
