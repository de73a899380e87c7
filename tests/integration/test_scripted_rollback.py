"""A rollback by script with real prediction services and a real controller, under load."""

from __future__ import annotations

import asyncio
import itertools
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.local_target import SERVE
from autotrader.adapters.prediction_client import PredictionClient
from autotrader.adapters.routed_predictor import RoutedPredictor
from autotrader.domain.rollout import Color
from autotrader.ports.deployment import Release
from autotrader.ports.predictions import PredictionRequest
from tests.scripts import platform as scripted
from tests.scripts.platform import Platform, Work, platform, run_script
from tests.serving import FEATURE_SET, TOKEN, make_release

pytestmark = pytest.mark.integration

TS = datetime(2024, 3, 1, tzinfo=UTC)
PAUSE_SECONDS = 0.05


class RealWork(Work):
    """Starts the service itself, and waits until it is ready."""

    def start(self, color: Color, version: str) -> None:
        folder = make_release(self.folder / version, version=version)
        release = Release(scripted.STRATEGY, version, str(folder), "", FEATURE_SET)
        endpoint = self.target.start(color, release)
        while not (health := self.target.health(color)).ready:
            assert health.live or "did not answer" in health.reason, health
        self.record(color, version, endpoint)


@pytest.fixture
def stage(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    monkeypatch.setattr(scripted, "SERVER", SERVE)
    monkeypatch.setattr(scripted, "Work", RealWork)
    with platform(home, {"AUTOTRADER_SERVING__TOKEN": TOKEN}, monkeypatch) as made:
        yield made


@pytest.fixture
def controller(stage: Platform) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "autotrader.apps.controller"], stderr=subprocess.DEVNULL
    )
    yield
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


async def test_no_request_fails_while_a_script_leaves_the_live_version(
    stage: Platform, controller: None, record_property: Callable[[str, object], None]
) -> None:
    words = ("rollback_model_auto.sh", "v1.1.0", "dev", "--reason", "a rehearsal", "--yes")
    script = asyncio.create_task(asyncio.to_thread(run_script, *words))
    versions: list[str] = []
    async with (
        PredictionClient(TOKEN, timeout_seconds=30) as client,
        RoutedPredictor(stage.records, client, SystemWallClock()) as predictor,
    ):
        for number in itertools.count():
            request = PredictionRequest(
                f"q{number}", "binance:BTCUSDT", FEATURE_SET, (TS,), ((0.1, -0.2, 0.3),)
            )
            versions.append((await predictor.predict(request)).version)  # an error ends the test
            if script.done():
                break
            await asyncio.sleep(PAUSE_SECONDS)
    done = await script
    assert done.returncode == 0, done.stderr
    assert versions == sorted(versions, reverse=True)  # once back, it stays back
    assert set(versions) == {"v1.1.0", "v1.0.0"}
    assert stage.live() == ("v1.0.0", Color.BLUE, {Color.BLUE})
    assert stage.running() == {"blue": "v1.0.0", "green": None}
    measured = re.search(r"traffic back after ([\d.]+) s .*whole rollback ([\d.]+) s", done.stderr)
    assert measured, done.stderr
    record_property("traffic_seconds", float(measured[1]))
    record_property("whole_seconds", float(measured[2]))
    assert float(measured[1]) < 60
    assert float(measured[2]) < 300
