"""Templates: files with `{{name}}` or `${name}` and `{% if … %}` in them. The only file that knows jinja2.

Jinja's sandbox keeps a template from reaching into Python; what would still let it eat time and memory (loops, calls,
arithmetic, includes) is not in the list of what a template may be made of.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, UndefinedError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from dialerd.mail.plain import text_of
from dialerd.model.campaign import TemplateSource
from dialerd.model.errors import BadText
from dialerd.model.placeholders import LONGEST, Missing, spelled, too_long

__all__ = ["BadTemplate", "Template", "compiled"]

ALLOWED = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Filter,
    nodes.Keyword,
    nodes.If,
    nodes.CondExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Const,
    nodes.Test,
)
#: None makes its value much longer, and none reaches into it.
FILTERS = ("capitalize", "default", "lower", "round", "title", "trim", "upper")
#: Questions with `is`; the comparisons that Jinja makes of `==` and the like are no tests.
TESTS = ("defined", "undefined", "none", "number", "string", "true", "false")

#: Names that Jinja gives a meaning of its own.
TAKEN = frozenset({"self", "super", "caller", "loop", "varargs", "kwargs"})
#: Words that are no names for Jinja, or stand for a value.
WORDS = frozenset({"not", "true", "True", "false", "False", "none", "None"})

#: A number is no longer (sys.set_int_max_str_digits), and a character is escaped by no more.
LONGEST_NUMBER, LONGEST_ESCAPE = 4300, 5

#: `${name}`, outside of Jinja's own marks.
DOLLAR = re.compile(r"\$\{([^{}\n]{1,200})\}")
#: What is no text in a template's HTML.
MARKS = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)


class BadTemplate(Exception):
    """A template that cannot be used: the text says on which line, and why."""


def _shown(value: Any) -> Any:
    """Return what is written in place of a value."""
    # What a filter has escaped, and what is not there, is Jinja's to write.
    return value if isinstance(value, str | Undefined) else spelled(value)


def _environment(undefined: type[Undefined], *, as_html: bool) -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(
        undefined=undefined,
        autoescape=as_html,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals.clear()
    return made


UNDEFINED = {Missing.ERROR: StrictUndefined, Missing.BLANK: Undefined}
ENVIRONMENTS = {
    (missing, as_html): _environment(undefined, as_html=as_html)
    for missing, undefined in UNDEFINED.items()
    for as_html in (False, True)
}

#: The names of variables that are no names for Jinja (`${First name}`), by those that stand for them.
ALIASES: dict[str, str] = {}


class Template:
    """A template ready to be filled in; `has_html` tells whether it has an HTML side. The text side is always there."""

    def __init__(self, source: TemplateSource, missing: Missing) -> None:
        html, text = source.html, source.text
        self.has_html = html is not None
        self._html = _Side(html, missing, as_html=True) if html is not None else None
        self._derived = text is None
        if text is not None:
            self._text = _Side(text, missing, as_html=False)
        else:
            assert html is not None
            try:
                self._text = _Side(text_of(_without_dollars(html), MARKS), missing, as_html=False)
            except BadTemplate:
                # An `if` that begins in an attribute and ends elsewhere, say.
                raise BadTemplate(f"no text can be made of this HTML: put {source.name}.txt beside it") from None

    def html(self, variables: Mapping[str, Any]) -> str:
        """Return the HTML with the variables' values escaped in it; BadText as below."""
        assert self._html is not None
        return self._html.render(variables)

    def text(self, variables: Mapping[str, Any]) -> str:
        """Return the text with the variables' values in it.

        Raises BadText where a variable is missing, or cannot be used as the template wants.
        """
        text = self._text.render(variables)
        # Of parts that are left out, the empty lines around them would stay.
        if not self._derived:
            return text
        return re.sub(r"\n{3,}", "\n\n", "\n".join(line.strip() for line in text.split("\n"))).strip()


class _Side:
    """The HTML or the text of a template."""

    def __init__(self, source: str, missing: Missing, *, as_html: bool) -> None:
        environment = ENVIRONMENTS[missing, as_html]
        try:
            tree = environment.parse(_without_dollars(source))
            _check(tree)
            self._template = environment.from_string(tree)
        except TemplateSyntaxError as error:
            raise BadTemplate(f"line {error.lineno}: {error.message}") from None
        except RecursionError:
            raise BadTemplate("nested too deeply") from None
        names = [node.name for node in tree.find_all(nodes.Name)]
        self._aliases = {alias: ALIASES[alias] for alias in names if alias in ALIASES}
        self._own, self._asked = len(source), len(names)

    def render(self, variables: Mapping[str, Any]) -> str:
        if self._aliases:
            given = {alias: variables[name] for alias, name in self._aliases.items() if name in variables}
            variables = {**variables, **given}
        try:
            text = self._text(variables)
        except BadText:
            raise
        except UndefinedError as error:
            asked = re.match(r"'(\w+)'", error.message or "")
            name = ALIASES.get(asked[1], asked[1]) if asked else error.message
            raise BadText(
                f"the template asks for {name!r}, which the message does not bring", "bad variables"
            ) from error
        except Exception as error:  # whatever a value makes of a filter or a comparison
            raise BadText(f"the template cannot use these variables: {error}", "bad variables") from error
        return text

    def _text(self, variables: Mapping[str, Any]) -> str:
        longest = max(
            (len(value) if isinstance(value, str) else LONGEST_NUMBER for value in variables.values()), default=0
        )
        if self._own + self._asked * longest * LONGEST_ESCAPE <= LONGEST:
            return self._template.render(variables)
        # Counted as it grows: what a template asks for often enough fills all memory.
        pieces, room = [], LONGEST
        for piece in self._template.generate(variables):
            pieces.append(piece)
            room -= len(piece)
            if room < 0:
                raise too_long()
        return "".join(pieces)


@cache
def compiled(source: TemplateSource, missing: Missing) -> Template:
    """Return a template ready to be filled in.

    Raises BadTemplate where it has a mistake, or more in it than a template may.
    """
    return Template(source, missing)


def _without_dollars(source: str) -> str:
    """Return a template with `{{ name }}` in place of `${name}`; what is no name for Jinja gets an alias."""

    def braces(match: re.Match[str]) -> str:
        name = match[1].strip()
        if not name.isidentifier() or name in TAKEN | WORDS:
            alias = "variable_" + name.encode().hex()
            ALIASES[alias] = name
            name = alias
        return f"{{{{ {name} }}}}"

    return DOLLAR.sub(braces, source)


def _check(tree: nodes.Template) -> None:
    """Refuse what is not in the lists."""
    for node in [tree, *tree.find_all(nodes.Node)]:
        if not isinstance(node, ALLOWED):
            raise BadTemplate(f"line {node.lineno}: a template has no {_kind(node)}; only {{{{name}}}}, filters and if")
        if isinstance(node, nodes.Name) and (node.ctx != "load" or node.name in TAKEN):
            raise BadTemplate(f"line {node.lineno}: {node.name!r} is no name for a variable")
        if isinstance(node, nodes.Filter) and node.name not in FILTERS:
            raise BadTemplate(f"line {node.lineno}: no filter {node.name!r} here; there are {', '.join(FILTERS)}")
        if isinstance(node, nodes.Test) and node.name not in TESTS:
            raise BadTemplate(f"line {node.lineno}: no test {node.name!r} here; there are {', '.join(TESTS)}")


def _kind(node: nodes.Node) -> str:
    """Return what a piece of a template is called: `For` is "for", `Getattr` is "getattr"."""
    return type(node).__name__.lower()
