"""Texts that a message brings with `${name}` or `{{name}}` in them, and the variables that are filled in there."""

import re
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from html import escape
from typing import Any

from dialerd.model.errors import BadText
from dialerd.model.message import Message

__all__ = ["PLACEHOLDER", "Missing", "completed", "filled", "spelled", "too_long", "variables_of", "worded"]

PLACEHOLDER = re.compile(r"\$\{([^{}\n]{1,200})\}|\{\{([^{}\n]{1,200})\}\}")

#: A text that has grown beyond this, in characters, is no message.
LONGEST = 5_000_000


class Missing(StrEnum):
    """What stands in place of a variable that a message does not bring: nothing, or the message is refused."""

    ERROR = "error"
    BLANK = "blank"


def variables_of(details: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the variables that a message's `details` bring.

    Raises BadText where they are no JSON object, as rows of other systems may have it.
    """
    variables = details.get("variables")
    if variables is None:
        return {}
    if not isinstance(variables, dict):
        raise BadText(f"details.variables is no object with names and values: {_short(variables)}", "bad variables")
    return variables


def filled(text: str, variables: Mapping[str, Any], *, as_html: bool = False, missing: Missing = Missing.ERROR) -> str:
    """Return a message's own text with its placeholders replaced; without any variables it stays as it stands.

    Values are escaped in HTML. Raises BadText when a name has no value, or one that is no text.
    """
    return completed(text, variables, as_html=as_html, missing=missing) if variables else text


def completed(
    text: str, variables: Mapping[str, Any], *, as_html: bool = False, missing: Missing = Missing.ERROR
) -> str:
    """Return a text that is meant to have placeholders with all of them replaced; else as `filled`."""
    room = LONGEST

    def value(match: re.Match[str]) -> str:
        nonlocal room
        name = (match[1] or match[2]).strip()
        if name not in variables:
            if missing is Missing.BLANK:
                return ""
            raise BadText(f"the text asks for {name!r}, which the message does not bring", "bad variables")
        found = spelled(variables[name], name)
        found = escape(found) if as_html else found
        # Counted as it grows: what a short text asks for often enough fills all memory.
        room -= len(found)
        if room < 0:
            raise too_long()
        return found

    full = PLACEHOLDER.sub(value, text)
    if len(full) > LONGEST:
        raise too_long()
    return full


def too_long() -> BadText:
    """Return the error of a text that is longer than any message."""
    return BadText(f"with its variables the text has more than {LONGEST} characters", "too long")


def spelled(value: Any, name: str = "") -> str:
    """Return a variable's value as it is written into a text; null is nothing.

    Raises BadText for a list or an object, which nobody wants to read.
    """
    match value:
        case str():
            return value
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
    told = f"the variable {name!r}" if name else "a variable"
    raise BadText(f"{told} is no text and no number: {_short(value)}", "bad variables")


def worded(message: Message, missing: Missing) -> Message:
    """Return an SMS with its variables filled into its text; one that brings none is returned as it is.

    Raises BadText as `filled` does.
    """
    variables = variables_of(message.details)
    return replace(message, data=filled(message.data, variables, missing=missing)) if variables else message


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
