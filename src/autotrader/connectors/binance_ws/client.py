"""python-binance's client, with the venue's address from the settings and its answers untouched."""

from __future__ import annotations

from decimal import Decimal
from typing import TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from binance import AsyncClient

from autotrader.config.settings import BinanceSettings
from autotrader.connectors.binance_ws.budget import WeightBudget
from autotrader.connectors.binance_ws.failures import failure_of, read_error
from autotrader.connectors.binance_ws.resolver import DaemonResolver
from autotrader.connectors.binance_ws.ticks import DepthSnapshot
from autotrader.connectors.resilience import transport_failures
from autotrader.domain.errors import Throttled, Unreachable

# https://developers.binance.com/docs/binance-spot-api-docs/rest-api (weights of 2023-08-25)
KLINES_WEIGHT, EXCHANGE_INFO_WEIGHT, TIME_WEIGHT = 2, 20, 1
DEPTH_LEVELS, DEPTH_WEIGHT = 1000, 50
TIMEOUTS = aiohttp.ClientTimeout(total=20.0, connect=3.0, sock_connect=3.0, sock_read=10.0)


T = TypeVar("T")


class _ServerTime(msgspec.Struct):
    serverTime: int  # noqa: N815 - the venue's name


class Filter(msgspec.Struct):
    """One of a symbol's filters; what it does not set is None."""

    filterType: str  # noqa: N815 - the venue's names
    tickSize: Decimal | None = None  # noqa: N815
    stepSize: Decimal | None = None  # noqa: N815
    minNotional: Decimal | None = None  # noqa: N815


class SymbolInfo(msgspec.Struct):
    symbol: str
    status: str
    baseAsset: str  # noqa: N815 - the venue's names
    quoteAsset: str  # noqa: N815
    filters: list[Filter]


class _ExchangeInfo(msgspec.Struct):
    symbols: list[SymbolInfo]


class BinanceClient(AsyncClient):  # type: ignore[misc]
    """Public spot endpoints, one attempt each; failures are of our own error tree.

    By itself it sends no key: what it asks is public, and a key that is not sent can't leak.

    Parameters
    ----------
    settings : BinanceSettings
    budget : WeightBudget
        Shared by all requests of the process to this venue.
    key, secret : str or None
        For endpoints that want a signature.
    """

    def __init__(
        self,
        settings: BinanceSettings,
        budget: WeightBudget,
        *,
        key: str | None = None,
        secret: str | None = None,
    ) -> None:
        self.API_URL = f"{settings.rest_url.rstrip('/')}/api"
        self._budget = budget
        super().__init__(
            key,
            secret,
            # A redirect is no answer of the venue's, and would take the key elsewhere.
            requests_params={"timeout": TIMEOUTS, "allow_redirects": False},
            session_params={"connector": aiohttp.TCPConnector(limit=0, resolver=DaemonResolver())},
        )

    async def klines(self, symbol: str, interval: str, *, start_ms: int, end_ms: int, limit: int) -> bytes:
        """Body of one page of klines with open times in [start, end], proven to be a JSON array.

        Raises
        ------
        NotFound, Rejected, Throttled, Unreachable
        """
        request = f"klines of {symbol} {interval} from {start_ms}"
        body = await self._ask(
            "klines",
            request,
            KLINES_WEIGHT,
            symbol=symbol,
            interval=interval,
            startTime=start_ms,
            endTime=end_ms,
            limit=limit,
        )
        read(body, list[msgspec.Raw], request)
        return body

    async def server_time_ms(self) -> int:
        """The venue's clock, in ms since 1970."""
        request = "the server time"
        return read(await self._ask("time", request, TIME_WEIGHT), _ServerTime, request).serverTime

    async def symbols(self, symbols: list[str] | None = None) -> list[SymbolInfo]:
        """What the venue trades: these symbols, or all.

        Raises
        ------
        NotFound
            If it does not know one of them.
        """
        request = "exchange information"
        asked = {} if symbols is None else {"symbols": quote(msgspec.json.encode(symbols))}
        body = await self._ask("exchangeInfo", request, EXCHANGE_INFO_WEIGHT, **asked)
        return read(body, _ExchangeInfo, request).symbols

    async def order_book(self, symbol: str) -> DepthSnapshot:
        """The best 1,000 levels of each side.

        Raises
        ------
        NotFound, Rejected, Throttled, Unreachable
        """
        request = f"the order book of {symbol}"
        body = await self._ask("depth", request, DEPTH_WEIGHT, symbol=symbol, limit=DEPTH_LEVELS)
        return read(body, DepthSnapshot, request)

    async def _ask(self, path: str, request: str, weight: int, **parameters: object) -> bytes:
        await self._budget.spend(weight)
        described = f"{request} of {self.API_URL}"
        with transport_failures(described, aiohttp.ClientError):
            answer: bytes = await self._get(path, **({"data": parameters} if parameters else {}))
        return answer

    async def _handle_response(self, response: aiohttp.ClientResponse) -> bytes:
        body = await response.read()
        used = response.headers.get("x-mbx-used-weight-1m", "")
        if used.isdigit():
            self._budget.observe(int(used))
        if response.status == 200:
            return body
        failure = failure_of(
            response.status,
            read_error(body),
            response.url.path,
            symbol=response.url.query.get("symbol", response.url.query.get("symbols", "")),
            retry_after=response.headers.get("Retry-After"),
        )
        if isinstance(failure, Throttled):
            self._budget.rest(failure.retry_after_seconds)
        raise failure


def read(body: bytes, kind: type[T], request: str) -> T:
    """The body as JSON of that kind; what isn't is a venue in trouble (a proxy's page, a cut answer)."""
    try:
        return msgspec.json.decode(body, type=kind, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        raise Unreachable(
            f"expected JSON in answer to {request}, was {body[:80]!r}: {failure}: try again later"
        ) from None
