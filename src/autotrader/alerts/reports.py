"""The letters that the platform writes: what is in each, its key and its subject."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from autotrader.alerts.mail import Letter, money, render
from autotrader.domain.orders import Fill
from autotrader.domain.positions import ClosedTrade
from autotrader.ports.trading import Recovery

SIMULATED = "SIMULATED"
LIVE = "live"


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


def daily_summary(summary: DailySummary) -> Letter:
    """Trades and PnL, win rate, open positions, watch list. One a day and account."""
    known = summary.pnl is not None
    gained = money(summary.pnl, summary.base_currency, sign=True) if known else "no equity recorded"
    return render(
        "daily_summary",
        key=f"daily-summary-{summary.account}-{summary.day}",
        subject=_subject(
            f"{summary.account} on {summary.day}: {gained}, {_count(summary.trades, 'trade')}",
            summary.source,
        ),
        summary=summary,
        **_origin(summary.source),
    )


def trade_execution(
    account: str, fills: Sequence[Fill], trades: Sequence[ClosedTrade] = (), *, source: str
) -> Letter:
    """What was executed, and the trades that it closed; the same fills make the same letter.

    Parameters
    ----------
    fills : sequence of Fill
        At least one.
    trades : sequence of ClosedTrade
        That these fills closed.
    source : str
        Where the bars came from: `live`, `recorded` or `SIMULATED`.
    """
    names = sorted(f"{fill.instrument} {fill.fill_id}" for fill in fills)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    first = fills[0]
    what = (
        f"{first.side} {first.quantity.normalize():f} {first.instrument.symbol}"
        if len(fills) == 1
        else f"{len(fills)} executions"
    )
    return render(
        "trade_execution",
        key=f"trade-execution-{account}-{digest}",
        subject=_subject(f"{account}: {what}", source),
        account=account,
        fills=sorted(fills, key=lambda fill: fill.at),
        trades=trades,
        **_origin(source),
    )


def recovery_report(recovery: Recovery, *, source: str, base_currency: str) -> Letter:
    """What a start or a comparison with the broker found; one a recovery."""
    found = _count(len(recovery.discrepancies), "discrepancy", "discrepancies")
    what = "is settled" if recovery.resolved else "is NOT settled"
    return render(
        "recovery_report",
        key=f"recovery-{recovery.account}-{recovery.id}",
        subject=_subject(f"{recovery.account}: {recovery.kind.lower()} recovery {what}, {found}", source),
        recovery=recovery,
        base_currency=base_currency,
        **_origin(source),
    )


def _origin(source: str) -> dict[str, str | bool]:
    return {"source": source, "simulated": source == SIMULATED, "replay": source != LIVE}


def _subject(text: str, source: str) -> str:
    return f"[{source}] {text}" if source != LIVE else text


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
