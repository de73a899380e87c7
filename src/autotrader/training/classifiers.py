"""Classifiers behind one interface: fit, probabilities, save and load without pickle, ONNX.

Every model predicts the probabilities of -1, 0 and +1 (a fall beyond costs, neither, a rise beyond
costs) from float32 features.

Trees compare a feature with a threshold. Libraries keep thresholds as float64, ONNX as float32, so
that a value between the two falls on different sides: with features on a coarse grid thousands of
rows differ. Features are float32, for which `x <= t` and `x <= (largest float32 not above t)` mean
the same: so thresholds are rounded down to float32 once after fitting, which changes no prediction
and makes the two copies equal.
"""

from __future__ import annotations

import functools
import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from autotrader.command import to_plain
from autotrader.domain.errors import BadData
from autotrader.registry.onnx_model import INPUT
from autotrader.training.calibration import Calibration, Probabilities

CLASSES = (-1, 0, 1)

Features = NDArray[np.float32]
Labels = NDArray[np.int8]
Parameters = Mapping[str, Any]

# What a skops file of ours may hold beyond the types that skops trusts by itself.
TRUSTED_TYPES = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",)


class Classifier(Protocol):
    """A model before calibration."""

    native_suffix: str

    def fit(self, features: Features, label: Labels) -> None:
        """Learn from float32[n, f] and int8[n] in {-1, 0, +1}; every class must occur."""
        ...

    def probabilities(self, features: Features) -> Probabilities:
        """float64[n, 3]: of -1, 0, +1; rows sum to 1."""
        ...

    def importance(self) -> NDArray[np.float64]:
        """float64[f], not negative, sums to 1 (or all 0): what the model uses, by its own measure."""
        ...

    def save(self, path: Path, calibration: Calibration) -> None:
        """Write the native copy: nothing in it is a pickle."""
        ...

    def to_onnx(self) -> Any:
        """ModelProto with input `features` float32[n, f]; its last output is float32[n, 3]."""
        ...


@functools.cache
def _thread_pools() -> Any:
    """Pools of the libraries that scikit-learn computes with; to find them takes 13 ms, so once."""
    import sklearn.ensemble  # noqa: F401 - loads them all
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


class SklearnClassifier:
    """A scikit-learn estimator; its native copy is a skops file."""

    native_suffix = ".skops"

    def __init__(self, estimator: Any, *, threads: int) -> None:
        self._estimator = estimator
        self._threads = threads

    def fit(self, features: Features, label: Labels) -> None:
        from sklearn.exceptions import ConvergenceWarning

        _require_classes(label)
        # A search meets settings that need more iterations than they are given; such a model is
        # judged as it is.
        with _thread_pools().limit(limits=self._threads), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._estimator.fit(features, label)
        for trees in getattr(self._estimator, "_predictors", []):
            for tree in trees:
                tree.nodes["num_threshold"] = _round_down(tree.nodes["num_threshold"])

    def probabilities(self, features: Features) -> Probabilities:
        with _thread_pools().limit(limits=self._threads):
            result: Probabilities = self._estimator.predict_proba(features).astype(np.float64, copy=False)
        return result

    def importance(self) -> NDArray[np.float64]:
        """Size of standardised coefficients, or of split gains."""
        return _normalised(_sklearn_importance(self._estimator))

    def save(self, path: Path, calibration: Calibration) -> None:
        import skops.io

        skops.io.dump({"model": self._estimator, "calibration": to_plain(calibration)}, path)

    def to_onnx(self) -> Any:
        from skl2onnx import convert_sklearn
        from skl2onnx.common.data_types import FloatTensorType

        width = self._estimator.n_features_in_
        return convert_sklearn(
            self._estimator,
            name="autotrader",
            initial_types=[(INPUT, FloatTensorType([None, width]))],
            options={"zipmap": False},
            target_opset={"": 18, "ai.onnx.ml": 3},
        )


