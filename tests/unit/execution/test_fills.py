import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.domain.errors import BadData
from autotrader.execution.arrays import Floats
from autotrader.execution.clock import microseconds
from autotrader.execution.costs import BPS, Costs, borrow_cost, trade_cost
from autotrader.execution.fills import Ledger, account, target_units, trades
from tests.unit.execution.market import Market, minutes, random_market, random_targets

FREE = Costs()
DEAR = Costs(fee_bps=4, half_spread_bps=1, slippage_bps=1, impact_bps=15, borrow_bps_per_day=30)


def market(open_: list[float], close: list[float], volume: list[float] | None = None) -> Market:
    n = len(open_)
    return Market(minutes(n), np.array(open_), np.array(close), np.array(volume or [10.0] * n))


def bar_by_bar(m: Market, position: Floats, costs: Costs, capital: float) -> tuple[list[float], float, float]:
    """The same books kept one bar at a time with the scalar functions that the trader calls."""
    cash, units, target, trading, borrowing = capital, 0.0, 0.0, 0.0, 0.0
    opens_us, equity = microseconds(m.ts).tolist(), []
    open_, close, volume = m.open.tolist(), m.close.tolist(), m.volume.tolist()
    for i in range(len(close)):
        if i > 0:
            if units < 0:
                elapsed = opens_us[i] - opens_us[i - 1]
                fee = borrow_cost(-units * close[i - 1], elapsed, costs.borrow_bps_per_day * BPS)
                cash -= fee
                borrowing += fee
            if position[i - 1] != target and trades(volume[i]):
                target = float(position[i - 1])
                before = cash + units * open_[i]
                held = target_units(target, max(before, 0.0), open_[i])
                traded = abs(held - units) * open_[i]
                cost = trade_cost(traded, volume[i] * open_[i], costs.one_way_rate, costs.impact_bps * BPS)
                cash = before - held * open_[i] - cost
                units = held
                trading += cost
        equity.append(cash + units * close[i])
    return equity, trading, borrowing


def unrealised_path(m: Market, ledger: Ledger, capital: float) -> Floats:
    """Equity from first principles: capital, plus what every fill's units gained since, less costs."""
    equity = np.full(len(m.ts), capital)
    for i, units, cost in zip(ledger.fills.index, ledger.fills.units, ledger.fills.cost, strict=True):
        equity[i:] += units * (m.close[i:] - m.open[i]) - cost
    return equity


def test_a_target_is_filled_at_the_next_open() -> None:
    m = market([100, 110, 120], [105, 115, 125])
    ledger = account(*m.bars, np.array([1.0, 1.0, 1.0]), costs=FREE, capital=1_000)
    assert ledger.fills.index.tolist() == [1]
    assert ledger.fills.units.tolist() == [1_000 / 110]
    assert ledger.equity.tolist() == pytest.approx([1_000, 1_000 * 115 / 110, 1_000 * 125 / 110])


def test_the_last_target_is_never_traded() -> None:
    m = market([100, 100], [100, 100])
    assert len(account(*m.bars, np.array([0.0, 1.0]), costs=FREE, capital=1_000).fills) == 0


def test_a_bar_without_a_trade_delays_the_fill() -> None:
    m = market([100, 110, 120, 130], [100, 110, 120, 130], [5, 0, 0, 5])
    ledger = account(*m.bars, np.ones(4), costs=FREE, capital=1_000)
    assert ledger.fills.index.tolist() == [3]


def test_an_order_that_is_taken_back_before_it_could_fill_is_not_traded() -> None:
    m = market([100] * 4, [100] * 4, [5, 0, 5, 5])
    ledger = account(*m.bars, np.array([1.0, 0.0, 0.0, 0.0]), costs=FREE, capital=1_000)
    assert len(ledger.fills) == 0


def test_a_venue_without_volume_fills_all_the_same() -> None:
    m = market([100, 110], [100, 110], [np.nan, np.nan])
    assert len(account(*m.bars, np.ones(2), costs=DEAR, capital=1_000).fills) == 1


def test_a_position_drifts_and_is_not_rebalanced() -> None:
    m = random_market(3)
    ledger = account(*m.bars, np.full(200, 0.5), costs=DEAR, capital=1_000)
    assert len(ledger.fills) == 1


def test_a_short_of_a_day_pays_for_borrowing() -> None:
    n = 1_442
    m = Market(minutes(n), np.full(n, 100.0), np.full(n, 100.0), np.full(n, 5.0))
    ledger = account(*m.bars, np.full(n, -1.0), costs=Costs(borrow_bps_per_day=10), capital=1_000)
    assert ledger.borrow_cost == pytest.approx(1_000 * 10 * BPS, rel=1e-6)
    assert ledger.equity[-1] == pytest.approx(1_000 - ledger.borrow_cost)


