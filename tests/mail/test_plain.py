"""Text made from HTML."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialerd.mail.plain import looks_like_html, text_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [("<p>a</p>", True), ("Hola<br>chau", True), ("Hola<br/>", True), ('<a href="x">y</a>', True),
     ("<!DOCTYPE html>x", True), ("<style>p {}</style>Hola", True), ("<section class='x'>Hola</section>", True),
     ("a < b and b > c", False), ("Dear <title> <name>, <link>", False),
     ("Juan <juan@example.com>", False), ("Ana <a@example.com>", False),
     ("<3", False), ("", False)],
)  # fmt: skip
def test_looks_like_html(text: str, expected: bool) -> None:
    """Only tags make a body HTML, not every `<`."""
    assert looks_like_html(text) is expected


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Uno</p><p>Dos</p>", "Uno\n\nDos"),
        ("Uno<br>Dos<br/>Tres", "Uno\nDos\nTres"),
        ("<div>Uno</div><div>Dos</div>", "Uno\nDos"),
        ("<ul><li>Uno<li>Dos</ul>fin", "- Uno\n- Dos\n\nfin"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
        ("  Uno\n  dos &amp; <b>tr</b>es&nbsp;más ", "Uno dos & tres más"),
        ('<a href="https://example.com/x">Vea</a> esto', "Vea (https://example.com/x) esto"),
        ('<a href="https://example.com">https://example.com</a>', "https://example.com"),
        ('<a href="#top">arriba</a>', "arriba"),
        ('<img src="x" alt="Logo">', "Logo"),
        ("<head><title>T</title><body>x", "x"),
        ("<script>if (a < b) {}</script>x<!-- no -->", "x"),
        ("<![if !mso]>x<![endif]><![foo bar]>y", "xy"),
        ("a < b", "a < b"),
        ("<div>Uno</div>\n<div>Dos</div>", "Uno\nDos"),
        ("<ul>\n<li><p>Uno</p></li>\n<li> <div>Dos</div></li></ul>", "- Uno\n\n- Dos"),
        ("a<ol><li>Uno <ul><li>sub</li>\n</ul></li><li></li><li>Dos</li></ol>b", "a\n\n- Uno\n-- sub\n-\n- Dos\n\nb"),
        ("<dl><dt>T</dt><dd>D</dd></dl>", "T\nD"),
        ("<pre>uno\n  dos</pre>\nx\ny", "uno\ndos\n\nx y"),
        ("Vea\u00a0\u200c\u034f &zwnj;&nbsp;&shy; más\u200bcosas", "Vea más\u200bcosas"),
    ],
)
def test_text_of(html: str, text: str) -> None:
    """Text from HTML keeps paragraphs, lines, lists and where links lead."""
    assert text_of(html) == text


@given(st.text(alphabet="<>/!-[]&;ab=\"' \n") | st.text())
def test_text_of_never_fails(html: str) -> None:
    """Whatever is taken for HTML has a text."""
    text_of(html)


@pytest.mark.parametrize(
    "piece", ["<a ", "<a b=", "<a href='", "<!--", "</", "<![CDATA[", "<?", "<p x='>", "{{a}}", "<b>"]
)
def test_text_of_never_takes_long(piece: str) -> None:
    """A long text of broken tags takes a moment: a parser that looked for each one's end would take hours."""
    text_of(piece * (300_000 // len(piece)))


def test_comments_say_nothing() -> None:
    """What is commented out is not read, tags in it included; a comment that never ends is none."""
    assert text_of("a<!-- <b>no</b> --> b <!--[if mso]><table><![endif]-->c <!-- d") == "a b c <!-- d"
