"""A connection that places orders, and hears what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog

from autotrader.connectors.ibkr_connector import messages, order_messages
from autotrader.connectors.ibkr_connector.connection import Connection, Question
from autotrader.connectors.ibkr_connector.order_messages import Contract, Execution, StatedOrder
from autotrader.connectors.ibkr_connector.session import VERSION_WITHOUT_DETAILS_VERSION
from autotrader.domain.errors import AutotraderError, ConfigurationError, NotFound, Unreachable

log = structlog.get_logger(__name__)

# The gateway has its servers back: without and with all that was told meanwhile.
RESTORED = frozenset({1101, 1102})


class Listener(Protocol):
    """Who hears what the gateway tells unasked."""

    def order_stated(self, stated: StatedOrder) -> None: ...

    def order_status(self, fields: list[str]) -> None: ...

    def executed(self, execution: Execution, *, is_news: bool) -> None: ...

    def paid(self, fields: list[str]) -> None: ...

    def order_error(self, order_id: int, code: int, text: str) -> bool:
        """False where the number is no order's."""
        ...

    def servers_back(self) -> None: ...

    def missed(self) -> None:
        """A message could not be read."""
        ...


class OrderSession(Connection):
    """Asks one question of a kind at a time: the gateway's lists bear no number of a request."""

    def listen(self, listener: Listener, request_seconds: float) -> None:
        """Must be called before `connect`."""
        self._listener = listener
        self._request_seconds = request_seconds
        self._asking = asyncio.Lock()
        self._servers_lost = ""

    @property
    def account(self) -> str:
        """The venue's id of the one account that is managed here.

        Raises
        ------
        ConfigurationError
            If there are several: an order must not go to whichever comes first.
        """
        accounts: list[str] = self._client.getAccounts()
        if len(accounts) != 1:
            raise ConfigurationError(
                f"expected a login at {self._address} with one account, was one with {len(accounts)}: "
                "use a login that manages the traded account only"
            )
        return accounts[0]

    @property
    def lost(self) -> asyncio.Future[AutotraderError]:
        """Done once the connection has ended, with the reason."""
        return self._ended

    def require_servers(self) -> None:
        """Raise Unreachable while the gateway itself is cut off from the venue."""
        if self._servers_lost:
            raise Unreachable(f"expected {self._address} to reach IB, was {self._servers_lost}: wait for it")

    def next_number(self) -> int:
        """A number for an order or a request: they share one sequence, as errors name either."""
        number: int = self._client.getReqId()
        return number

    def numbers_from(self, least: int) -> None:
        """Give out no number below this."""
        self._client.updateReqId(least)

    def place(self, number: int, con_id: int, symbol: str, **terms: Any) -> None:
        """Send an order for a stock; `terms` are the library's names of an order's fields."""
        stock = self._library.Stock(symbol, "SMART", "USD", conId=con_id)
        self._client.placeOrder(number, stock, self._library.Order(account=self.account, **terms))

    def withdraw(self, number: int) -> None:
        """Ask for an order's cancellation."""
        self._client.cancelOrder(number)

    async def open_orders(self) -> list[StatedOrder]:
        """Orders that work, of all clients; the listener hears their statuses before this returns."""
        rows = await self._list("open orders", order_messages.OPEN_ORDER, self._client.reqAllOpenOrders)
        return [order_messages.open_order(row) for row in rows]

    async def completed_orders(self) -> list[StatedOrder]:
        """Orders that have ended, as far back as the gateway remembers: today."""
        rows = await self._list(
            "completed orders",
            order_messages.COMPLETED_ORDER,
            lambda: self._client.reqCompletedOrders(False),
        )
        version = self._client.serverVersion()
        return [order_messages.completed_order(row, version) for row in rows]

    async def executions(self) -> list[Execution]:
        """Trades since the last midnight of the gateway: no further back does the venue tell of them."""
        number = self.next_number()
        self._client.reqExecutions(number, self._library.ExecutionFilter(acctCode=self.account))
        rows = await self.ask(number, Question("executions"), self._request_seconds)
        return [order_messages.execution(row) for row in rows]

    async def positions(self) -> list[list[str]]:
        """Rows of one whole cycle: half a list is no list."""
        rows = await self._list("positions", order_messages.POSITION, self._client.reqPositions)
        self._client.cancelPositions()
        return rows

    async def account_values(self) -> list[list[str]]:
        account = self.account
        rows = await self._list(
            "account values",
            order_messages.ACCOUNT_VALUE,
            lambda: self._client.reqAccountUpdates(True, account),
        )
        self._client.reqAccountUpdates(False, account)
        return rows

    async def contract(self, symbol: str) -> Contract:
        """The one US stock of this symbol; NotFound where there is none, or more than one."""
        number = self.next_number()
        self._client.reqContractDetails(number, self._library.Stock(symbol, "SMART", "USD"))
        rows = await self.ask(number, Question(f"contract {symbol}"), self._request_seconds)
        if len(rows) != 1:
            raise NotFound(f"{symbol}: expected one US stock at Interactive Brokers, found {len(rows)}")
        return order_messages.contract(rows[0], self._client.serverVersion())

    async def _list(self, subject: str, kind: str, request: Callable[[], object]) -> list[list[str]]:
        self.require_servers()
        async with self._asking:
            asked: Awaitable[list[list[str]]] = self.ask(kind, Question(subject), self._request_seconds)
            request()
            return await asked

    def _hear(self, fields: list[str]) -> None:
        try:
            self._understand(fields)
        except ArithmeticError as error:
            raise ValueError(f"no number in message {fields[0]}") from error

    def _understand(self, fields: list[str]) -> None:
        match fields[0]:
            case order_messages.ORDER_STATUS:
                self._listener.order_status(fields)
            case order_messages.OPEN_ORDER:
                self._listener.order_stated(order_messages.open_order(fields))
                self._collect(order_messages.OPEN_ORDER, fields, last=False)
            case order_messages.OPEN_ORDERS_END:
                self._collect(order_messages.OPEN_ORDER, None, last=True)
            case order_messages.COMPLETED_ORDER | order_messages.POSITION | order_messages.ACCOUNT_VALUE:
                self._collect(fields[0], fields, last=False)
            case order_messages.COMPLETED_ORDERS_END:
                self._collect(order_messages.COMPLETED_ORDER, None, last=True)
            case order_messages.POSITIONS_END:
                self._collect(order_messages.POSITION, None, last=True)
            case order_messages.ACCOUNT_END:
                self._collect(order_messages.ACCOUNT_VALUE, None, last=True)
            case order_messages.EXECUTION:
                asked = int(fields[1]) in self._questions
                self._listener.executed(order_messages.execution(fields), is_news=not asked)
                self._collect(int(fields[1]), fields, last=False)
            case order_messages.EXECUTIONS_END:
                self._collect(int(fields[2]), None, last=True)
            case order_messages.COMMISSION:
                self._listener.paid(fields)
            case messages.CONTRACT_DETAILS:
                versioned = self._client.serverVersion() < VERSION_WITHOUT_DETAILS_VERSION
                self._collect(int(fields[2 if versioned else 1]), fields, last=False)
            case messages.CONTRACT_DETAILS_END:
                self._collect(int(fields[2]), None, last=True)

    def _hear_error(self, request: int, code: int, text: str) -> bool:
        if code in messages.CONNECTIVITY_LOST:
            self._servers_lost = f"{code} {text.strip()}"
        elif code in RESTORED:
            self._servers_lost = ""
            self._listener.servers_back()
        return request not in self._questions and self._listener.order_error(request, code, text)

    def _on_unreadable(self, fields: list[str]) -> None:
        super()._on_unreadable(fields)
        self._listener.missed()
