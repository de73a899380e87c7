"""The exchange as a server: in an event loop, or in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from aiohttp import web

from autotrader.apps.exchange.account import Account
from autotrader.apps.exchange.account_api import AccountApi
from autotrader.apps.exchange.answers import Guard, Refused, Traffic
from autotrader.apps.exchange.clock import ExchangeClock
from autotrader.apps.exchange.depth import DepthBook
from autotrader.apps.exchange.faults import Fault, Faults
from autotrader.apps.exchange.feeds import Feeds
from autotrader.apps.exchange.klines import KlineBook
from autotrader.apps.exchange.market import Market
from autotrader.apps.exchange.matching import Matching
from autotrader.apps.exchange.rest import RestApi
from autotrader.apps.exchange.signatures import Signatures
from autotrader.apps.exchange.streams import StreamApi
from autotrader.apps.exchange.symbols import Symbols
from autotrader.apps.exchange.user_stream import UserStream
from autotrader.apps.exchange.weights import WeightMeter
from autotrader.domain.bars import parse_utc
from autotrader.domain.errors import AutotraderError

BALANCES = {"USDT": Decimal(100_000)}


@dataclass(frozen=True)
class Listening:
    """Where the exchange is to be found, and what it serves; printed as one JSON line.

    Attributes
    ----------
    rest_url, stream_url, account_stream_url : str
        Values for `AUTOTRADER_BINANCE__REST_URL` and so on.
    source : str
        `recorded` or `SIMULATED`.
    market_time, first_open, last_close : datetime
    speed : float
        Market seconds per second; 0 stands.
    symbols : tuple of str
    """

    rest_url: str
    stream_url: str
    account_stream_url: str
    source: str
    market_time: datetime
    speed: float
    first_open: datetime
    last_close: datetime
    symbols: tuple[str, ...]


class StandInExchange:
    """A market and one account behind Binance's protocol, and the hand that makes it misbehave.

    `POST /_faults` takes a fault or a list of them (`Fault`), `DELETE /_faults` clears them, `GET`
    shows those due; `POST /_clock` takes `now`, `advance_seconds` or `speed`; `POST /_trades` takes a
    `symbol` and a `price` at which the market stands until its clock moves on; `DELETE
    /_user_streams` breaks their connections; `GET /_traffic` counts. The account's key and secret are
    `signatures.KEY` and `signatures.SECRET`.

    Parameters
    ----------
    market : Market
    market_time : datetime or None
        Where the clock begins; the end of the market's data when None.
    speed : float
        Market seconds per wall second; 0 stands.
    weights : WeightMeter or None
        The venue's present limits when None.
    faults : Iterable of Fault
    balances : Mapping[str, Decimal]
        What is in the account, by asset.
    """

    def __init__(
        self,
        market: Market,
        *,
        market_time: datetime | None = None,
        speed: float = 0.0,
        weights: WeightMeter | None = None,
        faults: Iterable[Fault] = (),
        balances: Mapping[str, Decimal] = BALANCES,
    ) -> None:
        self.market = market
        self.weights = weights or WeightMeter()
        self.faults = Faults(faults)
        self.clock = ExchangeClock(market_time or market.end, speed=speed)
        self.account = Account.of(balances)
        book, symbols, signatures = KlineBook(market), Symbols(market), Signatures(self.clock)
        self.depth = DepthBook(market, book)
        self._guard = Guard(self.weights, self.faults)
        self._matching = Matching(self.account, symbols, book, self.clock)
        self._rest = RestApi(symbols, book, self.depth, self.clock, self.faults, self.weights.limit)
        self.account_api = AccountApi(self.account, self._matching, symbols, signatures, self.faults)
        self._streams = StreamApi(Feeds(market, book, self.depth), self.clock, self.faults)
        self.user_stream = UserStream(self.account, self._matching, signatures, self.clock, self.faults)
        self._runner: web.AppRunner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._host, self._port = "127.0.0.1", 0

    @property
    def rest_url(self) -> str:
        return f"http://{self._host}:{self._port}"

    @property
    def stream_url(self) -> str:
        return f"ws://{self._host}:{self._port}"

    @property
    def account_stream_url(self) -> str:
        return f"{self.stream_url}/ws-api/v3"

    @property
    def traffic(self) -> Traffic:
        return self._guard.traffic

    @property
    def stream_connections(self) -> int:
        return self._streams.connections

    def listening(self) -> Listening:
        market = self.market
        return Listening(
            rest_url=self.rest_url,
            stream_url=self.stream_url,
            account_stream_url=self.account_stream_url,
            source=market.source,
            market_time=self.clock.now(),
            speed=self.clock.speed,
            first_open=market.start,
            last_close=market.end,
            symbols=tuple(market.symbols),
        )

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> None:
        """Listen, on loopback unless told otherwise; port 0 takes a free one."""
        self._loop = asyncio.get_running_loop()
        app = web.Application()
        app.add_routes([*self._rest.routes(self._guard), *self.account_api.routes(self._guard)])
        app.add_routes([*self._streams.routes(), *self.user_stream.routes(), *self._admin_routes()])
        app.on_shutdown.append(self._close_streams)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, reuse_address=True).start()
        self._host, self._port = host, self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def advance(self, by: timedelta) -> datetime:
        """Move market time on, from any thread; returns where it stands then."""
        now = self.clock.now() + by
        self.clock.set(now=now)
        return now

    def cut_user_streams(self) -> None:
        """Break the connections of the user data stream, from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.user_stream.cut)

    async def _close_streams(self, _app: web.Application) -> None:
        await self._streams.close()
        await self.user_stream.close()

    def _admin_routes(self) -> list[web.RouteDef]:
        return [
            web.get("/_faults", self._show_faults),
            web.post("/_faults", self._add_faults),
            web.delete("/_faults", self._clear_faults),
            web.post("/_clock", self._set_clock),
            web.post("/_trades", self._trade),
            web.delete("/_user_streams", self._cut_user_streams),
            web.get("/_traffic", self._show_traffic),
        ]

    async def _show_faults(self, _request: web.Request) -> web.Response:
        return web.json_response([to_json(fault) for fault in self.faults.due()])

    async def _add_faults(self, request: web.Request) -> web.Response:
        given: Any = await request.json()
        try:
            faults = [Fault.parse(item) for item in (given if isinstance(given, list) else [given])]
        except AutotraderError as failure:
            return web.json_response({"message": str(failure)}, status=400)
        self.faults.add(*faults)
        return await self._show_faults(request)

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self.faults.clear()
        return await self._show_faults(request)

    async def _set_clock(self, request: web.Request) -> web.Response:
        given: dict[str, Any] = await request.json()
        now = parse_utc(given["now"]) if "now" in given else self.clock.now()
        now += timedelta(seconds=float(given.get("advance_seconds", 0)))
        self.clock.set(now=now, speed=given.get("speed"))
        return web.json_response({"now": self.clock.now().isoformat(), "speed": self.clock.speed})

    async def _trade(self, request: web.Request) -> web.Response:
        given: dict[str, Any] = await request.json()
        try:
            self._matching.trade(given["symbol"], Decimal(given["price"]))
            price = self._matching.price(given["symbol"])
        except Refused as refused:
            return refused.answer
        return web.json_response({"symbol": given["symbol"], "price": str(price)})

    async def _cut_user_streams(self, _request: web.Request) -> web.Response:
        self.user_stream.cut()
        return web.json_response({"cut": True})

    async def _show_traffic(self, _request: web.Request) -> web.Response:
        traffic = self.traffic
        return web.json_response(
            {
                "requests": dict(traffic.requests),
                "statuses": {str(k): v for k, v in traffic.statuses.items()},
                "most_under_way": traffic.most_under_way,
                "weight_used": self.weights.used,
                "user_streams": self.user_stream.subscriptions,
            }
        )


def to_json(fault: Fault) -> dict[str, Any]:
    """The fault as `Fault.parse` reads it."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in vars(fault).items()
        if value is not None or name == "count"
    }


@contextlib.contextmanager
def running(exchange: StandInExchange) -> Iterator[StandInExchange]:
    """Serve the exchange from a thread of its own for as long as the block lasts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="stand-in exchange", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(exchange.start(), loop).result()
        yield exchange
    finally:
        asyncio.run_coroutine_threadsafe(_stop_all(exchange), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _stop_all(exchange: StandInExchange) -> None:
    await exchange.stop()
    left = asyncio.all_tasks() - {asyncio.current_task()}  # slow answers that nobody waits for any more
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
