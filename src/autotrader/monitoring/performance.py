"""The performance check: is the live model as good as it was on rows it had not seen?"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from statistics import NormalDist

import polars as pl

from autotrader.command import to_plain
from autotrader.config.settings import Settings, StrategySettings
from autotrader.data.bars import BarStore
from autotrader.data.lake import Lake
from autotrader.domain.thresholds import DRIFT, MODEL_PERFORMANCE
from autotrader.domain.verdicts import Finding, Severity
from autotrader.execution.forecasts import CALIBRATION_BINS, ForecastQuality, measure_forecasts
from autotrader.features.reference.files import About, Baseline
from autotrader.monitoring.champion import find_champion, nothing_live, without_reference
from autotrader.monitoring.checks import PERFORMANCE, Check, decided, undecided
from autotrader.monitoring.ledger import LabelLedger, rule_of
from autotrader.monitoring.served import served_rows
from autotrader.ports.clock import MarketClock
from autotrader.ports.registry import ModelRegistry


def check_performance(
    settings: Settings, lake: Lake, bars: BarStore, registry: ModelRegistry, clock: MarketClock
) -> Check:
    """Take matured labels into the ledger, and judge the live model by those of the last days.

    Predictions for bars that the model learnt from (a replay may ask for them) are in the ledger,
    and left out of the judgement.

    Raises
    ------
    BadData
        If the reference is damaged.
    Unreachable
        If the registry does not answer.
    """
    champion = find_champion(settings, registry)
    if champion is None:
        return undecided(PERFORMANCE, nothing_live(settings))
    version = champion.version.semver
    if champion.reference is None:
        return undecided(PERFORMANCE, without_reference(champion), model=version)
    about, now = champion.reference.about, clock.now()
    figures: dict[str, object] = {"model": version, "baseline": to_plain(about.baseline)}
    strategy = _as_trained(settings.strategy, about)
    if strategy is None:
        reason = f"{version} foresees {about.labels}, the settings ask for {settings.strategy.labels.rule}"
        return undecided(PERFORMANCE, reason, **figures)
    horizon = timedelta(minutes=strategy.horizon_minutes)
    start = now - MODEL_PERFORMANCE.window - horizon
    served = served_rows(lake, settings, version=version, feature_set=about.feature_set, start=start, end=now)
    ledger = LabelLedger(lake)
    taken = ledger.take_in(served, bars=bars, strategy=strategy, now=now)
    rows = ledger.read(version=version, rule=rule_of(strategy), start=max(start, about.learnt_until), end=now)
    figures |= {"rows": rows.height, "taken_in": taken, "served": served.height, "rule": rule_of(strategy)}
    if rows.height < MODEL_PERFORMANCE.minimum_rows:
        return undecided(PERFORMANCE, _too_few(rows.height, served, about, horizon), **figures)
    quality = measure_forecasts(rows.select("p_down", "p_flat", "p_up").to_numpy(), rows["label"].to_numpy())
    independent = independent_outcomes(rows, horizon)
    alarm = settings.monitoring.weekly_false_alarms / DRIFT.checks_a_week
    findings = judge_quality(quality, about.baseline, independent=independent, alarm=alarm)
    healthy = (
        f"accuracy {quality.accuracy:.1%} on {quality.rows} matured labels, it was "
        f"{about.baseline.accuracy:.1%} when the model was judged"
    )
    figures |= to_plain(quality) | {
        "independent": independent,
        "replayed": int(rows["replayed"].sum()),
        "first": to_plain(rows["ts"].min()),
        "last": to_plain(rows["ts"].max()),
    }
    return decided(PERFORMANCE, findings, healthy, **figures)


def judge_quality(
    quality: ForecastQuality, baseline: Baseline, *, independent: float, alarm: float
) -> list[Finding]:
    """Hold matured forecasts against the baseline and the contract's thresholds.

    Below the contract's share of the baseline warns. It is critical if even the upper end of what
    chance allows, at the given rate of false alarms, is below it: labels overlap, and a thousand
    rows of one day are some twenty independent outcomes.

    Parameters
    ----------
    quality : ForecastQuality
    baseline : Baseline
    independent : float
        Outcomes that the rows are worth.
    alarm : float
        Chance of a false alarm, for one check.
    """
    findings = []
    bound = MODEL_PERFORMANCE.baseline_share * baseline.accuracy
    error = math.sqrt(baseline.accuracy * (1 - baseline.accuracy) / independent)
    reach = NormalDist().inv_cdf(1 - alarm) * error
    if quality.accuracy < bound:
        certain = quality.accuracy + reach < bound
        findings.append(
            Finding(
                "accuracy",
                Severity.CRITICAL if certain else Severity.WARNING,
                f"accuracy {quality.accuracy:.1%} on {quality.rows} matured labels is below "
                f"{MODEL_PERFORMANCE.baseline_share:.0%} of what it was when the model was judged, "
                f"{baseline.accuracy:.1%}"
                + ("" if certain else f", within chance: they are worth {independent:.0f} outcomes"),
                {"accuracy": quality.accuracy, "bound": bound, "standard_error": error},
            )
        )
    if quality.mean_confidence < MODEL_PERFORMANCE.mean_confidence:
        findings.append(
            Finding(
                "confidence",
                Severity.WARNING,
                f"mean confidence {quality.mean_confidence:.2f} is below {MODEL_PERFORMANCE.mean_confidence} "
                f"(it was {baseline.mean_confidence:.2f} when the model was judged)",
                {"mean_confidence": quality.mean_confidence, "baseline": baseline.mean_confidence},
            )
        )
    # What a perfect forecast shows on so few outcomes is not held against it.
    noise = 0.4 * math.sqrt(CALIBRATION_BINS / independent)
    if quality.calibration_error > MODEL_PERFORMANCE.calibration_error + noise:
        findings.append(
            Finding(
                "calibration",
                Severity.WARNING,
                f"calibration error {quality.calibration_error:.3f} is above "
                f"{MODEL_PERFORMANCE.calibration_error} and the {noise:.3f} of chance",
                {"calibration_error": quality.calibration_error, "noise": noise},
            )
        )
    return findings


def independent_outcomes(rows: pl.DataFrame, horizon: timedelta) -> float:
    """Horizons that the rows' bars touch: labels that overlap in time, or share it, are one outcome."""
    slots = rows["ts"].dt.epoch("us") // (horizon // timedelta(microseconds=1))
    return float(slots.n_unique())


def _as_trained(strategy: StrategySettings, about: About) -> StrategySettings | None:
    if strategy.labels.rule != about.labels:
        return None
    trained: dict[str, object] = {
        "interval": about.interval,
        "horizon_minutes": about.horizon_minutes,
        "round_trip_cost_bps": about.round_trip_cost_bps,
    }
    return strategy.model_copy(update=trained)


def _too_few(count: int, served: pl.DataFrame, about: About, horizon: timedelta) -> str:
    seen = int((served["ts"] < about.learnt_until).sum()) if served.height else 0
    newest: datetime | None = served["ts"].max() if served.height else None  # type: ignore[assignment]
    what = f"{count} labels of {served.height} served predictions have matured"
    if seen:
        what += f", {seen} are of bars that the model learnt from"
    if newest is not None:
        due = newest + horizon + about.interval.delta
        what += f"; the newest is known at {due:%Y-%m-%d %H:%M}"
    return f"{what}; {MODEL_PERFORMANCE.minimum_rows} are needed"
