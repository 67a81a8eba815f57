"""What comes back of mails: a bounce reaches its message and, in the end, the blacklist; a link unsubscribes."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from dialerd import returns
from dialerd.mail.unsubscribe import token
from dialerd.model.errors import Refused, Unavailable
from dialerd.model.message import Channel, Status, new_id
from dialerd.settings import Settings, load
from dialerd.store import Store
from dialerd.store.blacklist import remove
from dialerd.store.migrate import migrate
from dialerd.store.settle import Ending, finish_waiting
from dialerd.store.spool import submit
from tests.cli.calls import configure
from tests.mail.returned import notification, qmail
from tests.rig import message

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HARD = ("failed", "5.1.1", "smtp; 550 5.1.1 <ana@example.com>: User unknown")
MAIL = """\
unsubscribe = "https://example.com/u"
secret = "s3cret-of-campaign"
bounces_to_blacklist = 2
"""


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    with closing(Store(database_url)) as store:
        store.transact_here(migrate)
        yield store


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    config = configure(tmp_path, url=database_url)
    file = config / "campaigns" / "mail.toml"
    file.write_text(file.read_text() + MAIL)
    return load(config, environ={})


def rows(store: Store, table: str, *columns: str) -> list[tuple[Any, ...]]:
    statement = text(f"SELECT {', '.join(columns)} FROM {table} ORDER BY id")
    return store.transact_here(lambda connection: [tuple(row) for row in connection.execute(statement)])


def spooled(store: Store, to: str = "ana@example.com") -> str:
    new = message("Mail", destination=to.upper(), address=to, id=new_id())
    store.transact_here(submit, [new])
    return new.id


def sent(store: Store, to: str = "ana@example.com") -> str:
    """Bring a mail to sms_repo, and return its id."""
    id_ = spooled(store, to)
    (seq,) = store.transact_here(lambda c: c.execute(text("SELECT max(seq) FROM sms_spool")).one())
    store.transact_here(finish_waiting, [Ending(seq, Status.SENT, None)], now=NOW)
    return id_


async def test_a_hard_bounce(store: Store, settings: Settings) -> None:
    """A message that bounced hard is undelivered, with the reason; its address stays until it has bounced often."""
    first, second, other = sent(store), sent(store), sent(store, "juan@example.org")

    for _ in range(3):  # the mail server brings it again
        returned = await returns.bounced(store, settings, notification(HARD, id_=first), now=NOW)
    assert (returned.known, returned.blacklisted) == (True, False)
    returned = await returns.bounced(store, settings, qmail(second), recipient=f"b+{second}@example.com", now=NOW)

    assert returned.blacklisted
    assert {(str(id_), delivery) for id_, delivery in rows(store, "sms_repo", "id", "delivery")} == {
        (first, "undelivered"), (second, "undelivered"), (other, None)
    }  # fmt: skip
    assert "User unknown" in {str(id_): error for id_, error in rows(store, "sms_repo", "id", "error")}[first]
    assert rows(store, "sms_repo", "delivered_at") == [(None,)] * 3
    assert rows(store, "blacklist", "channel", "value", "campaign") == [("email", "ana@example.com", None)]
    assert [kind for (kind,) in rows(store, "bounce", "kind")] == ["hard", "hard"]


async def test_taken_off_the_blacklist_it_is_counted_anew(store: Store, settings: Settings) -> None:
    """Whoever takes an address off the blacklist gives it as many bounces as it had at first."""
    for blacklisted in (False, True):
        returned = await returns.bounced(store, settings, notification(HARD, id_=sent(store)), now=NOW)
        assert returned.blacklisted is blacklisted
    assert await store.transact(remove, Channel.EMAIL, "ana@example.com", campaign=None)

    for blacklisted in (False, True):
        returned = await returns.bounced(store, settings, notification(HARD, id_=sent(store)), now=NOW)
        assert returned.blacklisted is blacklisted


async def test_what_is_not_the_addresss_fault(store: Store, settings: Settings) -> None:
    """A soft bounce is only recorded; a failure that is not the address's never blacklists it."""
    ids = [sent(store) for _ in range(4)]
    for id_ in ids[:2]:
        await returns.bounced(store, settings, notification(("delayed", "4.2.0", ""), id_=id_), now=NOW)
    for id_ in ids[2:]:
        await returns.bounced(store, settings, notification(("failed", "5.7.1", "smtp; 550 spam"), id_=id_), now=NOW)

    deliveries = {str(id_): delivery for id_, delivery in rows(store, "sms_repo", "id", "delivery")}
    assert [deliveries[id_] for id_ in ids] == [None, None, "undelivered", "undelivered"]
    assert [kind for (kind,) in rows(store, "bounce", "kind")] == ["soft", "soft", "failed", "failed"]
    assert rows(store, "blacklist", "value") == []