def test_a_short_that_loses_everything_is_closed_out_and_stays_closed() -> None:
    m = market([100, 100, 210, 50], [100, 100, 210, 50])
    ledger = account(*m.bars, np.full(4, -1.0), costs=FREE, capital=1_000)
    assert ledger.equity.tolist() == pytest.approx([1_000, 1_000, -100, -100])


def test_a_gap_that_ruins_leaves_nothing_to_turn_round_with() -> None:
    m = market([100, 100, 210, 50], [100, 100, 100, 50])
    ledger = account(*m.bars, np.array([-1.0, 1.0, 1.0, 1.0]), costs=FREE, capital=1_000)
    assert ledger.fills.held.tolist() == [-10.0, 0.0]
    assert ledger.equity.tolist() == pytest.approx([1_000, 1_000, -100, -100])


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), holes=st.booleans(), silent=st.booleans())
def test_the_history_is_the_trader_s_own_arithmetic_bit_for_bit(seed: int, holes: bool, silent: bool) -> None:
    m, position = random_market(seed, holes=holes, silent=silent), random_targets(seed)
    ledger = account(*m.bars, position, costs=DEAR, capital=1_000.0)
    equity, trading, borrowing = bar_by_bar(m, position, DEAR, 1_000.0)
    assert ledger.equity.tolist() == equity
    assert (ledger.trading_cost, ledger.borrow_cost) == (trading, borrowing)


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000))
def test_equity_is_capital_plus_the_gain_of_every_fill_less_its_cost(seed: int) -> None:
    m, position = random_market(seed, silent=True), random_targets(seed)
    costs = Costs(fee_bps=7, impact_bps=20)
    ledger = account(*m.bars, position, costs=costs, capital=1_000.0)
    np.testing.assert_allclose(ledger.equity, unrealised_path(m, ledger, 1_000.0), rtol=1e-11)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000))
def test_every_fill_makes_the_position_the_target_s_share_of_equity(seed: int) -> None:
    m, position = random_market(seed, silent=True), random_targets(seed)
    fills = account(*m.bars, position, costs=DEAR, capital=1_000.0).fills
    np.testing.assert_allclose(
        fills.held * m.open[fills.index] / fills.equity, position[fills.index - 1], atol=1e-12
    )
    assert np.all(m.volume[fills.index] > 0)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), cut=st.integers(1, 199))
def test_nothing_before_a_bar_depends_on_it_or_on_what_follows(seed: int, cut: int) -> None:
    m, other, position = random_market(seed), random_market(seed + 77_777), random_targets(seed)
    changed = Market(
        m.ts,
        *(
            np.concatenate((a[:cut], b[cut:]))
            for a, b in ((m.open, other.open), (m.close, other.close), (m.volume, other.volume))
        ),
    )
    tail = np.concatenate((position[:cut], -position[cut:]))
    whole = account(*m.bars, position, costs=DEAR, capital=1_000.0).equity
    assert np.array_equal(account(*changed.bars, tail, costs=DEAR, capital=1_000.0).equity[:cut], whole[:cut])


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan, np.inf])
@pytest.mark.parametrize("column", ["open", "close"])
def test_a_price_that_is_none_is_refused(column: str, wrong: float) -> None:
    m = random_market(1)
    getattr(m, column)[100] = wrong
    with pytest.raises(BadData, match="finite prices above zero"):
        account(*m.bars, np.zeros(200), costs=FREE, capital=1_000)


@pytest.mark.parametrize("wrong", [1.01, -2.0, np.nan])
def test_a_target_out_of_range_is_refused(wrong: float) -> None:
    position = np.zeros(200)
    position[50] = wrong
    with pytest.raises(BadData, match=r"targets in \[-1, 1\]"):
        account(*random_market(1).bars, position, costs=FREE, capital=1_000)


def test_bars_out_of_order_and_arrays_of_other_lengths_are_refused() -> None:
    m = random_market(1)
    with pytest.raises(BadData, match="increasing ts"):
        account(m.ts[::-1], m.open, m.close, m.volume, np.zeros(200), costs=FREE, capital=1_000)
    with pytest.raises(BadData, match="arrays of 200 bars"):
        account(*m.bars, np.zeros(199), costs=FREE, capital=1_000)
    with pytest.raises(BadData, match="capital above zero"):
        account(*m.bars, np.zeros(200), costs=FREE, capital=0.0)
