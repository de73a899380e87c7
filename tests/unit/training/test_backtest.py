import math
from dataclasses import astuple
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.domain.errors import BadData
from autotrader.execution.arrays import Floats
from autotrader.execution.costs import Costs
from autotrader.execution.fills import account
from autotrader.execution.sizing import Sizing, target_positions
from autotrader.training import statistics
from autotrader.training.backtest import (
    BacktestResult,
    backtest,
    backtest_variants,
    bucket_returns,
    buy_and_hold,
    combine,
    stay_flat,
)
from tests import real_data
from tests.unit.execution.market import Market, minutes, random_market, random_targets

CAPITAL = 10_000.0
TEN_BPS = Costs.of_round_trip(10.0)
DEAR = Costs(fee_bps=4, half_spread_bps=1, slippage_bps=1, impact_bps=15, borrow_bps_per_day=30)


def run(m: Market, position: Floats, costs: Costs = TEN_BPS) -> BacktestResult:
    return backtest(*m.bars, position, costs=costs, capital=CAPITAL)


def flat_market(n: int) -> Market:
    return Market(minutes(n), np.full(n, 100.0), np.full(n, 100.0), np.full(n, 50.0))


def test_flat_earns_exactly_nothing() -> None:
    result = stay_flat(*random_market(1).bars, costs=DEAR, capital=CAPITAL)
    assert np.all(result.equity == CAPITAL)
    assert np.all(result.net_returns == 0.0)
    assert (result.metrics.net_pnl, result.metrics.sharpe, result.metrics.max_drawdown) == (0.0, 0.0, 0.0)
    assert (result.metrics.trades, result.metrics.turnover, result.metrics.exposure) == (0, 0.0, 0.0)
    assert math.isnan(result.metrics.win_rate)
    assert math.isnan(result.metrics.capacity)


def test_buy_and_hold_earns_the_price_ratio_less_one_entry_cost() -> None:
    m = random_market(2)
    result = buy_and_hold(*m.bars, costs=TEN_BPS, capital=CAPITAL)
    assert result.metrics.net_return == pytest.approx(m.close[-1] / m.open[1] - 1 - 0.0005, rel=1e-12)
    assert result.metrics.fills == 1
    assert result.metrics.trades == 0


def test_in_a_market_that_stands_still_a_round_trip_costs_its_costs() -> None:
    position = np.array([1.0, 0.0, 0.0, 0.0])
    result = run(flat_market(4), position)
    paid = CAPITAL * 0.0005 + CAPITAL * 0.0005
    assert result.metrics.net_pnl == pytest.approx(-paid)
    assert result.metrics.costs == pytest.approx(paid)
    assert result.trade_pnl.tolist() == pytest.approx([-paid])
    assert result.metrics.win_rate == 0.0


def test_turning_round_closes_one_trade_and_opens_another() -> None:
    position = np.array([1.0, -1.0, 0.0, 0.0])
    result = run(flat_market(4), position)
    assert result.metrics.trades == 2
    assert np.sum(result.trade_pnl) == pytest.approx(result.metrics.net_pnl)
    assert result.trade_pnl[0] == pytest.approx(-CAPITAL * 0.001, rel=1e-3)


def test_a_change_of_size_belongs_to_its_trade() -> None:
    assert run(flat_market(5), np.array([1.0, 0.5, 1.0, 0.0, 0.0])).metrics.trades == 1


def test_a_look_ahead_is_worth_a_fortune_only_if_prices_are_used_before_the_fill() -> None:
    """A position that knows the coming bar's move cannot be filled before that bar opens.

    Here all of a bar's move happens between the close before and its open, where no order that was
    decided at that close can be filled: perfect foresight of the gap must earn nothing.
    """
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 500)))
    m = Market(minutes(500), close.copy(), close, np.full(500, 50.0))
    foresight = np.append(np.sign(np.diff(close)), 0.0)
    result = run(m, foresight, Costs())
    cheated = CAPITAL * np.prod(1 + np.abs(np.diff(close) / close[:-1]))
    assert cheated > 20 * CAPITAL
    # What is left is the autocorrelation of a random walk: none beyond chance.
    assert abs(math.log(result.equity[-1] / CAPITAL)) < 3 * 0.01 * math.sqrt(500)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), shift=st.integers(1, 199))
