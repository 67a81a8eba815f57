"""Templates: what they may be made of, what becomes of variables, and the text that is made of HTML."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialerd.mail.plain import text_of
from dialerd.mail.templates import BadTemplate, Template, compiled
from dialerd.model.campaign import TemplateSource
from dialerd.model.errors import BadText
from dialerd.model.placeholders import Missing, filled


def of(text: str | None = None, html: str | None = None, missing: Missing = Missing.ERROR) -> Template:
    return compiled(TemplateSource(name="t", html=html, text=text), missing)


@pytest.mark.parametrize(
    ("source", "variables", "expected"),
    [
        ("Hola {{name}}, ${name}, ${ name }!", {"name": "Ana"}, "Hola Ana, Ana, Ana!"),
        ("${not} ${none} ${True}", {"not": 1, "none": 2, "True": 3}, "1 2 3"),
        ("${First name} ${a-b} ${1}", {"First name": "Ana", "a-b": 1, "1": 2.5}, "Ana 1 2.5"),
        ("{{a}}|{{b}}|{{c}}", {"a": None, "b": True, "c": False}, "|true|false"),
        ("{% if vip %}Oro{% else %}Plata{% endif %}", {"vip": False}, "Plata"),
        ("{% if n > 3 and not x %}más{% elif n == 1 %}uno{% endif %}.", {"n": 1, "x": 0}, "uno."),
        ("{{ name|upper }} {{ x|default('nada') }}", {"name": "ana"}, "ANA nada"),
        ("{{ 'a' if x is defined else 'b' }}", {}, "b"),
        ("cuesta $500 y $ {5}", {}, "cuesta $500 y $ {5}"),
        ("<b>{{x}}</b>", {"x": "<&>"}, "<b><&></b>"),
        ("uno\n{% if x %}\ndos\n{% endif %}\ntres\n", {"x": 1}, "uno\ndos\ntres\n"),
    ],
)
def test_what_templates_say(source: str, variables: dict[str, Any], expected: str) -> None:
    """Variables in both spellings and of any name, conditions and a few filters are filled in."""
    assert of(source).text(variables) == expected


@given(st.text())
def test_html_is_escaped(value: str) -> None:
    """No value becomes a tag, an attribute or an entity."""
    said = of(html='<p title="{{x}}">${x}</p>').html({"x": value})

    inside = said.removeprefix('<p title="').partition('">')[0]
    assert not set("<>\"'") & set(inside)
    assert said == f'<p title="{inside}">{inside}</p>'


@pytest.mark.parametrize(
    "source",
    [
        "{{ a.__class__ }}", "{{ a['b'] }}", "{{ f() }}", "{{ 'a' * 9 }}", "{{ 9 ** 9 }}", "{{ a ~ b }}", "{{ a + b }}",
        "{% for x in y %}{% endfor %}", "{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}",
        "{% set x = 1 %}", "{% macro m() %}{% endmacro %}", "{% block b %}{% endblock %}",
        "{% filter upper %}{% endfilter %}",
        "{{ a|replace('a', 'b') }}", "{% if a|format %}{% endif %}", "{{ a|attr('b') }}",
        "{% if a is sameas b %}{% endif %}",
        "{{ [1, 2] }}", "{{ {'a': 1} }}", "{{ self }}", "{{ a-b }}", "{{ a", "{% if a %}", "{% nothing %}",
        "{% if a %}" * 500 + "{% endif %}" * 500,
    ],
)  # fmt: skip
def test_what_no_template_has(source: str) -> None:
    """What could reach into Python, or take time or memory without end, is refused with its line."""
    for as_html in (False, True):
        with pytest.raises(BadTemplate, match="^line 2: |nested"):
            of(**{"html" if as_html else "text": f"uno\n{source}"}, missing=Missing.ERROR)


@pytest.mark.parametrize(
    ("source", "name"),
    [("{{ amount }}", "amount"), ("${First name}", "First name"), ("{% if vip %}{% endif %}", "vip"),
     ("{{ a|upper }}", "a"), ("{{ 1 if a == 2 }}", "a")],
)  # fmt: skip
def test_a_missing_variable(source: str, name: str) -> None:
    """A variable that is asked for and not there is named; with `missing = "blank"` nothing stands for it."""
    with pytest.raises(BadText, match=f"'{name}'"):
        of(source).text({"other": 1})

    assert of(source, missing=Missing.BLANK).text({"other": 1}) == ""


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("{{x}}", [1]),
        ("{{x}}", {"a": 1}),
        ("{{ x|round }}", "a"),
        ("{{ 1 if x < 3 }}", "a"),
        ("{{x}}", "a" * 6_000_000),
    ],
)
def test_values_that_do_not_fit(source: str, value: Any) -> None:
    """A value that cannot be written, compared or sent is an error of that message."""
    with pytest.raises(BadText):
        of(source).text({"x": value})


@pytest.mark.parametrize("say", [
    lambda text, value: of(text).text({"a": value}),
    lambda text, value: of(html=text).html({"a": value}),
    lambda text, value: filled(text, {"a": value}),
])  # fmt: skip
def test_no_text_fills_the_memory(say: Callable[[str, str], str]) -> None:
    """A short text that asks for a long value very often is refused while it grows; a long one is said."""
    value = "<" * 1_000_000
    tracemalloc.start()
    with pytest.raises(BadText, match="5000000 characters"):
        say("{{a}}" * 300, value)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 60_000_000
    assert len(say("{{a}}" * 3, value[:300_000])) >= 900_000


HTML = """<html><head><title>{{t}}</title></head><body><h1>Hola {{name}}</h1>
{% if vip %}
<p>Gracias, ${First name}.</p>
{% endif %}
<p>Pague <a href="{{url}}">aquí</a> {{ amount }}<br>o no</p></body></html>"""


@pytest.mark.parametrize("vip", [True, False])
def test_text_is_made_of_html(vip: bool) -> None:
    """Without a text of its own, a template says in text what its HTML says, values as they are."""
    variables = {"name": "A & B", "First name": "<Ana>", "url": "https://x.example/1", "amount": 5, "vip": vip, "t": ""}
    template = of(html=HTML)

    assert template.text(variables) == text_of(template.html(variables))
    assert ("<Ana>" in template.text(variables)) is vip
