"""Distances, the reference profile and its file, and alarms that keep their budget."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from autotrader.domain.errors import BadData
from autotrader.features.reference.calibration import calibrate
from autotrader.features.reference.distances import (
    PsiMethod,
    jensen_shannon,
    largest_gap,
    psi,
    stability_index,
)
from autotrader.features.reference.files import load_reference, save_reference
from autotrader.features.reference.making import make_profile
from autotrader.features.reference.profile import Profile
from tests import real_data
from tests.unit.monitoring.live import make_reference

START = np.datetime64("2024-01-01", "us")


def profile_of(values: NDArray[np.float32], *, minutes: int = 5, window_hours: float = 24) -> Profile:
    rows, columns = values.shape
    return make_profile(
        values,
        names=[f"f{j}" for j in range(columns)],
        ts=START + np.arange(rows) * np.timedelta64(minutes, "m"),
        instrument=np.zeros(rows, np.int32),
        instruments=["binance:BTCUSDT"],
        window_hours=window_hours,
    )


def autocorrelated(rows: int, columns: int, *, memory: float, seed: int) -> NDArray[np.float32]:
    """AR(1) with a memory of that many rows."""
    keep = np.exp(-1 / memory)
    noise = np.random.default_rng(seed).normal(size=(rows, columns)) * np.sqrt(1 - keep**2)
    for i in range(1, rows):
        noise[i] += keep * noise[i - 1]
    return noise.astype(np.float32)


# ------------------------------------------------------------------------------- distances


def test_stability_index_by_hand() -> None:
    expected, actual = np.array([0.5, 0.5]), np.array([0.25, 0.75])
    assert stability_index(expected, actual) == pytest.approx(-0.25 * np.log(0.5) + 0.25 * np.log(1.5))
    assert stability_index(expected, expected) == 0.0


def test_jensen_shannon_is_scipys() -> None:
    one, other = np.array([0.1, 0.4, 0.5]), np.array([0.6, 0.4, 0.0])
    assert jensen_shannon(one, other) == pytest.approx(jensenshannon(one, other, base=2))


def test_one_outlier_hides_a_drift_from_equal_widths_but_not_from_quantiles() -> None:
    random = np.random.default_rng(0)
    reference, current = random.normal(size=20_000), random.normal(1.0, 1.0, 5_000)
    current[0] = 1e6
    assert psi(reference, current, method=PsiMethod.EVIDENTLY) < 0.1
    assert psi(reference, current) > 0.5


def test_returns_times_one_and_a_half_are_seen_on_recorded_minutes() -> None:
    returns = np.diff(np.log(real_data.bars("BTCUSDT")["close"].to_numpy()))
    reference, current = returns[::2], returns[1::2] * 1.5
    edges = np.histogram_bin_edges(np.concatenate([reference, current]), bins="sturges")
    assert np.histogram(reference, edges)[0].max() / reference.size > 0.9  # one of 18 bins
    # Evidently calls it a drift from 0.1 on.
    assert psi(reference, current, method=PsiMethod.EVIDENTLY) < 0.07
    assert psi(reference, current) > 0.11
    current[0] = 0.5
    assert psi(reference, current, method=PsiMethod.EVIDENTLY) < 0.001
    assert psi(reference, current) > 0.11


def test_samples_without_values_are_refused() -> None:
    with pytest.raises(BadData, match="were 0 and 3"):
        psi(np.full(4, np.nan), np.arange(3.0))


# --------------------------------------------------------------------------------- profile


def test_counts_are_those_of_a_sort_and_nan_is_missing() -> None:
    values = autocorrelated(5_000, 3, memory=20, seed=1)
    values[:, 2] = np.round(values[:, 2])
    profile = profile_of(values)
    current = [np.ascontiguousarray(c) for c in (autocorrelated(3_001, 3, memory=20, seed=2) * 2).T]
    current[1][::7] = np.nan
    counts, missing = profile.count(current)
    assert missing.tolist() == [0, len(current[1][::7]), 0]
    for j, column in enumerate(current):
        edges = profile.edges[j]
        bins = np.searchsorted(edges[np.isfinite(edges)], column[~np.isnan(column)], side="left")
        assert counts[j].tolist() == np.bincount(bins, minlength=60).tolist()


def test_coarse_bins_hold_a_tenth_each_and_few_values_have_few() -> None:
    values = autocorrelated(6_000, 2, memory=5, seed=3)
    values[:, 1] = np.sign(np.round(values[:, 1]))
    profile = profile_of(values)
    coarse = profile.to_coarse(profile.counts[0])
    assert coarse[0] == pytest.approx(np.full(10, 600), abs=1)
    assert (coarse[1] > 0).sum() == 3
    assert coarse[1].sum() == 6_000


def test_the_gap_at_the_edges_is_nearly_that_of_kolmogorov_and_smirnov() -> None:
    values = autocorrelated(6_000, 1, memory=5, seed=4)
    profile = profile_of(values)
    current = values[:, 0] * 1.3 + 0.2
    counts, _ = profile.count([current])
    found = largest_gap(profile.expected(np.array([1])), counts / counts.sum())
    assert found[0] == pytest.approx(ks_2samp(values[:, 0], current).statistic, abs=1 / 60)


def test_a_mix_of_instruments_is_expected_as_it_is_mixed() -> None:
    rows = 4_000
    values = np.concatenate([np.zeros(rows), np.ones(rows)]).astype(np.float32)[:, None]
    ts = START + np.arange(rows) * np.timedelta64(5, "m")
    profile = make_profile(
        values,
        names=["f"],
        ts=np.concatenate([ts, ts]),
        instrument=np.repeat([0, 1], rows),
        instruments=["a", "b"],
        window_hours=24,
    )
    assert profile.to_coarse(profile.expected(np.array([1, 3])))[0, :2].tolist() == [0.25, 0.75]


def test_a_reference_comes_back_as_it_was_and_its_bytes_are_its_contents(tmp_path: Path) -> None:
    reference = make_reference()
    one, other = tmp_path / "one.npz", tmp_path / "other.npz"
    save_reference(reference, one)
    back = load_reference(one)
    save_reference(back, other)
    assert one.read_bytes() == other.read_bytes()
    assert back.about == reference.about
    assert back.features.psi_calibrations[0].hours == 1
    assert one.stat().st_size < 1_000_000


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"PK\x03\x04nonsense"])
def test_what_is_no_reference_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "reference.npz"
    path.write_bytes(content)
    with pytest.raises(BadData, match="expected a model's reference"):
        load_reference(path)


def test_a_pickle_inside_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "reference.npz"
    np.savez(path, json=np.array([{"code": "runs"}], dtype=object))
    with pytest.raises(BadData):
        load_reference(path)


# ------------------------------------------------------------------------------ calibration


def test_slow_features_are_allowed_more() -> None:
    fast = autocorrelated(60 * 288, 1, memory=3, seed=5)
    slow = autocorrelated(60 * 288, 1, memory=400, seed=6)
    one = profile_of(np.concatenate([fast, slow], axis=1)).psi_calibrations[-2]
    usual = np.exp(one.center)
    assert usual[0] < 0.1 < 0.5 < usual[1]
    assert one.p_value(np.array([0.5, 0.5]))[0] < 1e-3 < 0.2 < one.p_value(np.array([0.5, 0.5]))[1]


def test_p_values_fall_as_statistics_rise_and_hold_for_the_family() -> None:
    values = autocorrelated(90 * 288, 8, memory=30, seed=7)
    calibration = next(c for c in profile_of(values).psi_calibrations if c.hours == 24 and not c.single)
    grid = np.linspace(0.001, 3, 200)
    p = np.array([calibration.p_value(np.full(8, x)).min() for x in grid])
    assert (np.diff(p) <= 1e-12).all()
    # New draws of the same process: any of the eight at or below 5 % in about one window in twenty.
    fresh = autocorrelated(120 * 288, 8, memory=30, seed=8)
    profile = profile_of(values)
    expected = profile.to_coarse(profile.expected(np.array([1])))
    smallest = []
    for day in range(120):
        counts, _ = profile.count([np.ascontiguousarray(c) for c in fresh[day * 288 : (day + 1) * 288].T])
        statistic = stability_index(expected, profile.to_coarse(counts) / 288)
        smallest.append(calibration.p_value(statistic).min())
    assert np.mean(np.array(smallest) <= 0.05) < 0.12
    assert min(smallest) > 3e-4


def test_little_history_never_is_sure() -> None:
    values = autocorrelated(5 * 288, 3, memory=30, seed=9)
    calibrations = [c for c in profile_of(values).psi_calibrations if c.hours == 24]
    for calibration in calibrations:
        assert calibration.p_value(np.full(3, 8.0)).min() > 3e-4
    assert calibrate(np.ones((1, 2, 3)), hours=24, single=False, rows=288, span_hours=48) is None
