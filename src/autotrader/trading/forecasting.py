"""From closed bars to forecasts: live features, then whoever is live for the instrument."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from autotrader.domain.bars import Interval
from autotrader.domain.errors import AutotraderError, BadData, Unreachable
from autotrader.domain.instruments import InstrumentId
from autotrader.domain.trading import Cause
from autotrader.execution.strategy import VOLATILITY_FEATURE, EntryRule, decides
from autotrader.features.definitions import FeatureSet
from autotrader.features.live import LiveFeatures
from autotrader.ports.predictions import ImmediatePredictor, Prediction, PredictionRequest, Predictor
from autotrader.trading.bars import Bar, Batch

_WARMS_UP = "features warm up"


class EntryRules(Protocol):
    """When a model version decides and from which score it opens positions."""

    def of(self, version: str) -> EntryRule:
        """Raises Unreachable or NotFound where the version's model cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is foreseen at a bar's close.

    Attributes
    ----------
    prediction : Prediction or None
    entry_score : float
        Of the version that answered; NaN without a prediction.
    decides : bool
        Whether that version decides at this bar; in between, it is asked for its opinion alone.
    volatility : float
        Standard deviation of one bar's simple return; NaN while it warms up.
    reason : str
        Why there is no prediction.
    outage : Cause or None
        What is away, where that is why there is no prediction: PREDICTIONS or REGISTRY.
    """

    prediction: Prediction | None
    entry_score: float
    volatility: float
    decides: bool = False
    reason: str = ""
    outage: Cause | None = None

    @property
    def score(self) -> float:
        """In [-1, 1]; NaN is no opinion."""
        return self.prediction.scores[0] if self.prediction else math.nan

    @property
    def confidence(self) -> float | None:
        """Probability of the likeliest class."""
        return max(self.prediction.probabilities[0]) if self.prediction else None


class Forecasting:
    """Features of every instrument, kept bar by bar, and the predictions that are asked with them.

    Parameters
    ----------
    predictor : Predictor
    entry_rules : EntryRules
    feature_set : FeatureSet
    interval : Interval
    instruments : sequence of InstrumentId
    name : str
        Begins the ids of requests, which are made of it, the bar and the instrument.
    replayed : bool
        Whether the answers are acted on in replayed time only.
    patience_seconds : float
        An answer that has not come by then is none.
    """

    def __init__(
        self,
        predictor: Predictor,
        entry_rules: EntryRules,
        *,
        feature_set: FeatureSet,
        interval: Interval,
        instruments: Sequence[InstrumentId],
        name: str,
        replayed: bool,
        patience_seconds: float = 2.0,
    ) -> None:
        self._predictor = predictor
        self._at_once = predictor if isinstance(predictor, ImmediatePredictor) else None
        self._entry_rules = entry_rules
        self._feature_set = feature_set
        self._interval = interval
        self._features = {i: LiveFeatures(interval, feature_set) for i in instruments}
        self._newest: dict[InstrumentId, int] = {}
        self._volatility = feature_set.names.index(VOLATILITY_FEATURE)
        self._name = name
        self._replayed = replayed
        self._patience = patience_seconds

    def warm(self, instrument: InstrumentId, ts_us: NDArray[np.int64], columns: NDArray[np.float64]) -> None:
        """Take bars of the past.

        Parameters
        ----------
        ts_us : int64 array (n,)
            Opens, microseconds since 1970, ascending.
        columns : float64 array (5, n)
            High, low, close, volume, taker-buy volume; NaN where unknown.
        """
        features = self._features[instrument]
        for at, column in zip(ts_us.tolist(), columns.T.tolist(), strict=True):
            features.append(at, *column)
            self._newest[instrument] = at

    async def forecast(self, batch: Batch) -> Mapping[InstrumentId, Forecast]:
        """One forecast for each bar of the batch, all of them asked at once."""
        ts_us, ts = round(batch.ts.timestamp() * 1_000_000), batch.ts.astimezone(UTC)
        rows = {bar.instrument: self._row(bar, ts_us) for bar in batch.bars}
        asked = [
            (self._request(instrument, ts, ts_us, row) if _is_whole(row) else None, row[self._volatility])
            for instrument, row in rows.items()
        ]
        if self._at_once is not None:
            ask = self._at_once.answer
            made = [self._forecast(ask, request, volatility, ts_us) for request, volatility in asked]
        else:
            made = await asyncio.gather(
                *(self._ask(request, volatility, ts_us) for request, volatility in asked)
            )
        return dict(zip(rows, made, strict=True))

    def _row(self, bar: Bar, ts_us: int) -> list[float]:
        if self._newest.get(bar.instrument, -1) >= ts_us:
            raise BadData(f"expected bars of {bar.instrument} in order, was {ts_us} us again")
        self._newest[bar.instrument] = ts_us
        features = self._features[bar.instrument]
        row = features.update(ts_us, bar.high, bar.low, bar.close, bar.volume, bar.taker_buy)
        values: list[float] = row.tolist()
        return values

    async def _ask(self, request: PredictionRequest | None, volatility: float, ts_us: int) -> Forecast:
        if request is None:
            return Forecast(None, math.nan, volatility, reason=_WARMS_UP)
        try:
            async with asyncio.timeout(self._patience):
                prediction = await self._predictor.predict(request)
        except TimeoutError:
            late = f"no answer in {self._patience:g} s"
            return Forecast(None, math.nan, volatility, reason=late, outage=Cause.PREDICTIONS)
        except AutotraderError as error:
            return _without(error, volatility, Cause.PREDICTIONS)
        return self._by_its_rule(prediction, volatility, ts_us)

    def _forecast(
        self,
        ask: Callable[[PredictionRequest], Prediction],
        request: PredictionRequest | None,
        volatility: float,
        ts_us: int,
    ) -> Forecast:
        if request is None:
            return Forecast(None, math.nan, volatility, reason=_WARMS_UP)
        try:
            prediction = ask(request)
        except AutotraderError as error:
            return _without(error, volatility, Cause.PREDICTIONS)
        return self._by_its_rule(prediction, volatility, ts_us)

    def _by_its_rule(self, prediction: Prediction, volatility: float, ts_us: int) -> Forecast:
        try:
            rule = self._entry_rules.of(prediction.version)
        except AutotraderError as error:
            return _without(error, volatility, Cause.REGISTRY)
        now = decides(ts_us, self._interval, rule.every_bars)
        return Forecast(prediction, rule.score, volatility, decides=now)

    def _request(
        self, instrument: InstrumentId, ts: datetime, ts_us: int, row: list[float]
    ) -> PredictionRequest:
        return PredictionRequest(
            request_id=f"{self._name}-{instrument.symbol}-{ts_us}",
            instrument=str(instrument),
            feature_set=self._feature_set.version,
            ts=[ts],
            rows=[row],
            feature_names=self._feature_set.names,
            replayed=self._replayed,
        )


def _is_whole(row: list[float]) -> bool:
    # Not by numpy, which takes three times as long. What is float32 cannot add up to infinity by itself.
    return math.isfinite(sum(row))


def _without(error: AutotraderError, volatility: float, away: Cause) -> Forecast:
    outage = away if isinstance(error, Unreachable) else None
    return Forecast(None, math.nan, volatility, reason=str(error), outage=outage)