def test_a_planted_look_ahead_would_be_seen(seed: int, shift: int) -> None:
    """Changing a bar changes no equity before it, and does change it from that bar on if held."""
    m, position = random_market(seed), random_targets(seed)
    before = run(m, position, DEAR).equity.copy()
    m.close[shift] *= 1.5
    after = run(m, position, DEAR).equity
    assert np.array_equal(before[:shift], after[:shift])


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), holes=st.booleans(), silent=st.booleans())
def test_the_books_balance(seed: int, holes: bool, silent: bool) -> None:
    m, position = random_market(seed, holes=holes, silent=silent), random_targets(seed)
    result = run(m, position, DEAR)
    free = run(m, position, Costs())
    assert result.equity[-1] == pytest.approx(CAPITAL + result.metrics.net_pnl)
    np.testing.assert_allclose(CAPITAL * np.cumprod(1 + result.net_returns), result.equity, rtol=1e-10)
    assert free.metrics.costs == 0.0
    assert result.metrics.costs >= 0.0
    # Bars without a trade may keep the last position from being closed.
    held = account(*m.bars, position, costs=DEAR, capital=CAPITAL).fills.held
    if not held.any() or held[-1] == 0.0:
        assert np.sum(result.trade_pnl) == pytest.approx(result.metrics.net_pnl, abs=1e-6)


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000))
def test_metrics_agree_with_the_statistics_of_the_path(seed: int) -> None:
    m, position = random_market(seed), random_targets(seed)
    result = run(m, position, DEAR)
    found, returns = result.metrics, result.net_returns
    year = 365 * 1_440
    z = (returns - returns.mean()) / returns.std()
    for value, expected in [
        (found.bars_per_year, year),
        (found.sharpe, statistics.annualised_sharpe(returns, year)),
        (found.sortino, statistics.sortino_ratio(returns) * math.sqrt(year)),
        (found.max_drawdown, statistics.max_drawdown(result.equity, capital=CAPITAL)),
        (found.win_rate, statistics.win_rate(result.trade_pnl)),
        (found.profit_factor, statistics.profit_factor(result.trade_pnl)),
        (found.skewness, np.mean(z**3)),
        (found.kurtosis, np.mean(z**4)),
        (found.turnover, result.traded_notional / np.mean(result.equity)),
    ]:
        assert value == pytest.approx(expected, rel=1e-8, nan_ok=True)


def test_exposure_is_the_share_of_equity_at_risk_over_time() -> None:
    position = np.zeros(101)
    position[0:50] = 0.5
    assert run(flat_market(101), position, Costs()).metrics.exposure == pytest.approx(0.5 * 50 / 101)


def test_capacity_is_the_capital_at_which_fills_take_two_percent() -> None:
    m = flat_market(4)  # 50 units of 100 trade in each bar; we take CAPITAL / 100 units
    result = run(m, np.array([1.0, 0.0, 0.0, 0.0]), Costs())
    assert result.metrics.capacity == pytest.approx(0.02 * 50 * 100)


def test_capacity_looks_past_one_fill_in_twenty() -> None:
    m = flat_market(81)
    position = np.tile([1.0, 0.0], 41)[:81]
    m.volume[5] = 0.001
    assert run(m, position, Costs()).metrics.capacity == pytest.approx(0.02 * 50 * 100)


def test_a_venue_without_volume_has_no_capacity() -> None:
    m = flat_market(4)
    m.volume[:] = np.nan
    assert math.isnan(run(m, np.ones(4)).metrics.capacity)


def test_dearer_trading_never_earns_more() -> None:
    m, position = random_market(5), random_targets(5)
    earned = [run(m, position, Costs(fee_bps=fee)).metrics.net_pnl for fee in (0, 1, 5, 20)]
    assert earned == sorted(earned, reverse=True)


def test_one_bar_is_no_history() -> None:
    with pytest.raises(BadData, match="at least 2 bars"):
        run(flat_market(1), np.zeros(1))


def test_the_bar_clock_may_be_given() -> None:
    m, position = random_market(6), random_targets(6)
    daily = backtest(*m.bars, position, costs=TEN_BPS, capital=CAPITAL, bars_a_year=252.0)
    assert daily.metrics.sharpe * math.sqrt(525_600 / 252) == pytest.approx(run(m, position).metrics.sharpe)


VARIANTS = [
    Sizing(entry_score=entry, holding=timedelta(minutes=hold), shortable=shortable, volatility_target=target)
    for entry in (0.1, 0.4, 0.9)
    for hold in (1, 10)
    for shortable in (True, False)
    for target in (None, 0.5)
]


