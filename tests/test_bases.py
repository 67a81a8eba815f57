"""Bases: what a line says, which file is one, and that a base comes in whole, once and in order, whoever is killed."""

import asyncio
import codecs
import csv
import io
import json
import os
import re
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import text

from dialerd import bases
from dialerd.bases import files, lines, loading, moving
from dialerd.bases.blacklists import _read_line
from dialerd.bases.files import Line, look
from dialerd.bases.judging import Judge
from dialerd.bases.lines import Fields, is_header, read_line
from dialerd.bases.seen import Seen
from dialerd.model.calendar import parse_schedule
from dialerd.model.campaign import Bases, Campaign, EmailPart, UnicodeRule
from dialerd.model.errors import BadAddress, DatabaseGone, Refused
from dialerd.model.message import Channel
from dialerd.settings import DiscardProvider
from dialerd.store import Store, blacklist, staged, uploads
from dialerd.store.blacklist import Entry
from tests.store.beside import while_others_write
from tests.store.filled import NOW, migrated

VENTAS = Campaign(name="Ventas->", channel=Channel.SMS, provider="p", region="UY")
HELD = Campaign(name="Held", channel=Channel.SMS, provider="p", region="UY", bases=Bases.HELD)
MAIL = Campaign(name="News", channel=Channel.EMAIL, provider="p", email=EmailPart(sender="a@example.com"))
SETTINGS: Any = SimpleNamespace(providers={}, campaigns={one.name: one for one in (VENTAS, HELD, MAIL)})

#: Anything that one line can hold.
LINE_TEXT = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))


def clock() -> datetime:
    return NOW


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """An empty database at this version's tables."""
    with migrated(database_url) as opened:
        yield opened


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lines a transaction."""
    monkeypatch.setattr(loading, "MOST_LINES", {"sqlite": 2, "postgresql": 2})
    monkeypatch.setattr(moving, "STEP", {"sqlite": 2, "postgresql": 2})


def written(folder: Path, *lines: str, name: str = "base.csv") -> Path:
    path = folder / name
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def numbered(folder: Path, count: int) -> Path:
    return written(folder, *(f"Ventas->;098344484;text {n};9999" for n in range(1, count + 1)))


def found(store: Store, sql: str) -> list[Any]:
    """Return what a query finds: the values of one column, or tuples of several."""
    rows = store.transact_here(lambda connection: [tuple(row) for row in connection.execute(text(sql))])
    return [row[0] if len(row) == 1 else row for row in rows]


def texts(store: Store) -> list[str]:
    return found(store, "SELECT data FROM sms_spool ORDER BY seq")


# What a line says


@pytest.mark.parametrize(
    ("rest", "data", "priority"),
    [
        ("Hello World!;9999", "Hello World!", 9999),
        ("Hello;1", "Hello", 1),
        ("Hello; 0007 ", "Hello", 7),
        ("Hello;", "Hello", 9999),
        ("Hello;5;", "Hello", 5),
        ("Hello;;", "Hello", 9999),
        ("a;b;c;5", "a;b;c", 5),
        ("a;b;c;5;", "a;b;c", 5),
        ("a;b;", "a;b", 9999),
        ("a;;5", "a;", 5),
        (" a ;5", " a ", 5),
        ('"a;b";5', "a;b", 5),
        ('"a;b";5;', "a;b", 5),
        ('"a;b";', "a;b", 9999),
        ('"a ""b"" c";5', 'a "b" c', 5),
        ('"a;b";"5"', "a;b", 5),
        # No quoted field: the closing quote is followed by something else.
        ('"Now" or never;5', '"Now" or never', 5),
        ('"2x1; today" only;5', '"2x1; today" only', 5),
        # A quoted field, and more text: so it was text all along.
        ('"a";b;5', '"a";b', 5),
        ('say "a";5', 'say "a"', 5),
        ('"a;5', '"a', 5),
        ("1234;", "1234", 9999),
    ],
)
def test_sms_text_is_what_stands_between(rest: str, data: str, priority: int) -> None:
    """Campaign and number are read from the left, the priority from the right; the text is all between them."""
    fields = read_line(f"Ventas->;098344484;{rest}", Channel.SMS)

    assert Fields("Ventas->", "098344484", data, priority) == fields


@pytest.mark.parametrize("priority", ["0", "10000", "-1", "1.5", "x", "١", "0;", "10000;", "-1;", "1.5;"])
def test_priority_is_1_to_9999(priority: str) -> None:
    """What is no number from 1 to 9999 is no priority, with or without a `;` after it."""
    assert read_line(f"c;1;text;{priority}", Channel.SMS).fault == "bad priority"


@pytest.mark.parametrize("line", ["", "c", "c;1", "c;1;"])
def test_missing_fields_are_empty(line: str) -> None:
    """A line that ends early has empty fields, and which they are decides the reason."""
    assert not read_line(line, Channel.SMS).data
    assert not read_line(line, Channel.EMAIL).data


def test_campaign_and_number_may_be_quoted() -> None:
    """Every field may be quoted, so that a campaign may have a `;` in its name."""
    fields = read_line('"a;b"; "c" ;x;5', Channel.SMS)

    assert ("a;b", '"c"', "x") == (fields.campaign, fields.destination, fields.data)


@given(LINE_TEXT, st.integers(1, 9999))
@example('"', 1)
@example('";', 1)
@example('a";"b";5;', 5)
def test_written_correctly_every_text_loads_back(data: str, priority: int) -> None:
    """A writer that quotes what needs it (RFC 4180, with `;`) gets every text through."""
    line = io.StringIO()
    csv.writer(line, delimiter=";", lineterminator="").writerow(["Ventas->", "098344484", data, priority])

    fields = read_line(line.getvalue(), Channel.SMS)

    assert Fields("Ventas->", "098344484", data, priority) == fields


@given(LINE_TEXT.filter(lambda data: not data.startswith('"')), st.integers(1, 9999))
@example("a;b;", 3)
@example(";;", 3)
def test_unquoted_every_text_with_a_priority_loads_back(data: str, priority: int) -> None:
    """A writer that never quotes gets every text through that does not begin with a quote itself."""
    assert data == read_line(f"Ventas->;098344484;{data};{priority}", Channel.SMS).data


@pytest.mark.parametrize(
    ("rest", "data", "details"),
    [
        ('Dear ${V1};;"V1":"value","V2":"value";9999', "Dear ${V1}", {"variables": {"V1": "value", "V2": "value"}}),
        ("Body;;;9999", "Body", None),
        ("Body;;;", "Body", None),
        ("Body;;;9999;", "Body", None),
        ("Body;;;;", "Body", None),
        ("Body;Subject;;9999", "Body", {"subject": "Subject"}),
        ("<p>a;&nbsp;b;</p>;;;9999", "<p>a;&nbsp;b;</p>", None),
        ('a;b;S;"x":"1;2","y":"\\"z\\"";7', "a;b", {"subject": "S", "variables": {"x": "1;2", "y": '"z"'}}),
        ('a; "x":"1";S;"x":"1";7', 'a; "x":"1"', {"subject": "S", "variables": {"x": "1"}}),
        ('a;S; "x" : 1 , "y" : null ;7', "a", {"subject": "S", "variables": {"x": 1, "y": None}}),
        ('"a;b";"S;T";"x":"1";7', "a;b", {"subject": "S;T", "variables": {"x": "1"}}),
        ('a;b;"S;T";"x":"1";7', "a;b", {"subject": "S;T", "variables": {"x": "1"}}),
        ('a "b";"S ""T""";"x":"1";7', 'a "b"', {"subject": 'S "T"', "variables": {"x": "1"}}),
    ],
)  # fmt: skip
def test_email_line_is_read_from_the_right(rest: str, data: str, details: dict[str, Any] | None) -> None:
    """Priority, the longest tail of JSON members, the subject; what is left is the body."""
    fields = read_line(f"News;ana@example.com;{rest}", Channel.EMAIL)

    assert (data, details, None) == (fields.data, fields.details, fields.fault)


