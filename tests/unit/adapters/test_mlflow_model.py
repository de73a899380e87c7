"""The files of a model, and what must not become one."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from autotrader.adapters.mlflow_model import model_files
from autotrader.domain.errors import BadData, Refused
from autotrader.ports.registry import ModelCandidate
from tests.models import FEATURES, candidate, onnx_model


@pytest.fixture
def given(tmp_path: Path) -> ModelCandidate:
    return candidate(tmp_path, "a", "run1")


def test_the_signature_names_the_features_in_order_with_their_dtype(given: ModelCandidate) -> None:
    signature = json.loads(model_files(given)["signature.json"])
    assert signature["feature_set"] == "balanced-v1"
    assert signature["features"] == [{"name": name, "dtype": "float32"} for name in FEATURES]
    assert signature["inputs"][0]["tensor-spec"] == {"dtype": "float32", "shape": [-1, 3]}
    assert signature["outputs"][0]["name"] == "probabilities"


def test_the_same_candidate_gives_the_same_bytes(given: ModelCandidate) -> None:
    assert model_files(given) == model_files(given)
    assert set(model_files(given)) == {
        "model.onnx",
        "model.txt",
        "signature.json",
        "MLmodel",
        "requirements.txt",
    }


@pytest.mark.parametrize("content", [b"", b"not a model", b"<html></html>", onnx_model()[:-40]])
def test_a_file_that_is_no_onnx_model_is_refused(given: ModelCandidate, content: bytes) -> None:
    given.onnx_path.write_bytes(content)
    with pytest.raises(BadData, match="expected"):
        model_files(given)


def test_a_model_of_another_width_is_refused(given: ModelCandidate) -> None:
    given.onnx_path.write_bytes(onnx_model(width=4))
    with pytest.raises(BadData, match=r"shape \[-1, 3\].*\[\[-1, 4\]\]"):
        model_files(given)


def test_a_model_that_keeps_weights_in_other_files_is_refused(given: ModelCandidate) -> None:
    model = onnx.load_model_from_string(onnx_model())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    given.onnx_path.write_bytes(model.SerializeToString())
    with pytest.raises(BadData):
        model_files(given)


def test_a_model_of_two_inputs_is_refused(given: ModelCandidate) -> None:
    model = onnx.load_model_from_string(onnx_model())
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [None, 3]))
    given.onnx_path.write_bytes(model.SerializeToString())
    with pytest.raises(BadData, match="one input"):
        model_files(given)


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model", "model.bin"])
def test_a_native_copy_that_could_run_code_is_refused(
    given: ModelCandidate, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"anything")
    with pytest.raises(Refused, match="never a pickle"):
        model_files(replace(given, native_path=path))


def test_a_pickle_under_another_name_is_refused(given: ModelCandidate) -> None:
    given.native_path.write_bytes(pickle.dumps({"weights": [1.0]}))
    with pytest.raises(Refused, match="was a pickle"):
        model_files(given)


def test_a_missing_file_is_named(given: ModelCandidate) -> None:
    given.native_path.unlink()
    with pytest.raises(BadData, match=given.native_path.name):
        model_files(given)
