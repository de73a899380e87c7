import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotrader.domain.errors import BadData
from autotrader.execution.arrays import Floats
from autotrader.training import statistics

YEAR = 525_600.0


def normal_returns(seed: int, n: int, *, mean: float = 0.0) -> Floats:
    return np.random.default_rng(seed).normal(mean, 0.01, n)


def moving_average(returns: Floats, window: int) -> Floats:
    return np.convolve(returns, np.ones(window), "valid")


def test_the_worked_example_of_bailey_and_lopez_de_prado() -> None:
    # An annual ratio of 2.5 over 1,250 days of 250 a year, the best of 100 trials whose annual
    # ratios vary by 1/2; skewness -3, kurtosis 10.
    variance = 0.5 / 250
    assert statistics.expected_maximum_sharpe(100, variance) == pytest.approx(0.1132, abs=5e-5)
    probability = statistics.deflated_sharpe_probability(
        2.5 / math.sqrt(250),
        n_trials=100,
        trial_variance=variance,
        n_observations=1250,
        skewness=-3,
        kurtosis=10,
    )
    assert probability == pytest.approx(0.9004, abs=5e-5)


def test_their_second_example_with_fewer_trials_is_above_95_percent() -> None:
    # Same paper: after 46 trials the same result would still have passed at 95 %.
    def probability(trials: int) -> float:
        return statistics.deflated_sharpe_probability(
            2.5 / math.sqrt(250),
            n_trials=trials,
            trial_variance=0.5 / 250,
            n_observations=1250,
            skewness=-3,
            kurtosis=10,
        )

    assert probability(46) >= 0.95 > probability(47)


def test_the_expected_maximum_is_what_luck_shows() -> None:
    best = np.random.default_rng(5).normal(0, 0.3, (4_000, 50)).max(axis=1).mean()
    assert statistics.expected_maximum_sharpe(50, 0.09) == pytest.approx(best, rel=0.02)


def test_one_trial_has_no_luck_to_deflate() -> None:
    assert statistics.expected_maximum_sharpe(1, 0.5) == 0.0


@pytest.mark.parametrize(("trials", "variance"), [(0, 0.1), (5, -0.1), (5, math.nan)])
def test_luck_of_no_trials_is_refused(trials: int, variance: float) -> None:
    with pytest.raises(BadData, match="at least one trial"):
        statistics.expected_maximum_sharpe(trials, variance)


@settings(max_examples=50)
@given(trials=st.integers(1, 10_000), more=st.integers(1, 1_000), sharpe=st.floats(-0.2, 0.2))
def test_more_trials_never_make_a_result_more_believable(trials: int, more: int, sharpe: float) -> None:
    def probability(n: int) -> float:
        return statistics.deflated_sharpe_probability(
            sharpe, n_trials=n, trial_variance=0.001, n_observations=500
        )

    assert probability(trials + more) <= probability(trials)


def test_a_given_standard_error_takes_the_place_of_the_one_for_independent_returns() -> None:
    assert statistics.deflated_sharpe_probability(
        0.1, n_trials=1, trial_variance=0.0, n_observations=5, standard_error=0.1
    ) == pytest.approx(NormalDist().cdf(1.0))


def test_an_unknown_error_makes_the_probability_unknown() -> None:
    assert math.isnan(statistics.probabilistic_sharpe(0.1, benchmark=0.0, standard_error=math.nan))


def test_the_sharpe_ratio_is_annualised_by_bars_and_not_by_trades() -> None:
    returns = normal_returns(1, 1_000, mean=0.001)
    ratio = np.mean(returns) / np.std(returns, ddof=1)
    assert statistics.sharpe_ratio(returns) == pytest.approx(ratio)
    assert statistics.annualised_sharpe(returns, YEAR) == pytest.approx(ratio * math.sqrt(YEAR))


@pytest.mark.parametrize("measure", [statistics.sharpe_ratio, statistics.sortino_ratio])
def test_what_never_moves_has_earned_and_risked_nothing(measure: object) -> None:
    assert measure(np.zeros(10)) == 0.0  # type: ignore[operator]


@pytest.mark.parametrize("measure", [statistics.sharpe_ratio, statistics.sortino_ratio])
def test_a_gain_without_risk_has_no_ratio(measure: object) -> None:
    assert math.isnan(measure(np.full(10, 0.1)))  # type: ignore[operator]


def test_the_sortino_ratio_counts_only_losses_as_risk() -> None:
    assert statistics.sortino_ratio(np.array([0.02, -0.01, 0.02, -0.01])) == pytest.approx(
        0.005 / math.sqrt(0.0002 / 4)
    )


def test_the_standard_error_of_normal_returns_is_lo_s() -> None:
    returns = normal_returns(2, 20_000, mean=0.005)
    ratio = statistics.sharpe_ratio(returns)
    expected = math.sqrt((1 + ratio**2 / 2) / len(returns))
    assert statistics.sharpe_standard_error(returns, lags=0) == pytest.approx(expected, rel=0.02)