@pytest.mark.parametrize(
    "rest",
    [
        "Body;9999", "Body;Subject;9999", "Body;;x;9999", 'Body;;"x":y;9999', 'Body;;"x":NaN;9999',
        'Body;;"x":1e999;9999', 'Body;;"x":"1",;9999', 'Body;;"x";9999', 'Body;;"x":"\\ud800";9999',
        'Body;;"x":"\\u0000";9999',
        'Body;;"x":' + "[" * 10_000 + ";9999",
    ],
)  # fmt: skip
def test_email_line_needs_its_variables(rest: str) -> None:
    """Where the fifth field is missing, no JSON or none that a database takes, nobody can tell what is the body."""
    assert read_line(f"News;ana@example.com;{rest}", Channel.EMAIL).fault == "bad variables"


@given(LINE_TEXT, LINE_TEXT, st.dictionaries(LINE_TEXT, LINE_TEXT, max_size=4))
def test_written_correctly_every_mail_loads_back(body: str, subject: str, variables: dict[str, str]) -> None:
    """Quoted body and subject and any variables come through as they are."""
    quoted = ['"' + field.replace('"', '""') + '"' for field in (body, subject)]
    members = json.dumps(variables)[1:-1]

    fields = read_line(f"News;a@b.cc;{quoted[0]};{quoted[1]};{members};5", Channel.EMAIL)

    details = {"subject": subject.strip()} if subject.strip() else {}
    if variables:
        details |= {"variables": variables}
    assert (body, details or None, 5) == (fields.data, fields.details, fields.priority)


@pytest.mark.parametrize(
    "line", [";\"x\":[" * 20_000, ';"' * 50_000, ';"a":"b",' * 20_000, '"a' * 50_000, ';"a":1' * 20_000 + ","]
)  # fmt: skip
@pytest.mark.timeout(20)
def test_hostile_line_costs_little(line: str) -> None:
    """However a line is built, it is read in about linear time."""
    read_line(f"c;a;{line};1", Channel.EMAIL)
    read_line(f"c;a;{line};1", Channel.SMS)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("campaign;number;text;priority", True),
        ("Campaña;Número;Mensaje;Prioridad", True),
        ('"CAMPAIGN";"E-Mail";"Body"', True),
        (";telefono;texto;", True),
        ("Ventas->;098344484;text;priority", False),
        ("Ventas->;numero;hola;1", False),
        ("", False),
    ],
)
def test_header_is_recognised(line: str, expected: bool) -> None:
    """A first line of column names, in Spanish or English, is no message."""
    assert expected == is_header(line)


# Which file is a base


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_any_usual_encoding_and_line_ending(tmp_path: Path, encoding: str, newline: str, last: bool) -> None:
    """UTF-8 with or without BOM, UTF-16 with BOM, else Windows-1252; any line ending; the last one may be missing."""
    path = tmp_path / "x"
    path.write_bytes((f"año €{newline}{newline}dos" + newline * last).encode(encoding))

    assert [(1, "año €", True), (3, "dos", True)] == list(look(path).lines())


