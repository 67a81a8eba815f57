"""Kannel for real, on free ports of loopback: bearerbox and smsbox with a configuration of their own, and an SMSC."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from asyncio.subprocess import Process
from pathlib import Path
from typing import Any, Self

from tests.peers import program

__all__ = ["Kannel"]

PATIENCE_S = 60

CONFIG = """\
group = core
admin-port = {admin}
admin-interface = 127.0.0.1
admin-password = admin
smsbox-port = {boxes}
smsbox-interface = 127.0.0.1
log-level = 1

group = smsc
smsc = smpp
smsc-id = one
host = 127.0.0.1
port = {smsc}
smsc-username = kannel
smsc-password = kannel
system-type = ""
transceiver-mode = true
source-addr-autodetect = true

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {sendsms}
sendsms-interface = 127.0.0.1
log-level = 1

group = sendsms-user
username = dialerd
password = {password}
max-messages = 10
concatenation = true
"""


def free_ports(number: int) -> list[int]:
    """Return ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


SERVICE = """
group = sms-service
keyword = default
catch-all = true
get-url = "{inbound}?phone=%p&to=%P&id=%I&charset=%C&message=%b"
max-messages = 0
"""


class Kannel:
    """`async with Kannel(folder) as kannel`: it takes messages, and `taken` is what its SMSC got.

    With `inbound`, a URL, it calls that with what phones write.
    """

    password = "ge heim&"

    def __init__(self, folder: Path, *, inbound: str | None = None) -> None:
        self._boxes = [program("bearerbox"), program("smsbox")]
        self._folder = folder
        self._service = SERVICE.format(inbound=inbound) if inbound is not None else ""
        self._processes: list[Process] = []
        self._told: list[dict[str, Any]] = []
        self._news = asyncio.Condition()

    async def __aenter__(self) -> Self:
        admin, boxes, smsc, self.port = free_ports(4)
        config = self._folder / "kannel.conf"
        text = CONFIG.format(admin=admin, boxes=boxes, smsc=smsc, sendsms=self.port, password=self.password)
        config.write_text(text + self._service)
        try:
            script = str(Path(__file__).with_name("smpp34_smsc.py"))
            center = await self._start(sys.executable, script, str(smsc), heard=True)
            self._listening = asyncio.create_task(self._listen(center))
            await self.until(lambda told: told[:1])
            for box, port in zip(self._boxes, (boxes, self.port), strict=True):
                await self._start(box, "-v", "4", str(config))
                await self._connectable(port)
            await self.until(lambda told: [one for one in told if one["event"] == "bound"])
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for process in reversed(self._processes):
            if process.returncode is None:
                process.kill()
            await process.wait()
        self._listening.cancel()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def taken(self, number: int) -> list[dict[str, Any]]:
        """Return what the SMSC took, once it is so many PDUs."""
        return await self.until(
            lambda told: found if len(found := [one for one in told if one["event"] == "submit_sm"]) >= number else []
        )

    async def until(self, find: Any) -> list[dict[str, Any]]:
        """Return what `find` finds in what the SMSC told, once that is something."""
        async with asyncio.timeout(PATIENCE_S), self._news:
            await self._news.wait_for(lambda: find(self._told))
            return list(find(self._told))

    async def _start(self, *command: str, heard: bool = False) -> Process:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if heard else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._processes.append(process)
        return process

    async def _listen(self, center: Process) -> None:
        assert center.stdout is not None
        async for line in center.stdout:
            async with self._news:
                self._told.append(json.loads(line))
                self._news.notify_all()

    async def _connectable(self, port: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                    continue
                writer.transport.abort()
                return
