"""An account of the stand-in gateway: orders of all clients, executions, positions, cash.

As at the venue, orders and requests share no numbers but errors name either, `orderRef` is not kept
apart, only the client that made an order may cancel it, and commissions come in messages of their own.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from tests.fakes import tws_messages

ACCOUNT = "DU1234567"
FIRST_CONTRACT = 265598
HELD = "Order Message:\nWarning: your order will not be placed at the exchange until 09:30:00 US/Eastern"
Send = Callable[..., None]
Row = dict[str, Any]


class AccountFault(StrEnum):
    """How the next request or event of its kind goes wrong."""

    LOST_REQUEST = "lost-request"  # the socket closes before the next order is read
    LOST_ANSWER = "lost-answer"  # the next order is taken, then the socket closes
    SILENT = "silent"  # the next order is taken, and nothing is said of it
    REJECTED = "rejected"  # the next order is refused: error 201
    INACTIVE = "inactive"  # the next order is refused by a status alone
    THROTTLED = "throttled"  # the next order is answered with error 100
    DUPLICATE_NUMBER = "duplicate-number"  # the next order is answered with error 103
    HELD = "held"  # the next order waits for tomorrow's session: error 399
    LATE_FILL = "late-fill"  # the next cancellation is done, and the order is filled when it can be
    FILLED_MEANWHILE = "filled-meanwhile"  # an order of LATE_FILL is filled once the account has been told
    FILLED_BEFORE = "filled-before"  # the next cancellation finds the order filled: error 10148
    NOT_CANCELLABLE = "not-cancellable"  # the next cancellation is refused: error 161
    DUPLICATE_FILL = "duplicate-fill"  # the next execution is told twice
    UNTOLD_FILL = "untold-fill"  # the next execution is not told
    LATE_COMMISSION = "late-commission"  # the next commission waits for `pay_late`
    CORRECTED_FILL = "corrected-fill"  # the next execution is told again, corrected
    DUPLICATE_POSITIONS = "duplicate-positions"  # the next list has each contract under two exchanges
    TOLD_MEANWHILE = "told-meanwhile"  # the next list of orders has one in it that is told by itself, too
    HALF_POSITIONS = "half-positions"  # the socket closes in the middle of the next list


REFUSALS = {
    AccountFault.THROTTLED: (100, "Max rate of messages per second has been exceeded"),
    AccountFault.DUPLICATE_NUMBER: (103, "Duplicate order id"),
    AccountFault.REJECTED: (201, "Order rejected - reason:INSUFFICIENT FUNDS"),
}


class TwsAccount:
    """One account, in US dollars.

    Parameters
    ----------
    cash : Decimal
    prices : dict[str, Decimal]
        Where the market of each stock stands.
    commission : Decimal
        Of each execution.
    """

    def __init__(
        self, cash: Decimal, prices: dict[str, Decimal], *, commission: Decimal = Decimal(1)
    ) -> None:
        self.prices = prices
        self.cash = cash
        self.orders: list[Row] = []
        self.executions: list[Row] = []
        self.units: dict[str, Decimal] = {}
        self.clients: dict[int, Send] = {}
        self.placed: list[Row] = []
        self.requested: list[int] = []
        self._commission = commission
        self._faults: deque[AccountFault] = deque()
        self._perm_ids = itertools.count(1_900_000_001)
        self._late: list[Row] = []
        self._muted: set[int] = set()

    def misbehave(self, fault: AccountFault) -> None:
        self._faults.append(fault)

    @property
    def due(self) -> int:
        """How many faults have been told and not come about."""
        return len(self._faults)

    def takes(self, *faults: AccountFault) -> AccountFault | None:
        """The first of these faults that was told, which it then no longer is."""
        for fault in faults:
            if fault in self._faults:
                self._faults.remove(fault)
                return fault
        return None

    def contract(self, symbol: str) -> int:
        return FIRST_CONTRACT + list(self.prices).index(symbol)

    def place(self, client_id: int, send: Send, fields: list[str]) -> None:
        """Take an order, as message 3 brings it; the same number again changes nothing."""
        number, symbol = int(fields[1]), fields[3]
        fault = self.takes(
            AccountFault.LOST_REQUEST,
            AccountFault.THROTTLED,
            AccountFault.DUPLICATE_NUMBER,
            AccountFault.REJECTED,
            AccountFault.INACTIVE,
            AccountFault.LOST_ANSWER,
            AccountFault.SILENT,
            AccountFault.HELD,
        )
        if fault is AccountFault.LOST_REQUEST:
            raise ConnectionError("told to lose the order")
        order = {
            "number": number,
            "client_id": client_id,
            "perm_id": next(self._perm_ids),
            "con_id": int(fields[2]),
            "symbol": symbol,
            "action": fields[16],
            "quantity": Decimal(fields[17]),
            "type": fields[18],
            "limit": fields[19],
            "account": fields[23],
            "ref": fields[26],
            "outside_rth": fields[33] == "1",
            "filled": Decimal(0),
            "status": "PreSubmitted",
            "said": "",
        }
        self.placed.append(order)
        if fault in REFUSALS:
            self._error(send, number, *REFUSALS[fault])
            return
        known = [o for o in self.orders if (o["client_id"], o["number"]) == (client_id, number)]
        if known:
            self._tell_order(known[0])
            return
        self.orders.append(order)
        if fault is AccountFault.INACTIVE:
            order.update(status="Inactive", said="Rejected by System")
        if fault is AccountFault.SILENT:
            self._muted.add(order["perm_id"])
        if fault is AccountFault.LOST_ANSWER:
            del self.clients[client_id]
        else:
            self._tell_order(order)
        if fault is AccountFault.HELD:
            self._error(send, number, 399, HELD)
        elif order["status"] == "PreSubmitted":
            order["status"] = "Submitted"
            self._tell_order(order)
            if order["type"] == "MKT":
                self._fill(order, self.prices[symbol])
        if fault is AccountFault.LOST_ANSWER:
            raise ConnectionError("told to lose the answer")

    def cancel(self, client_id: int, send: Send, number: int) -> None:
        found = [o for o in self.orders if (o["client_id"], o["number"]) == (client_id, number)]
        if not found:
            self._error(send, number, 10147, f"OrderId {number} that needs to be cancelled is not found.")
            return
        order = found[0]
        fault = self.takes(AccountFault.LATE_FILL, AccountFault.FILLED_BEFORE, AccountFault.NOT_CANCELLABLE)
        if fault is AccountFault.NOT_CANCELLABLE:
            text = (
                f"Cancel attempted when order is not in a cancellable state. Order permId ={order['perm_id']}"
            )
            self._error(send, number, 161, text)
            return
        if fault is AccountFault.FILLED_BEFORE:
            self._muted.add(order["perm_id"])
            self._fill(order, Decimal(order["limit"]))
        if order["status"] in {"Filled", "Cancelled"}:
            text = (
                f"OrderId {number} that needs to be cancelled cannot be cancelled, state: {order['status']}."
            )
            self._error(send, number, 10148, text)
            return
        order.update(status="Cancelled", said="Cancelled by Trader")
        self._tell_order(order)
        self._error(send, number, 202, "Order Canceled - reason:")
        if fault is AccountFault.LATE_FILL:
            self._late.append(order)

    def trade(self, symbol: str, price: Decimal) -> None:
        """The market trades at a price; limit orders that it satisfies are filled at their own."""
        self.prices[symbol] = price
        for order in [*self.orders]:
            works = order["status"] == "Submitted" or order in self._late
            if works and order["symbol"] == symbol and order["type"] == "LMT":
                limit = Decimal(order["limit"])
                if (price <= limit) if order["action"] == "BUY" else (price >= limit):
                    self._fill(order, limit)

    def made_by_another(self, symbol: str, quantity: Decimal, limit: Decimal) -> None:
        """An order that somebody gave in at the gateway's window."""
        order = {
            "number": 0,
            "client_id": 0,
            "perm_id": next(self._perm_ids),
            "con_id": self.contract(symbol),
            "symbol": symbol,
            "action": "BUY",
            "quantity": quantity,
            "type": "LMT",
            "limit": str(limit),
            "account": ACCOUNT,
            "ref": "",
            "filled": Decimal(0),
            "status": "Submitted",
            "said": "",
        }
        self.orders.append(order)

    def open_orders(self, send: Send) -> None:
        told_meanwhile = self.orders[:1] if self.takes(AccountFault.TOLD_MEANWHILE) else []
        for order in [*told_meanwhile, *self.orders]:
            if order["status"] in {"PreSubmitted", "Submitted"}:
                send(*tws_messages.open_order(order))
                send(*tws_messages.order_status(order))
        send(53, 1)

    def completed_orders(self, send: Send) -> None:
        for order in self.orders:
            if order["status"] in {"Filled", "Cancelled", "Inactive"}:
                send(*tws_messages.completed_order(order))
        send(102)

    def executed(self, send: Send, request: str) -> None:
        self.requested.append(int(request))
        for row in self.executions:
            send(*self._execution(row, request))
            if not row["unpaid"]:
                send(*self._paid(row))
        send(55, 1, request)

    def positions(self, send: Send) -> None:
        half = self.takes(AccountFault.HALF_POSITIONS)
        exchanges = ["NASDAQ", "ARCA"] if self.takes(AccountFault.DUPLICATE_POSITIONS) else ["NASDAQ"]
        for symbol, units in self.units.items():
            for exchange in exchanges:
                row = {"con_id": self.contract(symbol), "symbol": symbol, "exchange": exchange}
                send(61, 3, ACCOUNT, *tws_messages.stock(row), units, 0)
            if half:
                raise ConnectionError("told to disconnect")
        send(62, 1)

    def values(self, send: Send) -> None:
        for key, value, currency in (
            ("AccountCode", ACCOUNT, ""),
            ("TotalCashBalance", self.cash, "BASE"),
            ("TotalCashBalance", self.cash, "USD"),
            ("NetLiquidation", self.cash, "USD"),
        ):
            send(6, 2, key, value, currency, ACCOUNT)
        send(8, 1, "15:00")
        send(54, 1, ACCOUNT)
        if self._late and self.takes(AccountFault.FILLED_MEANWHILE):
            for order in [*self._late]:
                self._fill(order, Decimal(order["limit"]))

    def pay_late(self) -> None:
        """Send the commissions that were withheld."""
        for row in self.executions:
            if row["unpaid"]:
                row["unpaid"] = False
                self._tell(row["client_id"], self._paid(row))

    def _fill(self, order: Row, price: Decimal) -> None:
        if order in self._late:
            self._late.remove(order)
        sign, quantity = (1 if order["action"] == "BUY" else -1), order["quantity"]
        self.cash -= sign * quantity * price + self._commission
        self.units[order["symbol"]] = self.units.get(order["symbol"], Decimal(0)) + sign * quantity
        order.update(filled=quantity, status="Filled", said=f"Filled Size: {quantity}")
        row = {
            **order,
            "exec_id": f"0000e0d5.{len(self.executions):08x}.01",
            "revision": 1,
            "price": price,
            "at": datetime.now(UTC).strftime("%Y%m%d %H:%M:%S UTC"),
            "unpaid": self.takes(AccountFault.LATE_COMMISSION) is not None,
        }
        self.executions.append(row)
        fault = self.takes(AccountFault.DUPLICATE_FILL, AccountFault.UNTOLD_FILL, AccountFault.CORRECTED_FILL)
        if fault is not AccountFault.UNTOLD_FILL:
            for _ in range(2 if fault is AccountFault.DUPLICATE_FILL else 1):
                self._tell(order["client_id"], self._execution(row, "-1"), muted=order)
        self._tell_order(order)
        if not row["unpaid"] and fault is not AccountFault.UNTOLD_FILL:
            self._tell(order["client_id"], self._paid(row), muted=order)
        if fault is AccountFault.CORRECTED_FILL:
            row.update(revision=2, price=price - Decimal("0.01"))
            self._tell(order["client_id"], self._execution(row, "-1"))
            self._tell(order["client_id"], self._paid(row))

    def _execution(self, row: Row, request: str) -> list[object]:
        side = "BOT" if row["action"] == "BUY" else "SLD"
        how = [f"{row['exec_id']}.{row['revision']:02d}", row["at"], ACCOUNT, "NASDAQ", side]
        what = [row["quantity"], row["price"], row["perm_id"], row["client_id"], 0]
        tail = [row["quantity"], row["price"], row["ref"], "", "", "", 1]
        return [11, request, row["number"], *tws_messages.stock(row), *how, *what, *tail]

    def _paid(self, row: Row) -> list[object]:
        exec_id = f"{row['exec_id']}.{row['revision']:02d}"
        return [59, 1, exec_id, self._commission, "USD", tws_messages.UNSET, "", ""]

    def _tell_order(self, order: Row) -> None:
        self._tell(order["client_id"], tws_messages.open_order(order), muted=order)
        self._tell(order["client_id"], tws_messages.order_status(order), muted=order)

    def _tell(self, client_id: int, fields: Iterable[object], *, muted: Row | None = None) -> None:
        if muted is not None and muted["perm_id"] in self._muted:
            return
        if send := self.clients.get(client_id):
            send(*fields)

    def _error(self, send: Send, number: int, code: int, text: str) -> None:
        send(4, 2, number, code, text, "")