def test_utf16_of_the_other_endianness(tmp_path: Path) -> None:
    """The byte order mark says which way round UTF-16 is."""
    path = tmp_path / "x"
    path.write_bytes(codecs.BOM_UTF16_BE + "año".encode("utf-16-be"))

    assert ["año"] == [line.text for line in look(path).lines()]


def test_one_wrong_byte_far_behind_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """UTF-8 is all of the file or it is not UTF-8, also where a character stands across two blocks."""
    monkeypatch.setattr(files, "BLOCK", 3)
    path = tmp_path / "x"
    path.write_bytes("aaé€aaaa".encode())
    assert look(path).encoding == "utf-8"

    path.write_bytes("aaé€aaaa".encode() + b"\xe9")
    assert look(path).encoding == "cp1252"


@given(st.lists(LINE_TEXT.filter(lambda data: data.strip(" \t\x1a")), min_size=1))
def test_lines_come_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    """Only line ends end a line, not what Unicode counts among them (U+2028, U+0085)."""
    path = tmp_path_factory.mktemp("lines") / "x"
    path.write_bytes("\n".join(lines).encode("utf-8-sig"))

    assert lines == [line.text for line in look(path).lines()]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "is empty"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"PK\x03\x04\x14\x00[Content_Types].xml xl/workbook.xml", "Excel workbook .*save it as CSV"),
        (b"PK\x03\x04\x14\x00base.csv", "zip archive"),
        (b"BZh91AY&SY", "bzip2"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Office"),
        (b"%PDF-1.7", "PDF"),
        (b"a;b\0c", "binary"),
        ("a;b".encode("utf-16-le"), "binary .*byte order mark"),
        ("a;b\0".encode("utf-16"), "binary"),
    ],
)
def test_what_is_no_text_is_refused_by_name(tmp_path: Path, content: bytes, name: str) -> None:
    """An empty, binary or compressed file is refused with what it is."""
    path = tmp_path / "x.csv"
    path.write_bytes(content)

    with pytest.raises(Refused, match=name):
        look(path)


def test_pipe_is_refused(tmp_path: Path) -> None:
    """What can be read only once is refused, and nobody waits until somebody writes into it."""
    path = tmp_path / "x"
    os.mkfifo(path)

    with pytest.raises(Refused, match="no regular file"):
        look(path)


def test_a_file_of_zeros_is_refused_unread(tmp_path: Path) -> None:
    """Of a file of zeros, as a full or broken disk leaves it, the beginning is read, and no more memory taken."""
    path = tmp_path / "zeros.csv"
    with path.open("wb") as file:
        file.truncate(100 << 20)

    tracemalloc.start()
    try:
        with pytest.raises(Refused, match=r"zeros\.csv is a binary file: .* the first in line 1;"):
            look(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_nul_is_told_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One NUL in a large base can be found."""
    monkeypatch.setattr(files, "BLOCK", 8)
    path = written(tmp_path, *["12345678"] * 5, "1\x002")

    with pytest.raises(Refused, match="the first in line 6;"):
        look(path)


def test_long_line_is_skipped_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a line that is too long only the beginning is kept, and the next one is read as usual."""
    monkeypatch.setattr(files, "LONGEST_LINE", 1000)
    path = written(tmp_path, "a" * 1000, "b" * 1001, "c" * 5000, "d")

    lines = list(look(path).lines())

    assert [(1, 1000, True), (2, 500, False), (3, 500, False), (4, 1, True)] == [
        (number, len(line), whole) for number, line, whole in lines
    ]


async def test_file_that_grows_while_it_is_read_is_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_steps: None
) -> None:
    """A file that somebody is still writing is refused, and nothing of it is loaded."""
    path = numbered(tmp_path, 5)

    def grow(_name: str) -> None:
        with path.open("a") as file:
            file.write("Ventas->;098344484;late;1\n")

    monkeypatch.setattr(loading, "hit", grow)

    with pytest.raises(Refused, match="changed"):
        await bases.load(store, SETTINGS, path, now=NOW)
    assert await bases.move(store, clock=clock) == 0
    assert [] == found(store, "SELECT line FROM upload_line")


# Loading


async def test_good_lines_load_and_bad_ones_say_why(store: Store, tmp_path: Path, small_steps: None) -> None:
    """Each rejected line is kept with its number and its reason; the rest loads, in the file's order."""
    stop = Entry(channel=Channel.SMS, value="59898344499", reason="STOP")
    store.transact_here(blacklist.add, [stop], now=NOW)
    path = written(
        tmp_path,
        "campaña;numero;mensaje;prioridad",
        "Ventas->;098344484;Hello; World!;9999",
        "",
        "Ventas->;+598 98 344 484;Hello; World!;1",
        "Nobody;098344484;x;1",
        "News;ana@example.com;x;;;1",
        ";098344484;x;1",
        "Ventas->;12;x;1",
        "Ventas->;098344484;x;10000",
        "Ventas->;098344484;;1",
        "Ventas->;098344484; ;1",
        f"Ventas->;098344484;{'x' * 2000};1",
        "Ventas->;098344499;x;1",
        "Held;098344484;Hello; World!;5",
        "Ventas->;098344484;Hello; World!;9999",
    )

    loaded = await bases.load(store, SETTINGS, path, now=NOW)

    reasons = {
        4: "duplicate", 5: "unknown campaign", 6: "unknown campaign", 7: "unknown campaign", 8: "bad number",
        9: "bad priority", 10: "empty text", 11: "empty text", 12: "too long", 13: "blacklisted", 15: "duplicate",
    }  # fmt: skip
    assert reasons == {bad.line: bad.reason for bad in loaded.errors}
    assert (2, 11, False, "base.csv") == (loaded.accepted, loaded.rejected, loaded.already, loaded.base)
    assert loaded.errors[8].text == f"Ventas->;098344484;{'x' * 2000};1"[:500]
    assert [] == texts(store)
    assert await bases.move(store, clock=clock) == 2
    assert [
        ("Ventas->", "098344484", "59898344484", "Hello; World!", 9999, "base.csv", "queued", 1),
        ("Held", "098344484", "59898344484", "Hello; World!", 5, "base.csv", "held", 1),
    ] == found(
        store,
        "SELECT campaign, destination, address, data, priority, base, state, parts FROM sms_spool ORDER BY seq",
    )


