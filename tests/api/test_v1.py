"""/v1: messages, lists, campaigns, blacklist; problems; and the same call made twice."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from sqlalchemy import insert

from dialerd.model.errors import DatabaseGone
from dialerd.store import received
from dialerd.store.tables import sms_inbound
from tests.api.conftest import MakeSite, Site, settings_of
from tests.store.filled import NOW

ONE = {"campaign": "Ventas->", "destination": "098344484", "text": "Hola ñ"}


class Caller:
    """A client of /v1 with a key."""

    def __init__(self, site: Site, key: str) -> None:
        self.site, self.headers = site, {"Authorization": f"Bearer {key}"}

    async def __call__(self, method: str, path: str, json: Any = None, **given: Any) -> tuple[int, Any]:
        """Return status and JSON."""
        headers = self.headers | given.pop("headers", {})
        url = self.site.url(f"/v1{path}")
        async with self.site.client.request(method, url, json=json, headers=headers, **given) as answer:
            assert answer.status < 400 or answer.content_type == "application/problem+json"
            return answer.status, await answer.json(content_type=None)


async def caller(site: Site) -> Caller:
    return Caller(site, await site.context.users.add_key("ana", "tests"))


async def test_a_message_from_post_to_cancel(site_on_each: MakeSite) -> None:
    """A message is sent, found, listed and cancelled; what has ended cannot be cancelled again."""
    async with site_on_each() as site:
        call = await caller(site)
        status, given = await call("POST", "/messages", ONE | {"priority": 7, "agent": "maria"})
        assert 201 == status
        path = f"/messages/{UUID(given['id'])}"
        assert site.woken.is_set()

        status, found = await call("GET", path)
        expected = {"place": "sms_spool", "text": "Hola ñ", "priority": 7, "agent": "maria", "state": "queued"}
        assert (200, expected) == (status, {name: found[name] for name in expected})
        status, listed = await call("GET", "/messages?place=spool&campaign=Ventas-%3E")
        assert ([given["id"]], None) == ([one["id"] for one in listed["messages"]], listed["next"])

        status, gone = await call("DELETE", path)
        assert (200, "sms_repo", "cancelled") == (status, gone["place"], gone["status"])
        assert 409 == (await call("DELETE", path))[0]
        status, listed = await call("GET", "/messages?status=cancelled")
        assert [given["id"]] == [one["id"] for one in listed["messages"]]


async def test_a_scheduled_message_is_changed(site_on_each: MakeSite) -> None:
    """What waits in sms_scheduler can be given another time, text and destination, under the same checks."""
    async with site_on_each() as site:
        call = await caller(site)
        _, given = await call("POST", "/messages", ONE | {"at": "2031-01-02 10:00:00"})
        path = f"/messages/{given['id']}"
        status, changed = await call("PATCH", path, {"text": "Luego", "at": "2031-01-02T15:00:00Z"})
        assert (200, "sms_scheduler", "Luego") == (status, changed["place"], changed["text"])
        assert changed["at"].startswith("2031-01-02T15:00:00")

        assert 400 == (await call("PATCH", path, {"destination": "1"}))[0]
        assert 400 == (await call("PATCH", path, {"at": "soon"}))[0]
        _, sent = await call("POST", "/messages", ONE)
        assert 409 == (await call("PATCH", f"/messages/{sent['id']}", {"text": "too late"}))[0]


async def test_the_same_call_twice(site_on_each: MakeSite) -> None:
    """Under one Idempotency-Key a message goes once, however often and at once it is asked; another body is a 409."""
    async with site_on_each() as site:
        call = await caller(site)
        headers = {"Idempotency-Key": "order 4711"}
        answers = await asyncio.gather(*(call("POST", "/messages", ONE, headers=headers) for _ in range(8)))
        assert 1 == len({(status, body["id"]) for status, body in answers})
        assert 201 == answers[0][0]
        assert 409 == (await call("POST", "/messages", ONE | {"text": "other"}, headers=headers))[0]
        assert [(1,)] == await site.rows("SELECT count(*) FROM sms_spool")

        batch = {"messages": [ONE | {"text": str(n)} for n in range(1200)]}
        first = await call("POST", "/messages/batch", batch, headers={"Idempotency-Key": "b"})
        again = await call("POST", "/messages/batch", batch, headers={"Idempotency-Key": "b"})
        assert first == again
        assert [(1201,)] == await site.rows("SELECT count(*) FROM sms_spool")


async def test_a_batch(site_with: MakeSite) -> None:
    """Each message of a batch is taken or refused by itself, with one result for each in their order."""
    async with site_with() as site:
        call = await caller(site)
        some = [ONE, ONE | {"campaign": "nobody"}, ONE | {"destination": "x"}, ONE | {"at": "2031-01-01 00:00:00"}]
        status, told = await call("POST", "/messages/batch", {"messages": some})
        assert (200, 2, 2) == (status, told["accepted"], told["refused"])
        assert [True, False, False, True] == [result["id"] is not None for result in told["results"]]
        assert "unknown campaign" in told["results"][1]["error"]
        assert [(1, 1)] == await site.rows(
            "SELECT (SELECT count(*) FROM sms_spool), (SELECT count(*) FROM sms_scheduler)"
        )


async def test_problems(site_with: MakeSite) -> None:
    """Whatever is wrong is a problem that says what, and nothing of our inside: wrong members, paths, tokens, NULs."""
    async with site_with() as site:
        call = await caller(site)
        cases = [
            ("POST", "/messages", ONE | {"colour": "red"}, 422),
            ("POST", "/messages", ONE | {"priority": 0}, 422),
            ("POST", "/messages", ONE | {"text": "a\0b"}, 422),
            ("POST", "/messages", ONE | {"details": {"a": "\ud83d"}}, 422),
            ("POST", "/messages", {}, 422),
            ("POST", "/messages", ONE | {"campaign": "nobody"}, 400),
            ("POST", "/messages/batch", {"messages": []}, 422),
            ("GET", "/messages/x", None, 422),
            ("GET", "/messages/00000000-0000-0000-0000-000000000000", None, 404),
            ("GET", "/messages?cursor=-1", None, 400),
            ("GET", "/nothing", None, 404),
            ("PUT", "/blacklist", {"value": "x@"}, 400),
            ("PUT", "/blacklist", {"value": "098344484", "expires": "2031-01-01T00:00:00"}, 422),
            ("DELETE", "/blacklist?value=098344484", None, 404),
            ("POST", "/campaigns/nobody/pause", {}, 404),
        ]
        for method, path, body, status in cases:
            told = await call(method, path, body)
            assert (method, path, status) == (method, path, told[0])
            assert {"type", "status", "title"} <= told[1].keys()
        call.headers = {}
        for path in ("/messages", "/status", "/campaigns"):
            assert 401 == (await call("GET", path))[0]
        assert [(0,)] == await site.rows("SELECT count(*) FROM sms_spool")


async def test_an_operator(site_on_each: MakeSite) -> None:
    """A campaign is paused and resumed, an address blocked and let go; status and list tell."""
    async with site_on_each() as site:
        call = await caller(site)
        status, told = await call("POST", "/campaigns/Ventas-%3E/pause", {"reason": "wrong price"})
        assert (200, "paused") == (status, told["state"])
        assert "paused" == (await call("GET", "/campaigns/Ventas-%3E"))[1]["state"]
        assert [("wrong price",)] == await site.rows("SELECT reason FROM pause")
        assert "open" == (await call("POST", "/campaigns/Ventas-%3E/resume"))[1]["state"]

        entry = {"value": "098344484", "expires": "2031-01-01T00:00:00Z"}
        assert ["59898344484"] == (await call("PUT", "/blacklist", entry))[1]["values"]
        assert 400 == (await call("POST", "/messages", ONE))[0]
        await call("PUT", "/blacklist", {"value": "ana@example.com", "campaign": "Mail", "reason": "asked"})
        for query, values in (
            ("", ["59898344484", "ana@example.com"]), ("?value=%2B598%2098344484", ["59898344484"]),
            ("?channel=email", ["ana@example.com"]), ("?campaign=Mail", ["ana@example.com"]), ("?value=091", None),
        ):  # fmt: skip
            status, page = await call("GET", f"/blacklist{query}")
            assert (query, 200 if values is not None else 400) == (query, status)
            assert values is None or values == [one["value"] for one in page["entries"]]
        _, page = await call("GET", "/blacklist?limit=1")
        _, page = await call("GET", f"/blacklist?limit=1&cursor={page['next']}")
        assert [("ana@example.com", "asked")] == [(one["value"], one["reason"]) for one in page["entries"]]
        assert 200 == (await call("DELETE", "/blacklist?value=098344484"))[0]
        assert 201 == (await call("POST", "/messages", ONE))[0]

        status, told = await call("GET", "/status")
        assert (200, {"open": 2}) == (status, told["campaigns"])
        campaigns = (await call("GET", "/campaigns"))[1]
        assert {"Ventas->": 1, "Mail": 0} == {one["name"]: one["counts"]["queued"] for one in campaigns}


async def test_the_database_is_away(site_with: MakeSite) -> None:
    """While the database is away every call is a 503 that says to try again."""
    async with site_with() as site:
        call = await caller(site)

        async def gone(*_: object, **__: object) -> None:
            raise DatabaseGone("the server at db:5432 does not answer")

        site.store.read = gone  # type: ignore[method-assign]
        for path in ("/messages", "/status", "/campaigns"):
            status, told = await call("GET", path)
            assert (503, False) == (status, "5432" in str(told))
        assert 503 == (await site.get("/readyz"))[0]
        assert 200 == (await site.get("/healthz"))[0]


async def test_openapi(site_with: MakeSite) -> None:
    """The description is OpenAPI 3.1, served without a token, and tells every path with its problems."""
    async with site_with() as site:
        async with site.client.get(site.url("/v1/openapi.json")) as answer:
            told = await answer.json()
        assert told["openapi"].startswith("3.1")
        assert [{"token": []}] == told["paths"]["/bases"]["post"]["security"]
        assert {"/messages", "/messages/batch", "/messages/{id}", "/campaigns", "/blacklist"} <= told["paths"].keys()
        assert all("401" in operation["responses"] for path in told["paths"].values() for operation in path.values())


async def test_scheduled_messages_are_listed(site_on_each: MakeSite) -> None:
    """What waits for its minute is listed page by page, of one campaign or of all, each message once."""
    async with site_on_each() as site:
        call = await caller(site)
        ids = [
            (await call("POST", "/messages", ONE | {"at": f"203{n}-01-02 10:00:00", "text": str(n)}))[1]["id"]
            for n in range(3)
        ]
        found: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            query = f"place=scheduler&limit=2&campaign=Ventas-%3E{cursor and f'&cursor={cursor}'}"
            status, page = await call("GET", f"/messages?{query}")
            assert 200 == status
            found += [one["id"] for one in page["messages"]]
            cursor = page["next"]
        assert sorted(ids) == found
        assert [] == (await call("GET", "/messages?place=scheduler&campaign=Mail"))[1]["messages"]
        for wrong in ("state=queued", "cursor=7"):
            assert 400 == (await call("GET", f"/messages?place=scheduler&{wrong}"))[0]


async def test_the_same_call_after_a_reload(site_with: MakeSite, tmp_path: Path, sqlite_url: str) -> None:
    """A call made again is answered as before, though what it asks for would be judged in another way by now."""
    async with site_with() as site:
        call = await caller(site)
        batch = {"messages": [ONE | {"campaign": "New"}, ONE]}
        key = {"Idempotency-Key": "k"}
        first = await call("POST", "/messages/batch", batch, headers=key)
        assert (1, 1) == (first[1]["accepted"], first[1]["refused"])
        one = await call("POST", "/messages", ONE, headers={"Idempotency-Key": "one"})
        assert 201 == one[0]

        site.settings = settings_of(tmp_path, sqlite_url, New="")
        assert first == await call("POST", "/messages/batch", batch, headers=key)
        site.settings = replace(site.settings, campaigns={})
        assert first == await call("POST", "/messages/batch", batch, headers=key)
        assert one == await call("POST", "/messages", ONE, headers={"Idempotency-Key": "one"})
        assert [(2,)] == await site.rows("SELECT count(*) FROM sms_spool")


async def test_inbound(site_on_each: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """What people sent to us is listed oldest first, page by page, by campaign, number and time."""
    monkeypatch.setattr(received, "SCAN", 3)
    async with site_on_each() as site:
        call = await caller(site)
        some = [
            {
                "id": UUID(int=n), "phone": ("+59898344484", "59898344485")[n % 2], "message": f"m{n}",
                "received": NOW + timedelta(minutes=n // 2), "campaign": ("Ventas->", None)[n > 6],
            }
            for n in (5, 9, 2, 1, 8, 3, 7, 4, 6, 0)
        ]  # fmt: skip
        statement = insert(sms_inbound)
        rows = [one | {"id": str(one["id"])} for one in some]
        await site.store.transact(lambda connection: connection.execute(statement, rows))

        async def numbers(query: str) -> list[int]:
            found, cursor = [], ""
            while cursor is not None:
                status, page = await call("GET", f"/inbound?limit=2{query}{cursor}")
                assert 200 == status
                found += [UUID(one["id"]).int for one in page["messages"]]
                cursor = page["next"] and "&" + urlencode({"cursor": page["next"]})
            return found

        assert list(range(10)) == await numbers("")
        assert list(range(7)) == await numbers("&campaign=Ventas-%3E")
        assert [0, 2, 4, 6, 8] == await numbers("&phone=59898344484") == await numbers("&phone=%2B59898344484")
        assert [2, 3, 4, 5] == await numbers(
            "&" + urlencode({"since": NOW + timedelta(minutes=1), "until": NOW + timedelta(minutes=3)})
        )
        for wrong, status in (("cursor=7", 400), ("cursor=2026-01-01~x", 400), ("since=2026-01-01T00:00:00", 422)):
            assert status == (await call("GET", f"/inbound?{wrong}"))[0]
