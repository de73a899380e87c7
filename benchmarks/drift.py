"""Drift: a check against a stored profile beside Evidently and numpy, and how often it is wrong.

    python benchmarks/drift.py

36 columns, 50,000 current rows; the reference has 200,000, Evidently needs them all at every check.
Then the alarms, on autocorrelated columns without drift: a reference of 90 days, and the checks of
four weeks after it, every hour on the last 24 hours, in markets drawn anew; and on recorded minutes,
which do drift. Power is the share of planted faults that are critical in the first window that is
full of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.signal import lfilter
from timing import compare, emit

from autotrader.domain.verdicts import Severity
from autotrader.features.batch import compute
from autotrader.features.definitions import BALANCED, FeatureGroup
from autotrader.features.reference.distances import stability_index
from autotrader.features.reference.making import make_profile
from autotrader.features.reference.profile import Profile
from autotrader.monitoring.drift import Drift, Sample, detect_drift

COLUMNS, REFERENCE_ROWS, CURRENT_ROWS = 36, 200_000, 50_000
NAMES = [f"f{j:02d}" for j in range(COLUMNS)]
START = datetime(2024, 1, 1, tzinfo=UTC)
BUDGET = 0.1
MARKETS = int(os.environ.get("DRIFT_MARKETS", "40"))
REFERENCE_DAYS, WATCHED_DAYS = 90, 28
ROWS_A_DAY = 288

Columns = NDArray[np.float32]
Change = Callable[[pl.DataFrame], pl.DataFrame]


def profile_of(values: Columns, names: list[str], *, minutes: int) -> Profile:
    rows = len(values)
    return make_profile(
        values,
        names=names,
        ts=np.datetime64(START.replace(tzinfo=None), "us") + np.arange(rows) * np.timedelta64(minutes, "m"),
        instrument=np.zeros(rows, np.int32),
        instruments=["binance:BTCUSDT"],
        window_hours=24,
    )


def framed(values: Columns, names: list[str], *, start: datetime, minutes: int) -> pl.DataFrame:
    end = start + (len(values) - 1) * timedelta(minutes=minutes)
    ts = pl.datetime_range(start, end, f"{minutes}m", eager=True, time_unit="us")
    return pl.DataFrame(dict(zip(names, values.T, strict=True))).with_columns(
        ts=ts, venue=pl.lit("binance"), instrument=pl.lit("BTCUSDT")
    )


# ----------------------------------------------------------------------------------- speed


def speed() -> None:
    random = np.random.default_rng(0)
    reference = random.standard_t(3, (REFERENCE_ROWS, COLUMNS)).astype(np.float32)
    current = (random.standard_t(3, (CURRENT_ROWS, COLUMNS)) * 1.05).astype(np.float32)
    begin = time.perf_counter()
    profile = profile_of(reference, NAMES, minutes=1)
    made = time.perf_counter() - begin
    frame = framed(current, NAMES, start=START, minutes=1)

    def ours() -> Drift:
        sample = Sample.of(frame, interval_hours=1 / 60)
        return detect_drift(sample, profile, None, weekly_false_alarms=BUDGET)

    columns = [frame[name].to_numpy() for name in NAMES]
    expected = profile.to_coarse(profile.counts[0]) / REFERENCE_ROWS

    def psi_alone() -> object:
        return stability_index(expected, profile.to_coarse(profile.count(columns)[0]) / CURRENT_ROWS)

    edges = [
        profile.edges[j][profile.coarse[j][profile.coarse[j] < 60] - 1].astype(np.float64)
        for j in range(COLUMNS)
    ]

    def numpy_stored() -> object:
        shares = [
            np.bincount(np.searchsorted(e, c, side="left"), minlength=10) / c.size
            for e, c in zip(edges, columns, strict=True)
        ]
        return stability_index(expected, np.array(shares))

    assert np.allclose(numpy_stored(), psi_alone())
    about = {"columns": COLUMNS, "current_rows": CURRENT_ROWS, "reference_rows": REFERENCE_ROWS,
             "making_the_profile_seconds": round(made, 2)}  # fmt: skip
    contenders: dict[str, Callable[[], object]] = {
        "ours": ours,
        "ours_psi_alone": psi_alone,
        "numpy_stored_edges_psi_alone": numpy_stored,
    }
    emit(about | compare("drift.check", contenders, rounds=21, warmup=3))
    emit(compare("drift.check_against_evidently", {"ours": ours} | evidently(reference, frame), rounds=3))


def evidently(reference: Columns, frame: pl.DataFrame) -> dict[str, Callable[[], object]]:
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=NAMES)
    there = Dataset.from_pandas(
        pl.DataFrame(dict(zip(NAMES, reference.T, strict=True))).to_pandas(), definition
    )
    here = Dataset.from_pandas(frame.select(NAMES).to_pandas(), definition)
    columns = Report([ValueDrift(column=name, method="psi") for name in NAMES])
    preset = Report([DataDriftPreset(columns=NAMES, num_method="psi")])
    return {
        "evidently_value_drift": lambda: columns.run(here, there).dict(),
        "evidently_preset": lambda: preset.run(here, there).dict(),
    }


# ---------------------------------------------------------------------------- false alarms


def market(seed: int) -> Columns:
    """30 columns of memories from 10 minutes to 3 days, with a common part and regimes of spread."""
    random = np.random.default_rng(seed)
    rows = (REFERENCE_DAYS + WATCHED_DAYS) * ROWS_A_DAY
    common = _memory(random, rows, 0.5 * ROWS_A_DAY)
    regime = np.exp(0.4 * _memory(random, rows, 2.0 * ROWS_A_DAY))
    columns = []
    for j, memory in enumerate(np.geomspace(2, 3 * ROWS_A_DAY, 30)):
        own = _memory(random, rows, memory)
        mixed = 0.8 * own + 0.6 * common if j % 3 == 0 else own
        columns.append(mixed * regime if j % 2 else mixed)
    return np.array(columns, np.float32).T


def _memory(random: np.random.Generator, rows: int, memory: float) -> NDArray[np.float64]:
    """AR(1) of unit variance."""
    keep = np.exp(-1 / memory)
    noise = random.normal(size=rows)
    noise[1:] *= np.sqrt(1 - keep**2)
    filtered: NDArray[np.float64] = lfilter([1.0], [1.0, -keep], noise)
    return filtered


def checks(
    watched: pl.DataFrame, profile: Profile, *, every: timedelta, interval_hours: float
) -> Iterator[Drift]:
    first, last = watched["ts"][0], watched["ts"].max()
    day = timedelta(days=1)
    now = first + day
    while now <= last:
        window = watched.filter(pl.col("ts") >= now - day, pl.col("ts") < now)
        yield detect_drift(
            Sample.of(window, interval_hours=interval_hours), profile, None, weekly_false_alarms=BUDGET
        )
        now += every


def tally(found: list[list[Drift]], *, hours_apart: float) -> dict[str, object]:
    """Each list is one reference's checks, in order."""
    critical = [[any(f.severity is Severity.CRITICAL for f in d.features) for d in one] for one in found]
    begins = sum(sum(b and not a for a, b in zip([False, *one], one, strict=False)) for one in critical)
    smallest = [min(f.p_value or 1.0 for f in d.features) for one in found for d in one]
    naive = [sum((f.psi or 0.0) > 0.3 for f in d.features) > 0 for one in found for d in one]
    weeks = len(smallest) * hours_apart / 168
    return {
        "checks": len(smallest),
        "weeks": round(weeks, 1),
        "critical_verdicts_a_week": round(sum(map(sum, critical)) * hours_apart / weeks, 3),
        "critical_episodes_a_week": round(begins / weeks, 3),
        "budget_a_week": BUDGET,
        "share_of_checks_with_p_below_5_per_cent": round(float(np.mean(np.array(smallest) <= 0.05)), 3),
        "share_of_checks_with_any_psi_above_0.3": round(float(np.mean(naive)), 3),
    }


