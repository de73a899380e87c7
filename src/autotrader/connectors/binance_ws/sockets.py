"""Connections to the streams: made, watched, and made anew with growing waits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import structlog
from binance.exceptions import BinanceWebsocketUnableToConnect
from binance.ws.constants import WSListenerState
from binance.ws.reconnecting_websocket import ReconnectingWebsocket
from websockets.exceptions import WebSocketException

from autotrader.connectors.resilience import RetryPolicy, transport_failures
from autotrader.connectors.tally import reconnects
from autotrader.domain.instruments import Venue

# The venue sends an update every two seconds for what trades; silence for longer is a dead connection.
SILENCE_SECONDS = 90.0
MESSAGES_WAITING = 10_000
CONNECT_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class RawSocket(ReconnectingWebsocket):  # type: ignore[misc]
    """python-binance's socket, one connection of it, whose messages stay bytes.

    Its manager is passed by, since that builds sockets of its own class; its reconnecting is
    switched off, since who reconnects must also see to what was missed.
    """

    def __init__(self, url: str) -> None:
        super().__init__(
            url=url,
            prefix="",
            path="",
            max_queue_size=MESSAGES_WAITING,
            open_timeout=CONNECT_SECONDS,
        )
        self._log.setLevel(logging.CRITICAL)  # each break is logged by who reconnects

    async def send(self, text: str) -> None:
        await self.ws.send(text)

    async def next(self) -> object:
        """The next message in bytes, or whatever the library says of the end of the connection.

        Its own `recv` forgets what is still queued when the connection ends.
        """
        return await self._queue.get()

    def _handle_message(self, evt: str | bytes) -> bytes:
        return evt.encode() if isinstance(evt, str) else evt

    async def _run_reconnect(self) -> None:
        raise BinanceWebsocketUnableToConnect

    async def _kill_read_loop(self) -> None:
        self.ws_state = WSListenerState.EXITING
        if self.ws is not None:
            await self.ws.close()  # or the loop would see only at its next time-out that it has to end
        await super()._kill_read_loop()


class Connection:
    """One connection: the messages that came over it, until it is of no more use.

    Attributes
    ----------
    was_useful : bool
        Set by the reader once something came of it; the next wait is short again then.
    """

    def __init__(self, socket: RawSocket, silence_seconds: float | None) -> None:
        self._socket = socket
        self._silence_seconds = silence_seconds
        self.was_useful = False

    async def messages(self) -> AsyncGenerator[bytes]:
        """Messages as they come; ends, with a warning, when the connection is broken or silent."""
        while True:
            try:
                async with asyncio.timeout(self._silence_seconds):
                    message = await self._socket.next()
            except TimeoutError:
                message = f"silent for {self._silence_seconds:g} s"
            if not isinstance(message, bytes):
                _log.warning("stream is made anew", venue=Venue.BINANCE.value, reason=message)
                return
            yield message


def combined(base_url: str, streams: Sequence[str]) -> str:
    """Where several streams come over one connection."""
    return f"{base_url.rstrip('/')}/stream?streams={'/'.join(streams)}"


async def connections(
    url: str,
    *,
    retry: RetryPolicy,
    silence_seconds: float | None = SILENCE_SECONDS,
    greet: Callable[[RawSocket], Awaitable[None]] | None = None,
) -> AsyncGenerator[Connection]:
    """Connections to this address, one after another and without end.

    Each is closed when the next one is asked for. Waits between those that were of no use grow.

    Parameters
    ----------
    silence_seconds : float or None
        None where silence is usual: pings alone tell then that a connection is dead.
    greet : callable or None
        What must be said and heard before a connection is of use; what it raises counts as a
        failure to connect.

    Raises
    ------
    Unreachable
        When no connection could be made in as many attempts as the policy allows.
    """

    async def connect() -> RawSocket:
        socket = RawSocket(url)
        with transport_failures(f"a connection to {url}", WebSocketException):
            await socket.connect()
            if greet is not None:
                try:
                    await greet(socket)
                except BaseException:
                    await socket.close()
                    raise
        return socket

    fruitless, is_first = 0, True
    while True:
        socket = await retry.call(connect)
        if not is_first:
            reconnects[Venue.BINANCE.value] += 1
        is_first = False
        connection = Connection(socket, silence_seconds)
        try:
            yield connection
        finally:
            await socket.close()
        fruitless = 0 if connection.was_useful else fruitless + 1
        await asyncio.sleep(retry.longest_wait(fruitless))
