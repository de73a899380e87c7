"""Versions that break each other without the resolver noticing: what needs them is imported and run."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.metadata import version

import numpy as np
import pytest

BOUNDS = {
    "pandas": ((3, 0), (3, 1)),  # evidently fails at import with 3.1
    "celery": ((5, 5), (5, 7)),  # Airflow's celery provider fails at import with 5.7
    "protobuf": ((6, 0), (7, 0)),  # skl2onnx cannot convert HistGradientBoosting with 7
    "mlflow": ((3, 17), (3, 18)),  # the resolver falls back to 1.27; 3.18 cannot be installed
}


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_a_version_that_is_known_to_break_others_is_not_installed(name: str) -> None:
    least, below = BOUNDS[name]
    installed = tuple(int(part) for part in version(name).split(".")[:2])
    assert least <= installed < below


@pytest.mark.parametrize(
    ("module", "estimator", "parameters"),
    [
        ("sklearn.ensemble", "HistGradientBoostingClassifier", {"max_iter": 3}),
        ("sklearn.linear_model", "LogisticRegression", {}),
    ],
)
def test_scikit_learn_converts_to_onnx(module: str, estimator: str, parameters: dict[str, int]) -> None:
    from skl2onnx import to_onnx

    features, label = _rows()
    model = getattr(import_module(module), estimator)(**parameters).fit(features, label)
    converted = to_onnx(model, features[:1], options={"zipmap": False})
    np.testing.assert_allclose(_served(converted, features), model.predict_proba(features), atol=1e-5)


def test_lightgbm_converts_to_onnx() -> None:
    import lightgbm
    import onnxmltools
    from onnxmltools.convert.common.data_types import FloatTensorType

    features, label = _rows()
    parameters = {"objective": "multiclass", "num_class": 3, "verbosity": -1, "num_threads": 1}
    model = lightgbm.train(parameters, lightgbm.Dataset(features, label + 1), 3)
    converted = onnxmltools.convert_lightgbm(
        model, initial_types=[("features", FloatTensorType([None, 4]))], zipmap=False
    )
    np.testing.assert_allclose(_served(converted, features), model.predict(features), atol=1e-5)


@pytest.mark.integration
@pytest.mark.parametrize(
    "module",
    ["evidently", "mlflow", "airflow.providers.celery.executors.celery_executor", "optuna", "skops.io"],
)
def test_a_heavy_library_imports(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _rows() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(300, 4)).astype(np.float32)
    return features, np.digitize(features[:, 0], [-0.5, 0.5]) - 1


def _served(model: object, features: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])  # type: ignore[attr-defined]
    served: np.ndarray = session.run(None, {session.get_inputs()[0].name: features})[-1]
    return served
