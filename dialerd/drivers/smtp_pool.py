"""The connections to one mail server: opened when needed, used again, closed when idle, after many mails or trouble."""

import asyncio
from collections import deque

from dialerd.drivers.line import Line
from dialerd.drivers.smtp_connection import Connection
from dialerd.drivers.smtp_opening import NoConnection
from dialerd.drivers.tls import verifying
from dialerd.settings import Security, SmtpProvider

__all__ = ["Busy", "Pool"]

#: A connection that nobody used for so long is closed; servers themselves wait for minutes (RFC 5321, 4.5.3.2.7).
IDLE_S = 60.0


class Busy(Exception):
    """No connection came free in time."""


class Pool:
    """At most `connections` connections, each for `mails_per_connection` mails; who comes first is served first."""

    def __init__(self, provider: SmtpProvider) -> None:
        self._provider = provider
        tls = None if provider.security is Security.NONE else verifying(provider.ca)
        #: The last one used at the right: the others go idle.
        self._free = deque(Connection(provider, tls) for _ in range(provider.connections))
        self._idle: dict[Connection, asyncio.TimerHandle] = {}
        self._line = Line(provider.timeout_s, give_back=self.give_back)
        self._closed = False

    async def take(self) -> Connection:
        """Return a connection, open or not, for as long as it takes to hand one mail over.

        Raises:
            Busy: none came free within `timeout_s`.
            NoConnection: the pool is closed.
        """
        if self._closed:
            raise NoConnection("the driver is closed")
        connection = self._free.pop() if self._free else await self._wait()
        if timer := self._idle.pop(connection, None):
            timer.cancel()
        try:
            if self._closed:
                raise NoConnection("the driver is closed")  # noqa: TRY301  # it has to be given back
            if connection.mails >= self._provider.mails_per_connection:
                await connection.quit()
        except BaseException:
            self.give_back(connection)
            raise
        return connection

    def give_back(self, connection: Connection) -> None:
        """Take a connection back; it stays open if it is in step, and goes to who waited longest."""
        if not connection.in_step:
            connection.drop()
        elif self._closed:
            connection.leave()
        if self._line.serve(connection):
            return
        if connection.is_open:
            self._idle[connection] = asyncio.get_running_loop().call_later(IDLE_S, self._rest, connection)
            self._free.append(connection)
        else:
            self._free.appendleft(connection)

    async def _wait(self) -> Connection:
        try:
            return await self._line.wait()
        except TimeoutError:
            raise Busy(f"all {self._provider.connections} connections were busy for too long") from None

    async def close(self) -> None:
        """Say goodbye on all connections that are not in use; the others follow when they come back."""
        self._closed = True
        for timer in self._idle.values():
            timer.cancel()
        self._line.end(NoConnection("the driver is closed"))
        await asyncio.gather(*(connection.quit() for connection in self._free if connection.is_open))

    def _rest(self, connection: Connection) -> None:
        del self._idle[connection]
        connection.leave()
