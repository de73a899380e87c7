"""Two models on the same bars: what each would have earned, by one model of trading."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autotrader.config.settings import StrategySettings
from autotrader.domain.errors import BadData
from autotrader.execution.fills import account
from autotrader.execution.net_returns import PairedReturns, Scores, paired_net_returns
from autotrader.execution.prices import PriceBars
from autotrader.execution.strategy import StrategyRules
from autotrader.training.backtest import backtest
from tests.unit.execution.market import random_market

RULES = StrategyRules.of(StrategySettings(horizon_minutes=30, round_trip_cost_bps=10))
BITCOIN = "binance:BTCUSDT"
MARKET = random_market(3, 600)
BARS = PriceBars(*MARKET.bars)


def scores(seed: int, *, every: int = 5, entry_score: float = 0.4) -> Scores:
    ts = BARS.ts[::every]
    score = np.random.default_rng(seed).uniform(-1, 1, len(ts))
    return Scores(ts, score, np.full(len(ts), 0.002), entry_score)


def pair(stable: Scores, candidate: Scores, bars: PriceBars = BARS) -> PairedReturns:
    return paired_net_returns(BITCOIN, bars, stable=stable, candidate=candidate, rules=RULES)


def test_returns_are_those_of_the_backtest_of_the_same_positions() -> None:
    stable = scores(1)
    known = np.full(len(BARS), np.nan)
    known[::5] = stable.score
    volatility = np.full(len(BARS), 0.002)
    position = RULES.positions(BITCOIN, BARS.ts, known, volatility=volatility, entry_score=0.4)
    tested = backtest(*MARKET.bars, position, costs=RULES.costs, capital=RULES.capital)
    assert tested.metrics.trades > 5
    assert np.array_equal(pair(stable, scores(2)).stable, tested.net_returns)


def test_equal_scores_earn_the_same_and_which_is_which_does_not_matter() -> None:
    one, other = scores(1), scores(2)
    same, there, back = pair(one, one), pair(one, other), pair(other, one)
    assert np.array_equal(same.stable, same.candidate)
    assert np.array_equal(there.stable, back.candidate)
    assert np.array_equal(there.candidate, back.stable)
    assert not np.array_equal(there.stable, there.candidate)


def test_returns_add_up_to_the_equity_after_costs() -> None:
    found = pair(scores(1), scores(2))
    never = account(*MARKET.bars, np.zeros(len(BARS)), costs=RULES.costs, capital=RULES.capital)
    assert (never.equity == RULES.capital).all()
    silent = replace(scores(3), score=np.zeros(len(BARS) // 5))
    assert not pair(silent, scores(2)).stable.any()
    assert np.prod(1 + found.stable) != pytest.approx(1.0)


def test_dearer_trading_earns_less_of_the_same_scores() -> None:
    dear = replace(RULES, round_trip_cost_bps=11.0)
    cheap = pair(scores(1), scores(1)).stable
    costly = paired_net_returns(BITCOIN, BARS, stable=scores(1), candidate=scores(1), rules=dear).stable
    assert costly.sum() < cheap.sum()


def test_nothing_before_a_score_depends_on_it() -> None:
    late = scores(1)
    changed = late.score.copy()
    changed[60:] = -changed[60:]
    found = pair(late, replace(late, score=changed))
    assert np.array_equal(found.stable[:301], found.candidate[:301])
    assert not np.array_equal(found.stable[301:], found.candidate[301:])


def test_models_need_not_decide_at_the_same_bars() -> None:
    found = pair(scores(1, every=5), scores(2, every=7))
    assert len(found.ts) == len(found.stable) == len(found.candidate) == len(BARS)


def test_a_score_without_its_bar_is_refused() -> None:
    with pytest.raises(BadData, match="score of binance:BTCUSDT, was without those of 20 of 120"):
        pair(scores(1), scores(2), BARS.between(0, 500))
    with pytest.raises(BadData, match="without those of 120"):
        pair(scores(1), scores(2), BARS.between(0, 0))
