"""Traffic from one colour to the other while it is asked: `python benchmarks/switching.py`.

Two real prediction services, callers that go through the routing, and a switch of all instruments in
another process, again and again. `last_of_old_ms` is from the command to the last answer of the old
colour that a caller acted on; goal: at most 50. Requests that failed are counted; goal: none. The
emergency rollback is timed as its command does it, from the call until all routes are recorded; goal:
at most one second. The alternative in the same run is the same load without a switch.

Callers ask 200 times a second, a hundred times what a bar a minute of a hundred instruments asks; and then as
often as they can, which takes both cores and leaves the command to wait for its turn.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from timing import emit

from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.local_target import LocalTarget
from autotrader.adapters.prediction_client import PredictionClient
from autotrader.adapters.routed_predictor import RoutedPredictor
from autotrader.config.serving_token import serving_token
from autotrader.config.settings import Settings
from autotrader.db.deployment_records import SqlDeploymentRecords
from autotrader.db.engine import open_database
from autotrader.deployment import requests
from autotrader.deployment.switching import Switching
from autotrader.domain.rollout import DIRECT, Color, Stage
from autotrader.features.definitions import BALANCED
from autotrader.ports.deployment import Release, Slot, SlotState
from autotrader.ports.predictions import PredictionRequest
from autotrader.training.calibration import fit_calibration
from autotrader.training.export import export_model
from autotrader.training.models import FAMILIES

SWITCHES = 100
ROLLBACKS = 20
CALLERS = 4
REQUESTS_A_SECOND = 200
PAUSE_SECONDS = 0.1
VERSIONS = {Color.BLUE: "v1.0.0", Color.GREEN: "v1.1.0"}
MODEL = "autotrader-strategy"
PARAMETERS = {"learning_rate": 0.1, "max_iter": 20, "max_leaf_nodes": 31, "min_samples_leaf": 100}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_releases(home: Path) -> dict[Color, Release]:
    """Two versions of a small model of the 42 features."""
    random = np.random.default_rng(0)
    features = random.normal(size=(2_000, len(BALANCED.names))).astype(np.float32)
    labels = random.integers(-1, 2, len(features)).astype(np.int8)
    classifier = FAMILIES["hist_gradient_boosting"].build(PARAMETERS, 7, 1)
    classifier.fit(features, labels)
    calibration = fit_calibration(classifier.probabilities(features), labels)
    releases = {}
    for color, version in VERSIONS.items():
        folder = home / "releases" / version
        folder.mkdir(parents=True)
        metadata = {
            "feature_set": BALANCED.version,
            "interval": "1m",
            "entry_score": "0.1",
            "decide_every_bars": "5",
        }
        export_model(classifier, calibration, folder, feature_names=BALANCED.names, metadata=metadata)
        digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
        described = {
            "model": MODEL,
            "version": version,
            "onnx_sha256": digest,
            "feature_set": BALANCED.version,
        }
        (folder / "release.json").write_text(json.dumps(described))
        releases[color] = Release(folder=str(folder), **described)
    return releases


def go_live(settings: Settings, records: SqlDeploymentRecords, target: LocalTarget) -> None:
    """Both versions run; blue is live, after green was."""
    now = datetime.now(UTC)
    for color, release in make_releases(settings.home).items():
        endpoint = target.start(color, release)
        records.set_slot(
            Slot(color, SlotState.READY, release.version, release.onnx_sha256, endpoint, "", now, "benchmark")
        )
    deadline = time.monotonic() + 60
    while not all(target.health(color).ready for color in Color):
        assert time.monotonic() < deadline, [target.health(color) for color in Color]
        time.sleep(0.05)
    for version in (VERSIONS[Color.BLUE], VERSIONS[Color.GREEN], VERSIONS[Color.BLUE]):
        rollout = requests.begin(
            records,
            strategy_id=MODEL,
            version=version,
            profile=DIRECT,
            goal=Stage.FINALIZE,
            reason="benchmark",
            actor="benchmark",
            now=datetime.now(UTC),
            first=Stage.FINALIZE,
        )
        Switching(settings, records, target, SystemWallClock()).finish(rollout, actor="benchmark")


def switch_often(settings: Settings, times: int) -> list[tuple[int, float]]:
    """The epoch that each switch ended, and when it was asked for."""
    records = SqlDeploymentRecords(open_database(settings.database_url), MODEL)
    switching = Switching(settings, records, LocalTarget(settings), SystemWallClock())
    made = []
    for _ in range(times):
        time.sleep(PAUSE_SECONDS)
        before = records.routes()
        live = records.live()
        assert live is not None
        assert live.previous_version is not None
        asked = time.monotonic()
        done = switching.to(live.previous_version, reason="benchmark", actor="benchmark")
        assert done.state.is_over
        made.append((before[0].epoch, asked))
    return made


def wait_as_long(_: Settings, times: int) -> list[tuple[int, float]]:
    """The same time without a switch."""
    time.sleep(PAUSE_SECONDS * times)
    return []


Told = Callable[[Settings, int], list[tuple[int, float]]]


async def under_load(
    settings: Settings, records: SqlDeploymentRecords, switch: Told, pause: float
) -> dict[str, object]:
    instruments = [str(i) for i in settings.instruments()]
    row = (0.1,) * len(BALANCED.names)
    acted: list[tuple[int, float]] = []
    seconds: list[float] = []
    failed = 0
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        switching = loop.run_in_executor(pool, switch, settings, SWITCHES)
        numbers = itertools.count()

        async def call(predictor: RoutedPredictor) -> None:
            nonlocal failed
            while not switching.done():
                number = next(numbers)
                name = instruments[number % len(instruments)]
                asked = PredictionRequest(
                    f"q{number}", name, BALANCED.version, [datetime(2024, 3, 1, tzinfo=UTC)], [row]
                )
                begin = time.monotonic()
                try:
                    answer = await predictor.predict(asked)
                except Exception as error:  # noqa: BLE001 - whatever it is, a caller had no prediction
                    print(f"failed: {error!r}", file=sys.stderr)
                    failed += 1
                    continue
                acted.append((answer.epoch, time.monotonic()))
                seconds.append(time.monotonic() - begin)
                await asyncio.sleep(pause)

        async with (
            PredictionClient(serving_token(settings)) as client,
            RoutedPredictor(records, client, SystemWallClock()) as predictor,
            asyncio.TaskGroup() as callers,
        ):
            for _ in range(CALLERS):
                callers.create_task(call(predictor))
    ended = dict(await switching)
    last: dict[int, float] = {}
    for epoch, at in acted:
        if epoch in ended:
            last[epoch] = max(last.get(epoch, 0.0), at - ended[epoch])
    old = [1000 * max(0.0, s) for s in last.values()]
    return {
        "requests": len(acted),
        "failed": failed,
        "switches": len(ended),
        "request_p50_ms": 1000 * float(np.quantile(seconds, 0.5)),
        "request_p99_ms": 1000 * float(np.quantile(seconds, 0.99)),
        "last_of_old_ms": {"p50": statistics.median(old), "max": max(old)} if old else None,
    }


def roll_back_often(settings: Settings, records: SqlDeploymentRecords, target: LocalTarget) -> list[float]:
    """Emergency rollbacks, one after the other, each to the version before."""
    took = []
    for _ in range(ROLLBACKS):
        begin = time.monotonic()
        live = records.live()
        assert live is not None
        assert live.previous_version is not None
        done = Switching(settings, records, target, SystemWallClock()).to(
            live.previous_version, reason="benchmark", actor="benchmark"
        )
        took.append(1000 * (time.monotonic() - begin))
        assert done.state.is_over
        assert {route.color for route in records.routes()} == {done.candidate}
    return took


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        ports = {f"{color}_port": free_port() for color in Color}
        settings = Settings(_env_file=None, home=Path(folder), serving=ports)
        records = SqlDeploymentRecords(open_database(settings.database_url), MODEL)
        target = LocalTarget(settings)
        try:
            go_live(settings, records, target)
            for load, pause in (("steady", CALLERS / REQUESTS_A_SECOND), ("as_often_as_can_be", 0.0)):
                for name, switch in (("without", wait_as_long), ("with", switch_often)):
                    measured = asyncio.run(under_load(settings, records, switch, pause))
                    named = f"switching.{load}.{name}_switches"
                    emit({"name": named, "load_average": os.getloadavg()[0], **measured})
            took = roll_back_often(settings, records, target)
            emit(
                {
                    "name": "switching.emergency_rollback",
                    "load_average": os.getloadavg()[0],
                    "median_ms": statistics.median(took),
                    "max_ms": max(took),
                }
            )
        finally:
            for color in Color:
                target.stop(color)


if __name__ == "__main__":
    main()