@pytest.mark.parametrize("threads", [1, 3])
def test_variants_are_single_backtests_bit_for_bit(threads: int) -> None:
    m = random_market(7, n=600, holes=True, silent=True)
    rng = np.random.default_rng(7)
    score, volatility = rng.uniform(-1, 1, 600), rng.uniform(1e-4, 1e-3, 600)
    found = backtest_variants(
        *m.bars, score, variants=VARIANTS, costs=DEAR, capital=CAPITAL, volatility=volatility, threads=threads
    )
    assert found.variants == tuple(VARIANTS)
    for number, sizing in enumerate(VARIANTS):
        position = target_positions(m.ts, score, sizing=sizing, volatility=volatility)
        single = run(m, position, DEAR)
        np.testing.assert_equal(found.metrics[number], single.metrics)
        assert np.array_equal(found.bucket_returns[:, number], bucket_returns(single, timedelta(hours=1)))


def test_buckets_are_aligned_hours_and_compound_to_the_whole() -> None:
    m = random_market(8, n=300)
    result = run(m, random_targets(8, 300))
    hourly = bucket_returns(result, timedelta(hours=1))
    assert len(hourly) == 5
    assert np.prod(1 + hourly) == pytest.approx(result.equity[-1] / CAPITAL)


def test_variants_of_bad_bars_are_refused() -> None:
    m = random_market(9)
    m.close[3] = np.nan
    with pytest.raises(BadData, match="finite prices"):
        backtest_variants(*m.bars, np.zeros(200), variants=VARIANTS[:1], costs=DEAR, capital=CAPITAL)


def sleeves(*seeds: int, holes: bool = False) -> list[BacktestResult]:
    return [run(random_market(s, holes=holes), random_targets(s), DEAR) for s in seeds]


def test_a_portfolio_is_worth_the_sum_of_its_sleeves() -> None:
    parts = sleeves(1, 2, 3)
    whole = combine(parts)
    np.testing.assert_allclose(whole.equity, sum(p.equity for p in parts))
    assert whole.capital == 3 * CAPITAL
    assert whole.metrics.trades == sum(p.metrics.trades for p in parts)
    assert whole.metrics.net_pnl == pytest.approx(sum(p.metrics.net_pnl for p in parts))
    assert whole.metrics.costs == pytest.approx(sum(p.metrics.costs for p in parts))


def test_a_portfolio_of_one_is_that_one() -> None:
    (part,) = sleeves(4)
    assert astuple(combine([part]).metrics) == pytest.approx(astuple(part.metrics), rel=1e-12)


def test_a_sleeve_keeps_its_mark_through_bars_that_it_misses() -> None:
    parts = sleeves(5, 6, holes=True)
    whole = combine(parts)
    assert len(whole.ts) == len(set(parts[0].ts) | set(parts[1].ts))
    for row, instant in enumerate(whole.ts):
        marks = [p.equity[p.ts <= instant] for p in parts]
        assert whole.equity[row] == pytest.approx(sum(m[-1] if len(m) else CAPITAL for m in marks))


def test_a_portfolio_s_exposure_weighs_its_sleeves() -> None:
    always = buy_and_hold(*flat_market(1_000).bars, costs=Costs(), capital=CAPITAL)
    never = stay_flat(*flat_market(1_000).bars, costs=Costs(), capital=CAPITAL)
    assert combine([always, never]).metrics.exposure == pytest.approx(0.5, abs=1e-3)


def test_sleeves_of_unequal_capital_are_refused() -> None:
    other = backtest(*random_market(1).bars, np.zeros(200), costs=DEAR, capital=1.0)
    with pytest.raises(BadData, match="one equal capital"):
        combine([*sleeves(1), other])
    with pytest.raises(BadData, match="one equal capital"):
        combine([])


def test_on_recorded_bars_the_books_balance_to_a_millionth() -> None:
    bars = real_data.bars("BTCUSDT", days=20)
    ts, open_, close, volume = (bars[c].to_numpy() for c in ("ts", "open", "close", "volume"))
    score = np.tanh(np.convolve(np.diff(np.log(close), prepend=np.log(close[0])), np.ones(30), "full") * 300)
    sizing = Sizing(entry_score=0.5, holding=timedelta(minutes=60))
    position = target_positions(ts, score[: len(ts)], sizing=sizing)
    position[-2:] = 0.0
    result = backtest(ts, open_, close, volume, position, costs=TEN_BPS, capital=CAPITAL)
    assert result.metrics.trades > 50
    assert np.sum(result.trade_pnl) == pytest.approx(result.metrics.net_pnl, rel=1e-6)
    assert result.metrics.bars_per_year == 525_600.0
