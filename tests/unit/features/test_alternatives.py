"""The contenders of the benchmark compute what we do, and so are a second reference."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from autotrader.features.batch import compute
from autotrader.features.definitions import BALANCED
from tests import real_data


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks"))
    return importlib.import_module("features")


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_the_benchmark_compares_equal_columns(benchmark: ModuleType, library: str) -> None:
    bars = real_data.bars("ARBUSDT", days=3)
    ours = compute(bars)
    if library == "pandas":
        theirs = pl.from_pandas(benchmark.with_pandas(bars.to_pandas()))
    else:
        theirs = benchmark.with_polars(bars)
    assert set(theirs.columns) == set(BALANCED.names)
    for name in BALANCED.names:
        # Their averages never end, and their running sums drift: equal to a thousandth of a deviation.
        one = ours[name].to_numpy()[2 * BALANCED.lookback :]
        other = theirs[name].cast(pl.Float32).to_numpy()[2 * BALANCED.lookback :]
        assert np.isnan(one).sum() == np.isnan(other).sum() == 0, name
        # A class may flip where a ratio stands on its threshold.
        apart = np.abs(one - other) > 1e-3 * one.std() + 1e-9
        assert apart.mean() <= (0.001 if name.endswith("regime") else 0), (name, apart.sum())
