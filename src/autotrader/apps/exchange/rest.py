"""The spot REST endpoints of the market, with the venue's own answers, weights and errors."""

from __future__ import annotations

import re

from aiohttp import web

from autotrader.apps.exchange.answers import Guard, Refused, milliseconds, number
from autotrader.apps.exchange.clock import ExchangeClock
from autotrader.apps.exchange.depth import DepthBook
from autotrader.apps.exchange.faults import Faults
from autotrader.apps.exchange.klines import INTERVALS, KlineBook, Window, epoch_ms
from autotrader.apps.exchange.symbols import Symbols

# https://developers.binance.com/docs/binance-spot-api-docs/rest-api (weights of 2023-08-25)
WEIGHTS = {"ping": 1, "time": 1, "exchangeInfo": 20, "klines": 2, "depth": 50}  # depth: of 1,000 levels
DEFAULT_LIMIT, MAXIMUM_LIMIT, DEFAULT_DEPTH = 500, 1000, 100


class RestApi:
    """Handlers of the public part of `/api/v3/...`.

    Parameters
    ----------
    weight_limit : int
        What the exchange says that it allows in a minute.
    """

    def __init__(
        self,
        symbols: Symbols,
        book: KlineBook,
        depth: DepthBook,
        clock: ExchangeClock,
        faults: Faults,
        weight_limit: int,
    ) -> None:
        self._symbols, self._book, self._depth, self._clock = symbols, book, depth, clock
        self._faults, self._weight_limit = faults, weight_limit

    def routes(self, guard: Guard) -> list[web.RouteDef]:
        handlers = {
            "ping": self._ping,
            "time": self._time,
            "exchangeInfo": self._exchange_info,
            "klines": self._klines,
            "depth": self._order_book,
        }
        return [
            web.get(f"/api/v3/{path}", guard.wrap(path, WEIGHTS[path], h)) for path, h in handlers.items()
        ]

    async def _ping(self, _request: web.Request) -> web.Response:
        return web.json_response({})

    async def _time(self, _request: web.Request) -> web.Response:
        return web.json_response({"serverTime": epoch_ms(self._clock.now())})

    async def _exchange_info(self, request: web.Request) -> web.Response:
        query = request.query
        if "symbols" in query:
            asked = re.findall(r'"([^"]*)"', query["symbols"])
        else:
            asked = [query["symbol"]] if "symbol" in query else list(self._symbols.names)
        for symbol in asked:
            self._symbols.known(symbol)
        limits = [
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": self._weight_limit,
            }
        ]
        body = {
            "timezone": "UTC",
            "serverTime": epoch_ms(self._clock.now()),
            "rateLimits": limits,
            "exchangeFilters": [],
            "symbols": [self._symbols.info(symbol) for symbol in asked],
        }
        return web.json_response(body)

    async def _klines(self, request: web.Request) -> web.Response:
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
        symbol, interval = self._symbols.known(query["symbol"]), query["interval"]
        if interval not in INTERVALS:
            raise Refused(-1120, "Invalid interval.")
        limit = number(query.get("limit"), "limit") or DEFAULT_LIMIT
        start, end = (number(query.get(name), name) for name in ("startTime", "endTime"))
        window = Window(
            None if start is None else milliseconds(start),
            None if end is None else milliseconds(end),
            min(limit, MAXIMUM_LIMIT),
        )
        now = self._clock.now()
        body = self._book.page(symbol, interval, window, now)
        width_ms = int(INTERVALS[interval].total_seconds() * 1000)
        body = self._faults.spoil(body, symbol, width_ms, now)
        return web.Response(body=body, content_type="application/json", charset="UTF-8")

    async def _order_book(self, request: web.Request) -> web.Response:
        query = request.query
        if not query.get("symbol"):
            raise Refused(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        limit = number(query.get("limit"), "limit") or DEFAULT_DEPTH
        symbol = self._symbols.known(query["symbol"])
        return web.json_response(self._depth.snapshot(symbol, self._clock.now(), limit))
