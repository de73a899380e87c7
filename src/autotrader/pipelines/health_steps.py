"""Steps of `feature_health_check`: is what the live model is fed, and what it says, still sound?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from autotrader.config.settings import Settings
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.features.store.store import FeatureStore
from autotrader.monitoring.checks import Check
from autotrader.monitoring.feature_drift import check_drift
from autotrader.monitoring.health_report import HealthReport, make_health_report
from autotrader.monitoring.performance import check_performance
from autotrader.monitoring.quality import check_quality
from autotrader.plain import from_plain
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.events import EventLog
from autotrader.ports.holds import Holds
from autotrader.ports.registry import ModelRegistry

log = structlog.get_logger(__name__)


def detect_feature_drift(
    *, settings: Settings, lake: Lake, registry: ModelRegistry, clock: MarketClock
) -> Check:
    """Compare what was served with what the live model learnt from; undecided where nothing was served."""
    return _said(check_drift(settings, lake, registry, clock))


def check_feature_quality(
    *,
    settings: Settings,
    lake: Lake,
    feature_store: FeatureStore,
    registry: ModelRegistry,
    clock: MarketClock,
) -> Check:
    """Check freshness of the feature tables, and completeness, ranges and parity of what was served."""
    return _said(check_quality(settings, lake, feature_store, registry, clock))


def monitor_model_performance(
    *, settings: Settings, lake: Lake, holds: Holds, registry: ModelRegistry, clock: MarketClock
) -> Check:
    """Take matured labels into the ledger, and judge the live model by them."""
    return _said(check_performance(settings, lake, BarStore(lake, holds), registry, clock))


def generate_health_report(
    *,
    run_key: str,
    drift: Mapping[str, Any],
    quality: Mapping[str, Any],
    performance: Mapping[str, Any],
    settings: Settings,
    lake: Lake,
    registry: ModelRegistry,
    events: EventLog,
    clock: MarketClock,
    wall_clock: WallClock,
) -> HealthReport:
    """Conclude from the checks, write the report, and record an event if the verdict is critical."""
    report = make_health_report(
        [from_plain(Check, one) for one in (drift, quality, performance)],
        run_key=run_key,
        settings=settings,
        lake=lake,
        registry=registry,
        events=events,
        clock=clock,
        wall_clock=wall_clock,
    )
    log.info("health concluded", health=report.health.value, reason=report.reason, report=report.report)
    return report


def _said(check: Check) -> Check:
    log.info("health checked", check=check.name, severity=check.severity.value, reason=check.reason)
    return check
