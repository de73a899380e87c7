"""The spot WebSocket streams: `/ws/<stream>` and `/stream?streams=<stream>/<stream>`.

`btcusdt@kline_1m`, `btcusdt@trade`, `btcusdt@depth` and `btcusdt@depth@100ms`. Any other name is
accepted and stays silent, as the venue's do for what does not trade.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import datetime
from typing import Any, Protocol

from aiohttp import WSCloseCode, web

from autotrader.apps.exchange.answers import reset
from autotrader.apps.exchange.clock import ExchangeClock
from autotrader.apps.exchange.faults import FaultKind, Faults
from autotrader.apps.exchange.feeds import Feeds, next_instant

TIMES_SENT: dict[FaultKind | None, int] = {FaultKind.GAP: 0, FaultKind.DUPLICATE: 2}


class Send(Protocol):
    """Sends an event of a stream, or two thirds of its text."""

    async def __call__(self, stream: str, event: dict[str, Any], *, cut: bool) -> None: ...


class StreamApi:
    """Handlers of the streams; each pushes what its feed says as the exchange's clock comes by."""

    def __init__(self, feeds: Feeds, clock: ExchangeClock, faults: Faults) -> None:
        self._feeds, self._clock, self._faults = feeds, clock, faults
        self._sockets: set[web.WebSocketResponse] = set()

    @property
    def connections(self) -> int:
        """How many there are; each is told of all that comes from now on."""
        return len(self._sockets)

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/ws/{stream}", self._single), web.get("/stream", self._combined)]

    async def close(self) -> None:
        for ws in set(self._sockets):
            await ws.close(code=WSCloseCode.GOING_AWAY)

    async def _single(self, request: web.Request) -> web.WebSocketResponse:
        return await self._serve(request, [request.match_info["stream"]], combined=False)

    async def _combined(self, request: web.Request) -> web.WebSocketResponse:
        return await self._serve(request, request.query.get("streams", "").split("/"), combined=True)

    async def _serve(
        self, request: web.Request, streams: list[str], *, combined: bool
    ) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        begun = self._clock.now()
        self._sockets.add(ws)

        async def send(stream: str, event: dict[str, Any], *, cut: bool) -> None:
            text = json.dumps({"stream": stream, "data": event} if combined else event)
            await ws.send_str(text[: len(text) * 2 // 3] if cut else text)

        pushing = [asyncio.create_task(self._push(request, stream, begun, send)) for stream in streams]
        try:
            async for _ in ws:  # until the client leaves; what it says is not listened to
                pass
        finally:
            for task in pushing:
                task.cancel()
            for task in pushing:
                with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                    await task
            self._sockets.discard(ws)
        return ws

    async def _push(self, request: web.Request, stream: str, instant: datetime, send: Send) -> None:
        feed = self._feeds.open(stream)
        if feed is None:
            return
        while True:
            instant = next_instant(instant, feed.step)
            await self._clock.wait_until(instant)
            for message in feed.messages(instant):
                fault = self._faults.stream_fault(message.fault_path, feed.symbol, message.at_ms)
                if fault is FaultKind.RESET:
                    reset(request)
                    return
                for _ in range(TIMES_SENT.get(fault, 1)):
                    await send(stream, message.event, cut=fault is FaultKind.TRUNCATED)
