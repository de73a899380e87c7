"""A release as it lies in its folder: checked against its own word before anything runs it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autotrader.domain.errors import BadData, NotFound, Refused
from autotrader.plain import from_plain
from autotrader.ports.deployment import Release
from autotrader.registry.onnx_model import OnnxModel

MODEL_FILE = "model.onnx"
RELEASE_FILE = "release.json"
_WARM_ROWS = (1, 1, 16, 1)  # the first runs of each shape allocate


@dataclass(frozen=True)
class LoadedRelease:
    """A release whose model has run once.

    Attributes
    ----------
    interval : str or None
        Of the bars that it was trained on; None where the model does not say.
    """

    release: Release
    model: OnnxModel
    feature_names: tuple[str, ...]
    interval: str | None


def load_release(folder: Path) -> LoadedRelease:
    """Read, check and warm up what the folder holds: `model.onnx` and `release.json`.

    Nothing is unpickled: the model is an ONNX graph, run by onnxruntime. What is hashed are the
    very bytes that are loaded.

    Raises
    ------
    NotFound
        If the folder or one of the files is not there.
    BadData
        If a file is not what its name says, or the model answers with anything but probabilities.
    Refused
        If the model is not the one that the release names.
    """
    described, content = _read(folder / RELEASE_FILE), _read(folder / MODEL_FILE)
    try:
        fields = json.loads(described)
    except ValueError:
        raise BadData(f"expected JSON in {folder / RELEASE_FILE}, was something else") from None
    if not isinstance(fields, dict):
        raise BadData(f"expected a JSON object in {folder / RELEASE_FILE}, was {type(fields).__name__}")
    release = from_plain(Release, {**fields, "folder": str(folder)})

    digest = hashlib.sha256(content).hexdigest()
    if digest != release.onnx_sha256:
        raise Refused(
            f"expected {folder / MODEL_FILE} with sha256 {release.onnx_sha256}, was {digest}: "
            "the file is not the registered one; fetch the release again"
        )
    try:
        model = OnnxModel(folder / MODEL_FILE, content=content)
    except BadData as error:
        raise BadData(" ".join(str(error).split())) from None
    found = model.metadata.get("feature_set")
    if found != release.feature_set:
        raise Refused(
            f"expected a model of feature set {release.feature_set} in {folder}, was {found}: "
            "the release does not belong to this model"
        )
    _warm_up(model, folder)
    return LoadedRelease(release, model, model.feature_names, model.metadata.get("interval"))


def _warm_up(model: OnnxModel, folder: Path) -> None:
    width = len(model.feature_names)
    for rows in _WARM_ROWS:
        found = model.probabilities(np.zeros((rows, width), np.float32))
        if found.shape != (rows, 3) or not np.allclose(found.sum(axis=1), 1, atol=1e-3):
            raise BadData(
                f"expected three probabilities a row from {folder / MODEL_FILE}, was an array of shape "
                f"{found.shape} with {found[:1].tolist()} first: it is no model of ours"
            )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFound(f"expected a file {path}, was: {error.strerror}: fetch the release again") from None
