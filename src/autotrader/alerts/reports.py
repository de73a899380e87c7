"""The letters that the platform writes: what is in each, its key and its subject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from autotrader.alerts.mail import Letter, Picture, money, render
from autotrader.alerts.picture import CurvePoint, equity_png
from autotrader.domain.orders import Fill
from autotrader.domain.positions import ClosedTrade
from autotrader.ports.alerts import Message
from autotrader.ports.trading import Recovery

SIMULATED = "SIMULATED"
LIVE = "live"
EXECUTION_STAMP = "%Y%m%dT%H%M%SZ"
_MOST_EXECUTIONS = 50  # of a letter: what nobody reads on a telephone is counted


@dataclass(frozen=True, slots=True)
class TradeLine:
    """A closed trade; money in `currency`, None where that is not known here."""

    instrument: str
    side: str
    quantity: Decimal
    entry: Decimal
    exit: Decimal
    pnl: Decimal
    currency: str
    closed_at: datetime


@dataclass(frozen=True, slots=True)
class OpenPosition:
    """What is held, and what it would bring.

    Attributes
    ----------
    quantity : Decimal
        Below zero is short.
    average_price, price, unrealised : Decimal or None
        In `currency`; `price` and `unrealised` are None where no price is known.
    priced_at : datetime or None
        Close of the bar whose price it is; market time.
    """

    instrument: str
    quantity: Decimal
    average_price: Decimal | None
    price: Decimal | None
    priced_at: datetime | None
    unrealised: Decimal | None
    currency: str


class Watch(StrEnum):
    """Why something is on the watch list."""

    SIGNAL = "signal"
    LIMIT = "limit"
    FRESHNESS = "freshness"


@dataclass(frozen=True, slots=True)
class Watched:
    """One line of the watch list; `subject` is an instrument or the account."""

    kind: Watch
    subject: str
    reason: str


@dataclass(frozen=True, slots=True)
class DailySummary:
    """One account over one day; amounts in base currency where no other is named.

    Attributes
    ----------
    day : date
        Market day in New York that ends the window.
    start, end : datetime
        The window [start, end): from one summary to the next; market time.
    source : str
        Where the bars came from: `live`, `recorded` or `SIMULATED`.
    state : str
    restrictions : tuple of str
        Why it is not active.
    as_of : datetime or None
        Open of the newest bars that the trader has dealt with: what positions and state are of.
    equity, pnl, drawdown
        At the last bar of the window, and the change since the last bar before it; None where no
        equity was recorded.
    realised : Decimal or None
        Of the trades that were closed, after fees; None where currencies are mixed.
    trades : int
    win_rate, profit_factor : float or None
        None without a trade; without a loss.
    newest_trades : tuple of TradeLine
    unrealised : Decimal or None
        None where a price is not known or currencies are mixed.
    notes : tuple of str
    curve : tuple of CurvePoint
        Equity over the window, thinned; it is shown from two points on.
    """

    account: str
    strategy_id: str
    day: date
    start: datetime
    end: datetime
    source: str
    base_currency: str
    state: str
    restrictions: tuple[str, ...]
    as_of: datetime | None
    equity: Decimal | None
    pnl: Decimal | None
    pnl_share: float | None
    drawdown: float | None
    realised: Decimal | None
    trades: int
    wins: int
    win_rate: float | None
    profit_factor: float | None
    newest_trades: tuple[TradeLine, ...]
    positions: tuple[OpenPosition, ...]
    unrealised: Decimal | None
    watch: tuple[Watched, ...]
    notes: tuple[str, ...] = ()
    curve: tuple[CurvePoint, ...] = ()


def daily_summary(summary: DailySummary) -> Letter:
    """Trades and PnL, win rate, open positions, watch list. One a day and account."""
    known = summary.pnl is not None
    gained = money(summary.pnl, summary.base_currency, sign=True) if known else "no equity recorded"
    pictures = []
    if len(summary.curve) > 1:
        title = f"{summary.account} ({summary.source})"
        png = equity_png(summary.curve, title=title, currency=summary.base_currency)
        pictures.append(Picture(f"equity-{summary.account}", png))
    return render(
        "daily_summary",
        key=f"daily-summary-{summary.account}-{summary.day}",
        subject=subject_line(
            f"{summary.account} on {summary.day}: {gained}, {count(summary.trades, 'trade')}",
            summary.source,
        ),
        pictures=pictures,
        summary=summary,
        pictured=pictures[0].name if pictures else None,
        **origin(summary.source),
    )


def trade_execution(
    account: str,
    fills: Sequence[Fill],
    trades: Sequence[ClosedTrade] = (),
    *,
    start: datetime,
    end: datetime,
    source: str,
) -> Letter:
    """What was executed in [start, end), and the trades that were closed in it; one for each end.

    Parameters
    ----------
    fills : sequence of Fill
        At least one.
    trades : sequence of ClosedTrade
    start, end : datetime
        Market time.
    source : str
        Where the bars came from: `live`, `recorded` or `SIMULATED`.
    """
    first = fills[0]
    what = (
        f"{first.side} {first.quantity.normalize():f} {first.instrument.symbol}"
        if len(fills) == 1
        else f"{len(fills):,} executions"
    )
    ordered = sorted(fills, key=lambda fill: (fill.at, fill.instrument, fill.fill_id))
    closed = sorted(trades, key=lambda trade: trade.closed_at)
    return render(
        "trade_execution",
        key=f"{execution_prefix(account)}{end:{EXECUTION_STAMP}}",
        subject=subject_line(f"{account}: {what}", source),
        account=account,
        start=start,
        end=end,
        fills=ordered[-_MOST_EXECUTIONS:],
        earlier=max(len(ordered) - _MOST_EXECUTIONS, 0),
        trades=closed[-_MOST_EXECUTIONS:],
        earlier_trades=max(len(closed) - _MOST_EXECUTIONS, 0),
        **origin(source),
    )


def execution_prefix(account: str) -> str:
    """What the keys of an account's letters about executions begin with; the end's stamp follows."""
    return f"trade-execution-{account}-"


def recovery_report(recovery: Recovery, *, source: str, base_currency: str) -> Letter:
    """What a start or a comparison with the broker found; one a recovery."""
    found = count(len(recovery.discrepancies), "discrepancy", "discrepancies")
    what = "is settled" if recovery.resolved else "is NOT settled"
    return render(
        "recovery_report",
        key=f"recovery-{recovery.account}-{recovery.id}",
        subject=subject_line(f"{recovery.account}: {recovery.kind.lower()} recovery {what}, {found}", source),
        recovery=recovery,
        base_currency=base_currency,
        **origin(source),
    )


def alert_letter(message: Message) -> Letter:
    """What is wrong, or over; one a message."""
    return render(
        "alert",
        key=f"alert-{message.key}-{message.at:%Y%m%dT%H%M%S%f}",
        subject=message.title,
        message=message,
        more=message.total - len(message.lines),
        **origin(LIVE),
    )


def origin(source: str) -> dict[str, Any]:
    """What every template is told of where the bars came from."""
    return {"source": source, "simulated": source == SIMULATED, "replay": source != LIVE}


def subject_line(text: str, source: str) -> str:
    """With the source in front, unless it is live."""
    return f"[{source}] {text}" if source != LIVE else text


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 trade`, `2 trades`."""
    return f"{number} {one if number == 1 else many or one + 's'}"