async def test_a_line_of_ten_megabytes_is_left_out(store: Store, tmp_path: Path) -> None:
    """A line of 10 MB, as a lost line end makes it, is rejected as too long and never in memory; the others load."""
    path = tmp_path / "base.csv"
    with path.open("w") as file:
        file.write("Ventas->;098344484;before;5\nVentas->;098344485;")
        for _ in range(10):
            file.write("x" * (1 << 20))
        file.write(";5\nVentas->;098344486;after;5\n")

    tracemalloc.start()
    try:
        loaded = await bases.load(store, SETTINGS, path, now=NOW)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert [(2, "too long", 500)] == [(bad.line, bad.reason, len(bad.text)) for bad in loaded.errors]
    assert await bases.move(store, clock=clock) == 2
    assert ["before", "after"] == texts(store)
    assert peak < 10 << 20


async def test_numbers_as_a_spreadsheet_mangles_them(store: Store, tmp_path: Path) -> None:
    """5,49E+10 is a bad number, and not 549 or 54900000000; the good lines around it load."""
    mangled = ["5,49E+10", "5.49E+10", "5,49e+10", '"5,49E+10"', "59898344484.0", "59898344484,00"]
    path = written(
        tmp_path,
        "Ventas->;098344484;first;5",
        *(f"Ventas->;{number};x;5" for number in mangled),
        "Ventas->;098.344.485;last;5",
    )

    loaded = await bases.load(store, SETTINGS, path, now=NOW)

    assert [(line, "bad number") for line in range(2, 8)] == [(bad.line, bad.reason) for bad in loaded.errors]
    assert await bases.move(store, clock=clock) == 2
    assert ["first", "last"] == texts(store)


EXCEL = "\ufeff" + (
    "Campaña\tTeléfono\tTexto\tPrioridad\r\n"
    "Ventas->\t098344484\tHola señor; son 5€\t5\r\n"
    'Ventas->\t098344485\t"Dijo ""sí"", y ya"\t\r\n'
    "Ventas->\t098344486\ttres\t7\t\t\r\n"
    "Ventas->\t098344487\tone\ttab too many\t7\r\n"
)


async def test_unicode_text_from_excel(store: Store, tmp_path: Path) -> None:
    """Excel writes UTF-16 with tabs between the fields: it loads as it is, and what is rejected can be corrected."""
    path = tmp_path / "base.txt"
    path.write_bytes(EXCEL.encode("utf-16-le"))

    loaded = await bases.load(store, SETTINGS, path, now=NOW)

    assert [(5, "unknown campaign")] == [(bad.line, bad.reason) for bad in loaded.errors]
    assert await bases.move(store, clock=clock) == 3
    assert [("Hola señor; son 5€", 5), ('Dijo "sí", y ya', 9999), ("tres", 7)] == found(
        store, "SELECT data, priority FROM sms_spool ORDER BY seq"
    )


async def test_mails_from_excel(store: Store, tmp_path: Path) -> None:
    """With tabs between the fields, a mail's variables are read as well."""
    path = written(tmp_path, 'News\tana@example.com\t"<p class=""a"">; {{Var}}</p>"\tAsunto\t"""Var"":""a;b"""\t3')

    assert (await bases.load(store, SETTINGS, path, now=NOW)).accepted == 1
    await bases.move(store, clock=clock)

    ((data, details, priority),) = found(store, "SELECT data, details, priority FROM sms_spool")
    details = json.loads(details) if isinstance(details, str) else details
    assert ('<p class="a">; {{Var}}</p>', 3) == (data, priority)
    assert {"subject": "Asunto", "variables": {"Var": "a;b"}} == details


async def test_a_line_that_names_the_separator(store: Store, tmp_path: Path) -> None:
    """`sep=;`, which tells Excel what to read, is no line of a base, and a header may follow; others are refused."""
    path = written(tmp_path, "sep=;", "campaña;numero;texto;prioridad", "Ventas->;098344484;hola;5")

    loaded = await bases.load(store, SETTINGS, path, now=NOW)
    assert (1, 0) == (loaded.accepted, loaded.rejected)

    with pytest.raises(Refused, match="',' stands between"):
        await bases.load(store, SETTINGS, written(tmp_path, "sep=,", "Ventas->,098344484,hola,5"), now=NOW)


