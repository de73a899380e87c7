"""Every family: it learns, it is what it was after saving, and ONNX says the same."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from autotrader.domain.errors import BadData, ConfigurationError
from autotrader.execution.strategy import score_of
from autotrader.registry.onnx_model import OnnxModel
from autotrader.training.calibration import Calibration, fit_calibration
from autotrader.training.classifiers import Classifier, load_native
from autotrader.training.export import compare_copies, export_model
from autotrader.training.models import FAMILIES, family
from autotrader.training.skill import direction_area

if TYPE_CHECKING:
    import optuna

NAMES = tuple(f"feature_{i}" for i in range(6))
CALIBRATION = Calibration(0.8, (0.1, 0.0, -0.2))


@functools.cache
def made_rows() -> tuple[np.ndarray, np.ndarray]:
    """Rows with a signal; one column of neighbouring float32 values, one of whole numbers."""
    generator = np.random.default_rng(0)
    n = 6_000
    features = generator.normal(size=(n, 6)).astype(np.float32)
    features[:, 3] = np.float32(1) + generator.integers(0, 6, n) * np.spacing(np.float32(1))
    features[:, 4] = generator.integers(0, 24, n)
    tick = features[:, 3] > np.float32(1) + 2 * np.spacing(np.float32(1))
    signal = 0.6 * features[:, 0] + 0.8 * tick + generator.normal(size=n)
    label = np.where(signal > 0.9, 1, np.where(signal < -0.1, -1, 0)).astype(np.int8)
    return features, label


def drawn(seed: int) -> optuna.Trial:
    import optuna

    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()


@functools.cache
def fitted(name: str) -> Classifier:
    features, label = made_rows()
    model = family(name).build(family(name).suggest(drawn(3)), 7, 1)
    model.fit(features[:4_000], label[:4_000])
    return model


@pytest.fixture(params=sorted(FAMILIES))
def model(request: pytest.FixtureRequest) -> Classifier:
    return fitted(request.param)


def test_a_signal_is_found_and_probabilities_are_probabilities(model: Classifier) -> None:
    features, label = made_rows()
    probabilities = model.probabilities(features[4_000:])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert direction_area(label[4_000:], score_of(probabilities)) > 0.7


def test_a_model_saved_and_loaded_says_the_same(model: Classifier, tmp_path: Path) -> None:
    features, _ = made_rows()
    path = tmp_path / f"model{model.native_suffix}"
    model.save(path, CALIBRATION)
    loaded, calibration = load_native(path)
    assert calibration == CALIBRATION
    np.testing.assert_array_equal(loaded.probabilities(features), model.probabilities(features))


def test_onnx_agrees_on_values_a_float32_step_apart(model: Classifier, tmp_path: Path) -> None:
    features, label = made_rows()
    calibration = fit_calibration(model.probabilities(features), label)
    files = export_model(model, calibration, tmp_path, feature_names=NAMES, metadata={"training_key": "k"})
    found = compare_copies(files, features)
    assert found.equal, found.reason
    assert found.maximum_difference < 1e-6
    served = OnnxModel(Path(files.onnx_path))
    assert served.feature_names == NAMES
    assert served.metadata["training_key"] == "k"


def test_importance_is_a_share_and_knows_the_signal(model: Classifier) -> None:
    importance = model.importance()
    assert importance.sum() == pytest.approx(1)
    assert importance.argmax() == 0


def test_the_same_seed_makes_the_same_model() -> None:
    features, label = made_rows()
    for kind in FAMILIES.values():
        parameters = kind.suggest(drawn(5))
        twins = [kind.build(parameters, 7, 1) for _ in range(2)]
        for twin in twins:
            twin.fit(features[:1_000], label[:1_000])
        one, other = (t.probabilities(features[:50]) for t in twins)
        np.testing.assert_array_equal(one, other)


def test_a_missing_class_is_refused_before_fitting() -> None:
    features, _ = made_rows()
    for kind in FAMILIES.values():
        parameters = kind.suggest(drawn(5))
        with pytest.raises(BadData, match=r"none of \[0\]"):
            kind.build(parameters, 7, 1).fit(features[:4], np.array([1, -1, 1, -1], np.int8))


def test_an_unknown_family_is_named_with_those_that_exist() -> None:
    with pytest.raises(ConfigurationError, match=r"expected a model of logistic, .* was 'oracle'"):
        family("oracle")


class Stranger:
    """A type that no model of ours holds."""


def test_a_native_copy_with_a_type_off_the_list_is_not_loaded(tmp_path: Path) -> None:
    import skops.io

    path = tmp_path / "model.skops"
    skops.io.dump({"model": Stranger(), "calibration": {"slope": 1.0, "bias": [0, 0, 0]}}, path)
    with pytest.raises(BadData, match="allow-list"):
        load_native(path)


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"tree\nversion=v4\n"])
@pytest.mark.parametrize("suffix", [".skops", ".txt", ".pkl"])
def test_what_is_no_native_copy_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(BadData):
        load_native(path)
