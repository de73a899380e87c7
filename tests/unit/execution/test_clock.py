from datetime import timedelta

import numpy as np
import pytest

from autotrader.domain.errors import BadData
from autotrader.execution.clock import bar_length, bars_per_year
from tests.unit.execution.market import minutes


def test_a_bar_is_as_long_as_the_smallest_step() -> None:
    assert bar_length(minutes(10)[[0, 3, 4, 9]]) == timedelta(minutes=1)


def test_a_market_that_never_closes_has_525600_minutes_a_year() -> None:
    assert bars_per_year(minutes(1440)) == 525_600.0


def test_a_clock_with_every_other_bar_missing_has_about_half_as_many() -> None:
    ts = np.concatenate((minutes(2), minutes(10_000)[3::2]))
    assert bars_per_year(ts) == pytest.approx(525_600 / 2, rel=1e-3)


def test_any_datetime_unit_reads_the_same() -> None:
    assert bars_per_year(minutes(100).astype("datetime64[ns]")) == bars_per_year(minutes(100))


@pytest.mark.parametrize("rows", [[0], [1, 0], [0, 1, 1]])
def test_a_clock_that_does_not_move_forward_is_refused(rows: list[int]) -> None:
    with pytest.raises(BadData, match="expected"):
        bar_length(minutes(3)[rows])