async def test_first_reason_counts(store: Store, tmp_path: Path) -> None:
    """A line with several faults is rejected for the first of them in the order of the fields."""
    path = written(
        tmp_path,
        "Nobody;12;;0",
        "Ventas->;12;;0",
        "Ventas->;098344484;;0",
        "Ventas->;098344484;;1",
        "Ventas->;098344484;x;",
    )

    loaded = await bases.load(store, SETTINGS, path, now=NOW)

    assert ["unknown campaign", "bad number", "bad priority", "empty text"] == [bad.reason for bad in loaded.errors]


async def test_held_base_is_not_due(store: Store, tmp_path: Path) -> None:
    """Messages of a campaign whose bases wait for a release do not begin to expire before it."""
    path = written(tmp_path, "Held;098344484;x;1", "Ventas->;098344484;x;1")
    await bases.load(store, SETTINGS, path, now=NOW)
    await bases.move(store, clock=clock)

    states = found(store, "SELECT state, due_since IS NULL, due_at IS NULL FROM sms_spool ORDER BY seq")

    assert [("held", True, False), ("queued", False, False)] == [(state, bool(a), bool(b)) for state, a, b in states]


async def test_email_base(store: Store, tmp_path: Path) -> None:
    """Mails bring subject and variables; two that say different things to the same person are no duplicates."""
    path = written(
        tmp_path,
        'News;Ana@Example.com;Dear ${Var1};;"Var1":"Ana";9999',
        'News;ana@example.com;Dear ${Var1};;"Var1":"Eva";9999',
        'News;ana@example.com;Dear ${Var1};;"Var1":"Ana";5',
        "News;ana;x;;;1",
        "News;ana@example.com;;;;1",
        "News;ana@example.com;x;1",
        "Ventas->;098344484;x;1",
    )

    loaded = await bases.load(store, SETTINGS, path, now=NOW)
    await bases.move(store, clock=clock)

    reasons = {3: "duplicate", 4: "bad address", 5: "empty text", 6: "bad variables", 7: "unknown campaign"}
    assert reasons == {bad.line: bad.reason for bad in loaded.errors}
    kept = found(store, "SELECT destination, address, data, details FROM sms_spool ORDER BY seq")
    details = [json.loads(one[3]) if isinstance(one[3], str) else one[3] for one in kept]
    assert [{"variables": {"Var1": "Ana"}}, {"variables": {"Var1": "Eva"}}] == details
    assert ("Ana@Example.com", "ana@example.com", "Dear ${Var1}") == kept[0][:3]


async def test_channel_is_that_of_the_first_known_campaign(store: Store, tmp_path: Path) -> None:
    """Without --channel and --campaign the file's own campaigns say how its lines are read."""
    path = written(tmp_path, "Nobody;x;y;1", "News;ana@example.com;x;;;1")

    await bases.load(store, SETTINGS, path, now=NOW)

    assert ["email"] == found(store, "SELECT channel FROM upload")


async def test_empty_campaign_is_the_uploads(store: Store, tmp_path: Path) -> None:
    """A line that names no campaign takes the upload's."""
    path = written(tmp_path, ";098344484;x;1")

    loaded = await bases.load(store, SETTINGS, path, campaign="Held", base="b", now=NOW)
    await bases.move(store, clock=clock)

    assert [("Held", "b")] == found(store, "SELECT campaign, base FROM sms_spool")
    other = await bases.load(store, SETTINGS, path, campaign="Ventas->", base="b", now=NOW)
    assert not other.already
    same = await bases.load(store, SETTINGS, path, campaign="Held", base="b", now=NOW)
    assert (loaded.upload, True) == (same.upload, same.already)


@pytest.mark.parametrize(
    ("given_", "message"),
    [({"campaign": "Nobody"}, "unknown campaign"), ({"campaign": "News", "channel": Channel.SMS}, "sends email")],
)
async def test_unusable_campaign_is_refused(store: Store, tmp_path: Path, given_: Any, message: str) -> None:
    """A wrong --campaign is an error of the call, not of every line."""
    with pytest.raises(Refused, match=message):
        await bases.load(store, SETTINGS, numbered(tmp_path, 1), now=NOW, **given_)
    assert [] == found(store, "SELECT id FROM upload")


@pytest.mark.parametrize("lines", [["", "  "], ["campaign;number;text;priority"]])
async def test_file_without_lines_is_refused(store: Store, tmp_path: Path, lines: list[str]) -> None:
    """Blank lines and a header are no base."""
    with pytest.raises(Refused, match="no lines"):
        await bases.load(store, SETTINGS, written(tmp_path, *lines), now=NOW)
    assert ["failed"] == found(store, "SELECT state FROM upload")


async def test_same_file_adds_nothing(store: Store, tmp_path: Path) -> None:
    """The same content in the same base within 24 hours is told by its first upload; `again` loads it all the same."""
    path = numbered(tmp_path, 3)
    first = await bases.load(store, SETTINGS, path, now=NOW)

    day = timedelta(hours=24)
    same = await bases.load(store, SETTINGS, path, now=NOW + day)
    assert (first.upload, True, 3) == (same.upload, same.already, same.accepted)
    copy = written(tmp_path, *path.read_text().splitlines(), name="copy.csv")
    assert (await bases.load(store, SETTINGS, copy, base="base.csv", now=NOW)).already
    assert not (await bases.load(store, SETTINGS, copy, now=NOW)).already
    assert not (await bases.load(store, SETTINGS, path, again=True, now=NOW)).already
    assert not (await bases.load(store, SETTINGS, path, base="base.csv", now=NOW + 2 * day)).already
    assert await bases.move(store, clock=clock) == 12


