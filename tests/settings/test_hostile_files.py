"""Files nobody would write: each is a problem of one line, never a traceback or an endless wait."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dialerd.model.errors import ConfigError
from dialerd.settings import load

Write = Callable[..., Path]
Problems = Callable[..., list[str]]


def lines_of(folder: Path) -> list[str]:
    """Return the problems of a folder, paths within it."""
    with pytest.raises(ConfigError) as caught:
        load(folder, environ={})
    return [line.replace(f"{folder}/", "") for line in caught.value.problems]


@pytest.mark.parametrize(
    "value",
    ["nan", "-nan", "inf", "-inf", "1e308", "1e999", "-1e999", "9" * 400, "0x" + "f" * 6000, "-1", "1_000_000_001_000"],
)
@pytest.mark.parametrize("key", ["per_second", "between_ms", "expires_s", "max_in_flight", "max_parts"])
def test_numbers_out_of_this_world(problems: Problems, sms: str, key: str, value: str) -> None:
    """No number is too large or too odd to be refused in one short line."""
    (line,) = problems(a=f"{sms}{key} = {value}")
    assert line.startswith(f"campaigns/a.toml: {key}: expected a ")
    assert len(line) < 200


def test_more_digits_than_python_reads(problems: Problems) -> None:
    """A decimal number of thousands of digits is refused with its file."""
    (line,) = problems(f"a = {'9' * 5000}")
    assert line.startswith("dialerd.toml: no valid TOML for us: ")


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        "a = " + "{a=" * 100_000,
        ".".join("a" * 2_000) + " = 1",
        "[" + ".".join("a" * 2_000) + "]",
        "[providers.p]\ndriver = 'http'\nurl = 'http://h'\njson." + ".".join("a" * 2_000) + " = 1",
        "[providers.p]\ndriver = 'http'\nurl = 'http://h'\njson = { a = " + "[" * 60 + "]" * 60 + "}",
    ],
    ids=["arrays", "tables", "dotted", "header", "json", "json-arrays"],
)
def test_nesting(problems: Problems, text: str) -> None:
    """What is nested beyond reason is refused."""
    lines = problems(text)
    assert lines[0].startswith("dialerd.toml: ")
    assert all(len(line) < 300 for line in lines)


@pytest.mark.parametrize(
    "content", [b"\xff\xfen\0", b"# \xe9\nname = 1", b"a = '\xc3'", b"\x00", b"\x1f\x8b\x08", b"a = '\x01'"]
)
def test_no_text(write: Write, content: bytes) -> None:
    """A file that is not UTF-8, is compressed or has control characters is refused with its place."""
    folder = write()
    (folder / "campaigns" / "a.toml").write_bytes(content)
    (line,) = lines_of(folder)
    assert line.startswith(("campaigns/a.toml: it is not UTF-8 (at line 1", "campaigns/a.toml: no valid TOML: "))
    assert "line 1" in line
    assert line.isprintable()


def test_folders_pipes_and_loops(write: Write) -> None:
    """A folder, a pipe, a loop and a link to nowhere that are called *.toml are problems of their own."""
    folder = write()
    (folder / "campaigns" / "a.toml").mkdir()
    os.mkfifo(folder / "campaigns" / "b.toml")
    (folder / "campaigns" / "c.toml").symlink_to("c.toml")
    (folder / "campaigns" / "d.toml").symlink_to("nowhere")
    assert lines_of(folder) == [
        "campaigns/a.toml: it is a folder",
        "campaigns/b.toml: it is no regular file",
        "campaigns/c.toml: Too many levels of symbolic links",
        "campaigns/d.toml: No such file or directory",
    ]


def test_dialerd_toml_is_a_folder(write: Write) -> None:
    """A folder in the place of dialerd.toml is said to be one."""
    folder = write()
    (folder / "dialerd.toml").unlink()
    (folder / "dialerd.toml").mkdir()
    assert lines_of(folder) == ["dialerd.toml: it is a folder"]


@pytest.mark.parametrize("kind", ["file", "loop", "nowhere"])
def test_campaigns_is_no_folder(write: Write, kind: str) -> None:
    """`campaigns` may be absent, but not be a file, a loop or a link to nowhere."""
    folder = write()
    campaigns = folder / "campaigns"
    campaigns.rmdir()
    if kind == "file":
        campaigns.write_text("")
    else:
        campaigns.symlink_to("campaigns" if kind == "loop" else "nowhere")
    (line,) = lines_of(folder)
    assert line.startswith("campaigns: ")


def test_config_dir_is_a_file(write: Write) -> None:
    """--config with a file is said so."""
    folder = write()
    assert all("Not a directory" in line for line in lines_of(folder / "dialerd.toml"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable(write: Write, sms: str) -> None:
    """A file that may not be read is a problem, not a traceback."""
    folder = write(a=sms)
    (folder / "campaigns" / "a.toml").chmod(0)
    assert lines_of(folder) == ["campaigns/a.toml: Permission denied"]


def test_names_of_files(write: Write) -> None:
    """A file whose name has a line feed or is no UTF-8 still makes one line that can be printed."""
    folder = write()
    (folder / "campaigns" / "a\nb.toml").write_text("")
    Path(os.fsdecode(os.fsencode(folder / "campaigns") + b"/\xff.toml")).write_text("")
    lines = lines_of(folder)
    assert len(lines) == 6
    assert all(line.isprintable() for line in lines)


def test_odd_keys(problems: Problems) -> None:
    """Keys can be anything in TOML: they are shown on one line, and long ones do not break anything."""
    lines = problems(
        '"a\\nb" = 1\n"" = 2\n"\\u202e" = 3\n"a.b" = 4\n[providers."x y"]\ndriver = "discard"\n"\\u0000" = 5'
    )
    assert len(lines) == 5
    assert all(line.isprintable() for line in lines)
    assert lines[3].startswith('dialerd.toml: "a.b": unknown key: ')
    assert lines[4].startswith('dialerd.toml: providers."x y"."\\u0000": unknown key: ')


def test_long_values_are_cut(problems: Problems, sms: str) -> None:
    """A value of a megabyte does not fill the screen."""
    (line,) = problems(a=f"{sms}source = '{'x' * 1_000_000}'")
    assert len(line) < 250


@pytest.mark.parametrize("pattern", ["a{99999999999}", "(" * 5000, "[", "(?P<n>a)(?P<n>b)", "*", "\\\\"])
def test_regular_expressions(problems: Problems, pattern: str) -> None:
    """A pattern that cannot be compiled, for whatever reason, is refused."""
    (line,) = problems(f"[providers.p]\ndriver = 'discard'\naccept = \"{pattern}\"")
    assert line.startswith("dialerd.toml: providers.p.accept: expected ")


def test_environment_that_is_no_text(problems: Problems) -> None:
    """An environment variable that is not UTF-8 is refused, not passed on to fail later."""
    lines = problems("[providers.p]\ndriver = 'smtp'\nhost = { env = 'H' }", {"H": "caf\udce9"})
    assert lines == [
        "dialerd.toml: providers.p.host: expected a string of 1 to 200 characters without control characters "
        "(got (hidden))"
    ]
