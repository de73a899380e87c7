"""Steps of `weekly_report`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from autotrader.alerts.postbox import Postbox, Posted
from autotrader.alerts.weekly import LevelLine, PipelineLine, WeeklyReport, Window, weekly_report
from autotrader.config.settings import Settings
from autotrader.data.lake import Lake
from autotrader.domain.errors import ConfigurationError, DependencyError, NotFound
from autotrader.files import write_atomically
from autotrader.pipelines.account_week import account_week
from autotrader.pipelines.platform_week import (
    alerts_of,
    drift_of,
    levels_of,
    models_of,
    pipelines_of,
    raised_in,
    rollouts_of,
)
from autotrader.pipelines.summary_steps import post
from autotrader.pipelines.weekly import look_at, week_of
from autotrader.plain import from_plain
from autotrader.ports.alerts import Alerts
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.deployment import DeploymentRecords
from autotrader.ports.events import EventLog
from autotrader.ports.pipeline_runs import PipelineRuns
from autotrader.ports.service_levels import ServiceLevelReadings
from autotrader.ports.trading import TradingRecords

log = structlog.get_logger(__name__)

# The rest of the report is told all the same.
_NOT_READ = (ConfigurationError, DependencyError, NotFound)


def build_report(
    *,
    day: str | None = None,
    settings: Settings,
    lake: Lake,
    records: TradingRecords,
    deployments: DeploymentRecords,
    runs: PipelineRuns,
    readings: ServiceLevelReadings,
    alerts: Alerts,
    events: EventLog,
    clock: MarketClock,
    wall_clock: WallClock,
) -> WeeklyReport:
    """Gather what the week came to. What cannot be read is left out, with the reason.

    Raises
    ------
    ConfigurationError
        If the day is no date, or has not begun.
    BadData
        If a health check's verdict is damaged.
    """
    market, is_whole = week_of(day, clock.now(), is_replay=clock.is_replay)
    world = market
    if clock.is_replay:
        now = wall_clock.now()
        world = Window(now - (market.end - market.start), now)
    accounts = tuple(
        account_week(state, market, settings=settings, records=records) for state in records.accounts()
    )
    pipelines, pipelines_missing = _read_pipelines(runs, world)
    levels, levels_missing = _read_levels(readings, world)
    drift = drift_of(settings.home.resolve() / "reports" / "health", world)
    rollouts = tuple(rollouts_of(deployments, world))
    open_alerts = tuple(alerts_of(alerts))
    return WeeklyReport(
        # One that was asked for early does not stand in for the one of the whole week.
        key=f"weekly-report-{market.end:%Y-%m-%d}" + ("" if is_whole else f"-until-{market.end:%H%M}"),
        market=market,
        world=world,
        is_whole=is_whole,
        accounts=accounts,
        models=tuple(models_of(lake, market)),
        drift=drift,
        rollouts=rollouts,
        pipelines=pipelines,
        pipelines_missing=pipelines_missing,
        levels=levels,
        levels_missing=levels_missing,
        alerts=open_alerts,
        raised=raised_in(events, world),
        look_at=tuple(
            look_at(
                accounts=accounts,
                drift=drift,
                rollouts=rollouts,
                pipelines=pipelines,
                levels=levels,
                alerts=open_alerts,
            )
        ),
    )


def mail_report(*, report: Mapping[str, Any], settings: Settings, postbox: Postbox) -> list[Posted]:
    """Write it to `<home>/reports/weekly`, and mail it; it goes out once.

    Raises
    ------
    Unreachable
        If the server did not take it now: it waits, and goes with the retry or the next mail.
    Rejected
        If it was refused for good.
    """
    letter = weekly_report(from_plain(WeeklyReport, report))
    page = settings.home.resolve() / "reports" / "weekly" / f"{letter.key}.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(page, letter.page().encode())
    log.info("report written", file=str(page))
    return post(postbox, [letter])


def _read_pipelines(runs: PipelineRuns, window: Window) -> tuple[tuple[PipelineLine, ...], str]:
    try:
        return tuple(pipelines_of(runs.ended(window.start, window.end))), ""
    except _NOT_READ as error:
        log.warning("runs of pipelines could not be read", reason=str(error))
        return (), f"Not known: {error}"


def _read_levels(readings: ServiceLevelReadings, window: Window) -> tuple[tuple[LevelLine, ...], str]:
    try:
        return tuple(levels_of(readings, window)), ""
    except _NOT_READ as error:
        log.warning("service levels could not be read", reason=str(error))
        return (), f"Not known: {error}"