async def test_file_of_which_nothing_loaded_may_come_again(store: Store, tmp_path: Path) -> None:
    """A file whose every line was rejected was not loaded: once the cause is gone it may be loaded as it is."""
    path = written(tmp_path, "Later;098344484;x;1")
    first = await bases.load(store, SETTINGS, path, now=NOW)
    assert (0, 1, False) == (first.accepted, first.rejected, first.already)

    later: Any = SimpleNamespace(
        providers={}, campaigns={"Later": Campaign(name="Later", channel=Channel.SMS, provider="p")}
    )
    second = await bases.load(store, later, path, now=NOW)

    assert (1, 0, False) == (second.accepted, second.rejected, second.already)


async def test_same_file_twice_at_once_counts_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_steps: None
) -> None:
    """Of two that load the same file at the same time one brings it in, and the other says so."""
    path = numbered(tmp_path, 5)
    both = asyncio.Barrier(2)
    transact = store.transact

    async def met(function: Any, *args: Any, **kwargs: Any) -> Any:
        if function is uploads.finish:
            await both.wait()
        return await transact(function, *args, **kwargs)

    monkeypatch.setattr(store, "transact", met)
    one, other = await asyncio.gather(*(bases.load(store, SETTINGS, path, now=NOW) for _ in range(2)))

    assert one.upload == other.upload
    assert {True, False} == {one.already, other.already}
    assert await bases.move(store, clock=clock) == 5
    assert [] == found(store, "SELECT line FROM upload_line")


# Killed


async def load_and_move(store: Store, path: Path) -> None:
    await bases.load(store, SETTINGS, path, now=NOW)
    await bases.move(store, clock=clock)


class Killed(Exception):
    """Stands for the end of the process."""


def kill_at(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, time: int) -> None:
    """Let the process end at the n-th hit of a failpoint: nothing of its own runs after it."""
    left = iter(range(time - 1, -1, -1))

    def hit(place: str) -> None:
        if place == name and next(left) == 0:
            raise Killed

    monkeypatch.setattr(module, "hit", hit)

    async def nothing(*_: Any) -> None:
        pass

    monkeypatch.setattr(loading._Loading, "give_up", nothing)


@pytest.mark.parametrize("time", [1, 2, 3])
async def test_killed_while_loading_nothing_is_sent(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_steps: None, time: int
) -> None:
    """Before the commit point nothing of a base is ever sent, and the same file loads as if it had never been tried."""
    path = numbered(tmp_path, 5)
    with monkeypatch.context() as patched:
        kill_at(patched, loading, "upload.staged", time)
        with pytest.raises(Killed):
            await bases.load(store, SETTINGS, path, now=NOW)

    assert await bases.tidy(store, clock=clock) == 0
    loaded = await bases.load(store, SETTINGS, path, now=NOW)
    assert not loaded.already
    assert await bases.tidy(store, clock=clock) == 5

    def much_later() -> datetime:
        return NOW + timedelta(seconds=2 * moving.ABANDONED_S)

    assert await bases.tidy(store, clock=much_later) == 0
    assert ["failed", "loaded"] == sorted(found(store, "SELECT state FROM upload"))
    assert [] == found(store, "SELECT line FROM upload_line")
    assert [f"text {n}" for n in range(1, 6)] == texts(store)


@pytest.mark.parametrize(("module", "place", "time"), [(loading, "upload.loaded", 1), (moving, "upload.moved", 2)])
async def test_killed_after_the_commit_point_everything_is_sent(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_steps: None, module: Any, place: str, time: int
) -> None:
    """From the commit point on everything goes, exactly once and in order, whoever moves on."""
    path = numbered(tmp_path, 5)
    with monkeypatch.context() as patched:
        kill_at(patched, module, place, time)
        with pytest.raises(Killed):
            await load_and_move(store, path)

    assert (await bases.load(store, SETTINGS, path, now=NOW)).already
    await bases.move(store, clock=clock)

    assert [f"text {n}" for n in range(1, 6)] == texts(store)
    assert [] == store.transact_here(staged.unmoved)


async def test_cancelled_load_leaves_nothing(store: Store, tmp_path: Path, small_steps: None) -> None:
    """Ctrl-C gives the upload up; what it had staged is deleted by the next tidying."""
    path = numbered(tmp_path, 9)
    task = asyncio.create_task(
        bases.load(store, SETTINGS, path, now=NOW, on_progress=lambda done, _: task.cancel() if done == 4 else None)
    )

    with pytest.raises(asyncio.CancelledError):
        await task

    assert [("failed", 0)] == found(store, "SELECT state, accepted FROM upload")
    assert await bases.tidy(store, clock=clock) == 0
    assert [] == found(store, "SELECT line FROM upload_line")
    assert [] == store.transact_here(staged.failed_unmoved)


async def test_lost_database_is_told_not_hidden(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_steps: None
) -> None:
    """A database that goes away in the middle is the error that the caller sees."""
    transact = store.transact

    async def gone(function: Any, *args: Any, **kwargs: Any) -> Any:
        if function is uploads.begin:
            return await transact(function, *args, **kwargs)
        raise DatabaseGone("gone")

    monkeypatch.setattr(store, "transact", gone)

    with pytest.raises(DatabaseGone):
        await bases.load(store, SETTINGS, numbered(tmp_path, 3), now=NOW)


