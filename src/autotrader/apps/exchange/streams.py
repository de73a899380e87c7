"""The spot WebSocket streams: `/ws/<stream>` and `/stream?streams=<stream>/<stream>`.

Klines only (`btcusdt@kline_1m`): bars say nothing of single trades or of the order book, so the
trade and depth streams are accepted and stay silent, as the venue's do for what does not trade.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from aiohttp import WSCloseCode, web

from autotrader.apps.exchange.clock import ExchangeClock
from autotrader.apps.exchange.faults import FaultKind, Faults
from autotrader.apps.exchange.klines import INTERVALS, KlineBook, epoch_ms
from autotrader.apps.exchange.market import Market
from autotrader.apps.exchange.rest import reset

UPDATES_PER_BAR = 4  # the last of them says that the bar has closed; the venue sends one every 2 s
_STREAM = re.compile(r"(?P<symbol>[a-z0-9]+)@kline_(?P<interval>\d+[mhd])")
_TIMES_SENT: dict[FaultKind | None, int] = {FaultKind.GAP: 0, FaultKind.DUPLICATE: 2}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Send = Callable[[str, dict[str, Any]], Any]


class StreamApi:
    """Handlers of the streams; each pushes bars as the exchange's clock comes by them."""

    def __init__(self, market: Market, book: KlineBook, clock: ExchangeClock, faults: Faults) -> None:
        self._market, self._book, self._clock, self._faults = market, book, clock, faults
        self._sockets: set[web.WebSocketResponse] = set()

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
        self._sockets.add(ws)

        async def send(stream: str, event: dict[str, Any]) -> None:
            await ws.send_str(json.dumps({"stream": stream, "data": event} if combined else event))

        pushing = [asyncio.create_task(self._push(request, stream, send)) for stream in streams]
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

    async def _push(self, request: web.Request, stream: str, send: Send) -> None:
        asked = _STREAM.fullmatch(stream)
        symbol = asked["symbol"].upper() if asked else ""
        if asked is None or symbol not in self._market.symbols or asked["interval"] not in INTERVALS:
            return
        interval = asked["interval"]
        step = INTERVALS[interval] / UPDATES_PER_BAR
        instant = self._clock.now()
        while True:
            instant += step - (instant - _EPOCH) % step
            await self._clock.wait_until(instant)
            whole = (instant - _EPOCH) % INTERVALS[interval] == timedelta(0)
            if whole:
                bar = self._book.closed(symbol, interval, instant - INTERVALS[interval])
            else:
                bar = self._book.in_progress(symbol, interval, instant)
            if bar is None:
                continue
            fault = self._faults.stream_fault(symbol, epoch_ms(bar["ts"].item())) if whole else None
            if fault is FaultKind.RESET:
                reset(request)
                return
            event = _kline_event(symbol, interval, bar, instant, closed=whole)
            for _ in range(_TIMES_SENT.get(fault, 1)):
                await send(stream, event)


def _kline_event(
    symbol: str, interval: str, bar: pl.DataFrame, instant: datetime, *, closed: bool
) -> dict[str, Any]:
    row = bar.row(0, named=True)
    opened = epoch_ms(row["ts"])
    return {
        "e": "kline",
        "E": epoch_ms(instant),
        "s": symbol,
        "k": {
            "t": opened,
            "T": opened + int(INTERVALS[interval].total_seconds() * 1000) - 1,
            "s": symbol,
            "i": interval,
            "f": -1,  # trade ids are not known
            "L": -1,
            "o": f"{row['open']:.8f}",
            "c": f"{row['close']:.8f}",
            "h": f"{row['high']:.8f}",
            "l": f"{row['low']:.8f}",
            "v": f"{row['volume']:.8f}",
            "n": row["trade_count"],
            "x": closed,
            "q": f"{row['quote_volume']:.8f}",
            "V": f"{row['taker_buy_base']:.8f}",
            "Q": f"{row['taker_buy_quote']:.8f}",
            "B": "0",
        },
    }
