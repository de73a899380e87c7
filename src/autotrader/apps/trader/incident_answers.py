"""Predictions of a replay: by the models that answered then, and by nobody where nobody did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autotrader.adapters.model_predictor import ModelPredictor
from autotrader.domain.errors import BadData, Refused
from autotrader.execution.strategy import EntryRule
from autotrader.features.definitions import BALANCED
from autotrader.ports.predictions import Prediction, PredictionRequest
from autotrader.ports.trading import Signal
from autotrader.registry.onnx_model import OnnxModel


def open_model(content: bytes, name: str) -> ModelPredictor:
    """A model that trades on the features that the trader computes.

    Raises
    ------
    BadData
        If it is of other features, or of no use for trading.
    """
    model = OnnxModel(Path(name), content=content)
    made_for = model.metadata.get("feature_set")
    if made_for != BALANCED.version:
        raise BadData(f"expected a model of features {BALANCED.version}, was {name} of {made_for}")
    return ModelPredictor(model, name)


class RecordedAnswers:
    """Predictor and entry rules: asks for each bar the version that answered then.

    Parameters
    ----------
    models : Mapping[str, bytes]
        ONNX files by version.
    signals : iterable of Signal
        As recorded.

    Attributes
    ----------
    rows : dict
        Features of the newest request of each instrument (`venue:symbol`), float32 (n_features,).

    Raises
    ------
    BadData
        If a model is missing or unusable.
    """

    def __init__(self, models: Mapping[str, bytes], signals: Iterable[Signal]) -> None:
        self._answered = {
            (str(signal.instrument), signal.ts): signal.version
            for signal in signals
            if signal.version is not None
        }
        if missing := sorted(set(self._answered.values()) - set(models)):
            raise BadData(f"expected models {', '.join(missing)} in the bundle, were none: export it again")
        self._models = {name: open_model(content, name) for name, content in models.items()}
        self.rows: dict[str, NDArray[np.float32]] = {}

    def of(self, version: str) -> EntryRule:
        return self._models[version].of(version)

    async def predict(self, request: PredictionRequest) -> Prediction:
        """Raises Refused where nobody answered then."""
        self.rows[request.instrument] = np.asarray(request.rows[0], np.float32)
        asked: tuple[str, datetime] = (request.instrument, request.ts[0])
        version = self._answered.get(asked)
        if version is None:
            raise Refused(f"expected an answer for {request.instrument}, was none then either")
        return await self._models[version].predict(request)