async def test_two_movers_move_each_line_once_and_in_order(store: Store, tmp_path: Path, small_steps: None) -> None:
    """Several may move at once, of one process or many: first in the file is first in the spool."""
    await bases.load(store, SETTINGS, numbered(tmp_path, 41), now=NOW)
    other = Store(store._engine.url.render_as_string(hide_password=False), threads=2)
    try:
        moved = await asyncio.gather(*(bases.move(one, clock=clock) for one in (store, other, store)))
    finally:
        other.close()

    assert sum(moved) == 41
    assert [f"text {n}" for n in range(1, 42)] == texts(store)


async def test_movers_wake_and_report(store: Store, tmp_path: Path, small_steps: None) -> None:
    """The spool is woken after each step, and progress counts to the end."""
    loaded = await bases.load(store, SETTINGS, numbered(tmp_path, 5), now=NOW)
    seen: list[tuple[int, int]] = []
    woken: list[None] = []

    await bases.move(
        store, loaded.upload, clock=clock, on_progress=lambda *now: seen.append(now), wake=lambda: woken.append(None)
    )

    assert [(2, 5), (4, 5), (5, 5)] == seen
    assert len(woken) == 3


async def test_numbers_that_the_provider_does_not_accept(store: Store, tmp_path: Path) -> None:
    """A line whose number the campaign's provider would refuse is rejected as a bad number."""
    settings: Any = SimpleNamespace(
        campaigns=SETTINGS.campaigns, providers={VENTAS.provider: DiscardProvider(name="p", accept=r"^\+59899")}
    )
    file = written(tmp_path, "Ventas->;099344484;good;1", "Ventas->;098344484;bad;1")
    loaded = await bases.load(store, settings, file, now=NOW)

    assert (loaded.accepted, [error.reason for error in loaded.errors]) == (1, ["bad number"])


# Blacklists


def of(*campaigns: Campaign) -> Any:
    return SimpleNamespace(providers={}, campaigns={one.name: one for one in campaigns})


def sms(name: str, region: str | None) -> Campaign:
    return Campaign(name=name, channel=Channel.SMS, provider="p", region=region)


@pytest.mark.parametrize(
    ("regions", "value", "expected"),
    [
        (["UY", "UY"], "098344484", ("59898344484",)),
        (["UY"], "+598 98 344 484", ("59898344484",)),
        (["UY"], "59898344484", ("59898344484",)),
        (["UY"], "+1 415 555 2671", ("14155552671",)),
        ([None], "098 344 484", ("098344484",)),
        ([], "098344484", ("098344484",)),
        (["UY", None], "098344484", ("59898344484", "098344484")),
        (["UY", None], "+59898344484", ("59898344484",)),
        (["UY", None], "1234", ("1234",)),
        (["UY", "AR"], "+59898344484", ("59898344484",)),
        # A number in one of them only: nobody else can be meant.
        (["UY", "US"], "098344484", ("59898344484",)),
    ],
)
def test_entry_for_all_campaigns_blocks_how_they_write_it(
    regions: list[str | None], value: str, expected: tuple[str, ...]
) -> None:
    """A number for all campaigns is read as of the regions in use; as written too where a campaign has no region."""
    settings = of(MAIL, *(sms(str(n), region) for n, region in enumerate(regions)))

    assert (Channel.SMS, expected) == bases.blacklist_values(settings, value)


def test_ambiguous_number_is_refused_with_what_to_write() -> None:
    """A number that is somebody else's in each of two regions must be written with its country code."""
    with pytest.raises(BadAddress, match=r"\+ and its country code"):
        bases.blacklist_values(of(sms("a", "ES"), sms("b", "PE")), "912345678")


def test_entry_of_a_campaign_is_read_in_its_region() -> None:
    """With a campaign its own region and channel decide; an unknown one is refused."""
    settings = of(sms("a", "UY"), sms("b", "AR"), MAIL)

    assert (Channel.SMS, ("59898344484",)) == bases.blacklist_values(settings, "098344484", campaign="a")
    assert (Channel.EMAIL, ("ana@example.com",)) == bases.blacklist_values(settings, "Ana@Example.COM")
    for refused in ({"campaign": "x"}, {"campaign": "News", "channel": Channel.SMS}):
        with pytest.raises(Refused, match="campaign"):
            bases.blacklist_values(settings, "098344484", **refused)


@pytest.mark.parametrize(
    ("written_", "expected"),
    [
        ("2026-12-31", datetime(2027, 1, 1, 3, tzinfo=UTC)),
        ("2026-12-31 10:00:00", datetime(2026, 12, 31, 13, tzinfo=UTC)),
        ("2026-12-31T10:00:00Z", datetime(2026, 12, 31, 10, tzinfo=UTC)),
        ("9998-12-30", datetime(9998, 12, 31, 3, tzinfo=UTC)),
        ("9998-12-31", None),
        ("9999-12-31", None),
        ("9999-12-31 23:59:59", None),
    ],
)
def test_expiry(written_: str, expected: datetime | None) -> None:
    """An entry that expires on a day holds to its end, on the campaign's clocks; the last day there is means never."""
    assert expected == bases.parse_expiry(written_, ZoneInfo("America/Montevideo"))


