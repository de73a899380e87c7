"""Steps of `data_pipeline` from the bars in the lake to the feature store, and its last word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import structlog

from autotrader.config.settings import Settings
from autotrader.data.bars import BarStore
from autotrader.data.freshness import delivery_finding, freshness, lag_finding
from autotrader.data.lake import Lake, fresh_key
from autotrader.data.places import delete_folder
from autotrader.domain.errors import BadData
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.verdicts import Finding, Severity, Verdict
from autotrader.features.store.derivation import (
    DAY,
    bar_files,
    joined,
    midnight_before,
    record_of,
    runs,
    settle,
    stale_days,
    staleness_finding,
)
from autotrader.features.store.store import FeatureStore
from autotrader.features.store.transform import affected_range, transform
from autotrader.ingestion.staging import StagedFrames, write_frame
from autotrader.ingestion.windows import Assignment, Mode
from autotrader.pipelines.data_steps import DAG_ID, ValidatedWork, Work, left_out_of
from autotrader.pipelines.values import staging_of
from autotrader.plain import from_plain
from autotrader.ports.clock import MarketClock
from autotrader.ports.holds import Holds
from autotrader.ports.places import Places

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Transformed:
    """Staged feature rows of one task's instruments.

    Attributes
    ----------
    files : tuple of str
        Parquet, one an instrument.
    rows : int
    records : tuple of str
        Parquet, one an instrument: the days, and which bars they were derived from.
    bar_files : Mapping[str, str]
        Instrument to `bar_files`, where no bar changed while its days were looked for and recorded.
    """

    label: str
    files: tuple[str, ...]
    rows: int
    records: tuple[str, ...] = ()
    bar_files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What reached the feature store, in rows; `removed` are those whose bars were taken back.

    `bar_files` names, by instrument, the files with the bars that all of its features are of now.
    """

    version: int | None
    inserted: int
    replaced: int
    unchanged: int
    removed: int = 0
    bar_files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DataHealth:
    """The last word of a run.

    Attributes
    ----------
    severity : Severity
    reason : str
        The worst findings, in words.
    findings : tuple of Finding
    rows : Mapping[str, int]
        Stored bars of each instrument.
    features : Mapping[str, object]
        `set`, `count`, and stored `rows`.
    left_out : Mapping[str, str]
        Instruments that their venue does not have.
    """

    severity: Severity
    reason: str
    findings: tuple[Finding, ...]
    rows: Mapping[str, int]
    features: Mapping[str, Any]
    left_out: Mapping[str, str]


def transform_features(
    *, work: Mapping[str, Any], lake: Lake, holds: Holds, feature_store: FeatureStore, places: Places
) -> Transformed:
    """Compute the features of the days that were loaded, and of what looks back on them.

    And of every other day whose bars have changed since its features were derived (a restatement
    long after, a rollback), or that has none, since the run that loaded it did not live to store them.
    """
    todo = from_plain(Work, work)
    store = BarStore(lake, holds)
    files: list[str] = []
    records: list[str] = []
    settled: dict[str, str] = {}
    rows = 0
    for assignment in todo.assignments:
        of_bars = bar_files(store.bars, assignment.id, interval=assignment.interval)
        days = _days_to_derive(store, feature_store, assignment)
        record = record_of(store.bars, assignment.id, days, interval=assignment.interval)
        if of_bars == bar_files(store.bars, assignment.id, interval=assignment.interval):
            settled[str(assignment.id)] = of_bars
        spans = [
            affected_range(
                store, assignment.id, interval=assignment.interval, changed_start=start, changed_end=end
            )
            for start, end in runs(days)
        ]
        frames = [
            transform(store, assignment.id, interval=assignment.interval, start=start, end=end)
            for start, end in joined(spans)
        ]
        folder = places(todo.staging) / "features"
        write_frame(folder / "records" / _file_of(assignment), record)
        records.append(str(folder / "records" / _file_of(assignment)))
        frame = pl.concat(frames) if frames else pl.DataFrame()
        if frame.is_empty():
            continue
        path = folder / _file_of(assignment)
        write_frame(path, frame)
        files.append(str(path))
        rows += frame.height
    return Transformed(todo.label, tuple(files), rows, tuple(records), settled)


def load_to_feature_store(
    *,
    run_key: str,
    transformed: Sequence[Mapping[str, Any]],
    lake: Lake,
    holds: Holds,
    feature_store: FeatureStore,
    places: Places,
) -> Loaded:
    """Store the staged features of all instruments in one commit; remove those that no bar stands behind."""
    staged = [from_plain(Transformed, one) for one in transformed]
    files = [places(path) for one in staged for path in one.files]
    report = feature_store.write(StagedFrames(files), commit_key=fresh_key(run_key)) if files else None
    bars = BarStore(lake, holds).bars
    records = StagedFrames([places(path) for one in staged for path in one.records])
    removed = sum(settle(bars, feature_store, record) for record in records)
    log.info("features committed", run_key=run_key, report=report, removed=removed)
    settled = {instrument: files for one in staged for instrument, files in one.bar_files.items()}
    if report is None:
        return Loaded(feature_store.version(), 0, 0, 0, removed, settled)
    return Loaded(report.version, report.inserted, report.replaced, report.unchanged, removed, settled)


