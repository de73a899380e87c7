"""Bring the release that this task was told to serve to where its prediction service looks for it."""

from __future__ import annotations

from pathlib import Path

from autotrader import command
from autotrader.config.settings import PREFIX, Settings
from autotrader.domain.errors import ConfigurationError, Refused
from autotrader.ports.deployment import ReleaseStore


def fetch_release(*, folder: Path, settings: Settings, releases: ReleaseStore) -> command.Result:
    """Fetch the release that AUTOTRADER_RELEASE__URI names, and check it against its digest.

    Whole or not at all: a folder that is there and intact stays as it is. For the container that runs
    before the prediction service, which serves that folder and cannot talk to AWS.

    Parameters
    ----------
    folder : Path
        Made by this; the one above it must be writable.

    Raises
    ------
    ConfigurationError
        If the environment names no release.
    Refused
        If another version lies there.
    BadData
        If what lies there is not the model of the digest.
    NotFound, DependencyError
        If there is nothing, or AWS did not do its part.
    """
    told = settings.release
    if told.uri is None or told.version is None or told.onnx_sha256 is None:
        raise ConfigurationError(
            f"{PREFIX}RELEASE__URI, __VERSION, __ONNX_SHA256: expected a release to serve, was none:"
            " a deployment starts this task, not a person"
        )
    release = releases.fetch(told.uri, told.onnx_sha256, folder)
    if release.version != told.version:
        raise Refused(f"expected {told.version} at {told.uri}, was {release.version}: serve neither")
    text = f"{release.version} ({release.onnx_sha256[:12]}) is in {folder}"
    return command.Result(release, text)


if __name__ == "__main__":
    raise SystemExit(command.run(fetch_release))
