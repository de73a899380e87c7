"""A registered model as it is served: the ONNX copy, opened as our contract says.

It lies here rather than with training because whoever fetches a version from the registry (the
checks before a deployment, the watch on what is live) opens it the same way, and may not import
what made it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autotrader.domain.errors import BadData

if TYPE_CHECKING:
    import onnxruntime

INPUT = "features"
OUTPUT = "probabilities"


class OnnxModel:
    """An ONNX file that follows our contract, as a service would load it.

    Parameters
    ----------
    path : Path
    content : bytes or None
        The file's bytes, from a caller who read (and checked) them; None reads them.

    Attributes
    ----------
    metadata : dict of str to str
        What the file says of itself: `feature_set`, `training_key`, ...
    feature_names : tuple of str
        In the order of the input's columns.

    Raises
    ------
    BadData
        If it is no ONNX file, or its input, output or metadata are not as the contract says.
    """

    def __init__(self, path: Path, *, content: bytes | None = None) -> None:
        graph = path.read_bytes() if content is None else content
        try:
            self._session = _open(graph)
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no base below Exception
            raise BadData(f"expected an ONNX model in {path}: {error}") from None
        inputs = [(i.name, i.type) for i in self._session.get_inputs()]
        outputs = [(o.name, o.type) for o in self._session.get_outputs()]
        if inputs != [(INPUT, "tensor(float)")] or outputs != [(OUTPUT, "tensor(float)")]:
            raise BadData(
                f"expected input {INPUT} and output {OUTPUT}, float32, in {path}: was {inputs}, {outputs}"
            )
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        try:
            self.feature_names = tuple(json.loads(self.metadata.get("feature_names", "[]")))
        except (ValueError, TypeError):
            raise BadData(f"expected a JSON list of feature names in {path}, was none") from None
        width = self._session.get_inputs()[0].shape[1]
        if len(self.feature_names) != width:
            raise BadData(f"expected names of {width} features in {path}, were {len(self.feature_names)}")

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """float64[n, 3] of float32[n, f]: of a fall, neither, a rise."""
        return self.predict(np.ascontiguousarray(features)).astype(np.float64)

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[n, 3], as the graph gives it, of contiguous float32[n, f]."""
        result: NDArray[np.float32]
        (result,) = self._session.run([OUTPUT], {INPUT: features})
        return result


def _open(graph: bytes) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # One thread adds up the trees in one order: the answer does not depend on the number of cores.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
