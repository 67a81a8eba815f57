"""Placeholders: what stands for a value, and what is plain text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialerd.model.placeholder import Placeholder, parse, placeholders, substitute


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", ()),
        ("plain", ("plain",)),
        ("to=${phone}&x", ("to=", Placeholder("phone"), "&x")),
        ("id={id}", ("id=", Placeholder("id"))),
        ("{phone} {x} {}", ("{phone} {x} {}",)),
        ("${port:int}", (Placeholder("port", is_int=True),)),
        ("${callback:+a b}${x:+}", (Placeholder("callback", then="a b"), Placeholder("x", then=""))),
        ("$${phone} $$ ${", ("${phone} $$ ${",)),
        ("$${id}", ("${id}",)),
        ("${a.b} ${1}", ("${a.b} ${1}",)),
    ],
)
def test_pieces(text: str, pieces: tuple[str | Placeholder, ...]) -> None:
    """`${name}` and `{id}` stand for values, `$${` for a plain `${`; other braces and dollars are text."""
    assert parse(text) == pieces


@given(st.text(alphabet="${}id:+ntab"))
def test_nothing_is_lost(text: str) -> None:
    """Any text can be read; the pieces together are the text again, but for doubled dollars and {id}."""
    pieces = parse(text)
    assert "" not in pieces
    joined = "".join(str(piece) for piece in pieces)
    assert joined.replace("{id}", "${id}").replace("$$", "$").count("t") == text.count("t")
    if "$${" not in text and "{id}" not in text:
        assert joined == text


def test_inside_tables() -> None:
    """Placeholders are found in tables and arrays, at any depth."""
    found = placeholders({"a": ["${x}", {"b": "{id}"}], "c": 1})
    assert [one.name for one in found] == ["x", "id"]


def test_substitute() -> None:
    """Values are put in as they stand, and are not read again; what has none stays."""
    assert substitute("${a}/${b}/${a:int}", {"a": "${b}"}) == "${b}/${b}/${a:int}"
