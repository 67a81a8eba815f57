"""templates/: read with the configuration, and wrong as a part of it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dialerd.model.campaign import TemplateSource
from dialerd.model.errors import ConfigError
from dialerd.settings import load

Write = Callable[..., Path]

EMAIL = 'name = "N"\nchannel = "email"\nprovider = "out"\n[email]\nfrom = "a@example.com"\ntemplate = "{}"\n'


def test_all_errors_at_once(write: Write) -> None:
    """Every template with a mistake is told with its file and line, beside all other errors."""
    folder = write(a=EMAIL.format("good"), b=EMAIL.format("bad").replace('"N"', '"M"'), c=EMAIL.format("gone"))
    templates = folder / "templates"
    templates.mkdir()
    (templates / "good.html").write_text("<p>{{ name }}</p>")
    (templates / "good.txt").write_text("a\n{{ name")
    (templates / "bad.html").write_text("<p>\n{% for x in y %}{% endfor %}")
    (templates / "latin.txt").write_bytes(b"\xf1")
    (templates / "open.html").write_text("<p title='{% if x %}'>a{% endif %}</p>")
    (templates / ".good.txt.swp").write_text("{{")
    (templates / "README.md").write_text("{{")
    os.mkfifo(templates / "pipe.txt")

    with pytest.raises(ConfigError) as caught:
        load(folder, environ={})

    assert [line.replace(f"{folder}/", "") for line in caught.value.problems] == [
        "campaigns/c.toml: name: expected a name of its own, not that of " + str(folder / "campaigns/a.toml")
        .replace(f"{folder}/", "") + " (got 'N')",
        "campaigns/c.toml: email.template: expected a file templates/NAME.html or .txt: 'bad', 'good', 'latin',"
        " 'open', 'pipe' (got 'gone')",
        "templates/bad.html: line 2: a template has no for; only {{name}}, filters and if",
        "templates/good.txt: line 2: unexpected end of template, expected 'end of print statement'.",
        "templates/latin.txt: it is not UTF-8 (at line 1, byte 1 of the line)",
        "templates/open.html: no text can be made of this HTML: put open.txt beside it",
        "templates/pipe.txt: it is no regular file",
    ]  # fmt: skip


def test_both_sides(write: Write) -> None:
    """NAME.html and NAME.txt are two sides of one template, and all campaigns can ask for it."""
    folder = write(a=EMAIL.format("t"), b=EMAIL.format("u").replace('"N"', '"M"'))
    (folder / "templates").mkdir()
    for name, content in {"t.html": "<p>a</p>", "t.txt": "a\n", "u.txt": "u"}.items():
        (folder / "templates" / name).write_text(content)

    for campaign in load(folder, environ={}).campaigns.values():
        assert campaign.email is not None
        assert campaign.email.templates == {
            "t": TemplateSource(name="t", html="<p>a</p>", text="a\n"),
            "u": TemplateSource(name="u", text="u"),
        }
