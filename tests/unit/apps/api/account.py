"""An account that is traded by hand, on real records: what the API is to show is known exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from autotrader.domain.instruments import InstrumentId, Venue
from autotrader.domain.orders import Fill, Order, OrderStatus, OrderType, Side, client_order_id
from autotrader.domain.positions import Holdings
from autotrader.domain.trading import RunStatus
from autotrader.ports.trading import AccountState, Change, EquityPoint, Restriction, Signal, TradingRecords

BTC, ETH = InstrumentId(Venue.BINANCE, "BTCUSDT"), InstrumentId(Venue.BINANCE, "ETHUSDT")
MARKET = datetime(2024, 3, 1, 12, tzinfo=UTC)
INITIAL = Decimal(100_000)
MINUTE = timedelta(minutes=1)


class TradedAccount:
    """Holds the lease of an account, and writes as a trader does.

    Parameters
    ----------
    now : datetime
        Wall time of the lease.
    """

    def __init__(
        self, records: TradingRecords, *, now: datetime, name: str = "main", lease_seconds: float = 3600
    ) -> None:
        self.records = records
        lease = records.acquire(name, "tests:1", now=now, seconds=lease_seconds)
        assert lease is not None
        self.lease = lease
        self.holdings = Holdings(name, {"USDT": INITIAL})
        self.state = AccountState(
            account=name,
            strategy_id="autotrader-strategy",
            venue="paper",
            status=RunStatus.RUNNING,
            heartbeat_at=now,
            started_at=now,
            owner="tests:1",
            source="recorded",
            base_currency="USD",
            initial_equity=INITIAL,
            peak_equity=INITIAL,
            day_start_equity=INITIAL,
            equity=INITIAL,
            cash=self.holdings.cash,
        )
        self.prices: dict[InstrumentId, Decimal] = {}
        self._fills = 0
        self.write()

    def write(self, change: Change = Change(), **fields: object) -> None:  # noqa: B008 - it is immutable
        """Write the change, with the state and these fields of it."""
        self.state = replace(self.state, **fields)  # type: ignore[arg-type]
        self.records.write(self.lease, replace(change, state=self.state))
        self.state = replace(self.state, revision=self.state.revision + 1)

    def bar(self, ts: datetime, prices: Mapping[InstrumentId, str | Decimal]) -> None:
        """A bar of each instrument closes: signals, an equity point, the cursor."""
        self.prices |= {instrument: Decimal(price) for instrument, price in prices.items()}
        equity = self._equity()
        peak = max(equity, self.state.peak_equity)
        signals = tuple(
            Signal(
                account=self.state.account,
                strategy_id="autotrader-strategy",
                instrument=instrument,
                ts=ts,
                version="v1.0.0",
                color="blue",
                epoch=1,
                score=0.25,
                confidence=0.625,
                target=0.1,
                price=self.prices[instrument],
                client_order_id=None,
                outcome="the position is as it should be",
            )
            for instrument in prices
        )
        point = EquityPoint(
            account=self.state.account,
            at=ts + MINUTE,
            equity=equity,
            cash=self.holdings.cash["USDT"],
            drawdown=float(1 - equity / peak),
            daily_pnl=equity - INITIAL,
        )
        self.write(Change(signals=signals, equity=(point,)), equity=equity, peak_equity=peak, cursor=ts)

    def trade(
        self,
        instrument: InstrumentId,
        side: Side,
        quantity: str,
        price: str,
        at: datetime,
        *,
        fee: str = "0",
        fee_currency: str = "USDT",
    ) -> Fill:
        """An order that is filled at once."""
        self._fills += 1
        name = self.state.account
        order = Order(
            account=name,
            client_order_id=client_order_id(name, "s", instrument, at, f"target{self._fills}"),
            strategy_id="autotrader-strategy",
            instrument=instrument,
            side=side,
            quantity=Decimal(quantity),
            type=OrderType.MARKET,
            limit_price=None,
            reference_price=Decimal(price),
            reduces=False,
            decided_at=at,
            valid_until=at + MINUTE,
            recorded_at=self.state.heartbeat_at,
            reason="a target of 0.1",
            status=OrderStatus.FILLED,
            filled=Decimal(quantity),
            average_price=Decimal(price),
        )
        fill = Fill(
            account=name,
            fill_id=str(self._fills),
            client_order_id=order.client_order_id,
            venue_order_id=None,
            instrument=instrument,
            side=side,
            quantity=order.quantity,
            price=Decimal(price),
            fee=Decimal(fee),
            fee_currency=fee_currency,
            at=at,
        )
        self.holdings, trade = self.holdings.after(fill, currency="USDT")
        self.prices[instrument] = Decimal(price)
        change = Change(
            orders=(order,),
            fills=(fill,),
            positions=(self.holdings.position(instrument),),
            trades=(trade,) if trade else (),
        )
        self.write(change, cash=self.holdings.cash, equity=self._equity())
        return fill

    def restrict(self, *restrictions: Restriction) -> None:
        self.write(restrictions=restrictions)

    def _equity(self) -> Decimal:
        held = self.holdings.positions.items()
        cash = sum((self.holdings.cash.values()), Decimal(0))
        return cash + sum((p.value(self.prices[i]) for i, p in held), Decimal(0))
