"""`dialerd status` and `dialerd campaigns`."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from dialerd.cli import watch as watching
from dialerd.model.errors import DatabaseGone
from dialerd.model.rules import CampaignState
from dialerd.store import Store
from dialerd.store import status as counts
from dialerd.store.nodes import Incarnation, beat, enlist
from dialerd.store.status import CampaignStatus, ProviderStatus, Report
from tests.cli.calls import ANSI, call, configure, documented, on_terminal, refused
from tests.store.filled import migrated, repoed, scheduled, spooled

COUNTS = [
    "scheduled", "queued", "deferred", "sending", "held", "in_doubt", "sent", "failed", "expired", "blocked",
    "cancelled",
]  # fmt: skip


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A database at this version's tables."""
    with migrated(database_url) as opened:
        yield opened


@pytest.fixture
def config(tmp_path: Path, database_url: str) -> Path:
    """A configuration on that database."""
    return configure(tmp_path, url=database_url, Shut="dates = { start = 2999-01-01 }", Off="enabled = false")


def test_status_as_json(store: Store, config: Path) -> None:
    """The document has the shape that programs rely on, with instants in ISO 8601, in UTC."""
    due = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    spooled(store, {"state": "queued"}, {"state": "held"}, campaign="Ventas->", due_at=due, due_since=due)
    scheduled(store, campaign="Lost")
    repoed(store, campaign="Ventas->", status="failed", dateprocessed=datetime.now(UTC))

    document = documented("status", config=config)

    assert ["campaigns", "providers", "nodes", "promoted_until"] == list(document)
    assert {"Ventas->", "Mail", "Shut", "Off", "Lost"} == document["campaigns"].keys()
    ventas = document["campaigns"]["Ventas->"]
    assert {"state", "opens_at", "oldest_due", *COUNTS} == ventas.keys()
    assert ("open", None, due.isoformat().replace("+00:00", "Z")) == (
        ventas["state"], ventas["opens_at"], ventas["oldest_due"],
    )  # fmt: skip
    assert {"queued": 1, "held": 1, "failed": 1} == {name: ventas[name] for name in COUNTS if ventas[name]}
    states = {name: (one["state"], one["opens_at"]) for name, one in document["campaigns"].items()}
    assert ("out_of_date", "2999-01-01T03:00:00Z") == states["Shut"]
    assert [("disabled", None), ("unknown", None)] == [states["Off"], states["Lost"]]
    assert ([], None) == (document["nodes"], document["promoted_until"])
    assert "unknown" == document["providers"]["outbox"]["state"]


def test_status_tells_of_nodes_and_providers(store: Store, config: Path) -> None:
    """A live daemon and what it says of its providers are shown."""
    store.transact_here(enlist, Incarnation(incarnation="i", node="dialer-1", home="h", pid=7, lease_s=30))
    told = {
        "outbox": {
            "state": "down", "reason": "disk full", "rate": 0.0, "in_flight": 2, "learned_per_second": 4.5,
            "stalled_s": 0.0,
        }
    }  # fmt: skip
    store.transact_here(beat, "i", told)

    document = documented("status", config=config)

    assert told == document["providers"]
    (node,) = document["nodes"]
    assert {"node", "incarnation", "pid", "started", "beat_age_s", "lease_s", "alive"} == node.keys()
    assert ("dialer-1", True) == (node["node"], node["alive"])
    assert "disk full" in call("status", config=config).stdout


def test_status_in_a_pipe_is_plain(store: Store, config: Path) -> None:
    """Where no terminal reads it, nothing is cut, coloured or boxed."""
    name = "A campaign with a name that is longer than any terminal's line could ever be, as some people like it so"
    spooled(store, campaign=name)

    shown = call("status", config=config).stdout

    assert f"{name}  unknown" in shown
    assert shown.isascii()
    assert "\x1b" not in shown


def test_status_fits_a_terminal(tmp_path: Path, sqlite_url: str) -> None:
    """Eighty columns are enough for every table, with a million messages and a long name."""
    with migrated(sqlite_url) as store:
        spooled(store, campaign="A campaign with a name that is longer than the terminal's line, as some people like")
        store.transact_here(enlist, Incarnation(incarnation="i", node="n" * 63, home="h", pid=4_194_304, lease_s=30))
        down = {"state": "down", "reason": "refused: " + "x" * 300, "rate": 1234.5, "in_flight": 10_000}
        store.transact_here(beat, "i", {"outbox": down, "y" * 200: down})
    config = configure(tmp_path, url=sqlite_url)

    lines = on_terminal("status", "--config", config)

    assert max(map(len, lines)) <= 80
    assert "no room" not in "\n".join(lines)
    for word in ("oldest due", "in_doubt", "cancelled", "on the wire", "last seen", "unknown"):
        assert any(word in line for line in lines), word


def test_watch_is_for_people(config: Path) -> None:
    """A document that never ends is no document."""
    assert 2 == call("status", "--watch", "--json", config=config).exit_code