def test_a_year_of_minutes_has_a_standard_error_of_one_and_20_days_one_above_four() -> None:
    for days, error in [(365, 1.0), (20, math.sqrt(365 / 20))]:
        returns = normal_returns(3, days * 1_440)
        annual = statistics.sharpe_standard_error(returns) * math.sqrt(YEAR)
        assert annual == pytest.approx(error, rel=0.03)


def test_skew_and_fat_tails_enter_as_mertens_has_them() -> None:
    returns = np.random.default_rng(4).gamma(2.0, 0.01, 50_000) - 0.01
    ratio = statistics.sharpe_ratio(returns)
    z = (returns - returns.mean()) / returns.std()
    skewness, kurtosis = np.mean(z**3), np.mean(z**4)
    expected = math.sqrt((1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2) / len(returns))
    assert statistics.sharpe_standard_error(returns, lags=0) == pytest.approx(expected, rel=1e-3)


def test_the_error_is_right_for_returns_that_overlap() -> None:
    """Sixty-bar overlapping sums: the spread of the ratio over many histories is the truth."""
    histories = [moving_average(normal_returns(seed, 3_059, mean=0.0002), 60) for seed in range(300)]
    truth = np.std([statistics.sharpe_ratio(h) for h in histories])
    naive = np.mean([statistics.sharpe_standard_error(h, lags=0) for h in histories])
    aware = np.mean([statistics.sharpe_standard_error(h, lags=120) for h in histories])
    assert naive < 0.2 * truth
    assert aware == pytest.approx(truth, rel=0.15)


@pytest.mark.parametrize("returns", [[], [0.1], [0.0, 0.0, 0.0], [0.1, 0.1]])
def test_an_error_that_cannot_be_told_is_not_a_number(returns: list[float]) -> None:
    assert math.isnan(statistics.sharpe_standard_error(np.array(returns)))


def test_a_paired_difference_is_surer_than_its_parts() -> None:
    market = normal_returns(6, 5_000)
    a, b = market + normal_returns(7, 5_000) / 10, market + normal_returns(8, 5_000) / 10
    difference = statistics.sharpe_difference(a, b, bars_per_year=YEAR)
    assert difference.value == pytest.approx(
        statistics.annualised_sharpe(a, YEAR) - statistics.annualised_sharpe(b, YEAR)
    )
    alone = statistics.sharpe_standard_error(a) * math.sqrt(YEAR)
    assert difference.standard_error < alone / 5


def test_against_flat_the_difference_is_the_ratio_itself() -> None:
    returns = normal_returns(9, 1_000)
    difference = statistics.sharpe_difference(returns, np.zeros(1_000), bars_per_year=YEAR)
    assert difference.value == statistics.annualised_sharpe(returns, YEAR)
    assert difference.standard_error == statistics.sharpe_standard_error(returns) * math.sqrt(YEAR)


def test_two_paths_that_never_move_cannot_be_told_apart() -> None:
    difference = statistics.sharpe_difference(np.zeros(9), np.zeros(9), bars_per_year=YEAR)
    assert difference.value == 0.0
    assert math.isnan(difference.standard_error)


def test_the_error_of_a_total_is_that_of_a_sum() -> None:
    a, b = normal_returns(10, 10_000), normal_returns(11, 10_000)
    difference = statistics.total_difference(a, b, lags=0)
    assert difference.value == pytest.approx(np.sum(a - b))
    assert difference.standard_error == pytest.approx(0.01 * math.sqrt(2 * 10_000), rel=0.03)


def test_paths_of_other_bars_are_not_compared() -> None:
    with pytest.raises(BadData, match="same bars"):
        statistics.sharpe_difference(np.zeros(3), np.zeros(4), bars_per_year=YEAR)
    with pytest.raises(BadData, match="same bars"):
        statistics.total_difference(np.zeros(3), np.zeros(4))


def test_of_pure_noise_the_best_is_as_likely_bad_as_good() -> None:
    found = [
        statistics.probability_of_backtest_overfitting(
            np.random.default_rng(seed).normal(size=(800, 40)), n_blocks=10
        )
        for seed in range(30)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=0.1)


def test_one_strategy_that_dominates_is_no_overfitting() -> None:
    returns = np.random.default_rng(0).normal(size=(960, 40))
    returns[:, 7] += 0.5
    found = statistics.cross_validate_symmetrically(returns)
    assert found.probability == 0.0
    assert found.loss_probability == 0.0
    assert len(found.logits) == math.comb(16, 8)


def test_what_is_fitted_to_each_half_is_overfitting() -> None:
    """Trials that win in one block and lose it in all others are picked and then fail."""
    returns = np.random.default_rng(1).normal(0, 0.1, (160, 8))
    for trial in range(8):
        returns[:, trial] -= 0.2
        returns[trial * 20 : trial * 20 + 20, trial] += 2.0
    assert statistics.probability_of_backtest_overfitting(returns, n_blocks=8) == 1.0


