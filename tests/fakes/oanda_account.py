"""An account of the stand-in for OANDA: its numbered transactions, orders and positions.

As at the venue, a client id is kept apart among pending orders only, market orders are filled at
once, and everything that happens is a transaction, which the stream tells.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

Json = dict[str, Any]
FOUR_PLACES = Decimal("0.0001")  # of money, as the venue rounds it
MADE = {"MARKET": "MARKET_ORDER", "LIMIT": "LIMIT_ORDER"}


class AccountFault(StrEnum):
    """How the next request or event of its kind goes wrong."""

    LOST_REQUEST = "lost-request"  # the next order is cut off before it is read
    LOST_ANSWER = "lost-answer"  # the next order is done, its answer is not sent
    BROKEN_ANSWER = "broken-answer"  # the next order is done, half of its answer is sent
    SERVER_ERROR = "server-error"  # the next order is done, and answered with 503
    REJECTED = "rejected"  # the next order is refused
    THROTTLED = "throttled"  # any next request is answered with 429
    STALE = "stale"  # the next account is as of before the newest fill
    LATE_FILL = (
        "late-fill"  # the next cancellation is done, and the order is filled all the same when it can be
    )
    PARTIAL_FILL = "partial-fill"  # half of the next market order is filled, the rest given up
    DUPLICATE_FILL = "duplicate-fill"  # the stream tells the next fill twice
    UNTOLD_FILL = "untold-fill"  # the stream does not tell the next fill


class OandaAccount:
    """One account, in US dollars.

    Parameters
    ----------
    cash : Decimal
    prices : dict[str, Decimal]
        Where the market of each instrument stands.
    commission : Decimal
        Of every fill.
    """

    def __init__(
        self, cash: Decimal, prices: dict[str, Decimal], *, commission: Decimal = Decimal(0)
    ) -> None:
        self.id = "101-004-1234567-001"
        self.prices = prices
        self.heartbeat_seconds = 0.05
        self.silent = False
        self.streams = 0
        self.transactions: list[Json] = []
        self.orders: dict[str, Json] = {}
        self.balance = cash
        self._commission = commission
        self._trades: list[Json] = []
        self._before: Json = {}
        self._faults: deque[AccountFault] = deque()
        self._changed = threading.Condition(threading.RLock())
        self._epoch = 0
        self._add({"type": "TRANSFER_FUNDS", "amount": str(cash)})

    def misbehave(self, fault: AccountFault) -> None:
        with self._changed:
            self._faults.append(fault)

    @property
    def due(self) -> int:
        """How many faults have been told and not come about."""
        return len(self._faults)

    def takes(self, *faults: AccountFault) -> AccountFault | None:
        """The first of these faults that was told, which it then no longer is."""
        with self._changed:
            for fault in faults:
                if fault in self._faults:
                    self._faults.remove(fault)
                    return fault
        return None

    def end_streams(self) -> None:
        with self._changed:
            self._epoch += 1
            self._changed.notify_all()

    def trade(self, instrument: str, price: Decimal) -> None:
        """The market trades at a price; limit orders that it satisfies are filled at their own."""
        with self._changed:
            self.prices[instrument] = price
            for order in list(self.orders.values()):
                works = order["state"] in {"PENDING", "TOO LATE"}
                if works and order["instrument"] == instrument and "price" in order:
                    limit, units = Decimal(order["price"]), Decimal(order["units"])
                    if (price <= limit) if units > 0 else (price >= limit):
                        self.fill(order, units, limit)

    def place(self, request: Json) -> tuple[int, Json]:
        """Status and body of the answer to a new order."""
        with self._changed:
            client_id = request.get("clientExtensions", {}).get("id")
            kind = MADE[request["type"]]
            made = {key: value for key, value in request.items() if key != "type"}
            if self.takes(AccountFault.REJECTED):
                return self._refuse(kind, made, "INSUFFICIENT_MARGIN")
            if request["instrument"] not in self.prices:
                return self._refuse(kind, made, "INSTRUMENT_NOT_TRADEABLE")
            if client_id and any(o["client"] == client_id for o in self.pending()):
                return self._refuse(kind, made, "CLIENT_ORDER_ID_ALREADY_EXISTS")
            created = self._add({"type": kind, "reason": "CLIENT_ORDER", **made})
            order = {
                **request,
                "id": created["id"],
                "createTime": created["time"],
                "state": "PENDING",
                "client": client_id,
            }
            self.orders[order["id"]] = order
            answer: Json = {"orderCreateTransaction": created}
            price, units = self.prices[request["instrument"]], Decimal(request["units"])
            if request["type"] == "MARKET":
                part = units / 2 if self.takes(AccountFault.PARTIAL_FILL) else units
                answer["orderFillTransaction"] = self.fill(order, part, price)
                if part != units:
                    answer["orderCancelTransaction"] = self._end(order, "INSUFFICIENT_LIQUIDITY")
            return 201, {**answer, "lastTransactionID": self.last}

    def cancel(self, specifier: str) -> tuple[int, Json]:
        """Status and body of the answer to a cancellation."""
        with self._changed:
            for order in self.pending():
                if specifier in {order["id"], f"@{order['client']}"}:
                    cancelled = self._end(order, "CLIENT_REQUEST")
                    if self.takes(AccountFault.LATE_FILL):
                        order["state"] = "TOO LATE"
                    return 200, {"orderCancelTransaction": cancelled, "lastTransactionID": self.last}
            refused = self._add({"type": "ORDER_CANCEL_REJECT", "rejectReason": "ORDER_DOESNT_EXIST"})
            return 404, {
                "orderCancelRejectTransaction": refused,
                "lastTransactionID": self.last,
                "errorCode": "ORDER_DOESNT_EXIST",
                "errorMessage": "The order ID specified does not exist",
            }

    def fill(self, order: Json, units: Decimal, price: Decimal) -> Json:
        with self._changed:
            self._before = self._snapshot()
            order["state"] = "FILLED"
            instrument = order["instrument"]
            profit = self._hold(instrument, units, price)
            paid = (profit * self._home_factor(instrument, profit)).quantize(FOUR_PLACES)
            self.balance += paid - self._commission
            about = {"tradeID": str(len(self.transactions) + 1), "units": str(units), "price": str(price)}
            return self._add(
                {
                    "type": "ORDER_FILL",
                    "orderID": order["id"],
                    **({"clientOrderID": order["client"]} if order["client"] else {}),
                    "instrument": instrument,
                    "units": str(units),
                    "price": str(price),
                    "pl": str(paid),
                    "quotePL": str(profit),
                    "commission": str(self._commission),
                    "financing": "0.0000",
                    "accountBalance": str(self.balance),
                    "tradeOpened": about,
                }
            )

    def unrealised(self, instrument: str) -> Decimal:
        """Of the open trades, dollars, at the market's price."""
        profit = sum(
            (
                t["units"] * (self.prices[instrument] - t["price"])
                for t in self._trades
                if t["instrument"] == instrument
            ),
            Decimal(0),
        )
        return profit * self._home_factor(instrument, profit)

    def pending(self) -> list[Json]:
        return [order for order in self.orders.values() if order["state"] == "PENDING"]

    @property
    def last(self) -> str:
        return self.transactions[-1]["id"]

    def details(self) -> Json:
        """The body of an account's page."""
        with self._changed:
            return self._before if self.takes(AccountFault.STALE) else self._snapshot()

    def between(self, first: int, last: int, kind: str | None) -> list[Json]:
        with self._changed:
            return [t for t in self.transactions[first - 1 : last] if _is_of(kind, t)]

    def since(self, start: datetime, kind: str | None) -> list[Json]:
        with self._changed:
            found = [t for t in self.transactions if datetime.fromisoformat(t["time"]) >= start]
            return [t for t in found if _is_of(kind, t)]

    def told(self) -> Iterator[Json]:
        """What a new stream tells, until it is ended."""
        with self._changed:
            epoch, place, beat = self._epoch, len(self.transactions), -math.inf
            self.streams += 1
        try:
            while True:
                with self._changed:
                    if self.silent or (not self.transactions[place:] and beat > 0):
                        self._changed.wait(self.heartbeat_seconds)
                    if self._epoch != epoch:
                        return
                    news, place = self.transactions[place:], len(self.transactions)
                    heartbeat = {"type": "HEARTBEAT", "lastTransactionID": self.last, "time": _now()}
                if self.silent:
                    continue
                for transaction in news:
                    yield from [transaction] * self._tellings(transaction)
                if time.monotonic() - beat >= self.heartbeat_seconds:
                    beat = time.monotonic()
                    yield heartbeat
        finally:
            with self._changed:
                self.streams -= 1

    def _tellings(self, transaction: Json) -> int:
        if transaction["type"] != "ORDER_FILL":
            return 1
        fault = self.takes(AccountFault.DUPLICATE_FILL, AccountFault.UNTOLD_FILL)
        return {AccountFault.DUPLICATE_FILL: 2, AccountFault.UNTOLD_FILL: 0}.get(fault, 1) if fault else 1

    def _refuse(self, kind: str, made: Json, reason: str) -> tuple[int, Json]:
        refused = self._add({"type": f"{kind}_REJECT", **made, "rejectReason": reason})
        return 400, {
            "orderRejectTransaction": refused,
            "lastTransactionID": self.last,
            "errorCode": reason,
            "errorMessage": reason.replace("_", " ").capitalize(),
        }

    def _end(self, order: Json, reason: str) -> Json:
        order["state"] = "CANCELLED"
        client = {"clientOrderID": order["client"]} if order["client"] else {}
        return self._add({"type": "ORDER_CANCEL", "orderID": order["id"], **client, "reason": reason})

    def finance(self, costs: dict[str, Decimal]) -> None:
        """What holding each instrument has cost since yesterday is taken off the balance."""
        with self._changed:
            self.balance -= sum(costs.values())
            self._add(
                {
                    "type": "DAILY_FINANCING",
                    "financing": str(-sum(costs.values())),
                    "accountBalance": str(self.balance),
                    "positionFinancings": [
                        {"instrument": name, "financing": str(-cost)} for name, cost in costs.items()
                    ],
                }
            )

    def _hold(self, instrument: str, units: Decimal, price: Decimal) -> Decimal:
        """Take units in, and give back what closing others, oldest first, has realised."""
        realised, rest = Decimal(0), units
        for trade in [t for t in self._trades if t["instrument"] == instrument]:
            held = trade["units"]
            if held * rest >= 0:
                break
            closing = min(abs(rest), abs(held)) * (1 if held > 0 else -1)
            realised += closing * (price - trade["price"])
            trade["units"], rest = held - closing, rest + closing
            if not trade["units"]:
                self._trades.remove(trade)
        if rest:
            trade_id = str(len(self.transactions) + 1)
            self._trades.append({"id": trade_id, "instrument": instrument, "units": rest, "price": price})
        return realised

    def _home_factor(self, instrument: str, profit: Decimal) -> Decimal:
        """Dollars for a unit of the quote currency; the venue keeps half a percent of them."""
        if instrument.endswith("_USD"):
            return Decimal(1)
        share = Decimal("0.995") if profit > 0 else Decimal("1.005")
        return share / self.prices[f"USD_{instrument.rpartition('_')[2]}"]

    def _add(self, transaction: Json) -> Json:
        added = {
            "id": str(len(self.transactions) + 1),
            "accountID": self.id,
            "time": _now(),
            **transaction,
        }
        with self._changed:
            self.transactions.append(added)
            self._changed.notify_all()
        return added

    def _snapshot(self) -> Json:
        nothing = {"units": "0"}
        positions = []
        for instrument in sorted({trade["instrument"] for trade in self._trades}):
            trades = [trade for trade in self._trades if trade["instrument"] == instrument]
            units = sum(trade["units"] for trade in trades)
            average = sum(trade["units"] * trade["price"] for trade in trades) / units
            side = {"units": str(units), "averagePrice": str(round(average, 5))}
            long, short = (side, nothing) if units > 0 else (nothing, side)
            positions.append({"instrument": instrument, "long": long, "short": short})
        orders = [{key: o[key] for key in o if key != "client"} for o in self.pending()]
        account = {
            "id": self.id,
            "currency": "USD",
            "balance": str(self.balance),
            "positions": positions,
            "orders": orders,
            "trades": [
                {
                    "id": trade["id"],
                    "instrument": trade["instrument"],
                    "currentUnits": str(trade["units"]),
                    "price": str(trade["price"]),
                }
                for trade in self._trades
            ],
        }
        return {"account": account, "lastTransactionID": self.last}


def _is_of(kinds: str | None, transaction: Json) -> bool:
    return kinds is None or transaction["type"] in kinds.split(",")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
