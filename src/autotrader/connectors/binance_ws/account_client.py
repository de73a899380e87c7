"""python-binance's signed requests: one attempt each, in the venue's own time."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

import aiohttp
import msgspec
import structlog

from autotrader.config.settings import BinanceSettings
from autotrader.connectors.binance_ws.account_messages import AccountMessage, OrderMessage, TradeMessage
from autotrader.connectors.binance_ws.budget import WeightBudget
from autotrader.connectors.binance_ws.client import BinanceClient, read
from autotrader.connectors.binance_ws.failures import ClockDiffers
from autotrader.connectors.binance_ws.ticks import instant
from autotrader.connectors.resilience import transport_failures
from autotrader.domain.instruments import Venue

# https://developers.binance.com/docs/binance-spot-api-docs/rest-api (weights of 2023-08-25)
ORDER_WEIGHT, STATUS_WEIGHT, ACCOUNT_WEIGHT, TRADES_WEIGHT, ALL_OPEN_ORDERS_WEIGHT = 1, 4, 20, 20, 80
TRADES_IN_A_PAGE = 1000
SUBSCRIBE = "userDataStream.subscribe.signature"

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class AccountClient(BinanceClient):
    """The signed endpoints of one key.

    Timestamps are of the venue's clock: the offset is asked for before the first request, and again
    when the venue does not take one. That request is sent once more, which is safe: the venue looks
    at the time before it does anything.

    Parameters
    ----------
    settings : BinanceSettings
    key, secret : str
    requests, orders : WeightBudget
        What the venue still allows.
    """

    def __init__(
        self,
        settings: BinanceSettings,
        requests: WeightBudget,
        orders: WeightBudget,
        *,
        key: str,
        secret: str,
    ) -> None:
        super().__init__(settings, requests, key=key, secret=secret)
        # The library writes this over any window that is given with a request.
        self.REQUEST_RECVWINDOW = settings.recv_window_ms
        self._orders = orders
        self._knows_the_time = False

    async def place(self, **parameters: str) -> OrderMessage:
        """Hand over a new order, and have it back with what was filled at once.

        Raises
        ------
        Refusal, Throttled, Unreachable
        """
        await self._orders.spend(1)
        request = f"order {parameters['newClientOrderId']}"

        async def ask() -> bytes:
            answer: bytes = await self.create_order(**parameters, newOrderRespType="FULL")
            return answer

        return read(await self._signed(request, ORDER_WEIGHT, ask), OrderMessage, request)

    async def find(self, **parameters: str) -> OrderMessage:
        """The order of that symbol with `orderId` or `origClientOrderId`.

        Raises
        ------
        Refusal, Throttled, Unreachable
        """
        request = f"what has become of an order of {parameters['symbol']}"

        async def ask() -> bytes:
            answer: bytes = await self.get_order(**parameters)
            return answer

        return read(await self._signed(request, STATUS_WEIGHT, ask), OrderMessage, request)

    async def withdraw(self, **parameters: str) -> OrderMessage:
        """Cancel the order of that symbol with `origClientOrderId`.

        Raises
        ------
        Refusal, Throttled, Unreachable
        """
        request = f"the cancellation of {parameters['origClientOrderId']}"

        async def ask() -> bytes:
            answer: bytes = await self.cancel_order(**parameters)
            return answer

        return read(await self._signed(request, ORDER_WEIGHT, ask), OrderMessage, request)

    async def working(self) -> list[OrderMessage]:
        """Open orders of all symbols."""

        async def ask() -> bytes:
            answer: bytes = await self.get_open_orders()
            return answer

        request = "open orders"
        return read(await self._signed(request, ALL_OPEN_ORDERS_WEIGHT, ask), list[OrderMessage], request)

    async def balances(self) -> AccountMessage:
        async def ask() -> bytes:
            answer: bytes = await self.get_account(omitZeroBalances="true")
            return answer

        request = "the account"
        return read(await self._signed(request, ACCOUNT_WEIGHT, ask), AccountMessage, request)

    async def trades(self, **parameters: str | int) -> list[TradeMessage]:
        """One page of our trades in a symbol, oldest first: those of `startTime` or `fromId` on."""

        async def ask() -> bytes:
            answer: bytes = await self.get_my_trades(**parameters, limit=TRADES_IN_A_PAGE)
            return answer

        request = f"trades of {parameters['symbol']}"
        return read(await self._signed(request, TRADES_WEIGHT, ask), list[TradeMessage], request)

    async def subscription(self) -> tuple[str, str]:
        """An id, and the signed message with that id that subscribes to the account's events."""
        if not self._knows_the_time:
            await self.learn_the_time()
        id_ = uuid.uuid4().hex
        window = {"recvWindow": self.REQUEST_RECVWINDOW}
        parameters = self._sign_ws_params(window, self._generate_ws_api_signature)
        return id_, msgspec.json.encode({"id": id_, "method": SUBSCRIBE, "params": parameters}).decode()

    def venue_time(self) -> datetime:
        """The venue's clock, as far as we have learnt it."""
        return instant(round(time.time() * 1000) + self.timestamp_offset)

    async def learn_the_time(self) -> None:
        """Ask for the venue's clock, and go by it from now on.

        Raises
        ------
        Throttled, Unreachable
        """
        sent_ms = time.time() * 1000
        venue_ms = await self.server_time_ms()
        half_way_ms = (sent_ms + time.time() * 1000) / 2
        before = self.timestamp_offset
        self.timestamp_offset: int = round(venue_ms - half_way_ms)
        if self._knows_the_time:
            _log.warning(
                "venue's clock moved against ours",
                venue=Venue.BINANCE.value,
                offset_ms=self.timestamp_offset,
                before_ms=before,
            )
        self._knows_the_time = True

    async def _signed(self, request: str, weight: int, ask: Callable[[], Awaitable[bytes]]) -> bytes:
        if not self._knows_the_time:
            await self.learn_the_time()
        try:
            return await self._once(request, weight, ask)
        except ClockDiffers:
            await self.learn_the_time()
            return await self._once(request, weight, ask)

    async def _once(self, request: str, weight: int, ask: Callable[[], Awaitable[bytes]]) -> bytes:
        await self._budget.spend(weight)
        with transport_failures(f"{request} of {self.API_URL}", aiohttp.ClientError):
            return await ask()

    async def _handle_response(self, response: aiohttp.ClientResponse) -> bytes:
        sent = response.headers.get("x-mbx-order-count-10s", "")
        if sent.isdigit():
            self._orders.observe(int(sent))
        return await super()._handle_response(response)
