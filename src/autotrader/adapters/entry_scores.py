"""The score from which a version opens positions, out of its own ONNX file."""

from __future__ import annotations

import json
from pathlib import Path

from autotrader.adapters.releases import MODEL_FILE, prepare_release
from autotrader.domain.errors import BadData
from autotrader.ports.registry import ModelRegistry
from autotrader.registry.onnx_model import OnnxModel


class RegistryEntryScores:
    """Reads each version once; the file's digest is checked against the registry.

    Parameters
    ----------
    registry : ModelRegistry
    model : str
        Registered name.
    folder : Path
        Of all releases.
    """

    def __init__(self, registry: ModelRegistry, model: str, folder: Path) -> None:
        self._registry = registry
        self._model = model
        self._folder = folder
        self._known: dict[str, float] = {}

    def of(self, version: str) -> float:
        """Raises NotFound, Unreachable or BadData where there is none to be had."""
        if version not in self._known:
            release = prepare_release(self._registry, self._registry.get(self._model, version), self._folder)
            self._known[version] = entry_score(OnnxModel(Path(release.folder) / MODEL_FILE))
        return self._known[version]


def entry_score(model: OnnxModel) -> float:
    """Raises BadData if the model was made without one."""
    written = model.metadata.get("entry_score")
    if written is None:
        raise BadData("expected a model that says from which score it trades, was one without: train it anew")
    return float(json.loads(written))
