"""The API on a free port, as a daemon has it, and a client that speaks to it through a real socket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from argon2 import PasswordHasher
from sqlalchemy import text

from dialerd.api.app import build
from dialerd.api.context import Context, Health
from dialerd.api.incoming import Incoming
from dialerd.api.meters import Meters
from dialerd.api.server import Server
from dialerd.intake import Intake
from dialerd.model.receipt import Inbound, Receipt
from dialerd.parts import Doors
from dialerd.settings import Listen, Settings, load
from dialerd.store import Store
from dialerd.store.migrate import migrate
from dialerd.users import Users
from tests.cli.calls import configure
from tests.crash.fixtures import databases, site_on

__all__ = ["databases", "site_on"]

PASSWORD = "correct horse"


@dataclass
class Site:
    """A running API with one user, `ana`, and what stands behind it."""

    store: Store
    context: Context
    port: int
    client: aiohttp.ClientSession
    settings: Settings
    now: datetime | None = None
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    received: list[tuple[str, str]] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def post(self, path: str, data: Any = None, **given: Any) -> tuple[int, str, str | None]:
        """Post a form; return status, body and X-Dialerd-Error."""
        async with self.client.post(self.url(path), data=data, **given) as answer:
            return answer.status, await answer.text(), answer.headers.get("X-Dialerd-Error")

    async def get(self, path: str, **given: Any) -> tuple[int, str, str | None]:
        async with self.client.get(self.url(path), **given) as answer:
            return answer.status, await answer.text(), answer.headers.get("X-Dialerd-Error")

    async def token(self) -> str:
        return await self.context.users.login("ana", PASSWORD, address="127.0.0.1", hours=12)

    async def headers(self, scheme: str = "Basic") -> dict[str, str]:
        return {"Authorization": f"{scheme} {await self.token()}"}

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return await self.store.read(lambda connection: [tuple(row) for row in connection.execute(text(sql))])


class Heard:
    """The inbox, which remembers what was put into it."""

    def __init__(self, site: Callable[[], Site], doors: Doors) -> None:
        self._site, self._inbox = site, doors.inbox

    async def receipt(self, receipt: Receipt) -> None:
        self._inbox.settings = self._site().settings
        await self._inbox.receipt(receipt)

    async def inbound(self, inbound: Inbound) -> None:
        self._inbox.settings = self._site().settings
        await self._inbox.inbound(inbound)
        self._site().received.append((inbound.phone, inbound.message))


MakeSite = Callable[..., Any]


#: Guessing is no danger here.
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
def site_with(sqlite_url: str, tmp_path: Path) -> MakeSite:
    """Open a site: `async with site_with(api="more lines of [api]", more="other tables") as site`."""
    return opener(sqlite_url, tmp_path)


@pytest.fixture
def site_on_each(database_url: str, tmp_path: Path) -> MakeSite:
    """Open a site on each database in turn."""
    return opener(database_url, tmp_path)


def settings_of(folder: Path, url: str, *, api: str = "", more: str = "", **campaigns: str) -> Settings:
    """Return settings with an [api]."""
    return load(configure(folder, url=url, main_file=f'[api]\nlisten = "127.0.0.1:0"\n{api}\n{more}', **campaigns))


def opener(url: str, folder: Path) -> MakeSite:
    """Return what opens a site on this database."""

    @asynccontextmanager
    async def open_site(*, api: str = "", more: str = "", **campaigns: str) -> AsyncIterator[Site]:
        settings = settings_of(folder, url, api=api, more=more, **campaigns)
        store = Store(url)
        await store.transact(migrate)
        site: Site

        def clock() -> datetime:
            return site.now or datetime.now(UTC)

        def wake() -> None:
            site.woken.set()

        def current() -> Settings:
            return site.settings

        context = Context(
            store=store,
            settings=current,
            clock=clock,
            intake=Intake(store, settings=current, clock=clock, wake=wake),
            users=Users(store, clock=clock, hasher=QUICK),
            incoming=Incoming(store, folder / "incoming", settings=current, clock=clock, wake=wake),
            health=Health(),
            meters=Meters(),
            inbox=Heard(lambda: site, Doors(settings, store, clock)),
        )
        server = Server(build(context), Listen("127.0.0.1", 0))
        async with aiohttp.ClientSession() as client:
            site = Site(store, context, server.port, client, settings)
            await context.users.add("ana", PASSWORD)
            tasks = [asyncio.create_task(server.run()), asyncio.create_task(context.incoming.run())]
            try:
                yield site
            finally:
                await server.stop(1)
                tasks[1].cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                store.close()

    return open_site
