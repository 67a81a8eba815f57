"""A headless Chromium on loopback, driven through its DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/tot/: Target, Page and Runtime.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from tests.peers import program

__all__ = ["Browser", "Page", "chromium"]

#: No display, no sandbox (it runs as root), no network but loopback, and as little memory as it can do with.
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--remote-debugging-port=0", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--no-proxy-server", "--disable-background-networking", "--disable-component-update", "--disable-default-apps",
    "--disable-domain-reliability", "--disable-sync", "--disable-extensions", "--disable-breakpad",
    "--metrics-recording-only", "--no-pings", "--password-store=basic", "--use-mock-keychain", "--mute-audio",
    "--renderer-process-limit=2", "--js-flags=--max-old-space-size=128",
    "--disable-features=Translate,OptimizationHints,MediaRouter,DialMediaRouteProvider,CertificateTransparencyComponentUpdater",
]  # fmt: skip
PATIENCE_S = 60
COMPLETE = "new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', done))"


class Page:
    """A tab. `said` holds what its windows wrote to the console, errors of the browser among it."""

    def __init__(self, browser: "Browser", session: str) -> None:
        self._browser = browser
        self.session = session
        self.contexts: dict[int, str] = {}
        self.said: list[str] = []

    async def call(self, method: str, **given: Any) -> dict[str, Any]:
        return await self._browser.call(method, session=self.session, **given)

    async def evaluate(self, expression: str, *, origin: str) -> Any:
        """Return what an expression is, awaited, in the window of this origin, once it is complete.

        Of several windows of one origin that which was there first is meant.
        """
        async with asyncio.timeout(PATIENCE_S):
            while origin not in self.contexts.values():
                await self._browser.changed()
        result = await self.call(
            "Runtime.evaluate",
            expression=f"{COMPLETE}.then(() => {expression})",
            contextId=min(id_ for id_, known in self.contexts.items() if known == origin),
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    async def heard(self, pattern: str, number: int = 1) -> list[str]:
        """Return the console lines that match, once there are so many."""
        async with asyncio.timeout(PATIENCE_S):
            while len(found := [line for line in self.said if re.search(pattern, line)]) < number:
                await self._browser.changed()
        return found

    def take(self, method: str, told: dict[str, Any]) -> None:
        if method == "Runtime.executionContextCreated":
            context = told["context"]
            self.contexts[context["id"]] = context["origin"]
        elif method == "Runtime.executionContextDestroyed":
            self.contexts.pop(told["executionContextId"], None)
        elif method == "Runtime.executionContextsCleared":
            self.contexts.clear()
        elif method == "Log.entryAdded":
            self.said.append(told["entry"]["text"])
        elif method == "Runtime.consoleAPICalled":
            self.said.append(" ".join(str(one.get("value")) for one in told["args"]))


class Browser:
    """The connection to a running browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        self._changed = asyncio.Event()

    async def call(self, method: str, *, session: str | None = None, **given: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        said = {"id": number, "method": method, "params": given}
        await self._socket.send_json(said | ({"sessionId": session} if session else {}))
        async with asyncio.timeout(PATIENCE_S):
            return await self._waiting[number]

    async def open(self, url: str) -> Page:
        """Return a new tab that goes to this page."""
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"])
        for domain in ("Runtime", "Log", "Page"):
            await page.call(f"{domain}.enable")
        await page.call("Page.navigate", url=url)
        return page

    async def changed(self) -> None:
        """Wait until something has happened in any tab."""
        self._changed.clear()
        await self._changed.wait()

    async def listen(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                waiting = self._waiting.pop(told["id"])
                if "error" in told:
                    waiting.set_exception(AssertionError(told["error"]))
                else:
                    waiting.set_result(told["result"])
            elif told.get("sessionId") in self._pages:
                self._pages[told["sessionId"]].take(told["method"], told["params"])
                self._changed.set()


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Browser]:
    """A browser with a fresh profile in `folder`, ended with the block."""
    process = await asyncio.create_subprocess_exec(
        program("chromium"), *FLAGS, f"--user-data-dir={folder}", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    reading: list[asyncio.Task[Any]] = []
    try:
        url = await _devtools(process)
        assert process.stderr is not None
        # What it says is read to its end, so that it never waits for us.
        reading.append(asyncio.create_task(process.stderr.read()))
        async with aiohttp.ClientSession() as client, client.ws_connect(url, max_msg_size=0) as socket:
            browser = Browser(socket)
            reading.append(asyncio.create_task(browser.listen()))
            yield browser
            reading[-1].cancel()
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(10):
                    await process.wait()
            except TimeoutError:
                process.kill()
        await process.wait()
        await asyncio.gather(*reading, return_exceptions=True)


async def _devtools(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    said: list[str] = []
    async with asyncio.timeout(PATIENCE_S):
        while line := (await process.stderr.readline()).decode():
            said.append(line)
            if found := re.match(r"DevTools listening on (ws://\S+)", line):
                return found[1]
    raise AssertionError(f"Chromium has ended: {''.join(said)}")
