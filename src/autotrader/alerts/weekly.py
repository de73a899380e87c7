"""The letter of the week: what is in it. None, or an empty row with a reason, is what was not measured."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from autotrader.alerts.mail import Letter, Picture, money, render
from autotrader.alerts.picture import CurvePoint, equity_png
from autotrader.alerts.reports import SIMULATED, count, origin, subject_line


@dataclass(frozen=True, slots=True)
class Window:
    """[start, end)."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class DayLine:
    """A day (UTC) of an account; `realised` is None where currencies are mixed."""

    day: date
    pnl: Decimal | None
    trades: int
    wins: int
    realised: Decimal | None


@dataclass(frozen=True, slots=True)
class InstrumentLine:
    """Trades of an instrument that were closed, in its quote currency, or the base currency it counts as."""

    instrument: str
    trades: int
    wins: int
    pnl: Decimal
    fees: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class AccountWeek:
    """One account over the week, in base currency.

    Attributes
    ----------
    equity, pnl, pnl_share
        At the last bar, and the change since the last bar before the week; None without equity.
    sharpe, max_drawdown, win_rate, profit_factor, turnover
        As `trading.performance.measure` has them: None where too little stands behind.
    realised, fees, slippage : Decimal or None
        Of closed trades, after fees; their fees; what filled orders cost against the price at which they
        were decided (below zero: they gained). None where currencies are mixed.
    restrictions : tuple of str
        Why it is not active now.
    notes : tuple of str
    """

    account: str
    strategy_id: str
    source: str
    base_currency: str
    state: str
    restrictions: tuple[str, ...]
    equity: Decimal | None
    pnl: Decimal | None
    pnl_share: float | None
    sharpe: float | None
    max_drawdown: float | None
    trades: int
    wins: int
    win_rate: float | None
    profit_factor: float | None
    realised: Decimal | None
    fees: Decimal | None
    slippage: Decimal | None
    orders_filled: int
    turnover: float | None
    days: tuple[DayLine, ...]
    instruments: tuple[InstrumentLine, ...]
    curve: tuple[CurvePoint, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelLine:
    """Predictions of a version whose labels matured, for bars of the week."""

    version: str
    rule: str
    rows: int
    replayed: int
    accuracy: float
    mean_confidence: float
    calibration_error: float


@dataclass(frozen=True, slots=True)
class MovedFeature:
    """A feature that a health check of the week warned of: how often, and its highest PSI, if it has one."""

    name: str
    warnings: int
    criticals: int
    psi: float | None


@dataclass(frozen=True, slots=True)
class DriftWeek:
    """Health checks of the week that are still in the folder of reports."""

    checks: int
    critical: int
    warning: int
    undecided: int
    moved: tuple[MovedFeature, ...]


@dataclass(frozen=True, slots=True)
class RolloutLine:
    """A rollout that began in the week."""

    version: str
    previous: str | None
    state: str
    stage: str
    is_faulty: bool
    began: datetime
    ended: datetime | None
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class PipelineLine:
    """Runs of a DAG that ended in the week."""

    dag_id: str
    succeeded: int
    failed: int
    last_failure: datetime | None


@dataclass(frozen=True, slots=True)
class LevelLine:
    """A service level over 30 days.

    Attributes
    ----------
    error_ratio, budget_left : float or None
        Share that was not good; share of the budget that is left, below zero where it is overdrawn.
        None where nothing was measured.
    """

    name: str
    meaning: str
    objective: float
    error_ratio: float | None
    budget_left: float | None


@dataclass(frozen=True, slots=True)
class AlertLine:
    """An alert that is not resolved."""

    id: str
    name: str
    severity: str
    state: str
    message: str
    since: datetime


@dataclass(frozen=True, slots=True)
class WeeklyReport:
    """The week of the platform.

    Attributes
    ----------
    key : str
        Of the week: mailed once.
    market, world : Window
        The week by market time (trades, predictions), and the seven days by the wall clock (rollouts,
        pipelines, checks, alerts); the same while the market is live.
    is_whole : bool
        False where it was asked for before its week was over.
    pipelines, levels : tuple
        Empty where they could not be read; `pipelines_missing`, `levels_missing` say why.
    raised : Mapping by severity
        Alert events of the week.
    look_at : tuple of str
        What deserves a look, the most urgent first.
    """

    key: str
    market: Window
    world: Window
    is_whole: bool
    accounts: tuple[AccountWeek, ...]
    models: tuple[ModelLine, ...]
    drift: DriftWeek
    rollouts: tuple[RolloutLine, ...]
    pipelines: tuple[PipelineLine, ...]
    pipelines_missing: str
    levels: tuple[LevelLine, ...]
    levels_missing: str
    alerts: tuple[AlertLine, ...]
    raised: dict[str, int]
    look_at: tuple[str, ...]


def weekly_report(report: WeeklyReport) -> Letter:
    """Accounts, model, drift, rollouts, pipelines, service levels, alerts. One a week."""
    sources = sorted({account.source for account in report.accounts}) or ["live"]
    # One account on made-up data is enough for the warning on top.
    source = SIMULATED if SIMULATED in sources else ", ".join(sources)
    pictures = {account.account: _picture(account) for account in report.accounts if len(account.curve) > 1}
    return render(
        "weekly_report",
        key=report.key,
        subject=subject_line(_title(report), source),
        pictures=list(pictures.values()),
        report=report,
        pictured={account: picture.name for account, picture in pictures.items()},
        **origin(source),
    )


def _picture(account: AccountWeek) -> Picture:
    title = f"{account.account} ({account.source})"
    png = equity_png(account.curve, title=title, currency=account.base_currency)
    return Picture(f"equity-{account.account}", png)


def _title(report: WeeklyReport) -> str:
    week = f"week to {report.market.end:%Y-%m-%d}"
    known = [account for account in report.accounts if account.pnl is not None]
    currencies = {account.base_currency for account in known}
    if not known:
        gained = "no equity recorded"
    elif len(currencies) == 1:
        total = sum((account.pnl for account in known if account.pnl is not None), Decimal(0))
        gained = money(total, *currencies, sign=True)
    else:
        gained = "in several currencies"
    trades = sum(account.trades for account in report.accounts)
    return f"{week}: {gained}, {count(trades, 'trade')}, {count(len(report.look_at), 'thing')} to look at"