class LightGbmClassifier:
    """A LightGBM booster; its native copy is LightGBM's own text, the calibration a line in its head."""

    native_suffix = ".txt"

    def __init__(self, parameters: Parameters, *, rounds: int, threads: int, booster: Any = None) -> None:
        self._parameters = parameters
        self._rounds = rounds
        self._threads = threads
        self._booster = booster

    def fit(self, features: Features, label: Labels) -> None:
        import lightgbm

        _require_classes(label)
        parameters = {
            **self._parameters,
            "objective": "multiclass",
            "num_class": len(CLASSES),
            "num_threads": self._threads,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        data = lightgbm.Dataset(features, label.astype(np.int32) + 1, params={"verbosity": -1})
        text = lightgbm.train(parameters, data, self._rounds).model_to_string()
        self._booster = lightgbm.Booster(model_str=_round_thresholds_down(text))

    def probabilities(self, features: Features) -> Probabilities:
        result: Probabilities = self._booster.predict(features, num_threads=self._threads)
        return result

    def importance(self) -> NDArray[np.float64]:
        """Total gain of the splits on each feature."""
        return _normalised(self._booster.feature_importance("gain").astype(np.float64))

    def save(self, path: Path, calibration: Calibration) -> None:
        line = f"\n{_CALIBRATION_LINE}={json.dumps(to_plain(calibration))}\nfeature_names="
        path.write_text(self._booster.model_to_string().replace("\nfeature_names=", line, 1))

    def to_onnx(self) -> Any:
        import onnxmltools
        from onnxmltools.convert.common.data_types import FloatTensorType

        width = self._booster.num_feature()
        return onnxmltools.convert_lightgbm(
            self._booster,
            name="autotrader",
            initial_types=[(INPUT, FloatTensorType([None, width]))],
            zipmap=False,
        )


def load_native(path: Path, *, threads: int = 1) -> tuple[Classifier, Calibration]:
    """Read a native copy back; only types of our own allow-list are ever constructed.

    Raises
    ------
    BadData
        If the file is not a native copy, or holds a type that is not on the list.
    """
    if path.suffix == LightGbmClassifier.native_suffix:
        return _load_lightgbm(path, threads=threads)
    if path.suffix == SklearnClassifier.native_suffix:
        return _load_skops(path, threads=threads)
    raise BadData(f"expected a .skops or .txt file, was {path.name}")


def _load_skops(path: Path, *, threads: int) -> tuple[Classifier, Calibration]:
    import zipfile

    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        content = skops.io.load(path, trusted=list(TRUSTED_TYPES))
        calibration = _calibration(content["calibration"])
        return SklearnClassifier(content["model"], threads=threads), calibration
    except UntrustedTypesFoundException as error:
        raise BadData(f"expected only types of the allow-list in {path.name}: {error}") from None
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise BadData(f"expected a skops file of ours in {path.name}: {error}") from None


def _load_lightgbm(path: Path, *, threads: int) -> tuple[Classifier, Calibration]:
    import lightgbm

    text = path.read_text(errors="replace")
    line = re.search(rf"^{_CALIBRATION_LINE}=(.*)$", text, re.MULTILINE)
    if line is None:
        raise BadData(f"expected a line {_CALIBRATION_LINE}=... in {path.name}, was none")
    try:
        booster = lightgbm.Booster(model_str=text)
        calibration = _calibration(json.loads(line.group(1)))
    except (lightgbm.basic.LightGBMError, ValueError) as error:
        raise BadData(f"expected a LightGBM text model in {path.name}: {error}") from None
    return LightGbmClassifier({}, rounds=0, threads=threads, booster=booster), calibration


_CALIBRATION_LINE = "autotrader_calibration"


def _calibration(data: Mapping[str, Any]) -> Calibration:
    down, middle, up = (float(v) for v in data["bias"])
    return Calibration(float(data["slope"]), (down, middle, up))


def _require_classes(label: Labels) -> None:
    missing = sorted(set(CLASSES) - set(np.unique(label).tolist()))
    if missing:
        raise BadData(
            f"expected every class among {label.size} training rows, was none of {missing}: "
            "use a longer training window, or a cost that fits the market"
        )


def _round_down(threshold: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest float32 not above each float64."""
    with np.errstate(over="ignore"):
        rounded = threshold.astype(np.float32)
    above = rounded.astype(np.float64) > threshold
    rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
    return rounded.astype(np.float64)


def _round_thresholds_down(text: str) -> str:
    def rounded(line: re.Match[str]) -> str:
        values = _round_down(np.array(line.group(1).split(), dtype=np.float64))
        return "threshold=" + " ".join(repr(float(v)) for v in values)

    text = re.sub(r"^threshold=(.*)$", rounded, text, flags=re.MULTILINE)
    # Byte sizes of the trees, for a parallel parser that is not needed: they no longer hold.
    return re.sub(r"^tree_sizes=.*\n", "", text, flags=re.MULTILINE)


def _sklearn_importance(estimator: Any) -> NDArray[np.float64]:
    if hasattr(estimator, "named_steps"):
        coefficients: NDArray[np.float64] = np.abs(estimator[-1].coef_).sum(axis=0)
        return coefficients
    gains = np.zeros(estimator.n_features_in_)
    for trees in estimator._predictors:
        for tree in trees:
            inner = tree.nodes[tree.nodes["is_leaf"] == 0]
            np.add.at(gains, inner["feature_idx"], np.maximum(inner["gain"], 0.0))
    return gains


def _normalised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    total = values.sum()
    return values / total if total > 0 else values
