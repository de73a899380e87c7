"""The drift check: the features served in the last hours against the champion's reference."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from autotrader.command import to_plain
from autotrader.config.settings import Settings
from autotrader.data.lake import Lake
from autotrader.domain.thresholds import DRIFT as BOUNDS
from autotrader.domain.verdicts import Finding, Severity
from autotrader.features.reference.files import SCORE, Reference
from autotrader.monitoring.champion import Champion, find_champion, nothing_live, without_reference
from autotrader.monitoring.checks import DRIFT, Check, decided, undecided
from autotrader.monitoring.drift import ColumnDrift, CorrelationChange, Drift, Sample, detect_drift
from autotrader.monitoring.served import served_rows
from autotrader.ports.clock import MarketClock
from autotrader.ports.registry import ModelRegistry


def check_drift(settings: Settings, lake: Lake, registry: ModelRegistry, clock: MarketClock) -> Check:
    """Compare what was served with what the live model learnt from.

    Raises
    ------
    BadData
        If the reference is damaged.
    Unreachable
        If the registry does not answer.
    """
    champion = find_champion(settings, registry)
    if champion is None:
        return undecided(DRIFT, nothing_live(settings))
    if champion.reference is None:
        return undecided(DRIFT, without_reference(champion), model=champion.version.semver)
    rows = current_rows(settings, lake, champion, champion.reference, clock)
    figures = {"model": champion.version.semver, "reference": to_plain(champion.reference.about)}
    if rows.height < BOUNDS.minimum_rows:
        reason = (
            f"{rows.height} rows served by {champion.version.semver} in the last "
            f"{settings.monitoring.window_hours:g} h of market time, {BOUNDS.minimum_rows} are needed"
        )
        return undecided(DRIFT, reason, **figures, rows=rows.height)
    reference = champion.reference
    sample = Sample.of(rows, interval_hours=reference.about.interval.seconds / 3600)
    drift = detect_drift(
        sample,
        reference.features,
        reference.predictions,
        weekly_false_alarms=settings.monitoring.weekly_false_alarms,
    )
    return judge_drift(drift, replayed=int(rows["replayed"].sum()), **figures)


def current_rows(
    settings: Settings, lake: Lake, champion: Champion, reference: Reference, clock: MarketClock
) -> pl.DataFrame:
    """Rows served in the monitored window, with the score beside the features."""
    now = clock.now()
    rows = served_rows(
        lake,
        settings,
        version=champion.version.semver,
        feature_set=reference.about.feature_set,
        start=now - timedelta(hours=settings.monitoring.window_hours),
        end=now,
    )
    return rows.with_columns((pl.col("p_up") - pl.col("p_down")).cast(pl.Float32).alias(SCORE))


def judge_drift(drift: Drift, **figures: object) -> Check:
    """Put what was measured into words."""
    findings = [_feature_finding(f) for f in drift.features if f.severity is not Severity.HEALTHY]
    if drift.predictions is not None and drift.predictions.severity is not Severity.HEALTHY:
        findings.append(_prediction_finding(drift.predictions))
    if drift.correlation is not None and drift.correlation.severity is not Severity.HEALTHY:
        findings.append(_correlation_finding(drift.correlation))
    above = sum(1 for f in drift.features if (f.psi or 0.0) > BOUNDS.psi_warning)
    healthy = (
        f"{above} of {len(drift.features)} features have a PSI above {BOUNDS.psi_warning}, none more than "
        "such windows have by chance"
    )
    check = decided(DRIFT, findings, healthy, **figures, **to_plain(drift))
    if drift.compared_with is not None:
        return check
    # Without a null distribution nothing can be critical, and nothing is known to be well.
    reason = (
        f"{drift.rows} rows from {drift.start:%Y-%m-%d %H:%M} to {drift.end:%Y-%m-%d %H:%M} are too few, or "
        "the reference is too short, to tell drift from chance"
    )
    return Check(DRIFT, check.severity, False, f"undecided: {reason}", check.findings, check.figures)


def _feature_finding(drift: ColumnDrift) -> Finding:
    return Finding(
        "feature_drift",
        drift.severity,
        f"{drift.name} moved: PSI {drift.psi:.2f}{_chance(drift)}",
        {"feature": drift.name, "psi": drift.psi, "p_value": drift.p_value},
    )


def _prediction_finding(drift: ColumnDrift) -> Finding:
    return Finding(
        "prediction_drift",
        drift.severity,
        f"predictions moved: PSI of the score {drift.psi:.2f}{_chance(drift)}",
        {"psi": drift.psi, "p_value": drift.p_value},
    )


def _correlation_finding(change: CorrelationChange) -> Finding:
    return Finding(
        "correlation_change",
        change.severity,
        f"{change.name} goes with others in another way (p {change.p_value:.1g}): its correlation with "
        f"{change.partner} was {change.before:.2f}, is {change.after:.2f}",
        {"feature": change.name, "distance": change.distance, "p_value": change.p_value},
    )


def _chance(drift: ColumnDrift) -> str:
    if drift.p_value is None or drift.usual_psi is None:
        return ", chance not known"
    return f" where {drift.usual_psi:.2f} is usual (p {drift.p_value:.1g})"