def false_alarms() -> None:
    names = [f"f{j:02d}" for j in range(30)]
    begin = time.perf_counter()
    found, power = [], dict.fromkeys(PLANTED, 0)
    for seed in range(MARKETS):
        values = market(seed)
        split = REFERENCE_DAYS * ROWS_A_DAY
        profile = profile_of(values[:split], names, minutes=5)
        watched = framed(values[split:], names, start=START + timedelta(days=REFERENCE_DAYS), minutes=5)
        found.append(list(checks(watched, profile, every=timedelta(hours=1), interval_hours=5 / 60)))
        for name, change in PLANTED.items():
            sample = Sample.of(change(watched[:ROWS_A_DAY]), interval_hours=5 / 60)
            drift = detect_drift(sample, profile, None, weekly_false_alarms=BUDGET)
            power[name] += drift.features[0].severity is Severity.CRITICAL
    emit(
        {"name": "drift.false_alarms_simulated", "markets": MARKETS}
        | tally(found, hours_apart=1)
        | {"power": {name: round(n / MARKETS, 2) for name, n in power.items()}}
        | {"seconds": round(time.perf_counter() - begin, 1)}
    )


PLANTED: dict[str, Change] = {
    "fast feature stands still": lambda f: f.with_columns(f00=pl.lit(0.3, pl.Float32)),
    "fast feature in another unit": lambda f: f.with_columns(pl.col("f02") * 100),
    "fast feature shifted by one deviation": lambda f: f.with_columns(pl.col("f02") + 1),
    "fast feature x 1.5": lambda f: f.with_columns(pl.col("f02") * 1.5),
    "slow feature (3 days) in another unit": lambda f: f.with_columns(pl.col("f29") * 100),
}


def recorded() -> None:
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("AUTOTRADER_MARKET_DATA", beside)) / "binance_spot_1m"
    files = sorted(folder.glob("*_1m_*.parquet"))
    if not files:
        return
    names = [f.name for f in BALANCED.features if f.group is not FeatureGroup.TEMPORAL]
    frames = []
    for path in files:
        bars = pl.read_parquet(path).sort("ts").rename({"trades": "trade_count"})
        frames.append(
            compute(bars).drop_nans().with_columns(venue=pl.lit("binance"), instrument=pl.lit(path.name[:7]))
        )
    rows = pl.concat(frames).sort("venue", "instrument", "ts")
    symbols = rows["instrument"].unique().sort().to_list()
    begin = rows["ts"].min()
    for days in (45, 75):
        split = begin + timedelta(days=days)
        learnt = rows.filter(pl.col("ts") < split, pl.col("ts").dt.minute() % 5 == 0).sort("ts", "instrument")
        profile = make_profile(
            learnt.select(names).to_numpy(),
            names=names,
            ts=learnt["ts"].dt.replace_time_zone(None).to_numpy(),
            instrument=learnt["instrument"].replace_strict(symbols, range(len(symbols))).to_numpy(),
            instruments=[f"binance:{s}" for s in symbols],
            window_hours=24,
        )
        watched = rows.filter(pl.col("ts") >= split).sort("ts").set_sorted("ts")
        found = [list(checks(watched, profile, every=timedelta(hours=1), interval_hours=1 / 60))]
        emit({"name": "drift.alarms_recorded", "reference_days": days} | tally(found, hours_apart=1))


def main() -> None:
    speed()
    false_alarms()
    recorded()


if __name__ == "__main__":
    main()
