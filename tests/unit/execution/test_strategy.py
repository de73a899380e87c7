"""Forecasts become positions by one set of rules, whoever asks."""

from __future__ import annotations

import numpy as np
import pytest

from autotrader.config.settings import StrategySettings
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.execution.strategy import COST_MULTIPLE, EntryRule, StrategyRules, decides, score_of
from tests.unit.execution.market import minutes

RULES = StrategyRules.of(StrategySettings(horizon_minutes=5, round_trip_cost_bps=10))
BITCOIN, EURO = "binance:BTCUSDT", "oanda:EUR_USD"


def positions(score: list[float], *, instrument: str = BITCOIN, volatility: float = 0.01) -> list[float]:
    found = RULES.positions(
        instrument,
        minutes(len(score)),
        np.array(score),
        volatility=np.full(len(score), volatility),
        entry_score=0.5,
    )
    return found.tolist()


def test_a_score_is_the_probability_of_a_rise_minus_that_of_a_fall() -> None:
    assert score_of(np.array([[0.2, 0.3, 0.5], [0.7, 0.2, 0.1]])).tolist() == pytest.approx([0.3, -0.6])


@pytest.mark.parametrize(
    "metadata",
    [
        {"entry_score": "0.1"},
        {"decide_every_bars": "5"},
        {"entry_score": "much", "decide_every_bars": "5"},
        {"entry_score": "0.1", "decide_every_bars": "often"},
    ],
)
def test_a_model_that_does_not_say_when_it_trades_is_bad_data(metadata: dict[str, str]) -> None:
    whole = {"entry_score": "0.1", "decide_every_bars": "5"}
    assert EntryRule.of(whole) == EntryRule(0.1, 5)
    with pytest.raises(BadData, match="from which score it trades and how often"):
        EntryRule.of(metadata)


def test_decisions_fall_on_multiples_of_their_distance_since_1970() -> None:
    quarter = 15 * 60_000_000
    opens = np.arange(6) * quarter
    assert decides(opens, Interval.M15, 2).tolist() == [True, False] * 3
    assert [decides(int(at), Interval.M15, 2) for at in opens] == [True, False] * 3


@pytest.mark.parametrize("shape", [(3,), (4, 2)])
def test_what_is_no_table_of_three_classes_has_no_score(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadData, match="probabilities of -1, 0 and \\+1"):
        score_of(np.zeros(shape))


def test_a_forecast_is_held_for_the_horizon_and_its_costs_are_halved_between_entry_and_exit() -> None:
    assert positions([0.6, *[np.nan] * 7]) == [1, 1, 1, 1, 1, 0, 0, 0]
    assert RULES.costs.round_trip_bps == 10
    assert RULES.costs.fee_bps == 5


def test_only_what_may_be_sold_short_is() -> None:
    assert positions([-0.9, -0.9]) == [0, 0]
    assert positions([-0.9, -0.9], instrument=EURO) == [-1, -1]


def test_a_move_that_does_not_pay_for_its_costs_opens_nothing() -> None:
    # Expected move: 0.6 x volatility x root of the five bars of the horizon.
    pays = COST_MULTIPLE * 10e-4 / (0.6 * np.sqrt(5))
    assert positions([0.6, 0.6], volatility=pays * 1.01) == [1, 1]
    assert positions([0.6, 0.6], volatility=pays * 0.99) == [0, 0]


def test_each_forecast_is_measured_by_the_threshold_of_its_own_model() -> None:
    found = RULES.positions(
        BITCOIN,
        minutes(4),
        np.array([0.6, 0.6, 0.6, 0.6]),
        volatility=np.full(4, 0.01),
        entry_score=np.array([0.7, 0.7, 0.5, 0.7]),
    )
    assert found.tolist() == [0, 0, 1, 1]
