from __future__ import annotations

import math
from datetime import datetime, timedelta

import numpy as np
import pytest

from autotrader.config.settings import RiskSettings, Settings
from autotrader.domain.bars import Interval
from autotrader.domain.errors import BadData
from autotrader.domain.rollout import Color
from autotrader.domain.trading import Cause
from autotrader.execution.strategy import StrategyRules, decides
from autotrader.ports.predictions import Prediction
from autotrader.trading.forecasting import Forecast
from autotrader.trading.targets import Targets, Wanted
from tests.unit.trading.account import BTC, EUR, NOW, RULES, D

MINUTE = timedelta(minutes=1)


def some_targets(memory: dict[str, object] | None = None) -> Targets:
    settings = Settings(_env_file=None)
    return Targets(
        StrategyRules.of(settings.strategy),
        (BTC, EUR),
        RiskSettings(),
        interval=Interval.M1,
        volatility_target=None,
        memory=memory or {},
    )


def foreseen(score: float, *, entry: float = 0.3, decides: bool = True) -> Forecast:
    up, down = max(score, 0.0), max(-score, 0.0)
    answered = Prediction("1", str(BTC), Color.BLUE, "v1.0.0", 1, ((down, 1 - up - down, up),), 0.0)
    return Forecast(answered, entry, 0.001, decides=decides)


def update(targets: Targets, forecast: Forecast, ts: datetime = NOW, *, price: str = "50000") -> Wanted:
    return targets.update(BTC, ts, forecast, equity=D(100_000), price=D(price), rate=D(1), rules=RULES[BTC])


def test_a_strong_score_wants_a_share_of_equity_in_whole_lots() -> None:
    wanted = update(some_targets(), foreseen(0.9))
    assert wanted.target > 0
    share = D(str(wanted.target)) * D("0.2") * 100_000 / 50_000
    assert share - D("0.001") < wanted.units <= share


def test_a_score_below_the_entry_and_no_answer_are_no_opinion() -> None:
    targets = some_targets()
    held = update(targets, foreseen(0.9))
    for forecast in (
        foreseen(0.2),
        foreseen(-0.2),
        Forecast(None, math.nan, 0.001, reason="down", outage=Cause.PREDICTIONS),
    ):
        assert update(targets, forecast, NOW + MINUTE) == held


@pytest.mark.parametrize("every", [1, 5, 7])
def test_what_is_wanted_bar_by_bar_is_what_was_judged(every: int) -> None:
    """A version that was judged at every n-th bar trades then, however sure it is in between."""
    rules, minutes = StrategyRules.of(Settings(_env_file=None).strategy), 600
    ts_us = round(NOW.timestamp() * 1e6) + np.arange(minutes) * 60_000_000
    score = np.random.default_rng(7).uniform(-1, 1, minutes).round(3)
    when = decides(ts_us, Interval.M1, every)
    judged = rules.positions(
        str(BTC),
        ts_us.astype("datetime64[us]"),
        np.where(when, score, np.nan),
        volatility=np.full(minutes, 0.001),
        entry_score=0.3,
    )
    targets = some_targets()
    wanted = [
        update(targets, foreseen(value, decides=now), NOW + n * MINUTE).target
        for n, (value, now) in enumerate(zip(score.tolist(), when.tolist(), strict=True))
    ]
    assert wanted == judged.tolist()
    assert len(set(wanted)) > 1


def test_units_are_kept_while_the_target_is() -> None:
    targets = some_targets()
    first = update(targets, foreseen(0.9))
    assert update(targets, foreseen(0.9), NOW + MINUTE, price="60000").units == first.units


def test_a_target_ends_when_its_time_is_over() -> None:
    targets = some_targets()
    expires = update(targets, foreseen(0.9)).expires_us
    later = NOW + timedelta(microseconds=expires - round(NOW.timestamp() * 1e6))
    assert update(targets, foreseen(0.0), later + MINUTE).units == 0


def test_what_cannot_be_shorted_is_not() -> None:
    assert update(some_targets(), foreseen(-0.9)).units == 0


def test_the_memory_is_what_was_remembered() -> None:
    targets = some_targets()
    update(targets, foreseen(0.9))
    again = some_targets(targets.to_plain())
    assert again.of(BTC) == targets.of(BTC)
    again.forget()
    assert again.of(BTC) == Wanted()


def test_a_refused_wish_is_not_wanted_until_the_next_opinion() -> None:
    targets = some_targets()
    update(targets, foreseen(0.9))
    targets.hold(BTC, D("0.1"))
    assert update(targets, foreseen(0.9), NOW + MINUTE).units == D("0.1")


def test_a_damaged_memory_is_bad_data() -> None:
    with pytest.raises(BadData, match="target, expiry, units"):
        some_targets({str(BTC): ["much"]})
