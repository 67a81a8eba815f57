"""`dialerd upload`, on both databases where the database matters."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from dialerd.model.message import State, new_id
from dialerd.store.tables import sms_spool
from dialerd.store.tables import upload as upload_table
from dialerd.store.uploads import NewLine, add_lines, uploads
from tests.cli.calls import PROGRAM, call, configure, documented, on_terminal, refused
from tests.store.filled import NOW, migrated, rows


def base(folder: Path, *lines: str) -> Path:
    path = folder / "base.csv"
    path.write_text("".join(line + "\n" for line in lines))
    return path


def spooled(url: str) -> list[Any]:
    with migrated(url) as store:
        return sorted(rows(store, sms_spool).values(), key=lambda row: row.seq)


def test_upload_loads_and_says_what_not(tmp_path: Path, database_url: str) -> None:
    """Accepted lines stand in the spool; rejected ones are shown with number and reason; one good line is success."""
    config = configure(tmp_path, url=database_url)
    path = base(tmp_path, "Ventas->;098344484;Hello; World!;9999", "Ventas->;12;x;1", "Ventas->;098344484;y;5")

    result = call("upload", path, config=config)

    assert (0, "") == (result.exit_code, result.stderr)
    assert "Base base.csv: 2 accepted, 1 rejected.\n" in result.stdout
    assert "  line 2: bad number: Ventas->;12;x;1\n" in result.stdout
    assert [("Hello; World!", 9999, "base.csv"), ("y", 5, "base.csv")] == [
        (row.data, row.priority, row.base) for row in spooled(database_url)
    ]


def test_upload_as_json(tmp_path: Path, sqlite_url: str) -> None:
    """--json prints the same as one document, and the base may have another name."""
    config = configure(tmp_path, url=sqlite_url)
    path = base(tmp_path, ";098344484;x;1", ";12;ñ;1")

    printed = documented("upload", path, "--campaign", "Ventas->", "--base", "b", "--channel", "sms", config=config)

    assert printed.pop("upload")
    assert {
        "base": "b", "accepted": 1, "rejected": 1, "already": False,
        "errors": [{
            "line": 2, "reason": "bad number", "text": ";12;ñ;1",
            "explanation": "there is no such number in UY: it is too short; a number of another country needs a +"
            " before its country code",
        }],
    } == printed  # fmt: skip


def test_what_is_wrong_with_a_number_is_said(tmp_path: Path, sqlite_url: str) -> None:
    """Below a bad number, address or variables stands why they are bad; a reason that says all stands alone."""
    config = configure(tmp_path, url=sqlite_url)
    lines = ["Ventas->;098344484;x;1", "Ventas->;5,49E+10;x;1", "Ventas->;098344484;x;0", "Nobody;12;x;1"]

    result = call("upload", base(tmp_path, *lines), config=config)

    assert [
        "  line 2: bad number: Ventas->;5,49E+10;x;1",
        "    the number has an exponent (1.23E+11), as Excel writes long ones: format the column as text",
        "  line 3: bad priority: Ventas->;098344484;x;0",
        "  line 4: unknown campaign: Nobody;12;x;1",
    ] == result.stdout.splitlines()[2:]
    mails = base(
        tmp_path, "Mail;ana@;x;;;", "Mail;ana@example.com;x;;;",
        'Mail;eva@example.com;Dear ${name};Hi;"day": "1/2";5', "Mail;eva@example.com;Dear;Hi;name=Ana;5",
    )  # fmt: skip
    told = call("upload", mails, config=config).stdout
    assert "bad address: Mail;ana@;x;;;\n    There must be" in told
    assert '"day": "1/2";5\n    the text asks for \'name\', which the message does not bring\n' in told
    assert ";name=Ana;5\n    the line's variables are no JSON members" in told


def test_same_file_says_which_upload_it_was(tmp_path: Path, sqlite_url: str) -> None:
    """A file loaded before adds nothing, names that upload and is no failure; --again loads it."""
    config = configure(tmp_path, url=sqlite_url)
    path = base(tmp_path, "Ventas->;098344484;x;1")
    first = documented("upload", path, config=config)

    again = call("upload", path, config=config)

    assert again.exit_code == 0
    assert f"loaded before, as upload {first['upload']}: nothing added" in again.stdout
    assert len(spooled(sqlite_url)) == 1
    assert not documented("upload", path, "--again", config=config)["already"]
    assert len(spooled(sqlite_url)) == 2


def test_file_of_which_nothing_loads_fails(tmp_path: Path, sqlite_url: str) -> None:
    """When no line loads, the reasons are shown and the exit status is 1."""
    config = configure(tmp_path, url=sqlite_url)
    path = base(tmp_path, *(f"Ventas->;{n};x;1" for n in range(1, 31)))
    kept = tmp_path / "rejected.csv"

    result = call("upload", path, "--errors", kept, config=config)

    assert result.exit_code == 1
    assert result.stderr == f"dialerd: {path}: no line was accepted, 30 rejected\n"
    assert result.stdout.count("bad number") == 20
    assert "  … and 10 more\n" in result.stdout
    assert ["line;reason;text", '1;bad number;"Ventas->;1;x;1"'] == kept.read_text().splitlines()[:2]
    assert len(kept.read_text().splitlines()) == 31


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"\x1f\x8b\x08", "gzip archive"), (b"a\0b", "binary file"), (b"\n\n", "holds no lines")],
)
def test_what_is_no_base_is_refused(tmp_path: Path, sqlite_url: str, content: bytes, message: str) -> None:
    """A file that is no text is refused with what it is."""
    path = tmp_path / "base.csv"
    path.write_bytes(content)

    assert message in refused("upload", path, config=configure(tmp_path, url=sqlite_url))


def test_missing_file_and_unknown_campaign_are_refused(tmp_path: Path, sqlite_url: str) -> None:
    """What cannot be loaded at all is one clear line."""
    config = configure(tmp_path, url=sqlite_url)

    assert "No such file" in refused("upload", tmp_path / "none.csv", config=config)
    assert "unknown campaign" in refused("upload", base(tmp_path, "x"), "--campaign", "Nobody", config=config)


def test_rejected_lines_are_corrected_and_loaded_again(tmp_path: Path, sqlite_url: str) -> None:
    """--errors writes whole lines, however odd; corrected there, they load as if right from the first."""
    config = configure(tmp_path, url=sqlite_url, Long="max_parts = 20\n")
    long = 'Say "hi"; ñandú €; ' * 40
    path = base(
        tmp_path, f"Long;12;{long};7", 'Ventas->;12;"quoted; ""text""";5', "Ventas->;098344484;good;1", "Nope;1;x;"
    )
    kept = tmp_path / "rejected.csv"

    assert 0 == call("upload", path, "--errors", kept, config=config).exit_code
    written = kept.read_text()
    assert written.startswith('line;reason;text\n1;bad number;"Long;12;')
    assert '4;unknown campaign;"Nope;1;x;"\n' in written
    kept.write_text(written.replace(";12;", ";098344484;"))

    again = documented("upload", kept, config=config)

    assert (2, 1, [4]) == (again["accepted"], again["rejected"], [bad["line"] for bad in again["errors"]])
    assert [("good", 1), (long, 7), ('quoted; "text"', 5)] == [(row.data, row.priority) for row in spooled(sqlite_url)]
    assert 0 == call("upload", kept, "--again", "--errors", tmp_path / "twice.csv", config=config).exit_code
    assert 'line;reason;text\n4;unknown campaign;"Nope;1;x;"\n' == (tmp_path / "twice.csv").read_text()


