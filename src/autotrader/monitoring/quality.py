"""The quality check: are served features there, in range, fresh, and what the batch path computes?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from autotrader.config.settings import Settings
from autotrader.data.freshness import delivery_finding, freshness
from autotrader.data.lake import Lake
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.thresholds import DRIFT, SERVED_QUALITY
from autotrader.domain.verdicts import Finding, Severity
from autotrader.features.definitions import FeatureGroup
from autotrader.features.parity import compare
from autotrader.features.store.health_check import check_rows
from autotrader.features.store.store import FeatureStore
from autotrader.monitoring.champion import find_champion
from autotrader.monitoring.checks import QUALITY, Check, decided, undecided
from autotrader.monitoring.served import served_rows
from autotrader.ports.clock import MarketClock
from autotrader.ports.registry import ModelRegistry

# A row known later than this after its bar closed was computed anew, from bars that were restated:
# the live path could not have served it.
_RESTATED_AFTER = timedelta(minutes=10)
_DAY = timedelta(days=1)

_MOVING = frozenset(
    {FeatureGroup.TECHNICAL, FeatureGroup.ROLLING, FeatureGroup.VOLUME}
)  # the rest are classes


def check_quality(
    settings: Settings, lake: Lake, feature_store: FeatureStore, registry: ModelRegistry, clock: MarketClock
) -> Check:
    """Check whether the feature tables have what was due, and what was served.

    Undecided where nothing is amiss but served rows could not be compared with the batch path.

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
    newest = {i: feature_store.high_water_mark(i, interval) for i in settings.instruments()}
    for instrument, mark in newest.items():
        subject = f"features of {instrument}"
        findings.append(delivery_finding(subject, instrument.venue, interval, mark, clock))
        age = freshness(instrument.venue, interval, mark, now).behind
        behind[str(instrument)] = None if age is None else age.total_seconds()
    figures: dict[str, object] = {"behind_seconds": behind, "rows": 0, "model": None, "parity": None}
    champion = find_champion(settings, registry)
    if champion is None:
        healthy = "feature tables have what was due; nothing is live yet"
        return decided(QUALITY, findings, healthy, **figures)
    version, feature_set = champion.version.semver, feature_store.feature_set.version
    start = now - timedelta(hours=settings.monitoring.window_hours)
    rows = served_rows(lake, settings, version=version, feature_set=feature_set, start=start, end=now)
    findings += served_findings(rows, feature_store)
    held = rows_held(lake, settings, version=version, feature_set=feature_set, newest=newest)
    parity = compare_with_store(rows, held, settings, feature_store, newest=newest, now=now)
    findings += parity.findings
    figures |= {"model": version, "rows": rows.height, "parity": parity.figures}
    rest = f"feature tables have what was due; {rows.height} served rows are complete and in range"
    if parity.is_open and all(finding.severity is Severity.HEALTHY for finding in findings):
        return undecided(QUALITY, f"{parity.said}; {rest}", **figures)
    return decided(QUALITY, findings, f"{rest}; {parity.said}", **figures)


def served_findings(rows: pl.DataFrame, store: FeatureStore) -> list[Finding]:
    """Missing shares and range violations of what was served, by instrument."""
    findings = []
    for instrument, part in _by_instrument(rows):
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


@dataclass(frozen=True, slots=True)
class Parity:
    """What comparing served rows with the feature store came to.

    Attributes
    ----------
    findings : tuple of Finding
        Features that differ.
    said : str
        What was compared, or why nothing was, for a person.
    is_open : bool
        There was something to compare of an instrument, and none of it could be.
    figures : Mapping or None
        None: nothing was served.
    """

    findings: tuple[Finding, ...]
    said: str
    is_open: bool
    figures: Mapping[str, object] | None


