"""Failover end to end: two gateways, each with numbers in its own format and of its own choice."""

import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from dialerd import intake
from dialerd.batch import run_once
from dialerd.model import breaker
from dialerd.model.errors import BadAddress
from dialerd.settings import load
from dialerd.store import Store
from dialerd.store.migrate import migrate
from tests.fakes.gateway import Gateway

MAIN = """
[daemon]
state_dir = "{state}"
[database]
url = "{database}"
[providers.a]
driver = "http"
url = "http://127.0.0.1:{port}/a"
query = {{ to = "${{phone}}", text = "${{message}}" }}
number_format = "e164"
accept = "^5989[0-8]"
[providers.b]
driver = "http"
url = "{b}/b"
query = {{ to = "${{phone}}", text = "${{message}}" }}
number_format = "national"
accept = "^09[2-9]"
"""
#: Numbers that both take, that only a takes, that only b takes, and that neither takes.
BOTH, ONLY_A, ONLY_B, NEITHER = "098344484", "091123456", "099123456", "+34600123456"


@pytest.mark.parametrize("is_up", [True, False])
async def test_each_in_its_own_format(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_up: bool
) -> None:
    """The next provider gets a number in its own format, and what the first does not accept; none is asked in vain."""
    monkeypatch.setattr(breaker, "FIRST_WAIT_S", 0.02)
    (tmp_path / "campaigns").mkdir()
    (tmp_path / "campaigns" / "c.toml").write_text(
        'name = "c"\nchannel = "sms"\nprovider = ["a", "b"]\nregion = "UY"\n'
    )
    store = Store(database_url)
    store.transact_here(migrate)
    async with Gateway() as a, Gateway() as b:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            nobody = closed.getsockname()[1]
        (tmp_path / "dialerd.toml").write_text(
            MAIN.format(state=tmp_path, database=database_url, port=a.port if is_up else nobody, b=b.url)
        )
        settings = load(tmp_path)
        now = datetime.now(UTC)
        for number in (BOTH, ONLY_A, ONLY_B):
            await intake.submit(store, settings, campaign="c", destination=number, data=number, now=now)
        with pytest.raises(BadAddress, match="the providers a and b do not accept this number"):
            await intake.submit(store, settings, campaign="c", destination=NEITHER, data="x", now=now)
        # What another system inserts is judged by all of them too.
        insert = "INSERT INTO sms_spool (campaign, destination, data) VALUES ('c', :number, :number)"
        for number in (BOTH, ONLY_A, ONLY_B, NEITHER):
            store.transact_here(lambda c, number=number: c.execute(text(insert), {"number": number}))
        summary = await run_once(settings)
        rows = store.transact_here(
            lambda c: [tuple(row) for row in c.execute(text("SELECT data, status, provider, attempts FROM sms_repo"))]
        )
        waiting = store.transact_here(
            lambda c: [tuple(row) for row in c.execute(text("SELECT data, state, attempts FROM sms_spool"))]
        )
    store.close()

    by_a = [BOTH, ONLY_A] if is_up else []
    by_b = [ONLY_B] if is_up else [BOTH, ONLY_B]
    assert sorted(asked.query["to"] for asked in a.asked) == sorted(2 * [f"598{number[1:]}" for number in by_a])
    assert sorted(asked.query["to"] for asked in b.asked) == sorted(2 * by_b)
    assert sorted(rows, key=str) == sorted(
        [(number, "sent", provider, 1) for provider, numbers in (("a", by_a), ("b", by_b)) for number in 2 * numbers]
        + [(NEITHER, "failed", None, 0)],
        key=str,
    )
    assert waiting == ([] if is_up else [(ONLY_A, "queued", 0)] * 2)
    assert summary.remaining == len(waiting)
