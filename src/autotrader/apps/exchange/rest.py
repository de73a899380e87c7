"""The spot REST endpoints, with the venue's own answers, weights and errors."""

from __future__ import annotations

import asyncio
import math
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from autotrader.apps.exchange.clock import ExchangeClock
from autotrader.apps.exchange.depth import DepthBook
from autotrader.apps.exchange.faults import Fault, FaultKind, Faults
from autotrader.apps.exchange.klines import INTERVALS, KlineBook, Window, epoch_ms
from autotrader.apps.exchange.market import Market
from autotrader.apps.exchange.weights import Refusal, WeightMeter

# https://developers.binance.com/docs/binance-spot-api-docs/rest-api (weights of 2023-08-25)
WEIGHTS = {"ping": 1, "time": 1, "exchangeInfo": 20, "klines": 2, "depth": 50}  # depth: of 1,000 levels
DEFAULT_LIMIT, MAXIMUM_LIMIT, DEFAULT_DEPTH = 500, 1000, 100
_MICROSECONDS = 10**14  # instants beyond it are microseconds: the venue takes both
_QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY")
_SYMBOL = re.compile(r"[A-Z0-9-_.]{1,20}")
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>"


class Refused(Exception):
    """A request that the venue answers with its error body."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.answer = web.json_response({"code": code, "msg": message}, status=status)


@dataclass
class Traffic:
    """What went through, for whoever tests a client."""

    requests: Counter[str]
    statuses: Counter[int]
    under_way: int = 0
    most_under_way: int = 0


class RestApi:
    """Handlers of `/api/v3/...`; each charges its weight, and misbehaves where it is told to."""

    def __init__(
        self,
        market: Market,
        book: KlineBook,
        depth: DepthBook,
        clock: ExchangeClock,
        weights: WeightMeter,
        faults: Faults,
    ) -> None:
        self._market, self._book, self._depth, self._clock = market, book, depth, clock
        self._weights, self._faults = weights, faults
        self.traffic = Traffic(Counter(), Counter())

    def routes(self) -> list[web.RouteDef]:
        handlers = {
            "ping": self._ping,
            "time": self._time,
            "exchangeInfo": self._exchange_info,
            "klines": self._klines,
            "depth": self._order_book,
        }
        return [web.get(f"/api/v3/{path}", self._guarded(path, h)) for path, h in handlers.items()]

    def _guarded(
        self, path: str, handler: Callable[[web.Request], web.Response]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.traffic.requests[path] += 1
            self.traffic.under_way += 1
            self.traffic.most_under_way = max(self.traffic.most_under_way, self.traffic.under_way)
            try:
                answer = await self._answer(path, handler, request)
            finally:
                self.traffic.under_way -= 1
            self.traffic.statuses[answer.status] += 1
            return answer

        return handle

    async def _answer(
        self, path: str, handler: Callable[[web.Request], web.Response], request: web.Request
    ) -> web.Response:
        refusal = self._weights.charge(WEIGHTS[path])
        fault = self._fault(path, request)
        if refusal is None and fault is not None and fault.kind in _REFUSALS:
            refusal = Refusal(_REFUSALS[fault.kind], math.ceil(fault.seconds))
        if refusal is not None:
            return self._refuse(refusal)
        try:
            answer = handler(request)
        except Refused as refused:
            answer = refused.answer
        if fault is not None:
            answer = await _misbehave(fault, request, answer)
        answer.headers["x-mbx-used-weight"] = str(self._weights.used)
        answer.headers["x-mbx-used-weight-1m"] = str(self._weights.used)
        return answer

    def _fault(self, path: str, request: web.Request) -> Fault | None:
        times = [request.query.get(name) for name in ("startTime", "endTime")]
        start_ms, end_ms = (_milliseconds(t) if t and t.isdigit() else None for t in times)
        return self._faults.answer_fault(path, request.query.get("symbol"), start_ms, end_ms)

    def _refuse(self, refusal: Refusal) -> web.Response:
        if refusal.status == 418:
            until = int((time.time() + refusal.retry_after_seconds) * 1000)
            message = (
                f"Way too much request weight used; IP banned until {until}. "
                "Please use WebSocket Streams for live updates to avoid bans."
            )
        else:
            message = (
                f"Too much request weight used; current limit is {self._weights.limit} request weight per "
                "1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API."
            )
        answer = Refused(-1003, message, refusal.status).answer
        answer.headers["Retry-After"] = str(refusal.retry_after_seconds)
        return answer

    def _ping(self, _request: web.Request) -> web.Response:
        return web.json_response({})

    def _time(self, _request: web.Request) -> web.Response:
        return web.json_response({"serverTime": epoch_ms(self._clock.now())})

    def _exchange_info(self, request: web.Request) -> web.Response:
        query = request.query
        if "symbols" in query:
            asked = re.findall(r'"([^"]*)"', query["symbols"])
        else:
            asked = [query["symbol"]] if "symbol" in query else list(self._market.symbols)
        for symbol in asked:
            self._known(symbol)
        limits = [
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": self._weights.limit,
            }
        ]
        body = {
            "timezone": "UTC",
            "serverTime": epoch_ms(self._clock.now()),
            "rateLimits": limits,
            "exchangeFilters": [],
            "symbols": [self._symbol_info(symbol) for symbol in asked],
        }
        return web.json_response(body)

    def _symbol_info(self, symbol: str) -> dict[str, Any]:
        quote = next((q for q in _QUOTES if symbol.endswith(q) and symbol != q), "")
        return {
            "symbol": symbol,
            "status": "TRADING",
            "baseAsset": symbol.removesuffix(quote) if quote else symbol,
            "baseAssetPrecision": 8,
            "quoteAsset": quote,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "filters": self._filters(symbol),
            "permissions": [],
            "permissionSets": [["SPOT"]],
        }

    def _filters(self, symbol: str) -> list[dict[str, Any]]:
        tick, lot = (f"{step:.8f}" for step in self._market.steps(symbol))
        return [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": tick,
                "maxPrice": "1000000.00000000",
                "tickSize": tick,
            },
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "9000000.00000000", "stepSize": lot},
            {
                "filterType": "NOTIONAL",
                "minNotional": "5.00000000",
                "applyMinToMarket": True,
                "maxNotional": "9000000.00000000",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
        ]

    def _klines(self, request: web.Request) -> web.Response:
        query = request.query
        unread = query.keys() - {"symbol", "interval", "startTime", "endTime", "limit", "timeZone"}
        if unread:
            raise Refused(
                -1104,
                f"Not all sent parameters were read; read '{len(query) - len(unread)}' parameter(s) "
                f"but was sent '{len(query)}'.",
            )
        for name in ("symbol", "interval"):
            if not query.get(name):
                raise Refused(
                    -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
                )
        symbol, interval = self._known(query["symbol"]), query["interval"]
        if interval not in INTERVALS:
            raise Refused(-1120, "Invalid interval.")
        limit = _number(query.get("limit"), "limit") or DEFAULT_LIMIT
        start, end = (_number(query.get(name), name) for name in ("startTime", "endTime"))
        window = Window(
            None if start is None else _milliseconds(start),
            None if end is None else _milliseconds(end),
            min(limit, MAXIMUM_LIMIT),
        )
        now = self._clock.now()
        body = self._book.page(symbol, interval, window, now)
        width_ms = int(INTERVALS[interval].total_seconds() * 1000)
        body = self._faults.spoil(body, symbol, width_ms, now)
        return web.Response(body=body, content_type="application/json", charset="UTF-8")

    def _order_book(self, request: web.Request) -> web.Response:
        query = request.query
        if not query.get("symbol"):
            raise Refused(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        limit = _number(query.get("limit"), "limit") or DEFAULT_DEPTH
        symbol = self._known(query["symbol"])
        return web.json_response(self._depth.snapshot(symbol, self._clock.now(), limit))

    def _known(self, symbol: str) -> str:
        if not _SYMBOL.fullmatch(symbol):
            raise Refused(
                -1100,
                "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'.",
            )
        if symbol not in self._market.symbols:
            raise Refused(-1121, "Invalid symbol.")
        return symbol


_REFUSALS = {FaultKind.THROTTLED: 429, FaultKind.BANNED: 418}


async def _misbehave(fault: Fault, request: web.Request, answer: web.Response) -> web.Response:
    body = answer.body if isinstance(answer.body, bytes) else b""
    match fault.kind:
        case FaultKind.SERVER_ERROR:
            return Refused(-1001, "Internal error; unable to process your request.", 500).answer
        case FaultKind.HTML:
            return web.Response(body=_HTML, content_type="text/html")
        case FaultKind.TRUNCATED:
            return web.Response(body=body[: len(body) * 2 // 3], content_type="application/json")
        case FaultKind.SLOW:
            await asyncio.sleep(fault.seconds)
        case FaultKind.RESET:
            reset(request)
    return answer


def reset(request: web.Request) -> None:
    """Close the connection with a TCP reset, as a failing load balancer does."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()


def _number(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    if not text.isdigit():
        raise Refused(
            -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'."
        )
    return int(text)


def _milliseconds(instant: int | str) -> int:
    value = int(instant)
    return value // 1000 if value >= _MICROSECONDS else value