def compare_with_store(
    served: pl.DataFrame,
    held: pl.DataFrame,
    settings: Settings,
    store: FeatureStore,
    *,
    newest: Mapping[InstrumentId, datetime | None],
    now: datetime,
) -> Parity:
    """Compare served rows with what the feature store has for the same bars.

    Rows that were computed anew since are left out and counted, as are those that the store has
    not. What is newer than all that the store has is not due yet.

    Parameters
    ----------
    served : pl.DataFrame
        What was served lately.
    held : pl.DataFrame
        What was served for bars that the store should have (`rows_held`). Where these are more than
        a check may compare, each hour takes its share of the bars, another one the next hour.
    newest : Mapping
        Open of the newest row that the store has of each instrument.
    now : datetime
        Market time, UTC.
    """
    waiting = sum(
        part.filter(pl.col("ts") > mark).height if (mark := newest.get(instrument)) else part.height
        for instrument, part in _by_instrument(served)
    )
    if held.is_empty():
        if waiting == 0:
            said = "of the newest day that the feature store holds, no row was served"
            return Parity((), said, False, None)
        said = f"{waiting} served rows are compared with the batch path once a data run brings their bars"
        return Parity((), said, False, {"rows": 0, "held": 0, "waiting": waiting})
    interval, names = settings.strategy.interval, [n for n in store.feature_set.names if n in held.columns]
    looked_at = _share_of_the_hour(held, now)
    first, last = looked_at.select(pl.col("ts").min().alias("a"), pl.col("ts").max().alias("b")).row(0)
    computed = store.load_features(
        [instrument for instrument, _ in _by_instrument(looked_at)],
        interval=interval,
        start=first,
        end=last + interval.delta,
    )
    key = ["venue", "instrument", "ts"]
    both = looked_at.select(*key, *names).join(
        computed.select(*key, "known_at", *names), on=key, suffix="_later"
    )
    stood = both.filter(pl.col("known_at") <= pl.col("ts") + interval.delta + _RESTATED_AFTER)
    later = stood.select(pl.col(f"{n}_later").alias(n) for n in names)
    report = compare(stood.select(names), later, names=names)
    missing, restated = looked_at.height - both.height, both.height - stood.height
    figures: dict[str, object] = {
        "rows": report.rows,
        "largest_difference": report.largest,
        "held": held.height,
        "not_in_store": missing,
        "restated": restated,
        "waiting": waiting,
    }
    bad = [f for f in report.verdict.findings if f.severity is not Severity.HEALTHY] if report.rows else []
    never = looked_at.join(stood, on=["venue", "instrument"], how="anti")
    span = f"bars from {first:%F %R} to {last:%F %R}"
    if never.height:
        whom = ", ".join(str(instrument) for instrument, _ in _by_instrument(never))
        said = (
            f"no row served to {whom} could be compared with the batch path: of {looked_at.height} "
            f"for {span} the feature store has not {missing}, and {restated} were restated"
        )
    else:
        said = f"{report.rows} of {held.height} rows served for {span} are what the batch path computes"
    findings = [Finding("parity", f.severity, f"live and batch: {f.reason}", f.evidence) for f in bad]
    return Parity(tuple(findings), said, never.height > 0, figures)


def rows_held(
    lake: Lake,
    settings: Settings,
    *,
    version: str,
    feature_set: str,
    newest: Mapping[InstrumentId, datetime | None],
) -> pl.DataFrame:
    """What was served in the day that ends with the store's newest row, of each instrument.

    A data run brings a day, so this is what became comparable last, and stays so until the next.
    """
    interval = settings.strategy.interval
    ends: dict[datetime, list[InstrumentId]] = {}
    for instrument, mark in newest.items():
        if mark is not None:
            ends.setdefault(mark + interval.delta, []).append(instrument)
    parts = [
        served_rows(
            lake,
            settings,
            version=version,
            feature_set=feature_set,
            start=end - _DAY,
            end=end,
            instruments=instruments,
        )
        for end, instruments in ends.items()
    ]
    return pl.concat(parts, how="diagonal") if parts else pl.DataFrame()


def _share_of_the_hour(rows: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Whole bars, evenly over time; as many hours as there are shares have looked at all of them."""
    instruments = rows.select(pl.struct("venue", "instrument").n_unique()).item()
    bars_at_once = max(SERVED_QUALITY.parity_rows // instruments, 1)
    shares = -(-rows["ts"].n_unique() // bars_at_once)
    number = (pl.col("ts").rank("dense") - 1) % shares
    return rows.filter(number == int(now.timestamp() // 3600) % shares)


def _by_instrument(rows: pl.DataFrame) -> Iterator[tuple[InstrumentId, pl.DataFrame]]:
    for part in rows.partition_by("venue", "instrument", maintain_order=True) if rows.height else ():
        yield InstrumentId.parse(f"{part['venue'][0]}:{part['instrument'][0]}"), part
