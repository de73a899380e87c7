"""A task fetches the release that it was told to serve, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from autotrader.config.settings import Settings
from autotrader.deployment.fetch_release import fetch_release
from autotrader.domain.errors import ConfigurationError, Refused
from autotrader.ports.deployment import Release, ReleaseStore

TOLD = {"uri": "s3://models/releases/v1.0.0", "version": "v1.0.0", "onnx_sha256": "ab" * 32}


@dataclass
class OneRelease:
    """Holds one, and gives it to whoever asks."""

    version: str

    def put(self, release: Release) -> str:
        raise NotImplementedError

    def fetch(self, uri: str, onnx_sha256: str, folder: Path) -> Release:
        return Release("strategy", self.version, str(folder), onnx_sha256, "balanced-v1")


def test_the_release_of_the_environment_is_brought_to_the_folder(tmp_path: Path) -> None:
    store = OneRelease("v1.0.0")
    assert isinstance(store, ReleaseStore)
    result = fetch_release(folder=tmp_path / "current", settings=Settings(release=TOLD), releases=store)
    assert isinstance(result.data, Release)
    assert (result.data.version, result.data.folder) == ("v1.0.0", str(tmp_path / "current"))


def test_another_version_under_that_uri_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"expected v1\.0\.0 at s3://models.*was v2\.0\.0"):
        fetch_release(folder=tmp_path, settings=Settings(release=TOLD), releases=OneRelease("v2.0.0"))


def test_a_task_that_nobody_told_what_to_serve_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"AUTOTRADER_RELEASE__URI.*was none"):
        fetch_release(folder=tmp_path, settings=Settings(), releases=OneRelease("v1.0.0"))
