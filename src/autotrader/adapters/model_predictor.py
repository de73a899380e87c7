"""A model in this process, asked as whoever is live is asked: for replays of what was decided."""

from __future__ import annotations

import time

import numpy as np

from autotrader.domain.errors import Rejected
from autotrader.domain.rollout import Color
from autotrader.execution.strategy import EntryRule
from autotrader.ports.predictions import Prediction, PredictionRequest
from autotrader.registry.onnx_model import OnnxModel


class ModelPredictor:
    """Predictor and entry rule of one ONNX model.

    Parameters
    ----------
    model : OnnxModel
    version : str
        As which it answers.
    """

    def __init__(self, model: OnnxModel, version: str) -> None:
        self._model = model
        self._version = version
        self._feature_set = model.metadata.get("feature_set", "")
        self._entry_rule = EntryRule.of(model.metadata)

    def of(self, version: str) -> EntryRule:  # noqa: ARG002 - it is the only one
        return self._entry_rule

    async def predict(self, request: PredictionRequest) -> Prediction:
        return self.answer(request)

    def answer(self, request: PredictionRequest) -> Prediction:
        if request.feature_set != self._feature_set:
            raise Rejected(f"expected features of {self._feature_set}, were of {request.feature_set}")
        names = tuple(request.feature_names or self._model.feature_names)
        rows = np.asarray(request.rows, np.float32)
        if names != self._model.feature_names:
            rows = np.ascontiguousarray(rows[:, [names.index(name) for name in self._model.feature_names]])
        began = time.perf_counter()
        found = self._model.predict(rows)
        return Prediction(
            request_id=request.request_id,
            instrument=request.instrument,
            color=Color.BLUE,
            version=self._version,
            epoch=0,
            probabilities=tuple(map(tuple, found.tolist())),
            seconds=time.perf_counter() - began,
        )
