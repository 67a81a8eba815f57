"""`dialerd spool`: what an operator does to messages that wait."""

import csv
import io
import json
import os
import signal
import stat
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dialerd import operating
from dialerd.cli import spool as command
from dialerd.model.errors import DatabaseGone
from dialerd.model.message import new_id
from dialerd.store import Store, operate
from dialerd.store.tables import sms_repo, sms_scheduler, sms_spool
from tests.cli.calls import call, configure, documented, on_terminal, refused
from tests.store.filled import migrated, repoed, rows, scheduled, spooled
from tests.store.test_uploads import loaded


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A database at this version's tables."""
    with migrated(database_url) as opened:
        yield opened


@pytest.fixture
def config(tmp_path: Path, database_url: str) -> Path:
    """A configuration on that database."""
    return configure(tmp_path, url=database_url)


def test_the_counts_are_said(store: Store, config: Path) -> None:
    """A command says how many it touched, and what else matched and was left alone."""
    spooled(store, {}, {}, {"state": "sending"}, {"state": "in_doubt"}, base="b")

    assert "2 held; left alone: 1 sending, 1 in_doubt\n" == call("spool", "hold", "--base", "b", config=config).stdout
    assert (
        "2 released; left alone: 1 sending, 1 in_doubt\n"
        == call("spool", "release", "--base", "b", config=config).stdout
    )
    misspelt = call("spool", "hold", "--base", "B", config=config)
    assert (0, "0 held\n") == (misspelt.exit_code, misspelt.stdout)
    assert "dialerd: no such message of base B waits; see `dialerd spool bases`\n" == misspelt.stderr


def test_listed_by_id(store: Store, config: Path) -> None:
    """Ids choose among what waits, alone or with the other filters; what is none is wrong usage."""
    one, two, _ = spooled(store, {}, {"state": "held"}, {})

    assert {one, two} == {shown["id"] for shown in documented("spool", "list", one, two.upper(), config=config)}
    assert [two] == [shown["id"] for shown in documented("spool", "list", one, two, "--state", "held", config=config)]
    assert "is no message id" in refused("spool", "list", "7", config=config, status=2)


def test_the_counts_as_json(store: Store, config: Path) -> None:
    """Programs read the same numbers."""
    spooled(store, {}, {"state": "sending"}, campaign="c")

    document = documented("spool", "priority", 5, "--campaign", "c", config=config)

    assert {"touched": 1, "left_alone": {"sending": 1}} == document
    assert {5, 9999} == {row.priority for row in rows(store, sms_spool).values()}


def test_more_than_one_step(store: Store, config: Path) -> None:
    """A base of more messages than one transaction changes is worked through to its end."""
    store.transact_here(
        lambda connection: connection.exec_driver_sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1201)"
            " INSERT INTO sms_spool (campaign, destination, data, base) SELECT 'c', '1', 'x', 'big' FROM n"
        )
    )

    assert "1,201 cancelled\n" == call("spool", "cancel", "--base", "big", config=config).stdout
    assert ({}, 1201) == (rows(store, sms_spool), len(rows(store, sms_repo)))


