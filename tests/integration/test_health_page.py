"""What needs Evidently itself, which takes eight seconds to import: its numbers, and the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from autotrader.domain.errors import ExitCode
from autotrader.features.reference.distances import PsiMethod, psi
from tests.unit.monitoring.live import Live, make_reference

pytestmark = pytest.mark.integration


def test_the_compatible_mode_agrees_with_evidently() -> None:
    from evidently.legacy.calculations.stattests.psi import psi_stat_test
    from evidently.legacy.core import ColumnType

    random = np.random.default_rng(0)
    pairs = [
        (random.normal(size=5_000), random.normal(0.3, 1.2, 3_000)),
        (random.standard_t(2, 20_000), random.standard_t(2, 7_000) * 1.5),
        (random.uniform(size=400), random.uniform(2, 3, 300)),
        (random.integers(0, 3, 2_000).astype(float), random.integers(0, 4, 500).astype(float)),
        (random.normal(size=50_000), np.append(random.normal(size=100), 1e5)),
    ]
    for reference, current in pairs:
        theirs = psi_stat_test(
            pd.Series(reference), pd.Series(current), ColumnType.Numerical, 0.1
        ).drift_score
        assert psi(reference, current, method=PsiMethod.EVIDENTLY) == pytest.approx(theirs, abs=1e-6)


def test_the_page_stands_on_its_own_with_evidentlys_beside_it(tmp_path: Path) -> None:
    live = Live(tmp_path, make_reference())
    live.fill()
    live.deploy()
    live.serve(change=lambda rows: rows.with_columns(pl.col("rsi_14") / 100))
    result = live.report()
    assert result.exit_code is ExitCode.FAILED
    (index,) = (live.home / "reports" / "health").glob("*/index.html")
    page = (index.parent / "evidently.html").read_text()
    assert 'src="http' not in page
    assert "rsi_14" in page
    assert len(page) < 12_000_000
