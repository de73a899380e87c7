"""What a day came to, gathered from the trader's records and the lake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from autotrader.alerts.picture import CurvePoint, thinned
from autotrader.alerts.reports import DailySummary, OpenPosition, TradeLine
from autotrader.config.settings import Settings
from autotrader.data.bars import BarStore
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.orders import ZERO
from autotrader.domain.positions import ONE, ClosedTrade, Position
from autotrader.domain.thresholds import DAILY_SUMMARY
from autotrader.domain.trading import RunStatus
from autotrader.pipelines.market_day import MarketDay
from autotrader.pipelines.watch_list import watch_list
from autotrader.ports.trading import AccountState, EquityPoint, Page, TradingRecords, every_row
from autotrader.trading.performance import measure

_PRICES = timedelta(days=5)  # of bars that a last price is looked for in


@dataclass(frozen=True, slots=True)
class LastPrice:
    """Of an instrument; `at` is when its bar closed, market time."""

    price: Decimal
    at: datetime


def summarise(
    state: AccountState, day: MarketDay, *, settings: Settings, records: TradingRecords, bars: BarStore
) -> DailySummary:
    """One account over the window of a market day.

    Positions, state and limits are as the trader left them last; everything else is of the window.
    Amounts are added up only where all of the account's currencies count as the base currency.
    """
    page = Page(start=day.start, end=day.end)
    trades = list(every_row(records.trades, state.account, page))
    points = list(every_row(records.equity, state.account, page))
    before = records.equity(state.account, Page(end=day.start, limit=1))
    holdings = records.holdings(state.account)
    held = sorted((p for p in holdings.positions.values() if p.quantity), key=lambda p: p.instrument)
    prices = _last_prices(settings, bars, records, state.account, held, day.end)
    foreign = foreign_currencies(state, holdings.cash, settings)
    currency = "" if foreign else state.base_currency

    # Whether a trade won does not depend on its currency; what all of them came to does.
    done = measure([], trades, rates={trade.instrument: ONE for trade in trades})
    first = before[0] if before else points[-1] if points else None
    last = points[0] if points else None
    pnl = last.equity - first.equity if first and last else None
    positions = tuple(_open_position(p, prices.get(p.instrument), currency) for p in held)
    return DailySummary(
        account=state.account,
        strategy_id=state.strategy_id,
        day=day.day,
        start=day.start,
        end=day.end,
        source=state.source,
        base_currency=state.base_currency,
        state=state.state.value,
        restrictions=tuple(f"{r.cause.value}: {r.reason}" for r in state.restrictions),
        as_of=state.cursor,
        equity=last.equity if last else None,
        pnl=pnl,
        pnl_share=float(pnl / first.equity) if first and pnl is not None and first.equity > 0 else None,
        drawdown=last.drawdown if last else None,
        realised=None if foreign else done.gross_profit - done.gross_loss,
        trades=done.trades,
        wins=done.winners,
        win_rate=done.win_rate,
        profit_factor=None if foreign else done.profit_factor,
        newest_trades=tuple(_line(t, currency) for t in trades[: DAILY_SUMMARY.newest_trades]),
        positions=positions,
        unrealised=None if foreign else _sum(p.unrealised for p in positions),
        watch=watch_list(
            state,
            settings=settings,
            records=records,
            bars=bars,
            start=day.start,
            end=day.end,
            values=None
            if foreign
            else {p.instrument: p.value(prices[p.instrument].price) for p in held if p.instrument in prices},
        ),
        notes=tuple(_notes(state, day, foreign, has_start=bool(before) or not points)),
        curve=curve_of(points),
    )


def foreign_currencies(state: AccountState, held: Iterable[str], settings: Settings) -> list[str]:
    """Those that do not count as the account's base currency: amounts in them are not added up."""
    return sorted(set(held) - {state.base_currency, *settings.trading.same_as_base})


def told_of_foreign(state: AccountState, foreign: Sequence[str]) -> str:
    """Why amounts are not added up, for a person."""
    return (
        "Amounts of trades and positions are in their quote currencies and not added up, since not all "
        f"count as {state.base_currency}: {', '.join(foreign)}."
    )


def curve_of(points: Sequence[EquityPoint]) -> tuple[CurvePoint, ...]:
    """For a picture, of points that are newest first."""
    return thinned([CurvePoint(p.at, p.equity, p.drawdown) for p in reversed(points)])


def _last_prices(
    settings: Settings,
    bars: BarStore,
    records: TradingRecords,
    account: str,
    held: Sequence[Position],
    end: datetime,
) -> Mapping[InstrumentId, LastPrice]:
    """The newest close before `end`, of a bar in the lake or one that the trader saw."""
    interval = settings.strategy.interval
    names = [position.instrument for position in held]
    found: dict[InstrumentId, LastPrice] = {}
    columns = ["venue", "instrument", "ts", "close"]
    stored = bars.read(names, interval=interval, start=end - _PRICES, end=end, columns=columns)
    for venue, symbol, ts, close in stored.sort("ts").iter_rows():
        if ts + interval.delta <= end:
            found[InstrumentId(venue, symbol)] = LastPrice(Decimal(str(close)), ts + interval.delta)
    for name in names:
        opened_by = end - interval.delta + timedelta.resolution  # the end of a page is not in it
        seen = records.signals(account, Page(end=opened_by, instrument=name, limit=1))
        if seen and (name not in found or found[name].at < seen[0].ts + interval.delta):
            found[name] = LastPrice(seen[0].price, seen[0].ts + interval.delta)
    return found


def _open_position(position: Position, last: LastPrice | None, currency: str) -> OpenPosition:
    return OpenPosition(
        instrument=str(position.instrument),
        quantity=position.quantity,
        average_price=position.average_price,
        price=last.price if last else None,
        priced_at=last.at if last else None,
        unrealised=position.unrealised(last.price) if last else None,
        currency=currency,
    )


def _line(trade: ClosedTrade, currency: str) -> TradeLine:
    return TradeLine(
        instrument=str(trade.instrument),
        side=trade.side.value,
        quantity=trade.quantity,
        entry=trade.entry,
        exit=trade.exit,
        pnl=trade.pnl,
        currency=currency,
        closed_at=trade.closed_at,
    )


def _sum(amounts: Iterator[Decimal | None]) -> Decimal | None:
    """None where one of them is not known."""
    total = ZERO
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def _notes(state: AccountState, day: MarketDay, foreign: Sequence[str], *, has_start: bool) -> Iterator[str]:
    if day.reason:
        yield f"{day.reason[0].upper()}{day.reason[1:]}."
    if state.status is RunStatus.STOPPED:
        yield "The trader is stopped."
    if foreign:
        yield told_of_foreign(state, foreign)
    if not has_start:
        yield "Equity was first recorded within this window: its PnL is since then."
