"""An account with two spot pairs and a currency pair, for the tests of the trader's rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from autotrader.domain.instruments import InstrumentId, InstrumentRules
from autotrader.domain.orders import Fill, Order, OrderType, Side
from autotrader.domain.trading import Cause, ControlKind, RunStatus, TradingState
from autotrader.ports.trading import AccountState, Control, Restriction

D = Decimal
NOW = datetime(2024, 2, 29, 12, 0, tzinfo=UTC)
WALL = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
BTC = InstrumentId.parse("binance:BTCUSDT")
ETH = InstrumentId.parse("binance:ETHUSDT")
EUR = InstrumentId.parse("oanda:EUR_USD")
RULES = {
    BTC: InstrumentRules(D("0.01"), D("0.001"), D(10), "USDT", "BTC"),
    ETH: InstrumentRules(D("0.01"), D("0.01"), D(10), "USDT", "ETH"),
    EUR: InstrumentRules(D("0.00001"), D(1), D(1), "USD", "EUR", shortable=True),
}
PRICES = {BTC: D(50_000), ETH: D(2_500), EUR: D("1.1")}
RATES = {"USDT": D(1), "USD": D(1)}


def an_order(
    instrument: InstrumentId = BTC,
    side: Side = Side.BUY,
    quantity: str | Decimal = "0.1",
    *,
    limit: str | None = None,
    id: str = "at1",
    reduces: bool = False,
    at: datetime = NOW,
) -> Order:
    return Order(
        account="main",
        client_order_id=id,
        strategy_id="autotrader-strategy",
        instrument=instrument,
        side=side,
        quantity=D(quantity),
        type=OrderType.LIMIT if limit else OrderType.MARKET,
        limit_price=D(limit) if limit else None,
        reference_price=PRICES[instrument],
        reduces=reduces,
        decided_at=at,
        valid_until=at + timedelta(minutes=1),
        recorded_at=WALL,
        reason="a test",
    )


def a_fill(
    instrument: InstrumentId = BTC,
    side: Side = Side.BUY,
    quantity: str | Decimal = "0.1",
    *,
    price: Decimal | None = None,
    fee: str | Decimal = "0",
    id: str = "f1",
    at: datetime = NOW,
) -> Fill:
    return Fill(
        account="main",
        fill_id=id,
        client_order_id=None,
        venue_order_id=None,
        instrument=instrument,
        side=side,
        quantity=D(quantity),
        price=PRICES[instrument] if price is None else price,
        fee=D(fee),
        fee_currency=RULES[instrument].currency,
        at=at,
    )


def a_state(equity: str = "100000", **changes: object) -> AccountState:
    state = AccountState(
        account="main",
        strategy_id="autotrader-strategy",
        venue="binance",
        status=RunStatus.RUNNING,
        heartbeat_at=WALL,
        started_at=WALL,
        owner="one",
        source="recorded",
        base_currency="USD",
        initial_equity=D(equity),
        peak_equity=D(equity),
        day_start_equity=D(equity),
        equity=D(equity),
    )
    return replace(state, **changes)  # type: ignore[arg-type]


def a_restriction(
    cause: Cause = Cause.OPERATOR,
    state: TradingState = TradingState.HALTED,
    *,
    until: datetime | None = None,
) -> Restriction:
    return Restriction(cause, state, "a test asked for it", WALL, "somebody", until)


def a_control(
    kind: ControlKind = ControlKind.RESUME,
    *,
    actor: str = "ada",
    reason: str = "looked at it",
    asked_at: datetime = WALL,
) -> Control:
    return Control("c1", "main", kind, actor, reason, asked_at)
