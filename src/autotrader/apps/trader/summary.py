"""What came of trading: figures for people and programs, and a picture of the equity."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from autotrader.alerts.picture import CurvePoint, equity_png
from autotrader.domain.errors import AutotraderError, NotFound
from autotrader.ports.trading import EquityPoint, Page, TradingRecords
from autotrader.trading.deciding import AS_WANTED
from autotrader.trading.forecasting import EntryRules
from autotrader.trading.performance import measure

_ALL = 2_000_000
_SIGNALS = 100_000  # the newest, where it is asked why there was no order
_BLOCKS = " ▁▂▃▄▅▆▇█"
_WIDTH = 60


@dataclass(frozen=True)
class TradingSummary:
    """An account, and what it did.

    Attributes
    ----------
    start, end : datetime or None
        Bars dealt with: open of the first, close of the last.
    pnl : Decimal
        Equity less what the account began with, base currency.
    sharpe, max_drawdown, win_rate : float or None
        None where there is too little to say.
    decision_hash : str
        Of all decisions: the same bars and model give the same.
    picture : str or None
        File with the equity over time.
    no_order_because : str
        Empty where there were orders.
    """

    account: str
    source: str
    state: str
    reasons: tuple[str, ...]
    start: datetime | None
    end: datetime | None
    bars: int
    orders: int
    fills: int
    trades: int
    pnl: Decimal
    equity: Decimal
    currency: str
    sharpe: float | None
    max_drawdown: float | None
    win_rate: float | None
    decision_hash: str
    curve: str
    picture: str | None = None
    no_order_because: str = ""

    def to_text(self) -> str:
        """For a terminal."""
        share = self.pnl / (self.equity - self.pnl) if self.equity != self.pnl else Decimal(0)
        window = (
            f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M}" if self.start and self.end else "-"
        )
        lines = [
            f"account {self.account} ({self.source}) is {self.state.upper()}",
            *(f"  because {reason}" for reason in self.reasons),
            f"  {window}: {self.bars:,} minutes, {self.orders:,} orders, {self.fills:,} fills, "
            f"{self.trades:,} trades",
            *([f"  no order: {self.no_order_because}"] if self.no_order_because else []),
            f"  PnL {self.pnl:+,.2f} {self.currency} ({share:+.2%}), equity {self.equity:,.2f}",
            f"  Sharpe {_figure(self.sharpe, '.2f')}, drawdown {_figure(self.max_drawdown, '.2%')}, "
            f"winners {_figure(self.win_rate, '.1%')}",
            f"  equity {self.curve}",
            f"  decisions {self.decision_hash[:16] or '-'}",
        ]
        if self.picture:
            lines.append(f"  picture {self.picture}")
        return "\n".join(lines)


def summarise(
    records: TradingRecords,
    account: str,
    *,
    entry_rules: EntryRules | None = None,
    picture: Path | None = None,
) -> TradingSummary:
    """Sum an account up, from its records alone.

    Parameters
    ----------
    entry_rules : EntryRules or None
        What a score has to exceed, for telling why there was no order.
    picture : Path or None
        Where to draw the equity; None draws nothing.

    Raises
    ------
    NotFound
        If there is no such account.
    """
    state = records.state(account)
    if state is None:
        raise NotFound(f"expected an account that has traded, was {account!r}")
    everything = Page(limit=_ALL)
    points = sorted(records.equity(account, everything), key=lambda point: point.at)
    trades, orders = records.trades(account, everything), records.orders(account, everything)
    # Of the trades only their count and the share of winners is told: the same at any rate.
    performance = measure(points, trades, rates={trade.instrument: Decimal(1) for trade in trades})
    if picture is not None and len(points) > 1:
        draw(points, picture, title=f"{account} ({state.source})", currency=state.base_currency)
    return TradingSummary(
        account=account,
        source=state.source,
        state=state.state.value,
        reasons=tuple(restriction.reason for restriction in state.restrictions),
        start=points[0].at if points else None,
        end=points[-1].at if points else None,
        bars=len(points),
        orders=len(orders),
        fills=len(records.fills(account, everything)),
        trades=performance.trades,
        pnl=state.equity - state.initial_equity,
        equity=state.equity,
        currency=state.base_currency,
        sharpe=performance.sharpe,
        max_drawdown=performance.max_drawdown,
        win_rate=performance.win_rate,
        decision_hash=str(state.memory.get("decision_hash", "")),
        curve=sparkline([float(point.equity) for point in points]),
        picture=str(picture) if picture is not None and len(points) > 1 else None,
        no_order_because="" if orders else _why_no_order(records, account, entry_rules),
    )


def _why_no_order(records: TradingRecords, account: str, entry_rules: EntryRules | None) -> str:
    signals = records.signals(account, Page(limit=_SIGNALS))
    scores = [signal.score for signal in signals if signal.score is not None]
    refused = [s.outcome for s in signals if not s.outcome.startswith(AS_WANTED.reason)]
    if refused or not scores:
        outcomes = refused or [signal.outcome for signal in signals]
        if not outcomes:
            return "no bar came"
        newest = outcomes[0].removeprefix(f"{AS_WANTED.reason}; ")
        return f"{newest} ({len(outcomes):,} of {len(signals):,} times)"
    told = f"{len(scores):,} predictions scored {min(scores):+.3f} to {max(scores):+.3f}"
    version = next(signal.version for signal in signals if signal.score is not None)
    try:
        entry = None if entry_rules is None or version is None else entry_rules.of(version)
    except AutotraderError:
        return told  # the reason that is missing is not worth the summary
    if entry is None:
        return told
    return f"{told}; a position wants a score beyond {entry.score:.3f} and a move that pays its costs"


def sparkline(values: list[float]) -> str:
    """A line of blocks, lowest to highest."""
    if not values:
        return "-"
    step = max(1, len(values) // _WIDTH)
    sampled = [*values[::step], values[-1]]
    low, high = min(sampled), max(sampled)
    if low == high:
        return _BLOCKS[1] * len(sampled)
    return "".join(_BLOCKS[1 + round((v - low) / (high - low) * (len(_BLOCKS) - 2))] for v in sampled)


def draw(points: list[EquityPoint], path: Path, *, title: str, currency: str) -> None:
    """Equity and drawdown over market time, as a PNG."""
    curve = [CurvePoint(point.at, point.equity, point.drawdown) for point in points]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(equity_png(curve, title=title, currency=currency, inches=(9, 4.5)))


def _figure(value: float | None, form: str) -> str:
    return "too little to say" if value is None else format(value, form)