def test_a_line_too_long_is_not_sent_in_part(tmp_path: Path, sqlite_url: str) -> None:
    """Of a line beyond any length only the reason is written: its beginning must not be loaded as if it were all."""
    config = configure(tmp_path, url=sqlite_url)
    path = base(tmp_path, f"Ventas->;098344484;{'x' * (1 << 20)};1", "Ventas->;098344484;good;1")
    kept = tmp_path / "rejected.csv"

    call("upload", path, "--errors", kept, config=config)

    assert "line;reason;text\n1;too long;\n" == kept.read_text()
    assert "holds no lines" in refused("upload", kept, config=config)


def test_check_says_what_loading_would(tmp_path: Path, database_url: str) -> None:
    """--check judges each line as loading does, blacklist and duplicates included, and changes nothing."""
    config = configure(tmp_path, url=database_url)
    call("blacklist", "add", "098344499", config=config)
    good = "Ventas->;098344484;x;1"
    path = base(tmp_path, good, good, "Ventas->;098344499;x;1", "Ventas->;12;x;1", "Ventas->;098344484;y;0")
    kept = [tmp_path / "checked.csv", tmp_path / "loaded.csv"]

    checked = documented("upload", path, "--check", "--errors", kept[0], config=config)

    assert ([], [], None) == (spooled(database_url), documented("uploads", config=config)["uploads"], checked["upload"])
    assert (
        "1 would be accepted, 4 rejected.\nNothing was loaded.\n"
        in call("upload", path, "--check", config=config).stdout
    )
    loaded = documented("upload", path, "--errors", kept[1], config=config)
    assert loaded | {"upload": None} == checked
    assert kept[0].read_text() == kept[1].read_text()
    again = documented("upload", path, "--check", config=config)
    assert (loaded["upload"], True) == (again["upload"], again["already"])
    assert not documented("upload", path, "--check", "--again", config=config)["already"]
    bad = base(tmp_path, "Ventas->;12;x;1")
    assert "no line was accepted" in call("upload", bad, "--check", config=config).stderr