def check_data_health(
    *,
    run_key: str,
    planned: Sequence[Mapping[str, Any]],
    validated: Sequence[Mapping[str, Any]],
    loaded: Mapping[str, Any] | None,
    settings: Settings,
    lake: Lake,
    holds: Holds,
    feature_store: FeatureStore,
    clock: MarketClock,
    places: Places,
) -> DataHealth:
    """Completeness, the checks of validation, and freshness as one verdict.

    Unless it is critical, what the run staged and what the lake no longer needs are deleted.

    Raises
    ------
    BadData
        If the verdict is critical: nothing is lost, but somebody has to look.
    """
    staging = staging_of(places, settings, DAG_ID, run_key)
    plan = [from_plain(Work, work) for work in planned]
    assignments = [assignment for work in plan for assignment in work.assignments]
    is_up_to_now = all(work.mode is Mode.INCREMENTAL for work in plan)
    works = [from_plain(ValidatedWork, work) for work in validated]
    checked = [one for work in works for one in work.validated]
    settled = {} if loaded is None else from_plain(Loaded, loaded).bar_files
    store = BarStore(lake, holds)
    findings = [finding for one in checked for finding in one.verdict.findings]
    findings += _undelivered(assignments, works)
    for assignment in assignments:
        newest = store.high_water_mark(assignment.id, assignment.interval)
        findings.append(_lag(assignment, newest, clock, is_up_to_now=is_up_to_now))
        days = stale_days(
            store.bars,
            feature_store,
            assignment.id,
            interval=assignment.interval,
            settled=settled.get(str(assignment.id)),
        )
        stale = staleness_finding(assignment.id, days)
        findings += [stale] if stale else []
    if loaded is None:
        findings.append(
            Finding("features", Severity.CRITICAL, "no features were stored: see the tasks before")
        )
    verdict = Verdict("data", tuple(findings))
    health = DataHealth(
        severity=verdict.severity,
        reason=verdict.reason,
        findings=tuple(f for f in findings if f.severity is not Severity.HEALTHY),
        rows={str(a.id): _stored(store, a.id) for a in assignments},
        features={
            "set": feature_store.feature_set.version,
            "count": len(feature_store.feature_set.names),
            "rows": sum(feature_store.metadata().rows.values()),
        },
        left_out=left_out_of(staging),
    )
    log.info("data health", severity=health.severity.value, reason=health.reason)
    if health.severity is Severity.CRITICAL:
        raise BadData(f"data health is critical: {health.reason}")
    delete_folder(staging)
    deleted = lake.vacuum(retention=timedelta(days=settings.lake.retention_days))
    log.info("lake vacuumed", files={table: len(files) for table, files in deleted.items()})
    return health


def _days_to_derive(store: BarStore, features: FeatureStore, assignment: Assignment) -> list[datetime]:
    """Days of the window, and all others that are stale."""
    day = midnight_before(assignment.start)
    days = set(stale_days(store.bars, features, assignment.id, interval=assignment.interval))
    while day < assignment.end:
        days.add(day)
        day += DAY
    return sorted(days)


def _lag(
    assignment: Assignment, newest: datetime | None, clock: MarketClock, *, is_up_to_now: bool
) -> Finding:
    """A run that loads until now is judged against now; one that loads a day of old owes nothing newer."""
    subject, venue, interval = str(assignment.id), assignment.venue, assignment.interval
    if is_up_to_now:
        return lag_finding(subject, freshness(venue, interval, newest, clock.now()))
    return delivery_finding(subject, venue, interval, newest, clock)


def _undelivered(assignments: Sequence[Assignment], works: Sequence[ValidatedWork]) -> Iterator[Finding]:
    """Instruments of the plan that are not there, and those that did not come whole."""
    failures = {one.assignment.id: work.failures for work in works for one in work.validated}
    for assignment in assignments:
        if assignment.id not in failures:
            reason = f"{assignment.id} was not loaded: see its tasks"
        elif assignment.instrument in failures[assignment.id]:
            reason = f"{assignment.id} did not come whole: {failures[assignment.id][assignment.instrument]}"
        else:
            continue
        yield Finding("delivered", Severity.CRITICAL, reason, {})


def _stored(store: BarStore, instrument: InstrumentId) -> int:
    spans = store.bars.spans(venue=instrument.venue.value, instrument=instrument.symbol)
    return sum(rows for _, _, rows in spans.values())


def _file_of(assignment: Assignment) -> str:
    return f"{assignment.venue.value}-{assignment.instrument}-{assignment.interval.value}.parquet"