def test_overfitting_agrees_with_ranking_every_combination_by_hand() -> None:
    import itertools

    returns = np.random.default_rng(2).normal(size=(60, 5))
    blocks, below = np.split(returns, 6), []
    for inside in itertools.combinations(range(6), 3):
        train = np.concatenate([blocks[i] for i in inside])
        test = np.concatenate([blocks[i] for i in range(6) if i not in inside])
        best = np.argmax([statistics.sharpe_ratio(train[:, k]) for k in range(5)])
        out = np.array([statistics.sharpe_ratio(test[:, k]) for k in range(5)])
        rank = (np.sum(out < out[best]) + 1) / 6
        below.append(rank <= 0.5)
    assert statistics.probability_of_backtest_overfitting(returns, 6) == np.mean(below)


def test_trials_that_all_stay_flat_are_not_taken_for_skill() -> None:
    assert statistics.probability_of_backtest_overfitting(np.zeros((64, 4)), 8) == 1.0


@pytest.mark.parametrize(
    "returns", [np.zeros((100, 1)), np.zeros(100), np.full((100, 3), np.nan), np.zeros((10, 3))]
)
def test_overfitting_needs_trials_and_periods(returns: Floats) -> None:
    with pytest.raises(BadData, match="expected"):
        statistics.probability_of_backtest_overfitting(returns)


def test_a_drawdown_is_measured_from_the_peak() -> None:
    assert statistics.max_drawdown(np.array([100.0, 120.0, 90.0, 150.0, 140.0])) == pytest.approx(0.25)


def test_the_capital_is_a_peak_too() -> None:
    assert statistics.max_drawdown(np.array([90.0, 95.0]), capital=100.0) == pytest.approx(0.1)


def test_trades_are_won_and_lost_after_costs() -> None:
    pnl = np.array([3.0, -1.0, 0.0, -1.0])
    assert statistics.win_rate(pnl) == 0.25
    assert statistics.profit_factor(pnl) == 1.5
    assert statistics.profit_factor(np.array([1.0])) == math.inf
    assert math.isnan(statistics.win_rate(np.array([])))
    assert math.isnan(statistics.profit_factor(np.array([])))


def test_forecasts_are_scored_by_their_squared_error_and_by_their_likelihood() -> None:
    outcome, probability = np.array([1, 0]), np.array([0.9, 0.2])
    assert statistics.brier_score(outcome, probability) == pytest.approx((0.01 + 0.04) / 2)
    assert statistics.log_loss(outcome, probability) == pytest.approx(-(math.log(0.9) + math.log(0.8)) / 2)


def test_calibration_error_is_the_distance_of_forecast_and_frequency() -> None:
    outcome = np.array([0, 0, 0, 1, 1, 1])
    assert statistics.expected_calibration_error(outcome, np.full(6, 0.5)) == pytest.approx(0.0)
    assert statistics.expected_calibration_error(outcome, np.full(6, 0.9)) == pytest.approx(0.4)
    assert statistics.expected_calibration_error(
        outcome, np.array([0.05, 0.05, 0.05, 1.0, 1.0, 1.0])
    ) == pytest.approx(0.025)


def test_a_perfect_forecast_shows_the_error_of_noise_alone() -> None:
    rng = np.random.default_rng(3)
    found = []
    for _ in range(200):
        probability = rng.uniform(0, 1, 1_000)
        outcome = rng.uniform(0, 1, 1_000) < probability
        found.append(statistics.expected_calibration_error(outcome, probability))
    assert 0.01 < np.mean(found) < 0.4 * math.sqrt(10 / 1_000)


def test_a_certain_forecast_that_is_wrong_costs_much_but_not_infinitely() -> None:
    assert statistics.log_loss(np.array([1]), np.array([0.0])) == pytest.approx(-math.log(1e-15))


def test_precision_at_k_looks_at_the_highest_scores() -> None:
    outcome, score = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.1, 0.2])
    assert statistics.precision_at_k(outcome, score, 1) == 1.0
    assert statistics.precision_at_k(outcome, score, 2) == 0.5


def test_forecasts_that_are_none_are_refused() -> None:
    with pytest.raises(BadData, match=r"probabilities in \[0, 1\]"):
        statistics.brier_score(np.array([1]), np.array([1.2]))
    with pytest.raises(BadData, match=r"probabilities in \[0, 1\]"):
        statistics.expected_calibration_error(np.array([1]), np.array([np.nan]))
    with pytest.raises(BadData, match="as many outcomes"):
        statistics.log_loss(np.array([]), np.array([]))
    with pytest.raises(BadData, match="1 <= k <= 2"):
        statistics.precision_at_k(np.array([1, 0]), np.array([0.1, 0.2]), 3)
    with pytest.raises(BadData, match="NaN"):
        statistics.precision_at_k(np.array([1, 0]), np.array([0.1, np.nan]), 1)
