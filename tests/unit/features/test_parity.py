"""The parity gate sees differences, and sees that there are none."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from autotrader.domain.errors import BadData
from autotrader.domain.verdicts import Severity
from autotrader.features.batch import compute
from autotrader.features.definitions import BALANCED
from autotrader.features.parity import compare, compare_live_to_batch
from tests import real_data
from tests.unit.features.market import walk, with_gaps


def test_live_and_batch_are_identical_on_real_bars() -> None:
    report = compare_live_to_batch(real_data.bars("SOLUSDT", days=3), last=1500)
    assert report.rows == 1500
    assert set(report.differences) == set(BALANCED.names)
    assert report.largest == 0.0
    assert report.passed
    assert report.verdict.severity is Severity.HEALTHY


def test_live_and_batch_are_identical_with_gaps_and_from_the_first_bar() -> None:
    bars = with_gaps(walk(900), kept=0.6)
    report = compare_live_to_batch(bars, last=5_000)
    assert report.rows == bars.height
    assert report.largest == 0.0


def test_a_difference_of_one_bit_is_seen_and_fails() -> None:
    computed = compute(walk(400))
    values = computed["rsi_14"].to_numpy().copy()
    values[350] = np.nextafter(values[350], np.float32(100))
    served = computed.with_columns(rsi_14=pl.Series(values))
    report = compare(served, computed, names=BALANCED.names)
    assert 0 < report.differences["rsi_14"] < 1e-6
    assert not report.passed
    assert report.verdict.severity is Severity.CRITICAL
    assert "rsi_14" in report.verdict.reason


def test_a_value_beside_a_missing_one_is_an_infinite_difference() -> None:
    computed = compute(walk(400))
    served = computed.with_columns(atr_14=pl.lit(float("nan"), pl.Float32))
    assert compare(served, computed, names=BALANCED.names).differences["atr_14"] == float("inf")


def test_nothing_compared_is_not_passed() -> None:
    report = compare_live_to_batch(walk(10).clear())
    assert not report.passed
    assert report.verdict.severity is Severity.CRITICAL


def test_frames_of_different_heights_are_refused() -> None:
    with pytest.raises(BadData, match="as many rows"):
        compare(compute(walk(400)), compute(walk(399)), names=BALANCED.names)
