"""What deserves a look: the strongest signals, limits that are near, data that are late."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal

from autotrader.alerts.reports import Watch, Watched
from autotrader.config.settings import RiskSettings, Settings
from autotrader.data.bars import BarStore
from autotrader.data.calendars import newest_due_open
from autotrader.data.freshness import FreshnessGrade, freshness, grade_age
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.thresholds import DAILY_SUMMARY
from autotrader.domain.trading import RunStatus
from autotrader.ports.trading import AccountState, Page, TradingRecords


def watch_list(
    state: AccountState,
    *,
    settings: Settings,
    records: TradingRecords,
    bars: BarStore,
    start: datetime,
    end: datetime,
    values: Mapping[InstrumentId, Decimal] | None,
) -> tuple[Watched, ...]:
    """Lines in order: signals, limits, freshness.

    Parameters
    ----------
    start, end : datetime
        Signals of [start, end) count; freshness is judged at `end`; market time.
    values : Mapping or None
        What positions are worth, base currency, of those whose price is known; None where that
        cannot be told.
    """
    return (
        *_signals(state, settings, records, start, end),
        *_limits(state, settings.risk, values),
        *_freshness(state, settings, bars, end),
    )


def _signals(
    state: AccountState, settings: Settings, records: TradingRecords, start: datetime, end: datetime
) -> Iterator[Watched]:
    """The newest signal of each instrument, strongest first."""
    found = []
    for instrument in settings.instruments():
        newest = records.signals(state.account, Page(start, end, instrument, limit=1))
        if newest and newest[0].score is not None:
            found.append((abs(newest[0].score), newest[0]))
    found.sort(key=lambda strength_and_signal: strength_and_signal[0], reverse=True)
    for _, signal in found[: DAILY_SUMMARY.strongest_signals]:
        confidence = "" if signal.confidence is None else f", confidence {signal.confidence:.0%}"
        yield Watched(
            Watch.SIGNAL,
            str(signal.instrument),
            f"score {signal.score:+.2f}{confidence}, target {signal.target:+.1%} of equity: {signal.outcome}",
        )


def _limits(
    state: AccountState, risk: RiskSettings, values: Mapping[InstrumentId, Decimal] | None
) -> Iterator[Watched]:
    """What has used up most of a limit."""
    shares: list[tuple[str, str, float, float]] = []
    if state.day_start_equity > 0:
        lost = float(1 - state.equity / state.day_start_equity)
        shares.append((state.account, "of the day's equity is lost", lost, risk.max_daily_loss))
    if state.peak_equity > 0:
        below = float(1 - state.equity / state.peak_equity)
        shares.append((state.account, "below the peak", below, risk.max_drawdown))
    if values is not None and state.equity > 0:
        for name, value in sorted(values.items()):
            shares.append((str(name), "of equity", float(abs(value) / state.equity), risk.max_position))
        gross = float(sum(map(abs, values.values())) / state.equity)
        shares.append((state.account, "of equity in all positions", gross, risk.max_gross))
    for subject, what, share, limit in shares:
        if share >= limit * DAILY_SUMMARY.near_limit:
            yield Watched(Watch.LIMIT, subject, f"{share:.1%} {what}, the limit is {limit:.1%}")
    if state.consecutive_losses >= risk.pause_losses - 1 > 0:
        yield Watched(
            Watch.LIMIT,
            state.account,
            f"{state.consecutive_losses} losing trades in a row, {risk.pause_losses} pause new positions",
        )


def _freshness(state: AccountState, settings: Settings, bars: BarStore, end: datetime) -> Iterator[Watched]:
    """The trader's own feed, and bars in the lake that a daily run of the pipeline has missed."""
    interval = settings.strategy.interval
    due = max(filter(None, (newest_due_open(v, interval, end) for v in settings.venues)), default=None)
    if state.status is RunStatus.RUNNING and state.cursor and due:
        behind = due - state.cursor
        if grade_age(behind) is not FreshnessGrade.FRESH:
            minutes = behind.total_seconds() / 60
            yield Watched(
                Watch.FRESHNESS, state.account, f"the trader is {minutes:.0f} minutes behind the market"
            )
    for instrument in settings.instruments():
        found = freshness(instrument.venue, interval, bars.high_water_mark(instrument, interval), end)
        if found.grade is FreshnessGrade.OUTDATED:
            newest = f"the newest is of {found.newest:%F %H:%M} UTC" if found.newest else "there is none"
            yield Watched(Watch.FRESHNESS, str(instrument), f"bars in the lake are outdated: {newest}")
