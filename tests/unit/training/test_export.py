"""A model whose copies differ, or whose files were touched, is not registered."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from autotrader.config.settings import Environment
from autotrader.domain.errors import BadData, Refused
from autotrader.ports.registry import ModelStatus
from autotrader.registry.onnx_model import OnnxModel
from autotrader.training.artifacts import file_sha256
from autotrader.training.dataset import open_dataset
from autotrader.training.evaluation import Evaluation
from autotrader.training.export import ModelFiles, compare_copies
from autotrader.training.gates import Decision, Outcome
from autotrader.training.registration import Registration, register_model
from autotrader.training.validation import Validation
from tests.fakes.registry import InMemoryRegistry
from tests.fakes.training_run import TrainingRun


def copied(evaluation: Evaluation, folder: Path) -> Evaluation:
    """The same evaluation, its model's files in a folder where they may be spoilt."""
    onnx_path = Path(shutil.copy(evaluation.files.onnx_path, folder))
    native_path = Path(shutil.copy(evaluation.files.native_path, folder))
    return replace(
        evaluation,
        files=replace(evaluation.files, onnx_path=str(onnx_path), native_path=str(native_path)),
    )


def with_other_slope(path: Path) -> None:
    """Change the model a little, in a way that every checker of ONNX files accepts."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == "calibration_slope":
            slope = onnx.numpy_helper.to_array(tensor) * np.float32(1.01)
            tensor.CopyFrom(onnx.numpy_helper.from_array(slope, tensor.name))
    onnx.save(model, path)


def register(
    run: TrainingRun, evaluation: Evaluation, validation: Validation, registry: InMemoryRegistry
) -> Registration:
    return register_model(
        prepared=run.prepare(),
        evaluation=evaluation,
        validation=validation,
        strategy=run.strategy,
        registry=registry,
        tracker=run.tracker,
        run_id=run.run_id,
        git_sha="6421acd",
        actor="test",
        window_hours=24,
    )


def test_a_sound_model_is_registered_once_with_its_verdict(signal: TrainingRun) -> None:
    registry = InMemoryRegistry()
    evaluation, validation = signal.evaluate(), signal.validate()
    first = register(signal, evaluation, validation, registry)
    assert register(signal, evaluation, validation, registry) == first
    assert (first.registered, first.semver, first.status) == (True, "v1.0.0", ModelStatus.CANDIDATE)
    assert first.may_deploy
    (version,) = registry.list(signal.strategy.strategy_id)
    assert version.onnx_sha256 == evaluation.files.onnx_sha256
    assert version.tags["gate_report_sha256"] == file_sha256(Path(validation.report_path))
    assert version.reason.startswith("promoted: advisory: ")
    assert signal.tracker.runs[signal.run_id].status == "FINISHED"


def test_a_model_that_failed_an_enforced_performance_gate_is_registered_as_rejected(
    signal: TrainingRun,
) -> None:
    validation = signal.validate(Environment.STAGING)
    made = register(signal, signal.evaluate(), validation, InMemoryRegistry())
    assert (made.status, made.may_deploy) == (ModelStatus.REJECTED, False)


def test_an_onnx_file_that_differs_from_the_original_fails_its_gate_and_is_not_registered(
    signal: TrainingRun, tmp_path: Path
) -> None:
    evaluation = copied(signal.evaluate(), tmp_path)
    with_other_slope(Path(evaluation.files.onnx_path))
    judged = replace(
        evaluation,
        files=replace(evaluation.files, onnx_sha256=file_sha256(Path(evaluation.files.onnx_path))),
    )
    validation = signal.validate(evaluation=judged)
    gate = next(g for g in validation.gates if g.name == "onnx_equality")
    assert gate.outcome is Outcome.FAIL
    assert gate.value is not None
    assert gate.value > 1e-5
    assert (validation.decision, validation.is_sound) == (Decision.REJECTED, False)
    registry = InMemoryRegistry()
    made = register(signal, judged, validation, registry)
    assert not made.registered
    assert "ONNX" in made.reason
    assert registry.list(signal.strategy.strategy_id) == []


@pytest.mark.parametrize("which", ["onnx_path", "native_path"])
def test_a_file_that_changed_after_it_was_judged_is_refused(
    signal: TrainingRun, tmp_path: Path, which: str
) -> None:
    evaluation = copied(signal.evaluate(), tmp_path)
    validation = signal.validate(evaluation=evaluation)
    path = Path(getattr(evaluation.files, which))
    path.write_bytes(path.read_bytes() + b"\n")
    registry = InMemoryRegistry()
    with pytest.raises(Refused, match="changed after it was judged"):
        register(signal, evaluation, validation, registry)
    path.unlink()
    with pytest.raises(Refused, match="was gone"):
        register(signal, evaluation, validation, registry)
    assert registry.list(signal.strategy.strategy_id) == []


def test_copies_that_differ_are_refused_even_if_the_digests_were_made_to_fit(
    signal: TrainingRun, tmp_path: Path
) -> None:
    evaluation = copied(signal.evaluate(), tmp_path)
    validation = signal.validate(evaluation=evaluation)
    path = Path(evaluation.files.onnx_path)
    with_other_slope(path)
    forged = replace(evaluation, files=replace(evaluation.files, onnx_sha256=file_sha256(path)))
    with pytest.raises(Refused, match="expected equal copies"):
        register(signal, forged, validation, InMemoryRegistry())


def test_probabilities_that_are_not_numbers_are_a_difference(signal: TrainingRun, tmp_path: Path) -> None:
    evaluation = copied(signal.evaluate(), tmp_path)
    path = Path(evaluation.files.onnx_path)
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == "calibration_bias":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.full(3, np.nan, np.float32), tensor.name))
    onnx.save(model, path)
    found = compare_copies(evaluation.files, open_dataset(signal.prepare()).features[:100])
    assert (found.equal, found.maximum_difference) == (False, 1.0)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x80\x04."])
def test_a_file_that_is_no_onnx_model_is_bad_data(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(BadData, match="expected an ONNX model"):
        OnnxModel(path)


def test_an_onnx_model_of_another_contract_is_bad_data(signal: TrainingRun, tmp_path: Path) -> None:
    path = Path(shutil.copy(signal.evaluate().files.onnx_path, tmp_path))
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(BadData, match="expected names of 42 features"):
        OnnxModel(path)
    model.graph.output[0].name = "other"
    model.graph.node[-1].output[0] = "other"
    onnx.save(model, path)
    with pytest.raises(BadData, match="expected input features and output probabilities"):
        OnnxModel(path)


def test_files_verify_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    digest = file_sha256(tmp_path / "a")
    ModelFiles(str(tmp_path / "a"), digest, str(tmp_path / "a"), digest).verify()
    with pytest.raises(Refused):
        ModelFiles(str(tmp_path / "a"), digest, str(tmp_path / "a"), "0" * 64).verify()
