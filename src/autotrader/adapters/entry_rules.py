"""From which score, and at which bars, a version opens positions: out of its own ONNX file."""

from __future__ import annotations

from pathlib import Path

from autotrader.adapters.releases import MODEL_FILE, prepare_release
from autotrader.execution.strategy import EntryRule
from autotrader.ports.registry import ModelRegistry
from autotrader.registry.onnx_model import OnnxModel


class RegistryEntryRules:
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
        self._known: dict[str, EntryRule] = {}

    def of(self, version: str) -> EntryRule:
        """Raises NotFound, Unreachable or BadData where there is none to be had."""
        if version not in self._known:
            release = prepare_release(self._registry, self._registry.get(self._model, version), self._folder)
            self._known[version] = EntryRule.of(OnnxModel(Path(release.folder) / MODEL_FILE).metadata)
        return self._known[version]
