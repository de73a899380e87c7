"""HTTP/1.1 over one event loop, with a bound on what is under way.

httptools (llhttp, the parser of Node.js) reads the requests; there is no framework in between: an
empty answer costs 20 us of a core, where the quickest server with a standard interface needs twice that.

One thread does everything but the long pieces of work, which the application hands to others, a thread
for each core: many rows do not hold up who asks for one. *Under way* is a request that was let in and is
not answered: its body still arrives, it waits for its turn, or it is worked on. Requests are parsed
when they arrive and worked off in turns behind that, so that those beyond the bound are known, and
answered 503, before any work is done for them. Answers that need no work (health, metrics,
refusals) never wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from time import perf_counter

import structlog

from autotrader.apps.serving.connection import LINGER_SECONDS, Connection
from autotrader.apps.serving.exchange import Application, Exchange, Work
from autotrader.apps.serving.threads import Done, Threads
from autotrader.domain.errors import ConfigurationError

TURN_SECONDS = 0.005  # of work before the event loop may look at its sockets again

_log = structlog.get_logger(__name__)


class HttpServer:
    """Listens and serves an application.

    Parameters
    ----------
    application : Application
    max_concurrency : int
        Requests under way before more are answered 503.

    Attributes
    ----------
    under_way : int
    """

    def __init__(self, application: Application, *, max_concurrency: int) -> None:
        self.application = application
        self.max_concurrency = max_concurrency
        # Idle connections cost a descriptor each; pools of callers are larger than their need.
        self.max_connections = 8 * max_concurrency + 64
        self.under_way = 0
        self.draining = False
        self.connections: set[Connection] = set()
        self._waiting: deque[tuple[Connection, Exchange]] = deque()
        self._threads = Threads(os.cpu_count() or 1)
        self._turn_is_due = False
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, listening: socket.socket) -> None:
        """Accept connections from the bound socket."""
        self._loop = asyncio.get_running_loop()
        self._listener = await self._loop.create_server(
            lambda: Connection(self), sock=listening, backlog=1024
        )
        self._sweeper = self._loop.create_task(self._sweep())

    async def drain(self, patience_seconds: float) -> bool:
        """Accept no more, answer what is under way, close; returns whether all was answered in time."""
        self.draining = True
        await asyncio.sleep(0)  # what has connected already is accepted first
        if self._listener is not None:
            self._listener.close()
        deadline = self._loop.time() + patience_seconds
        linger = min(LINGER_SECONDS, patience_seconds)
        await asyncio.sleep(linger)  # requests that are on their way over open connections
        for connection in list(self.connections):
            connection.close_if_idle()
        while self.connections and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
        answered = self.under_way == 0
        for connection in list(self.connections):
            connection.abort()
        self._threads.stop()
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        return answered

    def take_place(self) -> bool:
        """Count a request as under way, if there is room."""
        if self.under_way >= self.max_concurrency:
            return False
        self.under_way += 1
        return True

    def queue(self, connection: Connection, exchange: Exchange) -> None:
        """Work on a request that has arrived whole, when it is its turn."""
        self._waiting.append((connection, exchange))
        if not self._turn_is_due:
            self._turn_is_due = True
            self._loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        until = perf_counter() + TURN_SECONDS
        waiting = self._waiting
        while waiting and perf_counter() < until:
            connection, exchange = waiting.popleft()
            if connection.is_lost:
                self.under_way -= 1
                continue
            try:
                answer = self.application.respond(exchange)
                if isinstance(answer, Work):
                    self._hand_over(connection, exchange, answer)
                    continue
                self.under_way -= 1
                exchange.answer = answer
                connection.send_answers()
            except Exception as error:  # noqa: BLE001 - one that goes wrong must not stop the others
                _break_off(connection, error)
        if waiting:
            self._loop.call_soon(self._take_turn)
        else:
            self._turn_is_due = False

    def _hand_over(self, connection: Connection, exchange: Exchange, work: Work) -> None:
        def finish(done: Done) -> None:
            self.under_way -= 1
            if connection.is_lost:
                return
            try:
                exchange.answer = work.finish(done)
                connection.send_answers()
            except Exception as error:  # noqa: BLE001 - as above
                _break_off(connection, error)

        self._threads.submit(work.run, finish)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            now = perf_counter()
            for connection in list(self.connections):
                connection.close_if_late(now)


def _break_off(connection: Connection, error: Exception) -> None:
    _log.error("a request broke the server", exc_info=error)
    connection.abort()


def bind(host: str, port: int) -> socket.socket:
    """A socket of this address that nobody else listens on; port 0 takes a free one.

    Raises
    ------
    ConfigurationError
        If the port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise ConfigurationError(
            f"expected {host}:{port} to be free to listen on, was: {error.strerror or error}: "
            "stop what listens there, or choose another port"
        ) from error
