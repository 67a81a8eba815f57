"""`dialerd repo`: what became of messages."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from dialerd.cli import repo as module
from dialerd.store import Store
from dialerd.store.repo import COLUMNS
from tests.cli.calls import call, configure, documented, on_terminal
from tests.store.filled import NOW, migrated, repoed

DAY = timedelta(days=1)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A database at this version's tables."""
    with migrated(database_url) as opened:
        yield opened


@pytest.fixture
def config(tmp_path: Path, database_url: str) -> Path:
    """A configuration on that database."""
    return configure(tmp_path, url=database_url)


def test_the_latest_results_are_listed(store: Store, config: Path) -> None:
    """A list shows the latest so many, the newest last."""
    ids = repoed(store, *({"dateprocessed": NOW + number * DAY} for number in range(5)))

    shown = documented("repo", "list", "--limit", 2, config=config)

    assert ids[3:] == [one["id"] for one in shown]
    assert list(COLUMNS) == list(shown[0])
    assert "2026-06-14T15:00:00Z" == shown[1]["dateprocessed"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [0, 1, 2, 3]),
        (["--campaign", "Ventas->"], [0, 1, 2]),
        (["--base", "b"], [3]),
        (["--status", "failed"], [1]),
        (["--since", "2026-06-11"], [1, 2, 3]),
        (["--date", "2026-06-11"], [1]),
        (["--date", "2026-06-11", "--campaign", "Ventas->", "--status", "sent"], []),
        (["--since", "2026-06-11", "--until", "2026-06-11"], [1]),
        (["--since", "2026-06-11 15:00:00", "--until", "2026-06-12 15:00:00"], [1]),
        (["--since", "2026-06-11T12:00:01-03:00"], [2, 3]),
        # 15:00 UTC is noon where Ventas-> is.
        (["--campaign", "Ventas->", "--until", "2026-06-11 12:00:00"], [0]),
        (["--campaign", "Ventas->", "--until", "2026-06-11 12:00:01"], [0, 1]),
    ],
)
def test_filters(store: Store, config: Path, options: list[str], expected: list[int]) -> None:
    """List and export mean the same by campaign, base, status, since and until; a day means all of it."""
    ids = repoed(
        store,
        {"campaign": "Ventas->"},
        {"campaign": "Ventas->", "status": "failed", "dateprocessed": NOW + DAY},
        {"campaign": "Ventas->", "dateprocessed": NOW + 2 * DAY},
        {"base": "b", "dateprocessed": NOW + 3 * DAY},
    )

    wanted = [ids[number] for number in expected]

    assert wanted == [one["id"] for one in documented("repo", "list", *options, config=config)]
    exported = call("repo", "export", "--format", "jsonl", *options, config=config).stdout
    assert wanted == [json.loads(line)["id"] for line in exported.splitlines()]
    assert exported == call("repo", "export", "--json", *options, config=config).stdout


@pytest.mark.parametrize("wrong", ["yesterday", "2026-06-31", "2026-6-1", "2026-06-01T10:00:00", "9999-12-31"])
def test_a_date_that_is_none_is_wrong_usage(config: Path, wrong: str) -> None:
    """A date that cannot be read ends with 2 and says what was expected."""
    assert 2 == call("repo", "list", "--date", wrong, config=config).exit_code
    result = call("repo", "list", "--until", wrong, config=config)

    assert 2 == result.exit_code
    assert "expected" in result.stderr


def test_export_as_csv(store: Store, config: Path) -> None:
    """CSV has a header, every column, texts as they are and instants in UTC."""
    text = 'Ñandú "x", a;b\nc€'
    (id_,) = repoed(store, data=text, details={"subject": "ñ"}, calldate=NOW, base=None)

    exported = call("repo", "export", config=config)

    (row,) = csv.DictReader(io.StringIO(exported.stdout, newline=""))
    assert list(COLUMNS) == list(row)
    assert (id_, text, "") == (row["id"], row["data"], row["base"])
    assert '{"subject": "ñ"}' == row["details"]
    assert ("2026-06-10T15:00:00Z", "1") == (row["calldate"], row["attempts"])
    assert "\r" not in exported.stdout


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("\tx", "'\tx"),
        ("+59899123456", "+59899123456"),
        ("+598 99 123 456", "+598 99 123 456"),
        ("-1", "-1"),
        ("-1.5", "-1.5"),
        ("hola=1", "hola=1"),
        ("'x", "'x"),
        ("", ""),
    ],
)
def test_csv_runs_no_formula(store: Store, config: Path, text: str, cell: str) -> None:
    """A text that a spreadsheet would run gets a ' before it, a number does not; JSON lines keep every text."""
    repoed(store, data=text)

    (row,) = csv.DictReader(io.StringIO(call("repo", "export", config=config).stdout, newline=""))
    as_json = json.loads(call("repo", "export", "--format", "jsonl", config=config).stdout)

    assert (cell, text) == (row["data"], as_json["data"])


def test_an_export_goes_page_by_page(store: Store, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export holds each result once, in order, over more pages than one."""
    monkeypatch.setattr(module, "PAGE", 2)
    ids = repoed(store, *({} for _ in range(5)))

    exported = call("repo", "export", config=config).stdout

    assert ["id", *ids] == [line.split(",")[0] for line in exported.splitlines()]


def test_an_empty_export_is_a_header(config: Path) -> None:
    """Nothing to export is no error."""
    assert ",".join(COLUMNS) + "\n" == call("repo", "export", config=config).stdout
    assert "" == call("repo", "export", "--format", "jsonl", config=config).stdout


def test_the_list_fits_a_terminal(tmp_path: Path, sqlite_url: str) -> None:
    """On eighty columns one sees when, whom, how it ended and why."""
    with migrated(sqlite_url) as store:
        repoed(store, campaign="a campaign's long name", status="cancelled", error="x" * 200, delivery="undelivered")

    lines = on_terminal("repo", "list", "--config", configure(tmp_path, url=sqlite_url))

    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["processed", "campaign", "destination", "status", "error"]
