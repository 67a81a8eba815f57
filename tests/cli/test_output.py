"""What the commands print: tables for people, plain columns for pipes, progress on a terminal only."""

import io
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from dialerd.cli.output import iso, local, print_json, print_table, progress
from tests.cli.calls import ANSI


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    def shown(self) -> str:
        return ANSI.sub("", self.getvalue())


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Put a terminal of 40 columns on stdout and stderr: from the call on, as pytest sets its own."""
    for name, value in {"COLUMNS": "40", "LINES": "20", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def put() -> Terminal:
        stream = Terminal()
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return put


def test_a_pipe_gets_plain_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers stand right with their thousands, texts left and whole, nothing is an empty cell."""
    print_table(["name", "n", "why"], [("a", 1_234_567, None), ("b" * 100, 5, "x\ny")], title="T")

    assert [
        "T",
        f"name{' ' * 96}          n  why",
        f"a{' ' * 99}  1,234,567",
        f"{'b' * 100}          5  x y",
    ] == capsys.readouterr().out.splitlines()


def test_an_empty_table_is_its_header(capsys: pytest.CaptureFixture[str], on_terminal: Callable[[], Terminal]) -> None:
    """Without rows there is still a header, in a pipe and on a terminal."""
    print_table(["a", "b"], [])
    terminal = on_terminal()
    print_table(["a", "b"], [])

    assert "a  b\n" == capsys.readouterr().out
    assert ["a", "b"] == terminal.shown().split()


def test_a_terminal_cuts_the_widest(on_terminal: Callable[[], Terminal]) -> None:
    """On a terminal the widest texts are cut until all fits; what must be whole stays whole."""
    terminal = on_terminal()
    print_table(["id", "name", "n"], [("0123456789ab", "x" * 50, 7)], whole=("id",))

    header, line = terminal.shown().splitlines()
    assert f"0123456789ab  {'x' * 20}…  7" == line.rstrip()
    assert header.split() == ["id", "name", "n"]


def test_a_terminal_leaves_out_what_has_no_room(on_terminal: Callable[[], Terminal]) -> None:
    """Columns that do not fit are left out from the right, and said to be."""
    terminal = on_terminal()
    print_table(["a", "b", "c", "d"], [("x" * 20,) * 4])

    header, line, note = terminal.shown().splitlines()
    assert ["a", "b", "c"] == header.split()
    assert len(line) <= 40
    assert "(no room for d)" == note.strip()


def test_names_are_no_markup(on_terminal: Callable[[], Terminal]) -> None:
    """What people call their campaigns is shown as it is."""
    terminal = on_terminal()
    print_table(["name"], [("[red]x[/red] :smile:",)])

    assert "[red]x[/red] :smile:" in terminal.shown()


def test_wide_characters_count_as_two(on_terminal: Callable[[], Terminal]) -> None:
    """A line fits the terminal whatever its script."""
    terminal = on_terminal()
    print_table(["name", "n"], [("漢" * 50, 1)])

    line = terminal.shown().splitlines()[1].rstrip()
    assert line.endswith("…  1")
    assert sum(2 if character == "漢" else 1 for character in line) <= 40


def test_control_characters_do_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A text cannot steer the terminal of who lists it."""
    print_table(["text"], [("\x1b[2J\r\u202e!",)])

    assert "text\n [2J  !\n" == capsys.readouterr().out


def test_progress_is_shown_on_a_terminal(on_terminal: Callable[[], Terminal]) -> None:
    """While something takes long, a terminal shows how far it has come."""
    terminal = on_terminal()
    with progress("reading") as show:
        show(3, 9)
        show(9)

    assert "reading" in terminal.shown()
    assert "9/9" in terminal.shown()


def test_no_progress_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe or a log gets no bars."""
    with progress("reading") as show:
        show(3, 9)

    assert ("", "") == capsys.readouterr()


def test_json_has_instants_in_utc(capsys: pytest.CaptureFixture[str]) -> None:
    """Programs read ISO 8601 with a Z, and texts as they are."""
    print_json({"at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "text": "ñ", "none": None})

    assert '{\n  "at": "2026-01-02T03:04:05Z",\n  "text": "ñ",\n  "none": null\n}\n' == capsys.readouterr().out
    with pytest.raises(TypeError, match="object has no JSON form"):
        print_json(object())


def test_instants_as_text() -> None:
    """An instant is shown on a clock of its reader's; none is nothing."""
    at = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)

    assert "2026-01-02 00:04:05" == local(at, timezone(-timedelta(hours=3)))
    assert "9999-12-31 23:00:00" == local(datetime(9999, 12, 31, 23, tzinfo=UTC), timezone(timedelta(hours=3)))
    assert "2026-01-02T03:04:05.000678Z" == iso(at)
    assert (None, None) == (local(None, UTC), iso(None))
