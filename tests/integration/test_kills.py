"""Steps of both pipelines are killed by SIGKILL from outside: a rerun leaves what no kill would have left.

Airflow's part, to run a task again, is played by the test. `KILLS` says how many (default 200).
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from polars.testing import assert_frame_equal

from autotrader.apps.exchange.faults import Fault, FaultKind
from autotrader.apps.exchange.server import StandInExchange, running
from autotrader.apps.exchange.simulated import SimulatedMarket
from tests.integration.killed_runs import (
    Killer,
    Left,
    StartAgain,
    data_pipeline,
    look,
    rename_in_mlflow,
    training_pipeline,
)
from tests.integration.pipeline_child import Nursery
from tests.services import mlflow_server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(2700)]

KILLS = int(os.environ.get("KILLS", "200"))
SEED = 20240301
END = datetime(2024, 3, 1, tzinfo=UTC)
DAYS = 6
# Of each 200 kills. The phases that matter most get the most.
SHARES = {
    "data.plan_ingestion": 3,
    "data.extract_market_data": 36,
    "data.archive_raw_data": 28,
    "data.validate_data": 10,
    "data.commit_bars": 28,
    "data.transform_features": 14,
    "data.load_to_feature_store": 24,
    "data.check_data_health": 3,
    "training.prepare_training_data": 8,
    "training.train_models": 18,
    "training.evaluate_models": 5,
    "training.validate_model": 5,
    "training.register_model": 18,
}
PHASES = {
    "fetch": "data.extract_market_data",
    "archive": "data.archive_raw_data",
    "upsert": "data.commit_bars",
    "feature write": "data.load_to_feature_store",
    "training": "training.train_models",
    "registration": "training.register_model",
}
# When a page came: differs by nature.
OF_ARRIVAL = ["ingested_at"]
# The same: ids of runs, a report with its date, skops' files, which hold memory addresses, and the
# state of this checkout, in which people may be at work.
OF_THE_RUN = {"training_run", "gate_report_sha256", "native_sha256", "digests", "git_sha"}


@dataclass(frozen=True)
class Anew:
    """Keys of runs that were given up, and whether the venue was asked again for what it had sent."""

    given_up: frozenset[str] = frozenset()
    asked_again: bool = False


@dataclass(frozen=True)
class World:
    """Venues, MLflow, and a folder of homes."""

    folder: Path
    mlflow: str
    venue: str
    restating_venue: str

    def home(self, name: str) -> Home:
        folder = self.folder / name
        folder.mkdir()
        settings = {
            "HOME": str(folder),
            "CLOCK__MARKET_TIME": END.isoformat(),
            "BINANCE__INSTRUMENTS": "BTCUSDT,ETHUSDT",
            "BINANCE__SOURCE": "SIMULATED",
            "INGESTION__INITIAL_DAYS": str(DAYS),
            "MLFLOW__TRACKING_URI": self.mlflow,
            "TRAINING__LOOKBACK_DAYS": "3",
            "TRAINING__EVALUATION_DAYS": "2",
            "TRAINING__FOLD_DAYS": "1",
            "TRAINING__TRIALS_PER_MODEL": "2",
            "TRAINING__MODELS": "logistic,lightgbm",
            "TRAINING__SAMPLE_EVERY_BARS": "15",
        }
        return Home(self, name, {f"AUTOTRADER_{key}": value for key, value in settings.items()})


@dataclass(frozen=True)
class Home:
    """One platform: what the pipelines do there, from nothing to a registered model."""

    world: World
    name: str
    settings: Mapping[str, str]

    def stages(self) -> list[tuple[Callable[..., Any], Mapping[str, str], dict[str, Any]]]:
        """A first load; a second that finds bars restated and some of them bad; a training."""
        first = {**self.settings, "AUTOTRADER_BINANCE__REST_URL": self.world.venue}
        second = {**self.settings, "AUTOTRADER_BINANCE__REST_URL": self.world.restating_venue}
        last_day = {"mode": "backfill", "start_date": f"{END - timedelta(days=1):%F}"}
        return [(data_pipeline, first, {}), (data_pipeline, second, last_day), (training_pipeline, first, {})]

    def run(self, step: Callable[..., Any]) -> Anew:
        """All stages, started again whenever the step says so."""
        given_up = set()
        asked_again = False
        for number, (pipeline, environment, conf) in enumerate(self.stages()):
            attempt = 0
            while True:
                key = f"{number}-{attempt}"
                try:
                    pipeline(partial(step, environment), key, conf)
                    break
                except StartAgain as again:
                    asked_again |= again.asks_again
                    if again.new_key:
                        given_up.add(key)
                        attempt += 1
        return Anew(frozenset(given_up), asked_again)

    def left(self) -> Left:
        return look(self.stages()[0][1])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("kills")
    market = SimulatedMarket(("BTCUSDT", "ETHUSDT"), seed=11, end=END, days=DAYS, planted_signal=0.3)
    begin = END - timedelta(hours=20)
    restated = Fault(
        FaultKind.RESTATED, None, symbol="BTCUSDT", start=begin, end=begin + timedelta(minutes=9)
    )
    refused = Fault(FaultKind.NEGATIVE, None, symbol="ETHUSDT", start=begin, end=begin + timedelta(minutes=4))
    with ExitStack() as stack:
        mlflow = stack.enter_context(mlflow_server(folder))
        venue = stack.enter_context(running(StandInExchange(market)))
        restating = stack.enter_context(running(StandInExchange(market, faults=[restated, refused])))
        yield World(folder, mlflow, venue.listening().rest_url, restating.listening().rest_url)


@pytest.fixture(scope="module")
def nursery(world: World) -> Iterator[Nursery]:
    with Nursery(world.folder) as nursery:
        yield nursery


def timed(nursery: Nursery, seconds: dict[str, float]) -> Callable[..., Any]:
    """Runs steps undisturbed, and notes how long each took at most."""

    def run(environment: Mapping[str, str], step: str, **key: Any) -> Any:
        ended = nursery.run(step, key, environment)
        assert ended is not None
        result, took = ended
        seconds[step] = max(took, seconds.get(step, 0.0))
        return result

    return run


@pytest.fixture(scope="module")
def undisturbed(world: World, nursery: Nursery) -> tuple[Left, dict[str, float]]:
    """What a run leaves that nobody disturbs, and how long its steps take when all is imported."""
    for name in ("to-import", "undisturbed"):
        seconds: dict[str, float] = {}
        home = world.home(name)
        assert home.run(timed(nursery, seconds)) == Anew()
        left = home.left()
        rename_in_mlflow(world.mlflow, name)
    assert left.staging == frozenset()
    return left, seconds


def assert_same(found: Left, expected: Left, anew: Anew) -> None:
    assert set(found.tables) == set(expected.tables)
    for name, rows in expected.tables.items():
        assert rows.height, name
        arrival = [column for column in OF_ARRIVAL if column in rows.columns]
        assert_frame_equal(found.tables[name].drop(arrival), rows.drop(arrival))
        for column in arrival:
            assert set(found.tables[name][column]) <= found.fetched_at, f"{name}.{column}"
    assert set(found.archive) >= set(expected.archive)
    if not anew.asked_again:
        assert found.archive == expected.archive
    assert found.trials == expected.trials
    assert found.tracked == expected.tracked
    assert found.events == expected.events
    assert found.artifacts["model.onnx"] == expected.artifacts["model.onnx"]
    assert _comparable(found) == _comparable(expected)
    assert found.staging <= anew.given_up


def _comparable(left: Left) -> dict[str, Any]:
    version = left.version
    tags = {key: value for key, value in version.tags.items() if key not in OF_THE_RUN}
    return {
        "semver": version.semver,
        "status": version.status,
        "reason": version.reason,
        "aliases": version.aliases,
        "tags": tags,
    }


def test_killed_at_any_moment_and_run_again_everything_is_as_without_the_kill(
    world: World, nursery: Nursery, undisturbed: tuple[Left, dict[str, float]]
) -> None:
    expected, seconds = undisturbed
    due = Counter({step: max(1, round(share * KILLS / 200)) for step, share in SHARES.items()})
    killer = Killer(nursery, due, dict(seconds), random.Random(SEED))
    began = time.monotonic()
    homes = 0
    while due.total():
        assert homes < KILLS, f"kills do not hit: {due}"
        home = world.home(f"killed-{homes}")
        anew = home.run(killer.run)
        left = home.left()
        rename_in_mlflow(world.mlflow, home.name)
        assert_same(left, expected, anew)
        homes += 1
    phases = {phase: killer.done[step] for phase, step in PHASES.items()}
    sys.stdout.write(
        f"\n{killer.done.total()} kills in {homes} homes, {time.monotonic() - began:.0f} s: {phases}\n"
        f"of each step: {dict(killer.done)}; came too late: {killer.missed}; "
        f"begun anew: {dict(killer.restarts)}\n"
    )
    assert all(count >= 15 * KILLS // 200 for count in phases.values()), phases


def test_two_runs_at_once_leave_what_one_leaves(
    world: World, nursery: Nursery, undisturbed: tuple[Left, dict[str, float]]
) -> None:
    expected, _ = undisturbed
    home = world.home("two-at-once")
    other_folder = world.folder / "other"
    other_folder.mkdir()
    with Nursery(other_folder) as other:
        for number, (pipeline, environment, conf) in enumerate(home.stages()):
            at_once(
                *(
                    partial(pipeline, partial(timed(which, {}), environment), f"{number}-{name}", conf)
                    for name, which in (("one", nursery), ("another", other))
                )
            )
    left = home.left()
    rename_in_mlflow(world.mlflow, home.name)
    assert left.staging == frozenset()
    assert_same(left, expected, Anew(asked_again=True))


def at_once(*works: Callable[[], object]) -> None:
    """Do all of it at the same time."""
    with ThreadPoolExecutor(len(works)) as pool:
        for begun in [pool.submit(work) for work in works]:
            begun.result()
