"""One connection of the server: reads its requests, writes the answers in their order.

A caller sends the same head again and again: length and all, where bodies are of one size. Such a head
is not parsed anew; that halves what the server itself costs a request.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, cast

import httptools
import structlog

from autotrader.apps.serving.exchange import Answer, Exchange
from autotrader.apps.serving.heads import KnownHead, answer_head

if TYPE_CHECKING:
    from autotrader.apps.serving.http_server import HttpServer

READ_SECONDS = 10.0  # for a request to arrive whole
IDLE_SECONDS = 75.0  # between two requests of a connection
LINGER_SECONDS = 0.3  # for what was sent before the other side learnt that we close
MAX_HEAD_BYTES = 32_768

_END_OF_HEAD = b"\r\n\r\n"
_log = structlog.get_logger(__name__)


class Connection(asyncio.Protocol):
    """One connection; its requests are answered in the order in which they came."""

    def __init__(self, server: HttpServer) -> None:
        self.is_lost = False
        self._server = server
        self._application = server.application
        self._parser = httptools.HttpRequestParser(self)
        self._exchanges: deque[Exchange] = deque()  # in order; the last may still arrive
        self._arriving: Exchange | None = None
        self._known: KnownHead | None = None
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
            if before is not None:
                self._parser.feed_data(data)
            elif self._known is not None and self._known.begins(data):
                self._take_known(self._known, data)
            else:
                self._parse_from_head(data)
        except httptools.HttpParserUpgrade:  # answered already, see on_headers_complete
            return
        except httptools.HttpParserCallbackError as error:
            self._break_off(error)
            return
        except httptools.HttpParserError as error:
            self._turn_away(400, "not HTTP", expected="an HTTP/1.1 request", was=str(error))
            return
        except Exception as error:  # noqa: BLE001 - the same without the parser in between
            self._break_off(error)
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
        self._let_in(exchange)
        if exchange.answer is None and b"expect" in exchange.headers:
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
            self._transport.write(answer_head(answer, closes=closes) + body)
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

    def _parse_from_head(self, data: bytes) -> None:
        """Parse what begins with a head, and get to know that head."""
        end = data.find(_END_OF_HEAD) + len(_END_OF_HEAD)
        if end < len(_END_OF_HEAD):
            self._parser.feed_data(data)
            return
        # Lines end with CRLF and nothing else, the parser refuses the rest: here ends the head.
        self._parser.feed_data(data[:end])
        exchange = self._arriving
        if exchange is not None and exchange.takes_place:
            self._get_to_know(data[:end], exchange)
        if len(data) > end:
            self._parser.feed_data(data[end:])

    def _get_to_know(self, raw: bytes, exchange: Exchange) -> None:
        headers = exchange.headers
        length = headers.get(b"content-length")
        other = b"expect" in headers or b"transfer-encoding" in headers
        if length is not None and exchange.keep_alive and not other:
            whole = len(raw) + int(length)
            self._known = KnownHead(raw, exchange.method, exchange.path, headers, whole)

    def _take_known(self, head: KnownHead, data: bytes) -> None:
        """Do what the parser would; who may ask is looked at each time."""
        exchange = self._arriving = Exchange()
        exchange.method, exchange.path, exchange.headers = head.method, head.path, head.headers
        self._exchanges.append(exchange)
        self._let_in(exchange)
        if exchange.answer is None:
            self._body.append(data[len(head.raw) :])
        self.on_message_complete()

    def _let_in(self, exchange: Exchange) -> None:
        """Give it a place among those under way, or the answer to who gets none."""
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

    def _break_off(self, error: Exception) -> None:
        _log.error("a request broke the server", exc_info=error)
        self._turn_away(500, "internal error", expected="an answer", was="a mistake of ours")

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
