"""The files of a registered model, in the folder layout that MLflow knows.

Written by hand rather than by `mlflow.onnx.log_model`: the folder is the same (`mlflow.onnx.load_model`
and `mlflow models serve` read it), but every byte of it follows from the candidate, so that a
registration that is repeated after a crash writes the same files with the same digests.
"""

from __future__ import annotations

import json
from importlib.metadata import version as installed_version
from pathlib import PurePath
from typing import Any

from autotrader.domain.errors import BadData, Refused
from autotrader.ports.registry import ModelCandidate

ONNX_FILE = "model.onnx"
SIGNATURE_FILE = "signature.json"
MLMODEL_FILE = "MLmodel"

# A tensor in the notation of MLflow's model signatures; a size of -1 is any.
Tensor = dict[str, Any]

# Formats that can be read without running what is in them.
NATIVE_SUFFIXES = (".skops", ".txt", ".json")
ATTACHMENT_SUFFIXES = (".json", ".txt", ".npz")


def model_files(candidate: ModelCandidate) -> dict[str, bytes]:
    """All files of the model, by name within its folder.

    Returns
    -------
    dict of str to bytes
        `model.onnx`, the native copy as `model.<suffix>`, `signature.json` (feature set, names and
        dtypes of the inputs and outputs), `MLmodel`, `requirements.txt`, and the attachments.

    Raises
    ------
    BadData
        If a file is missing, is no self-contained ONNX model, or takes another number of features;
        if an attachment is named as one of the model's own files.
    Refused
        If the native copy or an attachment is of a format that can run code when it is loaded.
    """
    try:
        onnx = candidate.onnx_path.read_bytes()
        native = candidate.native_path.read_bytes()
        attachments = {name: path.read_bytes() for name, path in candidate.attachments.items()}
    except OSError as error:
        raise BadData(f"expected the model's files, was {error}") from error
    _require_inert("a native copy", candidate.native_path.suffix, native, NATIVE_SUFFIXES)
    for name, content in attachments.items():
        _require_inert("an attachment", PurePath(name).suffix, content, ATTACHMENT_SUFFIXES)
    inputs, outputs = _interface(onnx, candidate)
    requirements = [f"{name}=={installed_version(name)}" for name in ("numpy", "onnx", "onnxruntime")]
    dtype = inputs[0]["tensor-spec"]["dtype"]
    features = [{"name": name, "dtype": dtype} for name in candidate.feature_names]
    signature = {
        "feature_set": candidate.tags.get("feature_set", ""),
        "features": features,
        "inputs": inputs,
        "outputs": outputs,
    }
    files = {
        ONNX_FILE: onnx,
        f"model{candidate.native_path.suffix}": native,
        SIGNATURE_FILE: _json(signature),
        MLMODEL_FILE: _json(_mlmodel(candidate, inputs, outputs)),
        "requirements.txt": "\n".join(requirements).encode() + b"\n",
    }
    wrong = [name for name in attachments if name in files or PurePath(name).name != name]
    if wrong:
        raise BadData(f"expected plain names of attachments, other than {', '.join(files)}, was {wrong}")
    return files | attachments


def _require_inert(what: str, suffix: str, content: bytes, allowed: tuple[str, ...]) -> None:
    if suffix not in allowed or content[:1] == b"\x80":
        was = f"a file of {suffix or 'no'} suffix" if suffix not in allowed else "a pickle"
        raise Refused(f"expected {what} of {', '.join(allowed)}, was {was}: never a pickle")


def _interface(content: bytes, candidate: ModelCandidate) -> tuple[list[Tensor], list[Tensor]]:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    where = candidate.onnx_path
    try:
        model = onnx.load_model_from_string(content)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise BadData(f"expected an ONNX model in {where}, was {error}") from error
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer):
        raise BadData(f"expected {where} to hold all of its weights, was with some in other files")
    inputs = [_tensor(onnx, value) for value in model.graph.input]
    outputs = [_tensor(onnx, value) for value in model.graph.output if value.type.HasField("tensor_type")]
    shapes = [spec["tensor-spec"]["shape"] for spec in inputs]
    width = len(candidate.feature_names)
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] not in (-1, width):
        raise BadData(f"expected one input of shape [-1, {width}] in {where}, was {shapes}")
    return inputs, outputs


def _tensor(onnx: Any, value: Any) -> Tensor:
    tensor = value.type.tensor_type
    shape = [d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return {"name": value.name, "type": "tensor", "tensor-spec": {"dtype": str(dtype), "shape": shape}}


def _mlmodel(candidate: ModelCandidate, inputs: list[Tensor], outputs: list[Tensor]) -> dict[str, Any]:
    return {
        "artifact_path": "model",
        "run_id": candidate.run_id,
        "flavors": {
            "onnx": {
                "data": ONNX_FILE,
                "onnx_version": installed_version("onnx"),
                "providers": ["CPUExecutionProvider"],
                "code": None,
            },
            "python_function": {
                "loader_module": "mlflow.onnx",
                "data": ONNX_FILE,
                "env": {"virtualenv": "requirements.txt"},
            },
        },
        "signature": {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": None},
    }


def _json(value: object) -> bytes:
    # JSON is YAML, too: that is how MLflow reads its MLmodel.
    return json.dumps(value, indent=2, sort_keys=True).encode() + b"\n"
