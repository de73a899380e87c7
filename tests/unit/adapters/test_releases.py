"""Releases: whole, intact, or not there."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autotrader.adapters.releases import prepare_release
from autotrader.domain.errors import BadData, Unreachable
from autotrader.ports.registry import ModelVersion
from tests.fakes.registry import InMemoryRegistry
from tests.models import candidate


@pytest.fixture
def registry() -> InMemoryRegistry:
    return InMemoryRegistry()


@pytest.fixture
def version(registry: InMemoryRegistry, tmp_path: Path) -> ModelVersion:
    return registry.register(candidate(tmp_path, "a", "run"), actor="training")


def test_a_release_holds_the_model_and_says_what_it_is(
    registry: InMemoryRegistry, version: ModelVersion, tmp_path: Path
) -> None:
    release = prepare_release(registry, version, tmp_path / "releases")
    folder = tmp_path / "releases" / "v1.0.0"
    assert release.folder == str(folder)
    assert json.loads((folder / "release.json").read_text()) == {
        "model": version.name,
        "version": "v1.0.0",
        "onnx_sha256": version.onnx_sha256,
        "feature_set": version.tags["feature_set"],
    }
    content = registry.artifacts[version.name, "v1.0.0", "model.onnx"]
    assert (folder / "model.onnx").read_bytes() == content
    assert sorted(path.name for path in folder.parent.iterdir()) == [".lock", "v1.0.0"]


def test_an_intact_release_needs_no_registry(
    registry: InMemoryRegistry, version: ModelVersion, tmp_path: Path
) -> None:
    release = prepare_release(registry, version, tmp_path)
    registry.reachable = False
    assert prepare_release(registry, version, tmp_path) == release


@pytest.mark.parametrize("file", ["model.onnx", "release.json"])
@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_a_damaged_release_is_made_again(
    registry: InMemoryRegistry, version: ModelVersion, tmp_path: Path, file: str, damage: str
) -> None:
    release = prepare_release(registry, version, tmp_path)
    intact = (Path(release.folder) / file).read_bytes()
    if damage == "changed":
        (Path(release.folder) / file).write_bytes(intact[:-2])
    else:
        (Path(release.folder) / file).unlink()
    prepare_release(registry, version, tmp_path)
    assert (Path(release.folder) / file).read_bytes() == intact


def test_what_a_killed_process_left_half_made_is_no_release(
    registry: InMemoryRegistry, version: ModelVersion, tmp_path: Path
) -> None:
    partial = tmp_path / ".v1.0.0.partial"
    partial.mkdir()
    (partial / "model.onnx").write_bytes(b"half")
    release = prepare_release(registry, version, tmp_path)
    assert (Path(release.folder) / "release.json").exists()
    assert not partial.exists()


def test_a_spoilt_model_is_no_release(
    registry: InMemoryRegistry, version: ModelVersion, tmp_path: Path
) -> None:
    registry.artifacts[version.name, "v1.0.0", "model.onnx"] += b"!"
    with pytest.raises(BadData):
        prepare_release(registry, version, tmp_path)
    assert not (tmp_path / "v1.0.0").exists()


def test_a_release_that_is_not_there_needs_the_registry(
    registry: InMemoryRegistry, version: ModelVersion, tmp_path: Path
) -> None:
    registry.reachable = False
    with pytest.raises(Unreachable):
        prepare_release(registry, version, tmp_path)


def test_those_who_prepare_it_at_once_get_one_release(
    registry: InMemoryRegistry, version: ModelVersion, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(4) as pool:
        releases = list(pool.map(lambda _: prepare_release(registry, version, tmp_path), range(8)))
    assert len({release.folder for release in releases}) == 1
