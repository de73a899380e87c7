"""The quality check: are served features there, in range, fresh, and what the batch path computes?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from autotrader.config.settings import Settings
from autotrader.data.freshness import freshness, lag_finding
from autotrader.data.lake import Lake
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.thresholds import DRIFT, SERVED_QUALITY
from autotrader.domain.verdicts import Finding, Severity
from autotrader.features.definitions import FeatureGroup
from autotrader.features.parity import compare
from autotrader.features.store.health_check import check_rows
from autotrader.features.store.store import FeatureStore
from autotrader.monitoring.champion import find_champion
from autotrader.monitoring.checks import QUALITY, Check, decided
from autotrader.monitoring.served import served_rows
from autotrader.ports.clock import MarketClock
from autotrader.ports.registry import ModelRegistry

# A row known later than this after its bar closed was computed anew, from bars that were restated:
# the live path could not have served it.
_RESTATED_AFTER = timedelta(minutes=10)

_MOVING = frozenset(
    {FeatureGroup.TECHNICAL, FeatureGroup.ROLLING, FeatureGroup.VOLUME}
)  # the rest are classes


def check_quality(
    settings: Settings, lake: Lake, feature_store: FeatureStore, registry: ModelRegistry, clock: MarketClock
) -> Check:
    """Check the feature tables' freshness, and what was served from them.

    Raises
    ------
    BadData
        If the reference is damaged.
    Unreachable
        If the registry does not answer.
    """
    now, interval = clock.now(), settings.strategy.interval
    findings: list[Finding] = []
    behind: dict[str, object] = {}
    for instrument in settings.instruments():
        found = freshness(
            instrument.venue, interval, feature_store.high_water_mark(instrument, interval), now
        )
        findings.append(lag_finding(f"features of {instrument}", found))
        behind[str(instrument)] = None if found.behind is None else found.behind.total_seconds()
    figures: dict[str, object] = {"behind_seconds": behind, "rows": 0, "model": None, "parity": None}
    champion = find_champion(settings, registry)
    served = "nothing is live yet"
    if champion is not None:
        rows = served_rows(
            lake,
            settings,
            version=champion.version.semver,
            feature_set=feature_store.feature_set.version,
            start=now - timedelta(hours=settings.monitoring.window_hours),
            end=now,
        )
        served = f"{rows.height} served rows are complete and in range"
        figures |= {"model": champion.version.semver, "rows": rows.height}
        findings += served_findings(rows, feature_store)
        parity, compared = parity_finding(rows, settings, feature_store)
        figures["parity"] = compared
        findings += parity
    return decided(QUALITY, findings, f"feature tables are up to date; {served}", **figures)


def served_findings(rows: pl.DataFrame, store: FeatureStore) -> list[Finding]:
    """Missing shares and range violations of what was served, by instrument."""
    findings = []
    for part in rows.partition_by("venue", "instrument", maintain_order=True):
        instrument = InstrumentId.parse(f"{part['venue'][0]}:{part['instrument'][0]}")
        for finding in check_rows(instrument, part, store.feature_set.features):
            reason = f"served to {instrument}: {finding.reason}"
            findings.append(Finding(finding.check, _severity(finding, part.height), reason, finding.evidence))
        findings += _standing(instrument, part, store)
    return findings


def _standing(instrument: InstrumentId, rows: pl.DataFrame, store: FeatureStore) -> list[Finding]:
    """Features with one value in all rows: drift cannot tell that from a slow feature's quiet day."""
    if rows.height < DRIFT.minimum_rows:
        return []
    moving = [f.name for f in store.feature_set.features if f.group in _MOVING]
    return [
        Finding(
            "standing",
            Severity.CRITICAL,
            f"served to {instrument}: {name} stands at {rows[name][0]:g} in all {rows.height} rows",
            {"feature": name, "value": rows[name][0]},
        )
        for name in moving
        if rows[name].n_unique() == 1 and rows[name].is_not_nan()[0]
    ]


def _severity(finding: Finding, rows: int) -> Severity:
    outside = finding.evidence.get("rows")
    if isinstance(outside, int) and outside / rows > SERVED_QUALITY.outside_share_critical:
        return Severity.CRITICAL
    return finding.severity


def parity_finding(
    rows: pl.DataFrame, settings: Settings, store: FeatureStore
) -> tuple[list[Finding], dict[str, object] | None]:
    """Compare the newest served rows with what the feature store has for the same bars.

    Rows that it has not yet, and rows that were computed anew since, are left out and counted.
    """
    if rows.is_empty():
        return [], None
    newest = (
        rows.sort("ts", descending=True).head(SERVED_QUALITY.parity_rows).sort("venue", "instrument", "ts")
    )
    span = newest.select(pl.col("ts").min().alias("a"), pl.col("ts").max().alias("b")).row(0)
    interval = settings.strategy.interval
    computed = store.load_features(
        _instruments(newest), interval=interval, start=span[0], end=span[1] + interval.delta
    )
    names = [n for n in store.feature_set.names if n in newest.columns]
    key = ["venue", "instrument", "ts"]
    both = newest.select(*key, *names).join(
        computed.select(*key, "known_at", *names), on=key, suffix="_later"
    )
    stood = both.filter(pl.col("known_at") <= pl.col("ts") + interval.delta + _RESTATED_AFTER)
    later = stood.select(pl.col(f"{n}_later").alias(n) for n in names)
    report = compare(stood.select(names), later, names=names)
    counted: dict[str, object] = {
        "rows": report.rows,
        "largest_difference": report.largest,
        "not_in_store": newest.height - both.height,
        "restated": both.height - stood.height,
    }
    if report.rows == 0:
        return [], counted
    bad = [f for f in report.verdict.findings if f.severity is not Severity.HEALTHY]
    return [Finding("parity", f.severity, f"live and batch: {f.reason}", f.evidence) for f in bad], counted


def _instruments(rows: pl.DataFrame) -> Sequence[InstrumentId]:
    named = rows.select("venue", "instrument").unique().sort("venue", "instrument")
    return [InstrumentId.parse(f"{venue}:{symbol}") for venue, symbol in named.iter_rows()]
