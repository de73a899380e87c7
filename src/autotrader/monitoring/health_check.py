"""How the live model is: `python -m autotrader.monitoring.health_check`."""

from __future__ import annotations

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.domain.errors import ExitCode
from autotrader.features.store.store import FeatureStore
from autotrader.monitoring.feature_drift import check_drift
from autotrader.monitoring.health_report import HealthReport, make_health_report
from autotrader.monitoring.performance import check_performance
from autotrader.monitoring.quality import check_quality
from autotrader.monitoring.verdict import Health
from autotrader.ports.clock import MarketClock, WallClock
from autotrader.ports.events import EventLog
from autotrader.ports.holds import Holds
from autotrader.ports.registry import ModelRegistry


def health_check(
    *,
    distributions: bool = True,
    settings: Settings,
    lake: Lake,
    holds: Holds,
    feature_store: FeatureStore,
    registry: ModelRegistry,
    events: EventLog,
    clock: MarketClock,
    wall_clock: WallClock,
) -> command.Result:
    """Check drift, quality and performance of the live model; exit 1 if the verdict is critical.

    Writes the same report as the hourly feature_health_check, and takes matured labels into the
    ledger. A critical verdict is recorded as an event.

    Parameters
    ----------
    distributions : bool
        Draw each feature's distribution beside that of training, too: most of the time goes into that.
    """
    checks = [
        check_drift(settings, lake, registry, clock),
        check_quality(settings, lake, feature_store, registry, clock),
        check_performance(settings, lake, BarStore(lake, holds), registry, clock),
    ]
    report = make_health_report(
        checks,
        run_key=f"by-hand-{wall_clock.now():%Y%m%dT%H%M%S}",
        settings=settings,
        lake=lake,
        registry=registry,
        events=events,
        clock=clock,
        wall_clock=wall_clock,
        distributions=distributions,
    )
    failed = report.health is Health.CRITICAL
    return command.Result(report, _text(report), ExitCode.FAILED if failed else ExitCode.DONE)


def _text(report: HealthReport) -> str:
    when = (
        f"market time {report.market_time[:16].replace('T', ' ')} UTC{' (replay)' if report.replay else ''}"
    )
    lines = [f"{report.health.value}: {report.model or 'no live version'}, {when}"]
    for name, check in report.checks.items():
        lines.append(
            f"  {name:<12}{check['severity'] if check['decided'] else 'undecided':<10}{check['reason']}"
        )
    lines += [f"  do: {step}" for step in report.what_to_do]
    return "\n".join([*lines, f"report: {report.report}"])


if __name__ == "__main__":
    raise SystemExit(command.run(health_check))
