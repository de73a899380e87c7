"""Model versions made ready to serve, in a folder of this machine."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from autotrader.adapters.file_lock import locked
from autotrader.domain.errors import BadData
from autotrader.files import sync
from autotrader.ports.deployment import Release
from autotrader.ports.registry import ModelRegistry, ModelVersion

MODEL_FILE = "model.onnx"
RELEASE_FILE = "release.json"


def prepare_release(registry: ModelRegistry, version: ModelVersion, folder: Path) -> Release:
    """Bring the version's ONNX file and its description into `<folder>/<version>/`, whole or not at all.

    What is there already and intact is used as it is, without asking the registry. What is there and
    is not goes: a service would refuse it anyway.

    Parameters
    ----------
    registry : ModelRegistry
    version : ModelVersion
    folder : Path
        Of all releases.

    Raises
    ------
    BadData
        If the file is not the one that the registry knows.
    NotFound, Unreachable
        If the registry does not have it, or does not answer.
    """
    target = folder.resolve() / version.semver
    release = Release(
        model=version.name,
        version=version.semver,
        folder=str(target),
        onnx_sha256=version.onnx_sha256,
        feature_set=version.tags["feature_set"],
    )
    install_release(release, lambda partial: registry.fetch_artifact(version, MODEL_FILE, partial))
    return release


def install_release(release: Release, bring: Callable[[Path], Path]) -> None:
    """Make the release's folder, whole or not at all; one that is there and intact stays.

    Parameters
    ----------
    release : Release
    bring : callable
        Brings the model into a new folder, and returns the file.

    Raises
    ------
    BadData
        If the model is not the one of the release's digest.
    """
    target = Path(release.folder)
    with locked(target.parent / ".lock"):
        if not _is_intact(target, release):
            _make(release, target, bring)


def describe_release(release: Release) -> dict[str, str]:
    """What `release.json` says: all but where it lies."""
    return {name: value for name, value in asdict(release).items() if name != "folder"}


def _make(release: Release, target: Path, bring: Callable[[Path], Path]) -> None:
    partial = target.with_name(f".{target.name}.partial")
    for leftover in (partial, target):
        if leftover.exists():
            shutil.rmtree(leftover)
    found = _sha256(bring(partial))
    if found != release.onnx_sha256:
        raise BadData(
            f"expected {MODEL_FILE} of {release.version} with SHA-256 {release.onnx_sha256}, was {found}: "
            "do not use it, and find out who changed it"
        )
    (partial / RELEASE_FILE).write_text(json.dumps(describe_release(release), indent=2) + "\n")
    for path in (*partial.iterdir(), partial):
        sync(path)
    partial.rename(target)
    sync(target.parent)


def _is_intact(target: Path, release: Release) -> bool:
    try:
        description = json.loads((target / RELEASE_FILE).read_text())
        return (
            description == describe_release(release) and _sha256(target / MODEL_FILE) == release.onnx_sha256
        )
    except (FileNotFoundError, ValueError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
