"""A predictor in this process and one elsewhere: the same forecasts, however they are asked."""

from __future__ import annotations

import asyncio
import math
from datetime import datetime

import pytest

from autotrader.domain.bars import Interval
from autotrader.domain.errors import AutotraderError, Rejected, Unreachable
from autotrader.domain.trading import Cause
from autotrader.execution.strategy import EntryRule
from autotrader.features.definitions import BALANCED
from autotrader.features.kernels.layout import LOOKBACK
from autotrader.ports.predictions import ImmediatePredictor, Prediction, PredictionRequest, Predictor
from autotrader.trading.forecasting import Forecast, Forecasting
from tests.trading import BTC, ETH, START, Scores, past_of, turning, walk

BARS = walk((BTC, ETH), 3)


class AtOnce(Scores):
    """Answers without waiting, and is found to."""

    def answer(self, request: PredictionRequest) -> Prediction:
        if self.fails is not None:
            raise self.fails
        try:
            self.predict(request).send(None)
        except StopIteration as answered:
            found: Prediction = answered.value
            return found
        raise AssertionError("expected an answer at once, was none")


def forecasts(predictor: Scores, *, warm: bool = True) -> list[list[Forecast]]:
    forecasting = Forecasting(
        predictor,
        predictor,
        feature_set=BALANCED,
        interval=Interval.M1,
        instruments=(BTC, ETH),
        name="main",
        replayed=True,
    )
    if warm:
        for instrument, past in past_of(BARS, START).items():
            forecasting.warm(instrument, past.ts_us, past.columns)

    async def ask() -> list[list[Forecast]]:
        return [list((await forecasting.forecast(batch)).values()) for batch in BARS[LOOKBACK:]]

    return asyncio.run(ask())


def score(instrument: str, ts: datetime) -> float:
    return turning(instrument, ts) or 0.3


def test_what_is_asked_at_once_is_what_would_have_been_waited_for() -> None:
    assert isinstance(AtOnce(score), ImmediatePredictor)
    assert not isinstance(Scores(score), ImmediatePredictor)
    assert isinstance(Scores(score), Predictor)
    found = forecasts(AtOnce(score))
    assert found == forecasts(Scores(score))
    assert all(f.prediction and math.isfinite(f.volatility) for batch in found for f in batch)


def test_both_say_the_same_of_what_went_wrong() -> None:
    errors: list[tuple[AutotraderError, Cause | None]] = [
        (Unreachable("away"), Cause.PREDICTIONS),
        (Rejected("not so"), None),
    ]
    for error, outage in errors:
        waited, at_once = Scores(score), AtOnce(score)
        waited.fails = at_once.fails = error
        # Of forecasts without a prediction the entry score is NaN, which equals nothing.
        said = [[(f.reason, f.outage) for f in batch] for batch in forecasts(at_once)]
        assert said == [[(f.reason, f.outage) for f in batch] for batch in forecasts(waited)]
        assert said[0] == [(str(error), outage)] * 2


def test_an_entry_score_that_cannot_be_read_is_the_registrys_outage() -> None:
    for predictor in (Scores(score), AtOnce(score)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(predictor, "of", unreadable)
            assert {f.outage for batch in forecasts(predictor) for f in batch} == {Cause.REGISTRY}


def unreadable(version: str) -> EntryRule:
    raise Unreachable(f"expected MLflow to answer for {version}, was silence")


def test_a_version_is_asked_at_every_bar_and_decides_at_those_it_was_judged_by() -> None:
    predictor = Scores(score)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor, "of", lambda _: EntryRule(0.4, every_bars=5))
        found = forecasts(predictor)
    opens = [batch.ts.minute for batch in BARS[LOOKBACK:]]
    assert [{f.decides for f in batch} for batch in found] == [{minute % 5 == 0} for minute in opens]
    assert all(f.prediction and f.entry_score == 0.4 for batch in found for f in batch)


def test_nobody_is_asked_before_the_features_are_there() -> None:
    for predictor in (Scores(score), AtOnce(score)):
        predictor.fails = Unreachable("asked")
        assert {f.reason for batch in forecasts(predictor, warm=False) for f in batch} == {"features warm up"}
