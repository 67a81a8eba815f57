"""A scripted SMSC on a loopback port, which behaves towards submit_sm as a test says, and delivers what it says."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from dialerd.drivers.smpp.pdu import (
    BIND_RECEIVER,
    BIND_TRANSCEIVER,
    BIND_TRANSMITTER,
    DELIVER_SM,
    ENQUIRE_LINK,
    RESPONSE,
    SUBMIT_SM,
    UNBIND,
    Bind,
    Framer,
    Pdu,
    ShortMessage,
    pack,
)

__all__ = ["CUT", "SILENCE", "Connection", "Smsc"]

#: What an SMSC can do instead of answering: nothing at all, or close the connection.
SILENCE = object()
CUT = object()

BINDS = {BIND_RECEIVER, BIND_TRANSCEIVER, BIND_TRANSMITTER}

#: What becomes of a submit_sm: a str is its message_id, an int an error code, bytes go out as they are.
Policy = Callable[[ShortMessage], Any]


class Connection(asyncio.Protocol):
    """One connection as the SMSC sees it."""

    def __init__(self, smsc: "Smsc") -> None:
        self.smsc = smsc
        self.framer = Framer()
        self.transport: Any = None
        self.command: int | None = None
        self.closed = False
        self.answers: dict[int, Pdu] = {}
        self.pdus: list[Pdu] = []
        self.sequence = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.smsc.connections.append(self)
        self.smsc.tell()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.smsc.tell()

    def data_received(self, data: bytes) -> None:
        for pdu in self.framer.feed(data):
            self.pdus.append(pdu)
            self.take(pdu)
        self.smsc.tell()

    def take(self, pdu: Pdu) -> None:
        smsc = self.smsc
        if pdu.command & RESPONSE:
            self.answers[pdu.sequence] = pdu
        elif pdu.command in BINDS:
            status = smsc.bind_statuses.get(pdu.command, 0) if Bind.read(pdu.body) == smsc.account else 0x0E
            if not smsc.answers_binds:
                self.transport.write(smsc.behind_bind)
                return
            self.command = None if status else pdu.command
            self.answer(pdu, b"smsc\0", status, more=smsc.behind_bind if not status else b"")
        elif pdu.command == ENQUIRE_LINK:
            if smsc.answers_enquiries:
                self.answer(pdu)
        elif pdu.command == UNBIND:
            smsc.unbinds += 1
            self.answer(pdu)
            self.transport.close()
        elif pdu.command == SUBMIT_SM:
            message = ShortMessage.read(pdu.body)
            smsc.received.append(message)
            self.settle(pdu, message, smsc.policy(message))

    def settle(self, pdu: Pdu, message: ShortMessage, answer: Any) -> None:
        """Do what the policy said."""
        if answer is CUT:
            self.smsc.accepted.append(message)
            self.transport.close()
        elif isinstance(answer, str):
            self.smsc.accepted.append(message)
            self.answer(pdu, answer.encode() + b"\0")
        elif isinstance(answer, int):
            self.answer(pdu, b"", answer)
        elif isinstance(answer, bytes):
            self.transport.write(answer)
        else:
            self.smsc.unanswered.append((self, pdu, message))

    def answer(self, pdu: Pdu, body: bytes = b"", status: int = 0, more: bytes = b"") -> None:
        self.transport.write(pack(pdu.command | RESPONSE, pdu.sequence, body, status) + more)

    def deliver(self, message: ShortMessage, command: int = DELIVER_SM) -> int:
        """Send a deliver_sm; return its sequence number."""
        self.sequence += 1
        self.transport.write(pack(command, self.sequence, message.pack()))
        return self.sequence


class Smsc:
    """The server. `policy` says what becomes of a submit_sm."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.account = Bind("dialerd", "secret")
        self.policy: Policy = self.take_all
        #: By the command, where a bind is refused.
        self.bind_statuses: dict[int, int] = {}
        #: Octets that follow a good answer to a bind in the same segment, or stand in its place.
        self.behind_bind = b""
        self.answers_binds = True
        self.answers_enquiries = True
        self.received: list[ShortMessage] = []
        self.accepted: list[ShortMessage] = []
        self.unanswered: list[tuple[Connection, Pdu, ShortMessage]] = []
        self.connections: list[Connection] = []
        self.unbinds = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()

    def take_all(self, _message: ShortMessage) -> str:
        """Give each a number."""
        return str(len(self.accepted) + 1)

    async def start(self) -> None:
        """Listen, on the same port as before."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: Connection(self), "127.0.0.1", self.port, ssl=self.tls)
            self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more, and close all connections."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for connection in self.open():
            connection.transport.abort()
        await self.until(lambda: not self.open())

    def open(self) -> list[Connection]:
        """Return the connections that are open."""
        return [connection for connection in self.connections if not connection.closed]

    def bound(self, command: int = BIND_TRANSCEIVER) -> list[Connection]:
        """Return the open connections that are bound in this way."""
        return [connection for connection in self.open() if connection.command == command]

    def tell(self) -> None:
        self._changed.set()

    async def until(self, holds: Callable[[], Any], within_s: float = 30) -> None:
        """Return once `holds()`; asked again after everything that happens here."""
        async with asyncio.timeout(within_s):
            while not holds():
                self._changed.clear()
                await self._changed.wait()