@pytest.fixture
def coming_and_going(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is away when it is asked first, there the second time; Ctrl-C is pressed at the third."""
    answers = iter([DatabaseGone("gone"), None, KeyboardInterrupt()])
    report = counts.report

    def ask(*args: object, **kwargs: object) -> object:
        answer = next(answers)
        if answer is not None:
            raise answer
        return report(*args, **kwargs)

    monkeypatch.setattr(counts, "report", ask)
    monkeypatch.setattr(watching, "WATCH_S", 0)


@pytest.mark.usefixtures("coming_and_going")
def test_watch_goes_on_without_the_database(config: Path) -> None:
    """A database that is away for a moment does not end a watch."""
    result = call("status", "--watch", config=config)

    assert ("dialerd: gone\n", 130) == (result.stderr, result.exit_code)
    assert 1 == result.stdout.count("Since midnight")


@pytest.mark.usefixtures("coming_and_going")
def test_watch_on_a_terminal(config: Path) -> None:
    """A terminal is shown everything in place, on a screen of its own that is gone afterwards."""
    shown = "\n".join(on_terminal("status", "--watch", "--config", config, colours=True))

    assert shown.index("\x1b[?1049h") < shown.index("gone") < shown.index("Ventas->") < shown.index("\x1b[?1049l")


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (40, 14)])
def test_a_watch_fits_the_screen(columns: int, lines: int) -> None:
    """However many campaigns there are, those with most to do are seen; the rest, providers and nodes are told of."""
    campaigns = {f"Campaña {n}": CampaignStatus(state=CampaignState.OPEN, opens_at=None, queued=n) for n in range(300)}
    providers = {str(n): ProviderStatus(state="down", reason="refused " * 50) for n in range(30)}
    shown = Report(campaigns=campaigns, providers=providers, nodes=[], promoted_until=None)
    console = Console(width=columns, height=lines, force_terminal=True)

    with console.capture() as capture:
        console.print(watching.view(shown, "the database is away", now=datetime.now(UTC), size=(columns, lines)))

    seen = ANSI.sub("", capture.get()).splitlines()
    assert len(seen) <= lines
    assert max(map(len, seen)) <= columns
    for part in ("the database is away", "No daemon is running", "down", "Campaña 299", "more with less to do"):
        assert any(part in line for line in seen), part


# Campaigns


def test_campaigns_are_listed(config: Path) -> None:
    """Each campaign is shown with its state and when it opens."""
    document = documented("campaigns", config=config)["campaigns"]

    assert {"Mail", "Off", "Shut", "Ventas->"} == document.keys()
    assert ("out_of_date", "2999-01-01T03:00:00Z") == (document["Shut"]["state"], document["Shut"]["opens_at"])
    assert ("email", "outbox") == (document["Mail"]["channel"], document["Mail"]["provider"])
    assert "Shut      out_of_date  2999-01-01 00:00:00  sms" in call("campaigns", config=config).stdout


def test_a_pause_holds_until_resumed(store: Store, config: Path) -> None:
    """A pause and its reason are shown until the campaign is resumed; doing it twice does no harm."""
    assert "Ventas-> is paused.\n" == call("campaigns", "pause", "Ventas->", "--reason", "oops", config=config).stdout
    assert "Ventas-> was paused already.\n" == call("campaigns", "pause", "Ventas->", config=config).stdout

    ventas = documented("campaigns", config=config)["campaigns"]["Ventas->"]
    assert ("paused", True, "oops") == (ventas["state"], ventas["paused"], ventas["reason"])
    assert "paused" == documented("status", config=config)["campaigns"]["Ventas->"]["state"]

    assert "Ventas-> goes on.\n" == call("campaigns", "resume", "Ventas->", config=config).stdout
    assert "Ventas-> was not paused.\n" == call("campaigns", "resume", "Ventas->", config=config).stdout
    paused = documented("campaigns", "pause", "Mail", config=config)
    assert {"campaign": "Mail", "paused": True, "changed": True} == paused
    assert not documented("campaigns", "resume", "Mail", config=config)["paused"]
    assert "open" == documented("campaigns", config=config)["campaigns"]["Ventas->"]["state"]


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_an_unknown_campaign_is_refused(config: Path, verb: str) -> None:
    """A name that is no campaign's is refused with the nearest, or with those that there are."""
    assert "unknown campaign 'Ventas'; did you mean Ventas->?" == refused("campaigns", verb, "Ventas", config=config)
    said = refused("campaigns", verb, "?", config=config)
    assert "unknown campaign '?'; known: Mail, Off, Shut, Ventas->" == said


def test_the_pause_of_a_campaign_without_a_file_ends(store: Store, config: Path) -> None:
    """A campaign whose file has gone can still be resumed."""
    call("campaigns", "pause", "Off", config=config)
    (config / "campaigns" / "off.toml").unlink()

    assert 0 == call("campaigns", "resume", "Off", config=config).exit_code
    refused("campaigns", "resume", "Off", config=config)
