"""python-binance's client, with the venue's address from the settings and its answers untouched."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from binance import AsyncClient

from autotrader.config.settings import BinanceSettings
from autotrader.connectors.binance_ws.budget import WeightBudget
from autotrader.connectors.binance_ws.resolver import DaemonResolver
from autotrader.connectors.binance_ws.ticks import DepthSnapshot
from autotrader.connectors.resilience import failure_of_status, transport_failures
from autotrader.domain.errors import AutotraderError, NotFound, Throttled, Unreachable

# https://developers.binance.com/docs/binance-spot-api-docs/rest-api (weights of 2023-08-25)
KLINES_WEIGHT, EXCHANGE_INFO_WEIGHT, TIME_WEIGHT = 2, 20, 1
DEPTH_LEVELS, DEPTH_WEIGHT = 1000, 50
INVALID_SYMBOL, ILLEGAL_CHARACTERS = -1121, -1100
TIMEOUTS = aiohttp.ClientTimeout(total=20.0, connect=3.0, sock_connect=3.0, sock_read=10.0)


T = TypeVar("T")


class _ErrorBody(msgspec.Struct):
    code: int = 0
    msg: str = ""


class _ServerTime(msgspec.Struct):
    serverTime: int  # noqa: N815 - the venue's name


class SymbolInfo(msgspec.Struct):
    symbol: str
    status: str


class _ExchangeInfo(msgspec.Struct):
    symbols: list[SymbolInfo]


class BinanceClient(AsyncClient):  # type: ignore[misc]
    """Public spot endpoints, one attempt each; failures are of our own error tree.

    It sends no key: what it asks is public, and a key that is not sent can't leak.

    Parameters
    ----------
    settings : BinanceSettings
    budget : WeightBudget
        Shared by all requests of the process to this venue.
    """

    def __init__(self, settings: BinanceSettings, budget: WeightBudget) -> None:
        self.API_URL = f"{settings.rest_url.rstrip('/')}/api"
        self._budget = budget
        super().__init__(
            requests_params={"timeout": TIMEOUTS},
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
        _read(body, list[msgspec.Raw], request)
        return body

    async def server_time_ms(self) -> int:
        """The venue's clock, in ms since 1970."""
        request = "the server time"
        return _read(await self._ask("time", request, TIME_WEIGHT), _ServerTime, request).serverTime

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
        return _read(body, _ExchangeInfo, request).symbols

    async def order_book(self, symbol: str) -> DepthSnapshot:
        """The best 1,000 levels of each side.

        Raises
        ------
        NotFound, Rejected, Throttled, Unreachable
        """
        request = f"the order book of {symbol}"
        body = await self._ask("depth", request, DEPTH_WEIGHT, symbol=symbol, limit=DEPTH_LEVELS)
        return _read(body, DepthSnapshot, request)

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
        failure = _failure(response, body)
        if isinstance(failure, Throttled):
            self._budget.rest(failure.retry_after_seconds)
        raise failure


def _failure(response: aiohttp.ClientResponse, body: bytes) -> AutotraderError:
    path = response.url.path
    try:
        said = msgspec.json.decode(body, type=_ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = _ErrorBody(msg=body[:80].decode(errors="replace"))
    if said.code in {INVALID_SYMBOL, ILLEGAL_CHARACTERS} and response.status == 400:
        symbol = response.url.query.get("symbol") or response.url.query.get("symbols", "")
        return NotFound(f"expected a symbol that Binance trades, was {symbol} ({said.code} {said.msg})")
    return failure_of_status(
        response.status,
        path,
        detail=f"{said.code} {said.msg}".strip(),
        retry_after=response.headers.get("Retry-After"),
    )


def _read(body: bytes, kind: type[T], request: str) -> T:
    """The body as JSON of that kind; what isn't is a venue in trouble (a proxy's page, a cut answer)."""
    try:
        return msgspec.json.decode(body, type=kind, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        raise Unreachable(
            f"expected JSON in answer to {request}, was {body[:80]!r}: {failure}: try again later"
        ) from None
