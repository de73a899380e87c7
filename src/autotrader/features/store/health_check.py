"""How the stored features are: `python -m autotrader.features.store.health_check`."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from autotrader import command
from autotrader.config.settings import Settings
from autotrader.data.bars import BarStore
from autotrader.data.freshness import delivery_finding
from autotrader.data.lake import Lake
from autotrader.data.selection import select_instruments
from autotrader.domain.errors import ConfigurationError, ExitCode
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.thresholds import DATA_QUALITY
from autotrader.domain.verdicts import Finding, Severity, Verdict, worst
from autotrader.features.definitions import FeatureDefinition
from autotrader.features.store.derivation import stale_days, staleness_finding
from autotrader.features.store.store import FeatureStore
from autotrader.ports.clock import MarketClock
from autotrader.ports.holds import Holds


def health_check(
    *,
    instruments: tuple[str, ...] | None = None,
    hours: int = 24,
    settings: Settings,
    lake: Lake,
    holds: Holds,
    store: FeatureStore,
    clock: MarketClock,
) -> command.Result:
    """Check freshness, missing values and ranges of the stored features; exit 1 if any is critical.

    And name days, however long ago, whose bars have changed since their features were derived.

    Parameters
    ----------
    instruments : tuple of str or None
        Symbols of the settings, or venue:symbol; all of the settings if left out.
    hours : int
        Market time up to now whose rows are looked at.
    """
    if hours < 1:
        raise ConfigurationError(f"expected hours of 1 or more, was {hours}")
    interval = settings.strategy.interval
    now = clock.now()
    bars = BarStore(lake, holds).bars
    verdicts = []
    for instrument in select_instruments(settings, instruments):
        newest = store.high_water_mark(instrument, interval)
        lag = delivery_finding(f"features of {instrument}", instrument.venue, interval, newest, clock)
        rows = store.load_features([instrument], interval=interval, start=now - timedelta(hours=hours))
        findings = check_rows(instrument, rows, store.feature_set.features)
        stale = staleness_finding(instrument, stale_days(bars, store, instrument, interval=interval))
        findings += [stale] if stale else []
        verdicts.append(Verdict(str(instrument), (lag, *findings)))
    severity = worst(v.severity for v in verdicts)
    text = "\n".join(f"{v.subject:<24}{v.severity:<10}{v.reason}" for v in verdicts)
    data = {
        "feature_set_version": store.feature_set.version,
        "market_time": now,
        "replay": clock.is_replay,
        "severity": severity,
        "verdicts": [
            {"subject": v.subject, "severity": v.severity, "reason": v.reason, "findings": v.findings}
            for v in verdicts
        ],
    }
    code = ExitCode.FAILED if severity is Severity.CRITICAL else ExitCode.DONE
    return command.Result(data, f"market time {now:%Y-%m-%d %H:%M} UTC\n{text}", code)


def check_rows(
    instrument: InstrumentId, rows: pl.DataFrame, features: tuple[FeatureDefinition, ...]
) -> list[Finding]:
    """What rows of one instrument say of each feature; findings only of what is not healthy.

    A feature that the venue cannot have is not asked for.
    """
    if rows.is_empty():
        return [Finding("rows", Severity.CRITICAL, f"{instrument} has no feature rows in the window")]
    return [
        finding
        for feature in features
        if instrument.venue in feature.venues
        for finding in _check(feature, rows[feature.name])
    ]


def _check(feature: FeatureDefinition, column: pl.Series) -> list[Finding]:
    findings = []
    values = column.drop_nulls().drop_nans()
    missing = 1 - len(values) / len(column)
    if missing > DATA_QUALITY.missing_share_warning:
        critical = missing > DATA_QUALITY.missing_share_critical
        findings.append(
            Finding(
                "missing_share",
                Severity.CRITICAL if critical else Severity.WARNING,
                f"{feature.name} is missing in {missing:.1%} of {len(column)} rows",
                {"feature": feature.name, "share": missing},
            )
        )
    low, high = feature.expected_range
    # Bounds are exact, stored values are rounded to float32.
    slack = 1e-6 * max(abs(low), abs(high))
    outside = int((~values.is_between(low - slack, high + slack)).sum())
    infinite = int(values.is_infinite().sum())
    if outside:
        findings.append(
            Finding(
                "range",
                Severity.CRITICAL if infinite else Severity.WARNING,
                f"{feature.name} is outside {low:g} to {high:g} in {outside} of {len(column)} rows",
                {"feature": feature.name, "rows": outside, "infinite": infinite},
            )
        )
    return findings


if __name__ == "__main__":
    raise SystemExit(command.run(health_check))
