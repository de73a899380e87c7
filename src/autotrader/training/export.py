"""Export of a fitted model: ONNX for serving, a native copy for people, and proof that they agree.

The ONNX graph holds the calibration too. Input `features` is float32[n, f], output `probabilities`
is float32[n, 3] in the order -1, 0, +1; what a user of the file must know beside that is in its
metadata: feature set, feature names, training key, score that opens a position.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autotrader.domain.errors import BadData, Refused
from autotrader.domain.thresholds import GATES
from autotrader.files import write_atomically
from autotrader.registry.onnx_model import OUTPUT, OnnxModel
from autotrader.training.artifacts import file_sha256
from autotrader.training.calibration import FLOOR, Calibration, Probabilities
from autotrader.training.classifiers import Classifier, Features, load_native

ONNX_FILE = "model.onnx"
NATIVE_STEM = "model"
_ROWS_ONE_BY_ONE = 64


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The two copies of one model, by path and digest."""

    onnx_path: str
    onnx_sha256: str
    native_path: str
    native_sha256: str

    def verify(self) -> None:
        """Check that both files still are what was exported.

        Raises
        ------
        Refused
            If a file is gone or its bytes differ.
        """
        for path, expected in ((self.onnx_path, self.onnx_sha256), (self.native_path, self.native_sha256)):
            if not Path(path).is_file():
                raise Refused(f"expected the model file {path}, was gone: train again")
            found = file_sha256(Path(path))
            if found != expected:
                raise Refused(
                    f"expected {path} with sha256 {expected}, was {found}: the file changed after it was "
                    "judged; train again"
                )


@dataclass(frozen=True, slots=True)
class OnnxEquality:
    """How far the ONNX copy is from the native one, on real rows.

    Attributes
    ----------
    rows : int
    maximum_difference : float
        Largest absolute difference of a probability.
    argmax_disagreements : int
        Rows whose most likely class differs although the native margin is wider than the bound
        could explain.
    single_row_difference : float
        Largest difference between rows asked one by one, as a service does, and in one batch.
    equal : bool
    reason : str
    """

    rows: int
    maximum_difference: float
    argmax_disagreements: int
    single_row_difference: float
    equal: bool
    reason: str


def export_model(
    classifier: Classifier,
    calibration: Calibration,
    folder: Path,
    *,
    feature_names: tuple[str, ...],
    metadata: Mapping[str, str],
) -> ModelFiles:
    """Write both copies of a fitted model into the folder.

    Parameters
    ----------
    classifier : Classifier
        Fitted.
    calibration : Calibration
    folder : Path
        Exists.
    feature_names : tuple of str
        In the order of the input's columns.
    metadata : Mapping[str, str]
        Goes into the ONNX file, with the feature names.
    """
    onnx_path, native_path = folder / ONNX_FILE, folder / f"{NATIVE_STEM}{classifier.native_suffix}"
    model = _with_calibration(classifier.to_onnx(), calibration)
    described = {**metadata, "feature_names": json.dumps(feature_names), "classes": "[-1, 0, 1]"}
    for name in sorted(described):
        model.metadata_props.add(key=name, value=described[name])
    write_atomically(onnx_path, model.SerializeToString(deterministic=True))
    classifier.save(native_path, calibration)
    return ModelFiles(str(onnx_path), file_sha256(onnx_path), str(native_path), file_sha256(native_path))


def compare_copies(files: ModelFiles, features: Features) -> OnnxEquality:
    """Load both files anew and compare them on real rows.

    Parameters
    ----------
    files : ModelFiles
    features : float32[n, f]
        n >= 1.

    Raises
    ------
    BadData
        If a file cannot be read as what it should be.
    """
    classifier, calibration = load_native(Path(files.native_path))
    native = calibration.apply(classifier.probabilities(features))
    served = OnnxModel(Path(files.onnx_path))
    batch = served.probabilities(features)
    if batch.shape != native.shape:
        raise BadData(f"expected probabilities of shape {native.shape} from ONNX, was {batch.shape}")
    single = np.vstack([served.probabilities(row[None, :]) for row in features[:_ROWS_ONE_BY_ONE]])

    difference = _largest(batch - native)
    single_difference = _largest(single - batch[: len(single)])
    ordered = np.sort(native, axis=1)
    bound = GATES.onnx_difference
    clear = ordered[:, -1] - ordered[:, -2] > 2 * bound
    disagreements = int((clear & (batch.argmax(axis=1) != native.argmax(axis=1))).sum())
    equal = (
        difference <= GATES.onnx_difference
        and single_difference <= GATES.onnx_difference
        and disagreements == 0
    )
    return OnnxEquality(
        rows=len(features),
        maximum_difference=difference,
        argmax_disagreements=disagreements,
        single_row_difference=single_difference,
        equal=equal,
        reason=f"ONNX and native copy differ by at most {difference:.1e} (bound {bound:.0e}) "
        f"on {len(features):,} real rows; {disagreements} other decisions",
    )


def _largest(difference: Probabilities) -> float:
    """NaN counts as 1: probabilities cannot differ more."""
    return float(np.max(np.nan_to_num(np.abs(difference), nan=1.0)))


def _with_calibration(model: Any, calibration: Calibration) -> Any:
    """The graph with softmax(slope * log(max(p, floor)) + bias) behind it and nothing else as output."""
    from onnx import TensorProto, checker, helper

    graph = model.graph
    raw = graph.output[-1].name
    constants = {
        "calibration_floor": [FLOOR],
        "calibration_slope": [calibration.slope],
        "calibration_bias": list(calibration.bias),
    }
    nodes = [
        helper.make_node("Max", ["raw_probabilities", "calibration_floor"], ["floored"]),
        helper.make_node("Log", ["floored"], ["log_probabilities"]),
        helper.make_node("Mul", ["log_probabilities", "calibration_slope"], ["scaled"]),
        helper.make_node("Add", ["scaled", "calibration_bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], [OUTPUT], axis=1),
    ]
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = ["raw_probabilities" if name == raw else name for name in names]
    assembled = helper.make_graph(
        [*graph.node, *nodes],
        "autotrader",
        list(graph.input),
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, 3])],
        initializer=[
            *graph.initializer,
            *(
                helper.make_tensor(name, TensorProto.FLOAT, [len(values)], values)
                for name, values in constants.items()
            ),
        ],
    )
    versions: dict[str, int] = {}
    for opset in model.opset_import:
        versions[opset.domain] = max(opset.version, versions.get(opset.domain, 0))
    result = helper.make_model(
        assembled,
        producer_name="autotrader",
        ir_version=model.ir_version,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in versions.items()],
    )
    checker.check_model(result)
    return result
