import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.domain.errors import ConfigurationError
from autotrader.execution.costs import BPS, Costs, borrow_cost, trade_cost

DAY_US = 86_400_000_000


def test_a_basis_point_is_a_hundredth_of_a_percent() -> None:
    assert trade_cost(10_000.0, math.nan, Costs(fee_bps=1).one_way_rate, 0.0) == pytest.approx(1.0)


def test_entry_and_exit_add_up_to_the_round_trip() -> None:
    costs = Costs.of_round_trip(10.0)
    assert costs.round_trip_bps == 10.0
    assert 2 * costs.one_way_rate == pytest.approx(10.0 * BPS)


def test_fee_spread_and_slippage_add_up() -> None:
    assert Costs(fee_bps=4, half_spread_bps=2, slippage_bps=1).round_trip_bps == 14


def test_impact_grows_with_the_root_of_participation() -> None:
    whole = trade_cost(1_000.0, 1_000.0, 0.0, 20 * BPS)
    quarter = trade_cost(250.0, 1_000.0, 0.0, 20 * BPS)
    assert whole == pytest.approx(1_000 * 20 * BPS)
    assert quarter / 250 == pytest.approx(0.5 * whole / 1_000)


def test_without_a_volume_no_impact_is_invented() -> None:
    assert trade_cost(1_000.0, math.nan, 0.001, 0.002) == 1.0


def test_a_short_of_a_day_pays_the_daily_borrow_rate() -> None:
    assert borrow_cost(10_000.0, DAY_US, 3 * BPS) == pytest.approx(3.0)
    assert borrow_cost(10_000.0, DAY_US // 2, 3 * BPS) == pytest.approx(1.5)


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_a_cost_that_is_no_cost_is_refused(wrong: float) -> None:
    with pytest.raises(ConfigurationError, match="expected fee_bps of 0 or more"):
        Costs(fee_bps=wrong)


@settings(max_examples=100)
@given(
    notional=st.floats(0, 1e9),
    bar=st.floats(0, 1e9) | st.just(math.nan),
    rate=st.floats(0, 0.01),
    impact=st.floats(0, 0.01),
)
def test_compiled_and_interpreted_costs_agree_bit_for_bit(
    notional: float, bar: float, rate: float, impact: float
) -> None:
    interpreted = trade_cost.py_func(notional, bar, rate, impact)  # type: ignore[attr-defined]
    # Of the smallest floats there are, nothing times infinity: equal where both are no number.
    np.testing.assert_equal(trade_cost(notional, bar, rate, impact), interpreted)
