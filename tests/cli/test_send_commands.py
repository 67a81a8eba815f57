"""`dialerd send` and `dialerd schedule`: one message from the command line."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dialerd.store import Store
from dialerd.store.tables import sms_scheduler, sms_spool
from tests.cli.calls import call, configure, documented, refused
from tests.store.filled import migrated, rows


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A database at this version's tables."""
    with migrated(database_url) as opened:
        yield opened


@pytest.fixture
def config(tmp_path: Path, database_url: str) -> Path:
    """A configuration on that database."""
    return configure(tmp_path, url=database_url)


def test_send_prints_the_id(store: Store, config: Path) -> None:
    """A message stands in the spool when its id is printed, urgent unless said otherwise."""
    result = call("send", "Ventas->", "099 123 456", "¡Hola!", config=config)
    document = documented("send", "Ventas->", "099123456", "Hola", "--priority", 7, "--source", "S", config=config)

    found = rows(store, sms_spool)
    one, two = found[result.stdout.rstrip("\n")], found[document["id"]]
    assert ("Ventas->", "099 123 456", "¡Hola!", 1, "queued") == (
        one.campaign, one.destination, one.data, one.priority, one.state,
    )  # fmt: skip
    assert (7, "S") == (two.priority, two.source)


def test_numbers_that_the_provider_does_not_accept(tmp_path: Path, store: Store, database_url: str) -> None:
    """A number that the campaign's provider would refuse is refused at the door; the others pass."""
    config = configure(tmp_path, url=database_url, main_file="accept = '^[+]59899'\n")

    assert "provider outbox does not accept this number" in refused("send", "Ventas->", "098123456", "x", config=config)
    assert 0 == call("send", "Ventas->", "099123456", "x", config=config).exit_code
    assert ["099123456"] == [row.destination for row in rows(store, sms_spool).values()]


def test_send_to_an_address(store: Store, config: Path) -> None:
    """The campaign's channel says what a destination is."""
    document = documented("send", "Mail", "ana@example.com", "Hola", config=config)

    assert "ana@example.com" == rows(store, sms_spool)[document["id"]].address


def test_schedule_reads_the_campaigns_clock(store: Store, config: Path) -> None:
    """WHEN is wall-clock time where the campaign is, or an instant with its offset; then it waits in sms_scheduler."""
    wall = documented("schedule", "Ventas->", "099123456", "x", "--at", "2999-01-01 10:00:00", config=config)
    instant = call("schedule", "Ventas->", "099123456", "x", "--at", "2999-01-01T10:00:00Z", config=config)

    found = rows(store, sms_scheduler)
    assert datetime(2999, 1, 1, 13, tzinfo=UTC) == found[wall["id"]].calldate
    assert datetime(2999, 1, 1, 10, tzinfo=UTC) == found[instant.stdout.strip()].calldate


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (("send", "Ventas", "099123456", "x"), "unknown campaign 'Ventas'"),
        (("send", "Ventas->", "12", "x"), "too short"),
        (("send", "Ventas->", "ana@example.com", "x"), "letters"),
        (("send", "Ventas->", "099123456", ""), ""),
        (("schedule", "Ventas->", "099123456", "x", "--at", "tomorrow"), "expected YYYY-MM-DD HH:MM:SS"),
    ],
)
def test_what_cannot_be_sent_is_refused(store: Store, config: Path, args: tuple[str, ...], reason: str) -> None:
    """A message that could never go is refused with the reason, and nothing of it is kept."""
    assert reason in refused(*args, config=config)
    assert ({}, {}) == (rows(store, sms_spool), rows(store, sms_scheduler))


def test_a_time_is_required(config: Path) -> None:
    """`schedule` without --at is wrong usage."""
    assert 2 == call("schedule", "Ventas->", "099123456", "x", config=config).exit_code


def test_a_scheduled_message_is_due_then(store: Store, config: Path) -> None:
    """A message scheduled for a time that is past goes with the next promotion, or at once."""
    past = datetime.now(UTC) - timedelta(minutes=5)
    document = documented("schedule", "Ventas->", "099123456", "x", "--at", past.isoformat(), config=config)

    assert past == {**rows(store, sms_scheduler), **rows(store, sms_spool)}[document["id"]].calldate
