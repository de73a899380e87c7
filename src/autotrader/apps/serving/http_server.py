"""HTTP/1.1 over one event loop, with a bound on what is under way.

httptools (llhttp, the parser of Node.js) reads the requests; there is no framework in between: an
empty answer costs 20 us of a core, where the quickest server with a standard interface needs twice that.

One thread does everything, so work cannot be concurrent; waiting can. *Under way* is a request that
was let in and is not answered: its body still arrives, or it waits for its turn. Requests are parsed
when they arrive and worked off in turns behind that, so that those beyond the bound are known, and
answered 503, before any work is done for them. Answers that need no work (health, metrics,
refusals) never wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from time import perf_counter
from typing import Protocol, cast

import httptools
import structlog

from autotrader.domain.errors import ConfigurationError

READ_SECONDS = 10.0  # for a request to arrive whole
IDLE_SECONDS = 75.0  # between two requests of a connection
LINGER_SECONDS = 0.3  # for what was sent before the other side learnt that we close
TURN_SECONDS = 0.005  # of work before the event loop may look at its sockets again
MAX_HEAD_BYTES = 32_768

_JSON = b"application/json"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, whole.

    Attributes
    ----------
    headers : bytes
        Further ones, each with its line end.
    """

    status: int
    body: bytes
    content_type: bytes = _JSON
    headers: bytes = b""


class Exchange:
    """A request and, in the end, its answer.

    Attributes
    ----------
    headers : Mapping[bytes, bytes]
        By name in lower case; of a name that comes twice, the last.
    body : bytes
        Empty until it is whole.
    began : float
        `perf_counter` at the first byte.
    """

    __slots__ = ("answer", "began", "body", "headers", "keep_alive", "method", "path", "takes_place")

    def __init__(self) -> None:
        self.began = perf_counter()
        self.method = b""
        self.path = b""
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.keep_alive = True
        self.takes_place = False
        self.answer: Answer | None = None


class Application(Protocol):
    """What is served."""

    max_body_bytes: int

    def admit(self, exchange: Exchange) -> Answer | None:
        """The answer where none of the body is needed; None to be asked again with the body.

        Called when the head has arrived; quick.
        """
        ...

    def respond(self, exchange: Exchange) -> Answer:
        """The answer to a request that was let in; never raises."""
        ...

    def refuse(self, status: int, error: str, *, expected: str, was: str) -> Answer:
        """The answer to a request that the server itself turns away."""
        ...

    def observe(self, exchange: Exchange, status: int, seconds: float) -> None:
        """Called once for each answer."""
        ...


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
            self.under_way -= 1
            if connection.is_lost:
                continue
            try:
                exchange.answer = self.application.respond(exchange)
                connection.send_answers()
            except Exception as error:  # noqa: BLE001 - one that goes wrong must not stop the others
                _log.error("a request broke the server", exc_info=error)
                connection.abort()
        if waiting:
            self._loop.call_soon(self._take_turn)
        else:
            self._turn_is_due = False

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            now = perf_counter()
            for connection in list(self.connections):
                connection.close_if_late(now)