async def test_delivery_never_moves_back(store: Store, settings: Settings) -> None:
    """A message that is known to have been delivered stays so."""
    id_ = sent(store)
    for recipient in (("delivered", "2.0.0", ""), HARD):
        await returns.bounced(store, settings, notification(recipient, id_=id_), now=NOW)

    assert rows(store, "sms_repo", "delivery", "error") == [("delivered", None)]


async def test_a_bounce_can_be_early(store: Store, settings: Settings) -> None:
    """A bounce of a mail that is just being sent is asked for again; one of an unknown mail is not."""
    id_ = spooled(store)
    for state, attempts in (("queued", 0), ("sending", 1)):
        changed = f"UPDATE sms_spool SET state = '{state}', provider = 'outbox', attempts = {attempts}"
        store.transact_here(lambda c, sql=changed: c.execute(text(sql)))
        with pytest.raises(Unavailable):
            await returns.bounced(store, settings, notification(HARD, id_=id_), now=NOW)

    assert not (await returns.bounced(store, settings, notification(HARD, id_=new_id()), now=NOW)).known
    assert (await returns.bounced(store, settings, b"Subject: hello\n\nhello", now=NOW)).bounce is None
    assert rows(store, "bounce", "kind") == []


TOLD = {HARD: "undelivered", ("delivered", "2.0.0", ""): "delivered", ("delayed", "4.2.0", ""): None}


async def test_what_comes_back_was_sent(store: Store, settings: Settings) -> None:
    """Whatever a mail server writes of a mail that may have gone says that it has: no doubt, and no second attempt."""
    expected = {}
    for state in ("in_doubt", "deferred"):
        for recipient, delivery in TOLD.items():
            id_ = spooled(store)
            doubted = "UPDATE sms_spool SET state = :state, attempts = 1, provider = 'outbox'"
            store.transact_here(lambda c, sql=doubted, state=state: c.execute(text(sql), {"state": state}))
            assert (await returns.bounced(store, settings, notification(recipient, id_=id_), now=NOW)).known
            expected[id_] = ("sent", "outbox", delivery)

    found = {str(id_): row for id_, *row in rows(store, "sms_repo", "id", "status", "provider", "delivery")}
    assert {id_: tuple(row) for id_, row in found.items()} == expected
    assert rows(store, "sms_spool", "id") == []


async def test_a_campaign_that_is_gone(store: Store, settings: Settings) -> None:
    """Bounces of a campaign without a file count, by the default number."""
    gone = replace(settings, campaigns={})
    for count in range(3):
        id_ = sent(store)
        returned = await returns.bounced(store, gone, notification(HARD, id_=id_), now=NOW)
        assert returned.blacklisted is (count == 2)


@pytest.mark.parametrize(("scope", "campaign"), [("campaign", "Mail"), ("all", None)])
async def test_unsubscribe(store: Store, settings: Settings, scope: str, campaign: str | None) -> None:
    """A link's use blacklists its address for its campaign, or for all, once; one of another's making does nothing."""
    file = settings.config_dir / "campaigns" / "mail.toml"
    file.write_text(file.read_text() + f'unsubscribe_from = "{scope}"\n')
    settings = load(settings.config_dir, environ={})
    for _ in range(2):
        await returns.unsubscribe(store, settings, token("s3cret-of-campaign", "Mail", "ana@example.com"), now=NOW)
    with pytest.raises(Refused):
        await returns.unsubscribe(store, settings, token("guess", "Mail", "eve@example.com"), now=NOW)

    entries = rows(store, "blacklist", "channel", "value", "campaign", "reason")
    assert entries == [("email", "ana@example.com", campaign, "unsubscribed")]
