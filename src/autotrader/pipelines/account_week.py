"""One account over a week, from the trader's records alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from autotrader.alerts.weekly import AccountWeek, DayLine, InstrumentLine, Window
from autotrader.config.settings import Settings
from autotrader.domain.orders import ZERO, Order
from autotrader.domain.positions import ONE, ClosedTrade
from autotrader.domain.trading import RunStatus
from autotrader.pipelines.summary import curve_of, foreign_currencies, told_of_foreign
from autotrader.ports.trading import AccountState, EquityPoint, Page, TradingRecords, every_row
from autotrader.trading.performance import measure


def account_week(
    state: AccountState, window: Window, *, settings: Settings, records: TradingRecords
) -> AccountWeek:
    """What the account came to in the week.

    State and restrictions are as the trader left them last; everything else is of the window.
    """
    page = Page(start=window.start, end=window.end)
    trades = list(every_row(records.trades, state.account, page))
    points = list(every_row(records.equity, state.account, page))
    orders = [o for o in every_row(records.orders, state.account, page) if o.filled and o.average_price]
    before = records.equity(state.account, Page(end=window.start, limit=1))
    foreign = foreign_currencies(state, records.holdings(state.account).cash, settings)
    found = measure([*points, *before], trades, rates={trade.instrument: ONE for trade in trades})
    first = before[0] if before else points[-1] if points else None
    last = points[0] if points else None
    pnl = last.equity - first.equity if first and last else None
    return AccountWeek(
        account=state.account,
        strategy_id=state.strategy_id,
        source=state.source,
        base_currency=state.base_currency,
        state=state.state.value,
        restrictions=tuple(f"{r.cause.value}: {r.reason}" for r in state.restrictions),
        equity=last.equity if last else None,
        pnl=pnl,
        pnl_share=float(pnl / first.equity) if first and pnl is not None and first.equity > 0 else None,
        sharpe=found.sharpe if points else None,
        max_drawdown=found.max_drawdown if points else None,
        trades=found.trades,
        wins=found.winners,
        win_rate=found.win_rate,
        profit_factor=None if foreign else found.profit_factor,
        realised=None if foreign else found.gross_profit - found.gross_loss,
        fees=None if foreign else sum((trade.fees for trade in trades), ZERO),
        slippage=None if foreign or not orders else sum((_slippage(order) for order in orders), ZERO),
        orders_filled=len(orders),
        turnover=None if foreign or not points else found.turnover,
        days=tuple(_days(points, trades, first, in_one_currency=not foreign)),
        instruments=tuple(_instruments(trades, "" if foreign else state.base_currency)),
        curve=curve_of(points),
        notes=tuple(_notes(state, foreign, has_start=bool(before) or not points)),
    )


def _slippage(order: Order) -> Decimal:
    """What it cost against the last price when it was decided; below zero it was better."""
    paid = order.average_price or order.reference_price
    return (paid - order.reference_price) * order.filled * order.side.sign


def _days(
    points: Sequence[EquityPoint],
    trades: Sequence[ClosedTrade],
    first: EquityPoint | None,
    *,
    in_one_currency: bool,
) -> Iterator[DayLine]:
    """Days on which there was equity or a trade, oldest first; `points` are newest first."""
    closing: dict[date, Decimal] = {}
    for point in reversed(points):  # of a day, the last one stays
        closing[_day_of(point.at)] = point.equity
    previous = first.equity if first else None
    for day in sorted({*closing, *(_day_of(trade.closed_at) for trade in trades)}):
        of_day = [trade for trade in trades if _day_of(trade.closed_at) == day]
        pnl = closing[day] - previous if day in closing and previous is not None else None
        yield DayLine(
            day=day,
            pnl=pnl,
            trades=len(of_day),
            wins=sum(trade.pnl > 0 for trade in of_day),
            realised=sum((trade.pnl for trade in of_day), ZERO) if in_one_currency else None,
        )
        previous = closing.get(day, previous)


def _day_of(at: datetime) -> date:
    """A bar that closes at midnight is of the day that ends."""
    return (at.astimezone(UTC) - timedelta.resolution).date()


def _instruments(trades: Sequence[ClosedTrade], currency: str) -> Iterator[InstrumentLine]:
    for instrument in sorted({trade.instrument for trade in trades}):
        of_it = [trade for trade in trades if trade.instrument == instrument]
        yield InstrumentLine(
            instrument=str(instrument),
            trades=len(of_it),
            wins=sum(trade.pnl > 0 for trade in of_it),
            pnl=sum((trade.pnl for trade in of_it), ZERO),
            fees=sum((trade.fees for trade in of_it), ZERO),
            currency=currency,
        )


def _notes(state: AccountState, foreign: Sequence[str], *, has_start: bool) -> Iterator[str]:
    if state.status is RunStatus.STOPPED:
        yield "The trader is stopped."
    if foreign:
        yield told_of_foreign(state, foreign)
    if not has_start:
        yield "Equity was first recorded within this week: its PnL is since then."