def test_uploads_are_listed(tmp_path: Path, database_url: str) -> None:
    """`uploads` shows each base, the newest last, and how many are in each state."""
    config = configure(tmp_path, url=database_url)
    call("upload", base(tmp_path, "Ventas->;098344484;x;1", "x"), "--base", "Ñ", config=config)
    call("upload", base(tmp_path, "nothing"), config=config)

    document = documented("uploads", config=config)

    shown = [
        (one["base"], one["filename"], one["state"], one["accepted"], one["rejected"]) for one in document["uploads"]
    ]
    assert [("Ñ", "base.csv", "loaded", 1, 1), ("base.csv", "base.csv", "failed", 0, 1)] == shown
    assert {"loading": 0, "loaded": 1, "failed": 1} == document["counts"]
    assert ["failed"] == [one["state"] for one in documented("uploads", "--limit", 1, config=config)["uploads"]]
    listed = call("uploads", "--state", "loaded", config=config).stdout
    assert listed.endswith("0 loading, 1 loaded, 1 failed\n")
    assert 3 == listed.count("\n")


def test_a_bases_messages_are_counted(tmp_path: Path, database_url: str) -> None:
    """`uploads BASE` says what became of a base's messages, wherever they stand."""
    config = configure(tmp_path, url=database_url)
    call("upload", base(tmp_path, *(f"Ventas->;09834448{n};x;1" for n in range(4))), "--base", "Ñ", config=config)
    first, second, *_ = (str(row.id) for row in spooled(database_url))
    call("spool", "hold", first, config=config)
    call("spool", "cancel", second, config=config)
    with migrated(database_url) as store:
        staged = NewLine(
            line=9, id=new_id(), campaign="Ventas->", destination="1", data="x", priority=1,
            details=None, state=State.QUEUED, address="1", zone="", parts=1,
        )  # fmt: skip
        upload = store.transact_here(lambda connection: uploads(connection, most=1)[0].id)
        store.transact_here(lambda c: c.execute(update(upload_table).values(state="loading", moved=False)))
        store.transact_here(add_lines, upload, [staged], now=NOW)
        store.transact_here(lambda c: c.execute(update(upload_table).values(state="loaded")))

    document = documented("uploads", "Ñ", "nothing", config=config)

    assert {"Ñ": {"moving": 1, "queued": 2, "held": 1, "cancelled": 1}, "nothing": {}} == document["messages"]
    assert ["Ñ"] == [one["base"] for one in document["uploads"]]
    assert "cancelled" in call("uploads", "Ñ", config=config).stdout


def test_errors_file_is_not_the_base(tmp_path: Path, sqlite_url: str) -> None:
    """--errors never overwrites what is to be loaded, and its folder is looked for before anything is loaded."""
    config = configure(tmp_path, url=sqlite_url)
    path = base(tmp_path, "Ventas->;098344484;x;1")

    assert call("upload", path, "--errors", path, config=config).exit_code == 2
    assert call("upload", path, "--errors", tmp_path / "none" / "x", config=config).exit_code == 2
    assert path.read_text() == "Ventas->;098344484;x;1\n"


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path, sqlite_url: str) -> None:
    """What stands in a rejected line cannot act on the operator's terminal."""
    config = configure(tmp_path, url=sqlite_url)
    path = base(tmp_path, "Ventas->;12;\x1b[2J;1", "Ventas->;098344484;x;1")

    assert "\x1b" not in call("upload", path, config=config).stdout


def test_progress_is_for_terminals(tmp_path: Path, sqlite_url: str) -> None:
    """A terminal sees a progress bar on stderr, a pipe sees none."""
    config = configure(tmp_path, url=sqlite_url)
    path = base(tmp_path, *(f"Ventas->;098344484;text {n};1" for n in range(50)))
    command = ["upload", path, "--again", "--config", config]

    assert call(*command).stderr == ""
    assert any("50/50" in line for line in on_terminal(*command, stream="stderr"))


@pytest.mark.parametrize("place", ["upload.staged", "upload.staged:2", "upload.loaded", "upload.moved"])
def test_killed_upload_is_made_good_by_the_next(tmp_path: Path, database_url: str, place: str) -> None:
    """Killed at any of its seams, the same command once more brings every line in once, in the file's order."""
    config = configure(tmp_path, url=database_url)
    count = 2500
    path = base(tmp_path, *(f"Ventas->;098344484;text {n};9999" for n in range(count)))
    command = [*PROGRAM, "upload", str(path), "--config", str(config)]

    killed = subprocess.run(command, env={**os.environ, "DIALERD_FAILPOINT": place}, check=False)
    assert -signal.SIGKILL == killed.returncode
    if place.startswith("upload.staged"):
        assert [] == spooled(database_url)

    again = documented("upload", path, config=config)

    assert (count, not place.startswith("upload.staged")) == (again["accepted"], again["already"])
    assert [f"text {n}" for n in range(count)] == [row.data for row in spooled(database_url)]
