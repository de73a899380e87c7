"""Small models for tests of what handles models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from autotrader.features.definitions import BALANCED
from autotrader.ports.registry import ModelCandidate, ModelStatus

FEATURES = ("rsi_14", "atr_14", "log_return_20")
TAGS = {
    "git_sha": "6421acd",
    "data_versions": json.dumps({"bars": 3, "features": 2}),
    "feature_set": "balanced-v1",
}


def onnx_model(seed: int = 7, *, width: int = len(FEATURES)) -> bytes:
    """A softmax regression of three classes with random weights."""
    weights = np.random.default_rng(seed).normal(size=(width, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["features", "weights"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        ],
        "softmax",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 3])],
        [numpy_helper.from_array(weights, "weights")],
    )
    opset = helper.make_opsetid("", 17)
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    return model.SerializeToString()


def trading_model(
    feature: str = "zscore_20", *, pull: float = 1.0, entry_score: float = 0.1, every_bars: int = 1
) -> bytes:
    """A model of the trader's features that foresees a rise where one of them is high.

    Parameters
    ----------
    pull : float
        How strongly; below zero it foresees a fall.
    """
    weights = np.zeros((len(BALANCED.names), 3), np.float32)
    weights[BALANCED.names.index(feature)] = (-pull, 0.0, pull)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["features", "weights"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        ],
        "trading",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, len(weights)])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 3])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10
    )
    helper.set_model_props(
        model,
        {
            "feature_set": BALANCED.version,
            "feature_names": json.dumps(BALANCED.names),
            "entry_score": json.dumps(entry_score),
            "decide_every_bars": json.dumps(every_bars),
        },
    )
    return model.SerializeToString()


def candidate(
    folder: Path,
    key: str,
    run_id: str,
    *,
    name: str = "autotrader-strategy",
    status: ModelStatus = ModelStatus.CANDIDATE,
    reason: str = "all enforced gates passed",
    tags: Mapping[str, str] = TAGS,
    seed: int = 7,
) -> ModelCandidate:
    """A candidate whose files lie in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx_path, native_path = folder / f"{key}.onnx", folder / f"{key}.txt"
    onnx_path.write_bytes(onnx_model(seed))
    native_path.write_text(f"weights of {key}\n")
    return ModelCandidate(
        name=name,
        training_key=key,
        onnx_path=onnx_path,
        native_path=native_path,
        feature_names=FEATURES,
        run_id=run_id,
        status=status,
        reason=reason,
        tags=tags,
    )
