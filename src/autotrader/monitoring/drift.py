"""Has what the model is fed moved away from what it learnt from?

A feature is critical if its stability index is above the threshold and beyond what windows of that
length do by chance, all features and the hourly checks of a week accounted for
(`autotrader.features.reference.calibration`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from autotrader.domain.errors import BadData
from autotrader.domain.thresholds import DRIFT
from autotrader.domain.verdicts import Severity
from autotrader.features.reference.calibration import Calibration
from autotrader.features.reference.distances import jensen_shannon, largest_gap, stability_index
from autotrader.features.reference.profile import Columns, Counts, Profile, correlation_distances

_FAMILIES = 2  # features, predictions: each has half of the false-alarm budget
_CORRELATED_ROWS = 4_000


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """How far one column moved.

    Attributes
    ----------
    psi, ks, jensen_shannon : float or None
        Against the reference, of the same mix of instruments; None where no value was there.
    p_value : float or None
        Chance that any of its family is as unusual, nothing having changed; None where the served
        rows are too few or the reference too short to say.
    usual_psi : float or None
        Of windows of that length, in the geometric mean.
    missing_share : float
    """

    name: str
    severity: Severity
    psi: float | None
    ks: float | None
    jensen_shannon: float | None
    p_value: float | None
    usual_psi: float | None
    missing_share: float


@dataclass(frozen=True, slots=True)
class CorrelationChange:
    """The column whose correlations with the others moved in the most unusual way.

    Attributes
    ----------
    distance : float
        Root mean square change of them.
    p_value : float or None
        Chance that any column's move as far, nothing having changed.
    partner : str
        With which its correlation changed most, from `before` to `after`.
    """

    severity: Severity
    name: str
    distance: float
    p_value: float | None
    partner: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Drift:
    """What a window of served rows says.

    Attributes
    ----------
    rows : int
    start, end : datetime
        First and last bar open, UTC.
    instruments : tuple of str
    compared_with : str or None
        Which windows of the reference the p-values come from; None where there are none.
    alarm_p_value : float
        At or below it, a PSI above the threshold is critical.
    features : tuple of ColumnDrift
        The most unusual first.
    predictions : ColumnDrift or None
    correlation : CorrelationChange or None
    """

    rows: int
    start: datetime
    end: datetime
    instruments: tuple[str, ...]
    compared_with: str | None
    alarm_p_value: float
    features: tuple[ColumnDrift, ...]
    predictions: ColumnDrift | None
    correlation: CorrelationChange | None


@dataclass(frozen=True, eq=False)
class Sample:
    """Current rows, unwrapped.

    Attributes
    ----------
    frame : pl.DataFrame
        Sorted by instrument.
    start, end : datetime
        First and last bar open, UTC.
    hours : float
        That they cover.
    rows : Mapping[str, int]
        Of each instrument.
    """

    frame: pl.DataFrame
    start: datetime
    end: datetime
    hours: float
    rows: dict[str, int]

    @classmethod
    def of(cls, frame: pl.DataFrame, *, interval_hours: float) -> Sample:
        """Rows with `venue`, `instrument`, `ts` and the columns to compare.

        Raises
        ------
        BadData
            If there is no row.
        """
        if frame.is_empty():
            raise BadData("expected served rows, was none: ask for a window in which some were served")
        first, last = frame["ts"].min(), frame["ts"].max()
        assert isinstance(first, datetime)  # noqa: S101 - timestamps, and there is a row
        assert isinstance(last, datetime)  # noqa: S101
        rows: dict[str, int] = {}
        begin = 0
        for run in frame["instrument"].rle().to_list():
            name = f"{frame['venue'][begin]}:{run['value']}"
            rows[name] = rows.get(name, 0) + run["len"]
            begin += run["len"]
        return cls(frame, first, last, (last - first).total_seconds() / 3600 + interval_hours, rows)

    @property
    def height(self) -> int:
        return self.frame.height

    def columns(self, names: Sequence[str]) -> list[Columns]:
        return [self.frame[name].cast(pl.Float32).rechunk().to_numpy() for name in names]


def detect_drift(
    sample: Sample, features: Profile, predictions: Profile | None, *, weekly_false_alarms: float
) -> Drift:
    """Compare current rows with the reference.

    Parameters
    ----------
    sample : Sample
        With a Float32 column for each of the profiles' names.
    features, predictions : Profile
    weekly_false_alarms : float
        Critical verdicts a week that chance alone may cause.
    """
    alarm = weekly_false_alarms / DRIFT.checks_a_week / _FAMILIES
    columns = sample.columns(features.names)
    drifts, calibration = compare_columns(columns, sample, features, alarm)
    predicted = None
    if predictions is not None:
        predicted = compare_columns(sample.columns(predictions.names), sample, predictions, alarm)[0][0]
    return Drift(
        rows=sample.height,
        start=sample.start,
        end=sample.end,
        instruments=tuple(sample.rows),
        compared_with=_says(calibration),
        alarm_p_value=alarm,
        features=tuple(sorted(drifts, key=_most_unusual)),
        predictions=predicted,
        correlation=compare_correlations(columns, sample, features),
    )


def compare_columns(
    columns: Sequence[Columns], sample: Sample, profile: Profile, alarm: float
) -> tuple[list[ColumnDrift], Calibration | None]:
    """Distances and p-values of columns, in the profile's order."""
    counts, missing = profile.count(columns)
    here = counts.sum(axis=-1)
    actual = counts / np.maximum(here, 1)[:, None]
    expected = profile.expected(_mix(profile, sample))
    psi = stability_index(profile.to_coarse(expected), profile.to_coarse(actual))
    ks, js = largest_gap(expected, actual), jensen_shannon(expected, actual)
    calibration = choose_calibration(profile.psi_calibrations, sample, profile)
    p_values = None if calibration is None else calibration.p_value(psi)
    usual = None if calibration is None else np.exp(calibration.center)
    drifts = []
    for j, name in enumerate(profile.names):
        share = float(missing[j] / max(missing[j] + here[j], 1))
        if here[j] < DRIFT.minimum_rows:
            drifts.append(ColumnDrift(name, Severity.HEALTHY, None, None, None, None, None, share))
            continue
        p = None if p_values is None else float(p_values[j])
        severity = judge(float(psi[j]), p, alarm)
        drifts.append(
            ColumnDrift(
                name,
                severity,
                float(psi[j]),
                float(ks[j]),
                float(js[j]),
                p,
                None if usual is None else float(usual[j]),
                share,
            )
        )
    return drifts, calibration


