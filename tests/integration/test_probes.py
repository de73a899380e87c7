"""The real prediction service, in a process of its own, passes the integration tests of a deployment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autotrader.deployment.checks.golden import Golden, GoldenRow
from autotrader.deployment.checks.integration import run_integration_tests
from autotrader.domain.rollout import Color, Outcome
from autotrader.features.definitions import BALANCED
from autotrader.ports.deployment import Release
from autotrader.registry.onnx_model import OnnxModel
from tests.unit.deployment.checks.platform import INSTRUMENTS, bars_of, model_bytes, release_of

pytestmark = pytest.mark.integration

TOKEN = "a-callers-token"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return release_of(tmp_path_factory.mktemp("release"), model_bytes())


@pytest.fixture(scope="module")
def golden(release: Release) -> Golden:
    from autotrader.features.batch import compute

    model = OnnxModel(Path(release.folder) / "model.onnx")
    rows = []
    for number, instrument in enumerate(INSTRUMENTS):
        newest = compute(bars_of(instrument.symbol, seed=number)).tail(16)
        features = newest.select(BALANCED.names).to_numpy()
        for ts, row, p in zip(
            newest["ts"].dt.epoch("us"), features, model.probabilities(features), strict=True
        ):
            rows.append(GoldenRow(str(instrument), ts, tuple(map(float, row)), (p[0], p[1], p[2])))
    return Golden(
        release.model,
        release.version,
        release.onnx_sha256,
        release.feature_set,
        BALANCED.names,
        tuple(rows),
    )


@pytest.fixture
def endpoint(release: Release, tmp_path: Path) -> Iterator[str]:
    """The service on a free port."""
    command = [sys.executable, "-m", "autotrader.apps.serving", "--color", "green", "--port", "0"]
    command += ["--release", release.folder, "--log", str(tmp_path / "log")]
    environment = os.environ | {"AUTOTRADER_SERVING__TOKEN": TOKEN}
    with (tmp_path / "serving.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (tmp_path / "serving.log").read_text()
            yield json.loads(line)["url"]
        finally:
            process.terminate()
            process.communicate(timeout=30)


def test_the_service_passes_every_integration_test(endpoint: str, release: Release, golden: Golden) -> None:
    report = run_integration_tests(endpoint, TOKEN, color=Color.GREEN, release=release, golden=golden)
    assert report.outcome is Outcome.PASS, report.reason
    assert report.passed == report.total, report.reason


def test_a_service_of_the_other_colour_answers_nothing(
    endpoint: str, release: Release, golden: Golden
) -> None:
    report = run_integration_tests(endpoint, TOKEN, color=Color.BLUE, release=release, golden=golden)
    assert report.outcome is Outcome.FAIL
    assert {r.name for r in report.results if r.passed} == {
        "no_token",
        "another_token",
        "another_color",
        "an_unknown_path",
    }
    assert all("blue" in r.reason and "green" in r.reason for r in report.results if not r.passed)