def test_interrupted_it_says_how_far_it_came(store: Store, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of a base ends between two transactions: what was done is whole, and counted."""
    spooled(store, *({"base": "big"} for _ in range(3)))
    find = operating.find

    def one_by_one(*args: Any, **kwargs: Any) -> operate.Found:
        found = find(*args, **kwargs, most=1)
        if rows(store, sms_repo):
            os.kill(os.getpid(), signal.SIGINT)
        return found

    monkeypatch.setattr(operating, "find", one_by_one)

    result = call("spool", "cancel", "--base", "big", config=config)

    done = len(rows(store, sms_repo))
    assert (130, f"dialerd: interrupted; at least {done} cancelled until then\n") == (result.exit_code, result.stderr)
    assert 3 == done + len(rows(store, sms_spool))
    assert done in (1, 2)


def test_doubts_are_settled(store: Store, config: Path) -> None:
    """An operator says which doubts went and which did not."""
    went, lost, again = spooled(store, {}, {}, {}, state="in_doubt", attempts=1)

    assert "1 settled as sent\n" == call("spool", "settle", "--sent", went, config=config).stdout
    assert "1 settled as failed\n" == call("spool", "settle", lost, "--failed", config=config).stdout
    assert "1 queued again\n" == call("spool", "resend", again, config=config).stdout

    done = rows(store, sms_repo)
    assert ("sent", "failed") == (done[went].status, done[lost].status)
    assert "queued" == rows(store, sms_spool)[again].state


def test_settle_asks_what_became_of_them(config: Path) -> None:
    """Nobody settles without saying how, nor in both ways at once."""
    assert 2 == call("spool", "settle", "--state", "in_doubt", config=config).exit_code
    assert 2 == call("spool", "settle", "--sent", "--failed", "--state", "in_doubt", config=config).exit_code


@pytest.mark.parametrize("verb", ["hold", "release", "cancel", "resend", "settle --sent", "priority 1"])
def test_nobody_means_everything_by_mistake(config: Path, verb: str) -> None:
    """Without a selection a command is wrongly used."""
    result = call("spool", *verb.split(), config=config)

    assert 2 == result.exit_code
    assert "say which messages: ids, --base, --campaign or --state" in result.stderr


def test_a_cancel_reaches_what_is_scheduled(store: Store, config: Path) -> None:
    """A campaign's messages are cancelled wherever they wait."""
    spooled(store, {}, campaign="c")
    (one, _), (other,) = scheduled(store, {}, {}, campaign="c"), scheduled(store, campaign="d")

    assert "3 cancelled\n" == call("spool", "cancel", "--campaign", "c", config=config).stdout
    assert "1 cancelled\n" == call("spool", "cancel", other, config=config).stdout
    assert ({}, {}) == (rows(store, sms_spool), rows(store, sms_scheduler))
    assert {"cancelled"} == {row.status for row in rows(store, sms_repo).values()}
    assert f"none cancelled: {one} is in sms_repo as cancelled" == refused("spool", "cancel", one, config=config)


def test_an_id_that_nothing_can_be_done_to_is_explained(store: Store, config: Path) -> None:
    """For each id that is not what the command is for, it is said where that message stands."""
    (done,), (waits,), lost = repoed(store), scheduled(store), new_id()

    said = refused("spool", "hold", done, waits, lost, config=config)

    assert f"none held: {done} is in sms_repo as sent; {waits} is in sms_scheduler; {lost} is no message here" == said


def test_the_other_ids_are_done(store: Store, config: Path) -> None:
    """One id that does not fit does not keep a command from the others, and is told of on stderr."""
    (held,), (queued,) = spooled(store, state="held"), spooled(store)

    result = call("spool", "release", held, queued, config=config)

    assert (0, "1 released; left alone: 1 queued\n") == (result.exit_code, result.stdout)
    assert f"dialerd: {queued} is in sms_spool as queued\n" == result.stderr


def test_many_ids_that_do_not_fit_are_counted(config: Path) -> None:
    """A refusal stays one line that can be read."""
    said = refused("spool", "hold", *(new_id() for _ in range(9)), config=config)

    assert 5 == said.count("is no message here")
    assert said.endswith(" … and 4 more")


def test_an_id_of_another_campaign_is_refused(store: Store, config: Path) -> None:
    """An id that a further option rules out is not touched."""
    (id_,) = spooled(store, campaign="c")

    assert "none held: no message matches" == refused("spool", "hold", id_, "--campaign", "d", config=config)


@pytest.mark.parametrize("wrong", ["hold 12", "priority 0 --base b", "priority 10000 --base b"])
def test_nonsense_is_wrong_usage(config: Path, wrong: str) -> None:
    """What can never be an id, or a priority, is wrong usage, found before anything is touched."""
    assert 2 == call("spool", *wrong.split(), config=config).exit_code


def test_the_spool_is_listed(store: Store, config: Path) -> None:
    """What waits is listed oldest first, as many as asked for, with what the table says of it."""
    ids = spooled(store, {"state": "held"}, {"campaign": "x"}, {"details": {"a": 1}}, {}, campaign="Ventas->")

    shown = documented("spool", "list", "--campaign", "Ventas->", "--limit", 2, config=config)

    assert [ids[0], ids[2]] == [one["id"] for one in shown]
    assert ("held", "2026-06-10T15:00:00Z", 9999) == (shown[0]["state"], shown[0]["due_at"], shown[0]["priority"])
    assert {"a": 1} == shown[1]["details"]
    assert [ids[0]] == [one["id"] for one in documented("spool", "list", "--state", "held", config=config)]
    assert [] == documented("spool", "list", "--base", "b", config=config)


def test_the_list_in_a_pipe_is_complete(store: Store, config: Path) -> None:
    """In a pipe, every column is there, on the campaign's clock, and a text cannot break the line."""
    (id_,) = spooled(store, campaign="Ventas->", last_error="no\nanswer\x1b[31m")

    header, line = call("spool", "list", config=config).stdout.splitlines()

    assert [
        "id", "campaign", "destination", "state", "priority", "due", "attempts", "base", "last error",
    ] == [word.replace("_", " ") for word in header.replace("last error", "last_error").split()]  # fmt: skip
    assert line.startswith(f"{id_}  Ventas->  099123456    queued  9999      2026-06-10 12:00:00")
    assert line.endswith("no answer [31m")


@pytest.mark.parametrize("as_json", [False, True])
def test_a_long_list_comes_page_by_page(
    store: Store, config: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    """A list of any length is printed as it is read: as one array, or below one header, to its limit."""
    monkeypatch.setattr(command, "PAGE", 2)
    ids = spooled(store, *({} for _ in range(6)))

    if as_json:
        shown = [one["id"] for one in documented("spool", "list", "--limit", 5, config=config)]
    else:
        header, *lines = call("spool", "list", "--limit", 5, config=config).stdout.splitlines()
        assert header.startswith("id ")
        shown = [line.split()[0] for line in lines]

    assert ids[:5] == shown


def test_export_of_a_base_that_waits(store: Store, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits of a base is written as CSV, page by page, in order, with every column as `repo export` writes it."""
    monkeypatch.setattr(command, "PAGE", 2)
    mail = {"data": 'Ñandú "x", a;b\nc', "details": {"subject": "ñ"}, "state": "held"}
    ids = spooled(store, mail, {"data": "=1+1"}, {}, {}, {}, base="b")
    spooled(store, {"base": "other"})

    rows_ = list(csv.DictReader(io.StringIO(call("spool", "export", "--base", "b", config=config).stdout, newline="")))

    assert ids == [row["id"] for row in rows_]
    assert list(operate.COLUMNS) == list(rows_[0])
    assert ('Ñandú "x", a;b\nc', '{"subject": "ñ"}', "held", "2026-06-10T15:00:00Z") == (
        rows_[0]["data"], rows_[0]["details"], rows_[0]["state"], rows_[0]["due_at"],
    )  # fmt: skip
    assert "'=1+1" == rows_[1]["data"]
    lines = call("spool", "export", "--base", "b", "--state", "held", "--json", config=config).stdout.splitlines()
    assert [ids[0]] == [json.loads(line)["id"] for line in lines]


@pytest.mark.parametrize("place", ["spool", "repo"])
def test_an_export_of_long_mails_needs_little_memory(tmp_path: Path, sqlite_url: str, place: str) -> None:
    """However long the texts, no more of them are read at once than one transaction changes."""
    put = spooled if place == "spool" else repoed
    with migrated(sqlite_url) as store:
        put(store, *({"data": str(n) + "x" * 400_000} for n in range(20)))
    config = configure(tmp_path, url=sqlite_url)
    output = tmp_path / "waiting.csv"

    tracemalloc.start()
    try:
        assert 0 == call(place, "export", "--output", output, config=config).exit_code
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert 21 == len(output.read_text().splitlines())
    assert peak < 12 << 20


def test_an_export_into_a_file_is_whole(store: Store, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--output replaces a file only by a whole one, and keeps its mode; interrupted, nothing is left beside it."""
    monkeypatch.setattr(command, "PAGE", 1)
    (one, two) = spooled(store, {}, {})
    output = config.parent / "out" / "waiting.csv"
    assert "there is no folder" in refused("spool", "export", "--output", output, config=config, status=2)
    output.parent.mkdir()
    output.write_text("before")
    output.chmod(0o640)
    waiting = operate.waiting

    def failing(*args: Any, after_seq: int, **kwargs: Any) -> Any:
        if after_seq:
            raise DatabaseGone("it went away")
        return waiting(*args, after_seq=after_seq, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(operate, "waiting", failing)
        refused("spool", "export", "--output", output, config=config, status=75)
    assert ("before", [output]) == (output.read_text(), list(output.parent.iterdir()))

    result = call("spool", "export", "--output", output, config=config)

    assert f"2 written to {output}\n" == result.stdout
    assert ["id", one, two] == [line.split(",")[0] for line in output.read_text().splitlines()]
    assert 0o640 == stat.S_IMODE(output.stat().st_mode)
    assert [output] == list(output.parent.iterdir())
    assert {"written": 2, "output": str(output)} == documented("spool", "export", "--output", output, config=config)


def test_bases_are_listed_with_their_counts(store: Store, config: Path) -> None:
    """Each base that waits is shown with its messages by state, also one that is on its way, and what has no base."""
    spooled(store, {"base": "b"}, {"base": "a", "state": "held"}, {"base": "b", "state": "held"}, {"base": "a"}, {})
    repoed(store, {"base": "ended"})
    loaded(store, 1, 2, base="coming")

    none = dict.fromkeys(("queued", "deferred", "held", "sending", "in_doubt", "moving"), 0)
    assert [
        {"base": "b", **none, "queued": 1, "held": 1},
        {"base": "a", **none, "queued": 1, "held": 1},
        {"base": None, **none, "queued": 1},
        {"base": "coming", **none, "moving": 2},
    ] == documented("spool", "bases", config=config)
    header, first, *_ = call("spool", "bases", config=config).stdout.splitlines()
    assert ["base", *none] == header.split()
    assert ["b", "1", "0", "1", "0", "0", "0"] == first.split()


def test_an_export_tells_what_is_on_its_way(store: Store, config: Path) -> None:
    """Whoever exports a base whose lines are not all in the spool yet is told so."""
    loaded(store, 1)

    result = call("spool", "export", "--base", "b", config=config)

    assert "dialerd: base b was on its way into the spool: not all of it is there\n" == result.stderr
    assert "" == call("spool", "export", "--base", "other", config=config).stderr


def test_the_list_fits_a_terminal(tmp_path: Path, sqlite_url: str) -> None:
    """On eighty columns the id is whole, and it is said which columns had no room."""
    with migrated(sqlite_url) as store:
        (id_,) = spooled(store, campaign="a campaign's long name", state="in_doubt", last_error="x" * 200)

    lines = on_terminal("spool", "list", "--config", configure(tmp_path, url=sqlite_url))

    assert max(map(len, lines)) <= 80
    assert lines[1].startswith(f"{id_}  ")
    assert "in_doubt" in lines[1]
    assert lines[-1].startswith("(no room for ")
