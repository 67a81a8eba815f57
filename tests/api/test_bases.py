"""/v1/bases: files of any size come in, are loaded over restarts, and what waits of them obeys an operator."""

import asyncio
import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dialerd.api import incoming as incoming_module
from dialerd.api.incoming import Incoming, Job
from dialerd.lease import FileLock
from dialerd.model.message import Channel
from dialerd.store import Store
from dialerd.store.bases import find_upload
from dialerd.store.migrate import migrate
from dialerd.store.uploads import BadLine, begin, stage
from tests.api.conftest import MakeSite, settings_of
from tests.api.test_v1 import Caller, caller
from tests.store.test_uploads import line

GOOD = "Ventas->;098344484;Hola ñ;9999\nVentas->;098344485;Hola;5\n"
BAD = "Ventas->;12;Hola;1\n"


async def posted(call: Caller, query: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    """Upload a base and return status and answer."""
    status, told = await call("POST", f"/bases?{query}", data=body, headers=headers)
    assert status != 202 or told["state"] in ("loading", "loaded", "failed")
    return status, told


async def ended(call: Caller, id_: str) -> dict[str, Any]:
    """Return a base once it is loaded or failed."""
    async with asyncio.timeout(60):
        while (told := (await call("GET", f"/bases/{id_}"))[1])["state"] == "loading" or "moving" in told["counts"]:
            await asyncio.sleep(0.01)
    found: dict[str, Any] = told
    return found


async def until_gone(folder: Path) -> None:
    """Return once no file waits to be loaded, and those that did are deleted (first what describes them)."""
    waited: set[Path] = set()
    async with asyncio.timeout(60):
        while True:
            waited.update(folder.glob("*.json"))
            if not any(path.exists() or path.with_suffix(".base").exists() for path in waited):
                return
            await asyncio.sleep(0.01)


async def test_a_base_from_upload_to_cancel(site_on_each: MakeSite) -> None:
    """A base is loaded, counted and listed with its bad lines; it is held, given a priority, released and cancelled."""
    async with site_on_each() as site:
        call = await caller(site)
        status, told = await posted(call, "name=march&campaign=Ventas-%3E", GOOD + BAD)
        assert (202, "march", "sms") == (status, told["name"], told["channel"])
        id_ = told["id"]
        told = await ended(call, id_)
        assert ("loaded", 2, 1, {"queued": 2}) == tuple(
            told[name] for name in ("state", "accepted", "rejected", "counts")
        )
        assert ([id_], None) == await listed(call, "")
        assert ([id_], None) == await listed(call, "?name=march&state=loaded")
        assert ([], None) == await listed(call, "?name=april")

        steps: list[tuple[str, Any, dict[str, int]]] = [
            ("hold", None, {"held": 2}),
            ("priority", {"priority": 7}, {"held": 2}),
            ("release", None, {"queued": 2}),
            ("cancel", None, {"cancelled": 2}),
        ]
        for verb, body, counts in steps:
            status, told = await call("POST", f"/bases/{id_}/{verb}", body)
            assert (verb, 200, 2) == (verb, status, told["touched"])
            assert counts == (await call("GET", f"/bases/{id_}"))[1]["counts"]
        assert [(7, "march")] * 2 == await site.rows("SELECT priority, base FROM sms_repo")
        assert 0 == (await call("POST", f"/bases/{id_}/cancel"))[1]["touched"]


async def listed(call: Caller, query: str) -> tuple[list[str], str | None]:
    _, page = await call("GET", f"/bases{query}")
    return [one["id"] for one in page["bases"]], page["next"]


async def test_bad_lines(site_with: MakeSite) -> None:
    """Rejected lines come page by page, or all as CSV that can be loaded again, without those not kept whole."""
    async with site_with() as site:
        call = await caller(site)
        lines = [f"Ventas->;{n};Hola;1" for n in range(1, 6)] + [f"Ventas->;1;{'x' * 900}", GOOD]
        _, told = await posted(call, "name=b", "\n".join(lines))
        await ended(call, told["id"])
        path = f"/bases/{told['id']}/errors"
        numbers, cursor = [], ""
        while cursor is not None:
            _, page = await call("GET", f"{path}?limit=4{cursor}")
            numbers += [(one["line"], one["whole"]) for one in page["errors"]]
            cursor = None if page["next"] is None else f"&cursor={page['next']}"
        assert [(n, n != 6) for n in range(1, 7)] == numbers
        async with site.client.get(site.url(f"/v1{path}?format=csv"), headers=call.headers) as answer:
            assert "text/csv" == answer.content_type
            text = await answer.text()
        assert text.startswith('line;reason;text\n1;bad number;"Ventas->;1;Hola;1"\n')
        assert text.splitlines()[6] == "6;bad number;"

        # Loaded again as it is, each of its lines is rejected for the same reason.
        _, again = await posted(call, "name=again", text + '7;x;"' + GOOD.splitlines()[0] + '"\n')
        told = await ended(call, again["id"])
        assert (1, 5) == (told["accepted"], told["rejected"])


async def test_a_form(site_with: MakeSite) -> None:
    """A form brings one file, whose name is the base's; the same file under the same name adds nothing within a day."""
    async with site_with(api="max_body_mb = 0.01\nmax_base_mb = 2") as site:
        call = await caller(site)
        many = "".join(f"Ventas->;098{n:06};Hola {n};9\n" for n in range(4_000)).encode()
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("file", io.BytesIO(many), filename="C:\\bases\\march ñ.csv", content_type="text/csv")
        status, told = await posted(call, "", form)
        assert (202, "march ñ.csv") == (status, told["name"])
        assert 4_000 == (await ended(call, told["id"]))["accepted"]

        _, same = await posted(call, "name=march%20%C3%B1.csv", io.BytesIO(many))
        same = await ended(call, same["id"])
        assert ("failed", told["id"], 0) == (same["state"], same["same_as"], same["accepted"])
        assert 409 == (await call("POST", f"/bases/{same['id']}/hold"))[0]
        _, again = await posted(call, "name=march%20%C3%B1.csv&again=true", GOOD)
        # Under one name: each tells what has come since it was loaded.
        assert {"queued": 2} == (await ended(call, again["id"]))["counts"]
        assert ([again["id"]], again["id"]) == await listed(call, "?limit=1")
        assert ([same["id"]], same["id"]) == await listed(call, f"?limit=1&cursor={again['id']}")


async def test_what_is_refused(site_with: MakeSite) -> None:
    """What is no base is refused, at once or when it is read, by what it is; nothing of it stays on the disk."""
    async with site_with(api="max_base_mb = 0.1") as site:
        call = await caller(site)

        def form(*fields: tuple[str, str | None], end: bytes = b"--b--\r\n") -> tuple[bytes, str]:
            parts = [
                f"--b\r\nContent-Disposition: form-data; name=f{f'; filename={name}' if name else ''}\r\n\r\n{text}\r\n"
                for text, name in fields
            ]
            return "".join(parts).encode() + end, "multipart/form-data; boundary=b"

        csv = "text/csv"
        bodies: list[tuple[str, Any, str, int, str]] = [
            ("name=x", b"", csv, 400, "empty"),
            ("", GOOD.encode(), csv, 400, "name"),
            ("name=x&campaign=nobody", GOOD.encode(), csv, 400, "unknown campaign"),
            ("name=x&campaign=Mail&channel=sms", GOOD.encode(), csv, 400, "sends email"),
            ("name=x&channel=fax", GOOD.encode(), csv, 422, "channel"),
            ("name=x", b"x" * 200_000, csv, 413, "larger"),
            ("name=x", slowly(200_000), csv, 413, "larger"),
            ("name=x", *form((GOOD, "a"), (GOOD, "b")), 400, "several"),
            ("name=x", *form(("Ventas->", None), (GOOD, "b")), 400, "no file"),
            ("name=x", *form(), 400, "file"),
            ("name=x", *form((GOOD, "a"), end=b""), 400, "complete"),
            ("name=x", b"nonsense", "multipart/form-data; boundary=b", 400, "multipart"),
            ("name=x", b"nonsense", "multipart/form-data", 400, "boundary"),
        ]
        for query, body, kind, status, why in bodies:
            told = await posted(call, query, body, **{"Content-Type": kind})
            assert (query, kind, status) == (query, kind, told[0])
            assert why in f"{told[1]['title']} {told[1].get('detail')}"
        folder = site.context.incoming._folder
        assert [] == [path.name for path in folder.glob("*") if path.name != "lock"]

        for name, body, why in (
            ("a.csv", b"\x1f\x8b\x08 zip", "a.csv is a gzip archive"),
            ("b.csv", BAD.encode(), "no line was accepted"),
            ("c.csv", b"a\0b", "c.csv is a binary file"),
        ):
            _, told = await posted(call, f"name={name}", body)
            told = await ended(call, told["id"])
            assert ("failed", {}) == (told["state"], told["counts"])
            assert why in told["error"]
            assert str(folder) not in told["error"]
        assert 404 == (await call("GET", "/bases/01935f1e-8c4b-7d0a-9e52-3f6a7b8c9d0e"))[0]
        call.headers = {}
        assert 401 == (await posted(call, "name=x", GOOD))[0]


async def slowly(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1000):
        yield b"x" * 1000


async def test_the_same_upload_twice(site_on_each: MakeSite) -> None:
    """Under one Idempotency-Key a base is loaded once and answered the same; another file under it is a 409."""
    async with site_on_each() as site:
        call = await caller(site)
        key = {"Idempotency-Key": "march"}
        answers = await asyncio.gather(*(posted(call, "name=m", GOOD, **key) for _ in range(4)))
        assert {(202, answers[0][1]["id"])} == {(status, told["id"]) for status, told in answers}
        assert 409 == (await posted(call, "name=m", GOOD + BAD, **key))[0]
        assert 409 == (await posted(call, "name=n", GOOD, **key))[0]
        await ended(call, answers[0][1]["id"])
        await until_gone(site.context.incoming._folder)
        assert [(1,)] == await site.rows("SELECT count(*) FROM upload")
        assert [(2,)] == await site.rows("SELECT count(*) FROM sms_spool")


async def test_cancelled_before_it_is_read(site_with: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base that is cancelled while it waits is never loaded, and says by whom."""
    monkeypatch.setattr(incoming_module, "TROUBLE_S", 0.01)
    async with site_with() as site:
        call = await caller(site)
        folder = site.context.incoming._folder
        lock = FileLock(folder / "lock")
        assert lock.take()
        _, told = await posted(call, "name=m", GOOD)
        assert 409 == (await call("POST", f"/bases/{told['id']}/hold"))[0]
        status, gone = await call("POST", f"/bases/{told['id']}/cancel")
        assert (200, "failed", "cancelled by ana") == (status, gone["base"]["state"], gone["base"]["error"])
        lock.release()
        await until_gone(folder)
        assert "failed" == (await call("GET", f"/bases/{told['id']}"))[1]["state"]
        assert [(0, 0)] == await site.rows(
            "SELECT (SELECT count(*) FROM sms_spool), (SELECT count(*) FROM upload_line)"
        )


# -- restarts --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def lives(url: str, folder: Path) -> AsyncIterator[tuple[Store, Any]]:
    """A database, and what makes one life after the other of the loader."""
    store = Store(url)
    await store.transact(migrate)
    settings = settings_of(folder, url)

    def life() -> Incoming:
        return Incoming(
            store, folder / "incoming", settings=lambda: settings, clock=lambda: datetime.now(UTC), wake=lambda: None
        )

    try:
        yield store, life
    finally:
        store.close()


async def loads_all(life: Incoming, folder: Path) -> None:
    running = asyncio.create_task(life.run())
    await until_gone(folder / "incoming")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


JOB = Job(kind="base", filename="b.csv", channel=Channel.SMS, campaign=None, by="ana")


async def test_a_life_ends_in_the_middle(database_url: str, tmp_path: Path) -> None:
    """What was answered is loaded by the next life from its beginning: nothing is lost, nothing stands there twice."""
    async with lives(database_url, tmp_path) as (store, life):
        first = life()
        whole = await first.put(JOB, GOOD.encode())
        half = await first.put(replace(JOB, filename="half.csv"), (GOOD + BAD).encode())
        given = {"filename": "half.csv", "base": "half.csv", "channel": "sms", "digest": "d", "since": None}
        now = datetime.now(UTC)
        await store.transact(begin, half, **given, now=now)
        await store.transact(stage, half, [line(1)], [BadLine(3, "bad number", "x")], now=now)

        await loads_all(life(), tmp_path)

        for id_, rejected in ((whole, 0), (half, 1)):
            upload = await store.read(find_upload, id_)
            assert upload is not None
            assert ("loaded", 2, rejected) == (upload.state, upload.accepted, upload.rejected)
        bases = await store.read(
            lambda c: [tuple(row) for row in c.exec_driver_sql("SELECT base, data FROM sms_spool ORDER BY seq")]
        )
        assert [(base, text) for base in ("b.csv", "half.csv") for text in ("Hola ñ", "Hola")] == bases
        assert [] == [path for path in (tmp_path / "incoming").glob("*") if path.name != "lock"]


async def test_a_call_that_was_never_answered(sqlite_url: str, tmp_path: Path) -> None:
    """A file whose call ended before its commit is not loaded, and is deleted after an hour; a younger one stays."""
    async with lives(sqlite_url, tmp_path) as (store, life):
        folder = tmp_path / "incoming"
        id_ = await life().put(JOB, GOOD.encode())
        await store.transact(lambda c: c.exec_driver_sql("DELETE FROM upload"))
        await life()._load_all()
        assert {f"{id_}.base", f"{id_}.json", "lock"} == {path.name for path in folder.glob("*")}

        rest = folder / "rest.base.part"
        rest.write_text("x")
        for path in (rest, folder / f"{id_}.base"):
            os.utime(path, (1e9, 1e9))
        await life()._load_all()
        assert {"lock"} == {path.name for path in folder.glob("*")}


async def test_the_disk_is_full(site_with: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base that cannot be written is a 503, and leaves nothing."""
    async with site_with() as site:
        call = await caller(site)

        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("dialerd.api.arrivals.os.write", full)
        assert 503 == (await posted(call, "name=m", GOOD))[0]
        monkeypatch.undo()
        assert [] == [path.name for path in site.context.incoming._folder.glob("*") if path.name != "lock"]
        assert [(0,)] == await site.rows("SELECT count(*) FROM upload")
