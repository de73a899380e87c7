"""A release is served as it was registered, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from autotrader.apps.serving.release import load_release
from autotrader.domain.errors import AutotraderError, BadData, NotFound, Refused
from tests.models import FEATURES, onnx_model
from tests.serving import described, make_release


def test_a_release_is_loaded_with_what_it_says_of_itself(tmp_path: Path) -> None:
    loaded = load_release(make_release(tmp_path))
    assert loaded.release.version == "v1.2.3"
    assert loaded.feature_names == FEATURES
    assert loaded.interval == "1m"
    assert loaded.model.predict(np.zeros((2, 3), np.float32)).dtype == np.float32


def test_another_model_than_the_registered_one_is_refused(tmp_path: Path) -> None:
    make_release(tmp_path)
    (tmp_path / "model.onnx").write_bytes(described(onnx_model(seed=8)))
    with pytest.raises(Refused, match="sha256"):
        load_release(tmp_path)


def test_a_model_of_another_feature_set_is_refused(tmp_path: Path) -> None:
    make_release(tmp_path, model=described(onnx_model(), feature_set="other-v1"))
    with pytest.raises(Refused, match=r"feature set balanced-v1 .* was other-v1"):
        load_release(tmp_path)


def constant_model(values: list[float]) -> bytes:
    """A graph of the right form that always answers the same."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["features", "zeros"], ["nothing"]),
            helper.make_node("Add", ["nothing", "values"], ["probabilities"]),
        ],
        "constant",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 3])],
        [
            helper.make_tensor("zeros", TensorProto.FLOAT, [3, 3], [0.0] * 9),
            helper.make_tensor("values", TensorProto.FLOAT, [3], values),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    assert isinstance(model, onnx.ModelProto)
    return described(model.SerializeToString())


@pytest.mark.parametrize("values", [[0.1, 0.1, 0.1], [float("nan")] * 3, [2.0, 2.0, 2.0]])
def test_a_model_that_answers_no_probabilities_does_not_start(tmp_path: Path, values: list[float]) -> None:
    make_release(tmp_path, model=constant_model(values))
    with pytest.raises(BadData, match="three probabilities a row"):
        load_release(tmp_path)


def test_what_is_no_model_is_told_in_one_line_and_not_unpickled(tmp_path: Path) -> None:
    import pickle

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (str(tmp_path / "exploded"),))

    make_release(tmp_path, model=pickle.dumps(Bomb()))
    with pytest.raises(BadData) as caught:
        load_release(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("file", "content", "error"),
    [
        ("model.onnx", None, NotFound),
        ("release.json", None, NotFound),
        ("release.json", "{", BadData),
        ("release.json", "[]", BadData),
        ("release.json", json.dumps({"model": "m"}), BadData),
    ],
)
def test_an_incomplete_release_is_named(
    tmp_path: Path, file: str, content: str | None, error: type[AutotraderError]
) -> None:
    make_release(tmp_path)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(content)
    with pytest.raises(error):
        load_release(tmp_path)