class Connection(asyncio.Protocol):
    """One connection; its requests are answered in the order in which they came."""

    def __init__(self, server: HttpServer) -> None:
        self.is_lost = False
        self._server = server
        self._application = server.application
        self._parser = httptools.HttpRequestParser(self)
        self._exchanges: deque[Exchange] = deque()  # in order; the last may still arrive
        self._arriving: Exchange | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._is_deaf = False  # reads nothing any more
        self._quiet_since = perf_counter()

    # --------------------------------------------------------------------- of the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self)
        if len(self._server.connections) > self._server.max_connections:
            self._turn_away(
                503,
                "too many connections",
                expected=f"at most {self._server.max_connections}",
                was="one more",
            )

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the event loop's
        self.is_lost = True
        self._server.connections.discard(self)
        if self._arriving is not None:
            self._give_up_place(self._arriving)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        before = self._arriving
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # answered already, see on_headers_complete
            return
        except httptools.HttpParserCallbackError as error:
            _log.error("a request broke the server", exc_info=error)
            self._turn_away(500, "internal error", expected="an answer", was="a mistake of ours")
            return
        except httptools.HttpParserError as error:
            self._turn_away(400, "not HTTP", expected="an HTTP/1.1 request", was=str(error))
            return
        arriving = self._arriving
        if arriving is None:
            return
        if arriving.answer is not None:  # refused before it has arrived whole
            arriving.keep_alive = False
            self._finish(arriving)
        elif arriving is before and not arriving.method:  # its head still arrives
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._turn_away(431, "head too large", expected=f"at most {MAX_HEAD_BYTES} bytes", was="more")

    def eof_received(self) -> bool:
        """The other side sends no more; true to answer what it had sent whole."""
        self._is_deaf = True
        if not self._exchanges or self._arriving is not None:
            return False
        self._exchanges[-1].keep_alive = False
        return True

    def pause_writing(self) -> None:
        self._transport.pause_reading()  # who does not read its answers sends no more requests

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    # -------------------------------------------------------------------------- of the parser

    def on_message_begin(self) -> None:
        self._arriving = Exchange()
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        cast("Exchange", self._arriving).path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        cast("Exchange", self._arriving).headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        exchange = cast("Exchange", self._arriving)
        exchange.method = self._parser.get_method()
        exchange.keep_alive = self._parser.should_keep_alive()
        exchange.path = exchange.path.partition(b"?")[0]
        self._exchanges.append(exchange)
        if self._parser.should_upgrade():
            exchange.keep_alive = False
            exchange.answer = self._application.refuse(
                400, "no upgrade", expected="HTTP/1.1", was="a request for another protocol"
            )
            return
        exchange.answer = self._application.admit(exchange)
        if exchange.answer is not None:
            return
        length = exchange.headers.get(b"content-length")
        if length is not None and int(length) > self._application.max_body_bytes:
            exchange.answer = self._too_large(length.decode())
        elif not self._server.take_place():
            exchange.answer = self._application.refuse(
                503,
                "overloaded",
                expected=f"at most {self._server.max_concurrency} requests under way",
                was="one more: try again",
            )
        else:
            exchange.takes_place = True
            self._body, self._body_bytes = [], 0
            if b"expect" in exchange.headers:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        exchange = cast("Exchange", self._arriving)
        if exchange.answer is not None:
            return
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > self._application.max_body_bytes:
            self._give_up_place(exchange)
            self._body = []
            exchange.answer = self._too_large("more")

    def on_message_complete(self) -> None:
        exchange = cast("Exchange", self._arriving)
        self._arriving = None
        if exchange.answer is not None:
            self.send_answers()
            return
        exchange.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        exchange.takes_place = False  # from here on the queue counts it
        self._server.queue(self, exchange)

    # --------------------------------------------------------------------------- of the server

    def send_answers(self) -> None:
        """Write the answers that are due: those before which none is missing."""
        while self._exchanges:
            exchange = self._exchanges[0]
            answer = exchange.answer
            if answer is None or exchange is self._arriving:
                return
            self._exchanges.popleft()
            closes = not exchange.keep_alive or self._server.draining
            body = b"" if exchange.method == b"HEAD" else answer.body
            now = perf_counter()
            self._transport.write(_head(answer, closes=closes) + body)
            self._application.observe(exchange, answer.status, now - exchange.began)
            self._quiet_since = now
            if closes:
                self._exchanges.clear()
                self._close_soon()

    def close_if_idle(self) -> None:
        if not self._exchanges and self._arriving is None:
            self._transport.close()

    def close_if_late(self, now: float) -> None:
        """Close a connection whose request does not arrive, or that is not used."""
        if self._arriving is not None:
            if now - self._arriving.began > READ_SECONDS:
                waited = f"none after {READ_SECONDS:g} s"
                self._turn_away(408, "request incomplete", expected="a whole request", was=waited)
        elif not self._exchanges and now - self._quiet_since > IDLE_SECONDS:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    # ------------------------------------------------------------------------------- parts

    def _turn_away(self, status: int, error: str, *, expected: str, was: str) -> None:
        """Answer what cannot be gone on with, and close."""
        exchange = self._arriving or Exchange()
        self._give_up_place(exchange)
        exchange.keep_alive = False
        exchange.answer = self._application.refuse(status, error, expected=expected, was=was)
        if exchange not in self._exchanges:
            self._exchanges.append(exchange)
        self._finish(exchange)

    def _finish(self, exchange: Exchange) -> None:
        """Let the exchange be answered though the rest of it has not arrived: that is not read."""
        exchange.keep_alive = False
        self._arriving = None
        self._is_deaf = True
        self.send_answers()

    def _give_up_place(self, exchange: Exchange) -> None:
        if exchange.takes_place:
            exchange.takes_place = False
            self._server.under_way -= 1

    def _close_soon(self) -> None:
        """Close when the other side had time to read: closing over unread bytes would cut the answer."""
        self._is_deaf = True
        with contextlib.suppress(OSError):  # it may be gone already
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.close)

    def _too_large(self, was: str) -> Answer:
        most = self._application.max_body_bytes
        return self._application.refuse(413, "body too large", expected=f"at most {most} bytes", was=was)


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


def _head(answer: Answer, *, closes: bool) -> bytes:
    return b"%b%b\r\ncontent-length: %d\r\n%b%b\r\n" % (
        _STATUS_LINES[answer.status],
        answer.content_type,
        len(answer.body),
        answer.headers,
        b"connection: close\r\n" if closes else b"",
    )


_STATUS_LINES: Mapping[int, bytes] = {
    s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\ncontent-type: ".encode() for s in HTTPStatus
}