def judge(psi: float, p_value: float | None, alarm: float) -> Severity:
    """Threshold and chance together; without a p-value the threshold alone warns."""
    if psi > DRIFT.psi_critical and p_value is not None and p_value <= alarm:
        return Severity.CRITICAL
    if psi > DRIFT.psi_warning and (p_value is None or p_value <= DRIFT.unusual):
        return Severity.WARNING
    return Severity.HEALTHY


def compare_correlations(
    columns: Sequence[Columns], sample: Sample, profile: Profile
) -> CorrelationChange | None:
    """Compare the correlation matrix, on up to a few thousand rows evenly from the window."""
    step = max(sample.height // _CORRELATED_ROWS, 1)
    if sample.height < DRIFT.minimum_rows or len(columns) < 2:
        return None
    found = profile.correlation_of(np.stack([c[::step] for c in columns], axis=1))
    distances = correlation_distances(found, profile.correlation)
    calibration = choose_calibration(profile.correlation_calibrations, sample, profile)
    p_values = np.full(len(columns), np.nan) if calibration is None else calibration.p_value(distances)
    most = int(np.argmax(distances) if calibration is None else np.argmin(p_values))
    other = int(np.argmax(np.abs(found[most] - profile.correlation[most])))
    unusual = calibration is not None and p_values[most] <= DRIFT.unusual
    return CorrelationChange(
        severity=Severity.WARNING if unusual else Severity.HEALTHY,
        name=profile.names[most],
        distance=float(distances[most]),
        p_value=None if calibration is None else float(p_values[most]),
        partner=profile.names[other],
        before=float(profile.correlation[most, other]),
        after=float(found[most, other]),
    )


def choose_calibration(
    calibrations: Sequence[Calibration], sample: Sample, profile: Profile
) -> Calibration | None:
    """The one of the longest windows that the sample is as long and as full as.

    A longer sample varies less than a shorter window, so a shorter one's calibration errs on the
    side of silence. So does that of one instrument where the sample lacks some of the reference's.
    """
    known = [sample.rows.get(name, 0) for name in profile.instruments]
    fair_share = DRIFT.row_share * sum(known) / max(len(known), 1)
    single = min(known, default=0) < fair_share
    fitting = [
        c
        for c in calibrations
        if c.single == single
        and sample.hours >= DRIFT.covered_share * c.hours
        and sample.height >= DRIFT.row_share * c.rows
    ]
    return max(fitting, key=lambda c: c.hours, default=None)


def _mix(profile: Profile, sample: Sample) -> Counts:
    known = np.array([sample.rows.get(name, 0) for name in profile.instruments], np.int64)
    return known if known.sum() else profile.counts[:, 0].sum(axis=-1)


def _says(calibration: Calibration | None) -> str | None:
    if calibration is None:
        return None
    what = "one instrument" if calibration.single else "all instruments"
    return (
        f"windows of {calibration.hours:g} h of {what} in the reference, "
        f"worth {calibration.windows:.0f} independent ones"
    )


def _most_unusual(drift: ColumnDrift) -> tuple[int, float, float]:
    p = 1.0 if drift.p_value is None else drift.p_value
    return -drift.severity.rank, p, -(drift.psi or 0.0)