async def test_blacklist_file(store: Store, tmp_path: Path) -> None:
    """Values, campaigns, reasons and expiries are read; bad lines are told with their numbers, the others count."""
    path = written(
        tmp_path,
        "valor;campaña;motivo;vence",
        "098344484",
        "098344485;Ventas->;asked; twice;2030-01-01",
        'ana@Example.com;;"a;b";2030-01-01T00:00:00Z;',
        "098344486;;reason",
        "",
        "12",
        "098344487;Nobody",
        "098344488;;x;soon",
    )

    imported = await bases.load_blacklist(store, SETTINGS, path, now=NOW)
    await bases.load_blacklist(store, SETTINGS, path, now=NOW)

    assert (4, 3, [7, 8, 9]) == (imported.added, imported.rejected, [bad.line for bad in imported.errors])
    kept = store.transact_here(lambda connection: [entry for _, entry in blacklist.entries(connection)])
    expires = datetime(2030, 1, 2, tzinfo=UTC)
    assert [
        (Channel.SMS, "59898344484", None, None, None),
        (Channel.SMS, "59898344485", "Ventas->", "asked; twice", expires),
        (Channel.EMAIL, "ana@example.com", None, "a;b", expires - timedelta(days=1)),
        (Channel.SMS, "59898344486", None, "reason", None),
    ] == [(entry.channel, entry.value, entry.campaign, entry.reason, entry.expires) for entry in kept]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
@example('";')
def test_blacklist_lines_load_back(reason: str) -> None:
    """What export writes, import reads: to the same entry, whatever the regions and the reason."""
    br = of(sms("a", "BR"), sms("b", "ES"))
    expires = datetime(2030, 1, 1, tzinfo=UTC)
    entry = Entry(channel=Channel.SMS, value="34912345678", campaign=None, reason=reason, expires=expires)

    value, campaign, read, until = _read_line(next(bases.blacklist_lines(br, [entry])))

    assert (Channel.SMS, (entry.value,)) == bases.blacklist_values(br, value)
    assert ("", " ".join(reason.split()), expires) == (campaign, read, bases.parse_expiry(until, UTC))


@given(st.lists(st.lists(st.sampled_from([bytes([letter]) * 16 for letter in b"abcdef"]), max_size=8), max_size=6))
def test_repeated_lines_are_found_across_batches(batches: list[list[bytes]]) -> None:
    """Of lines that say the same the first is kept, whichever batches the others are in."""
    seen, before = Seen(), set[bytes]()
    for batch in batches:
        repeated = [n for n, fingerprint in enumerate(batch) if fingerprint in before or before.add(fingerprint)]

        assert repeated == seen.add(batch)


@given(st.lists(st.text(alphabet=";;\"'19 a\n\tñ0", max_size=6), min_size=1, max_size=6).map(";".join))
def test_the_short_way_reads_as_the_long_one(line: str) -> None:
    """Where the usual form of a line of SMS is recognised at once, taking it apart field by field gives the same."""
    fast = read_line(line, Channel.SMS)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lines, "PLAIN_SMS", re.compile("(?!)"))

        assert read_line(line, Channel.SMS) == fast


NUMBERS = [
    "098344484",
    "98344484",
    "59898344484",
    "+59898344484",
    "0059898344484",
    "11 2345-6789",
    "12",
    "0983444840",
    "",
]


@given(
    name=st.sampled_from(["Ventas->", "Held", " Held", "Zoned", "Free", "Nobody", ""]),
    number=st.sampled_from(NUMBERS) | st.text("0123456789", min_size=6, max_size=11),
    data=st.text(st.sampled_from("aZ 0;ñ€çЖ😀{\0\t\u2028"), max_size=80) | st.just(" "),
    priority=st.sampled_from(["", "1", "9999", "0", "x"]),
    rule=st.sampled_from(UnicodeRule),
)
@example(name="Held", number="098344484", data="x" * 2000, priority="1", rule=UnicodeRule.AUTO)
def test_plain_lines_are_judged_as_all_others_are(
    name: str, number: str, data: str, priority: str, rule: UnicodeRule
) -> None:
    """The short way of judging accepts what the long way does, as it does; for the rest the long way says why."""
    zoned = replace(VENTAS, name="Zoned", recipient_hours=parse_schedule(["mon-sun;08:00-21:00"]))
    free = replace(VENTAS, name="Free", region=None)
    known = [replace(one, unicode=rule) for one in (VENTAS, HELD, zoned, free)]
    judge = Judge(of(*known), Channel.SMS, "Held")
    line = Line(1, f"{name};{number};{data};{priority}", whole=True)

    def judged() -> Any:
        (batch,) = judge.batches(iter([line]), most=1)
        return [one._replace(id="") for one in batch.good], batch.bad, batch.fingerprints, batch.texts

    short = judged()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(judge, "_quick", {})

        assert short == judged()


async def test_others_write_while_a_base_loads(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite a base's transactions keep the one writer's place for less than 50 ms, and others come in between."""
    path = tmp_path / "large.csv"
    path.write_text("".join(f"Ventas->;09{number:07};Hola {number};5\n" for number in range(1_000_000, 1_020_000)))

    async def load_and_move(store: Store) -> None:
        await bases.load(store, SETTINGS, path, now=NOW)
        await bases.move(store, clock=clock)

    took, number = await while_others_write(sqlite_url, load_and_move, monkeypatch)

    assert len(took) >= 30
    assert max(took) < 0.05
    assert number >= 5


async def test_others_write_while_a_blacklist_is_imported(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite an import's transactions keep the one writer's place for less than 50 ms, others come in between."""
    path = written(tmp_path, *(f"09{number:07};Ventas->;STOP por SMS" for number in range(1_000_000, 1_010_000)))

    async def load(store: Store) -> None:
        assert (await bases.load_blacklist(store, SETTINGS, path, now=NOW)).added == 10_000

    took, number = await while_others_write(sqlite_url, load, monkeypatch)

    assert len(took) == 10
    assert max(took) < 0.05
    assert number >= 5
