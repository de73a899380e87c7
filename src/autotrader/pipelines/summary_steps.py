"""Steps of `close_of_market` and `daily_summary`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from autotrader.alerts.mail import Letter
from autotrader.alerts.postbox import MailState, Postbox, Posted
from autotrader.alerts.reports import DailySummary, daily_summary
from autotrader.config.settings import Settings
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.domain.errors import Rejected, Unreachable
from autotrader.domain.instruments import Venue
from autotrader.ingestion.windows import Mode
from autotrader.pipelines.market_day import MarketDay, market_day
from autotrader.pipelines.summary import summarise
from autotrader.plain import from_plain
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.holds import Holds
from autotrader.ports.jobs import Jobs
from autotrader.ports.trading import TradingRecords

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PlannedClose:
    """Whether there are bars to load, and how.

    Attributes
    ----------
    due : bool
    reason : str
        Why not.
    conf : Mapping[str, object]
        Of `data_pipeline`.
    """

    due: bool
    reason: str
    conf: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many rows of trading, mails and jobs were deleted."""

    rows: int
    mails: int
    jobs: int


def plan_close(*, day: str | None = None, settings: Settings, clock: MarketClock) -> PlannedClose:
    """Say what `data_pipeline` has to load after the close, if anything.

    Raises
    ------
    ConfigurationError
        If the day is no date, or has not begun.
    """
    if Venue.IBKR not in settings.venues:
        used = ", ".join(settings.venues)
        return PlannedClose(False, f"no equities are traded: ibkr is not among the venues ({used})", {})
    found = market_day(day, clock.now())
    if not found.is_open:
        return PlannedClose(False, found.reason, {})
    conf: dict[str, Any] = {"mode": Mode.INCREMENTAL.value, "venues": [Venue.IBKR.value]}
    if day:
        conf |= {"mode": Mode.BACKFILL.value, "start_date": str(found.day), "end_date": str(found.day)}
    return PlannedClose(True, "", conf)


def check_market_day(*, day: str | None = None, clock: MarketClock) -> MarketDay:
    """Find the day, and whether the exchange was open.

    Raises
    ------
    ConfigurationError
        If the day is no date, or has not begun.
    """
    return market_day(day, clock.now())


def build_summaries(
    *,
    market_day: Mapping[str, Any],
    settings: Settings,
    lake: Lake,
    holds: Holds,
    records: TradingRecords,
) -> list[DailySummary]:
    """Gather what the day came to, for each account that has ever traded."""
    day = from_plain(MarketDay, market_day)
    bars = BarStore(lake, holds)
    return [
        summarise(state, day, settings=settings, records=records, bars=bars) for state in records.accounts()
    ]


def mail_summaries(*, summaries: Sequence[Mapping[str, Any]], postbox: Postbox) -> list[Posted]:
    """Mail them; each is on the disk before the server is asked, and goes out once.

    Raises
    ------
    Unreachable
        If the server did not take one now: it waits, and goes with the retry or the next mail.
    Rejected
        If one was refused for good.
    """
    return post(postbox, [daily_summary(from_plain(DailySummary, one)) for one in summaries])


def forget_old(
    *,
    settings: Settings,
    records: TradingRecords,
    postbox: Postbox,
    jobs: Jobs,
    clock: MarketClock,
    wall_clock: WallClock,
) -> Forgotten:
    """Delete signals, equity points, mails and jobs that are older than the settings keep them."""
    before = clock.now() - timedelta(days=settings.trading.keep_days)
    rows = sum(records.forget(state.account, before) for state in records.accounts())
    mails = postbox.forget(timedelta(days=settings.mail.keep_days))
    done = Forgotten(rows, mails, jobs.forget(wall_clock.now() - timedelta(days=settings.jobs.keep_days)))
    log.info("old rows, mails and jobs deleted", rows=done.rows, mails=done.mails, jobs=done.jobs)
    return done


def post(postbox: Postbox, letters: Sequence[Letter]) -> list[Posted]:
    """Post letters, as a step does: what the server did not take is an error, so that Airflow tries again.

    Raises
    ------
    Unreachable
        If the server did not take one now.
    Rejected
        If one was refused for good.
    """
    posted = [one for letter in letters for one in postbox.post(letter)]
    for one in posted:
        log.info("letter posted", key=one.key, to=one.recipient, state=one.state.value, reason=one.reason)
    for state, error in ((MailState.REFUSED, Rejected), (MailState.WAITING, Unreachable)):
        if failed := [one for one in posted if one.state is state]:
            told = "; ".join(f"{one.key} to {one.recipient} is {state}: {one.reason}" for one in failed)
            raise error(told)
    return posted
