"""Registration and changes of status, killed at any step and run again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.mlflow_registry import MlflowRegistry
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.domain.errors import NotFound
from autotrader.ports.registry import Alias, AliasChange, ModelCandidate, ModelStatus, StatusChange
from autotrader.registry.lifecycle import REQUIRED_TAGS
from tests.fakes.mlflow_server import StandInMlflow, serve
from tests.killing import Steps, run_killed
from tests.models import candidate
from tests.services import fresh_database

pytestmark = pytest.mark.integration

NAME = "autotrader-strategy"
ROLLBACK = [
    AliasChange(Alias.CHAMPION, "v1.0.0", expected="v1.1.0"),
    AliasChange(Alias.PREVIOUS, "v1.1.0"),
    StatusChange("v1.0.0", ModelStatus.PRODUCTION),
    StatusChange("v1.1.0", ModelStatus.ARCHIVED),
]


@dataclass
class World:
    mlflow: StandInMlflow
    uri: str
    database: str

    def registry(self, steps: Steps | None = None) -> MlflowRegistry:
        return _registry(self.uri, self.database, steps or Steps())

    def kinds(self) -> list[str]:
        events = SqlEventLog(open_database(self.database)).recent()
        return [str(event.data["kind"]) for event in reversed(events)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    mlflow = StandInMlflow()
    with serve(mlflow) as uri:
        yield World(mlflow, uri, fresh_database("sqlite", tmp_path))


def _registry(uri: str, database: str, steps: Steps) -> MlflowRegistry:
    engine = steps.watch(open_database(database))
    return MlflowRegistry(uri, engine, SqlEventLog(engine), SystemWallClock(), transport=steps.transport())


def _register(uri: str, database: str, given: ModelCandidate, until: int) -> None:
    _registry(uri, database, Steps(until)).register(given, actor="training")


def _roll_back(uri: str, database: str, until: int) -> None:
    _registry(uri, database, Steps(until)).change(NAME, ROLLBACK, reason="slow", actor="ops")


def _steps_of_registration(world: World, given: ModelCandidate) -> int:
    steps = Steps()
    world.registry(steps).register(given, actor="training")
    return steps.taken


def test_a_registration_killed_anywhere_and_run_again_is_one_whole_version(
    world: World, tmp_path: Path
) -> None:
    rehearsal = candidate(tmp_path, "rehearsal", world.mlflow.make_run(), name="rehearsal")
    total = _steps_of_registration(world, rehearsal)
    assert total > 30
    for number, until in enumerate(sorted(random.Random(20240229).sample(range(1, total + 1), 12))):
        name = f"{NAME}-{until}"
        given = candidate(tmp_path, f"key{until}", world.mlflow.make_run(), name=name, seed=number)
        assert run_killed(_register, world.uri, world.database, given, until)
        for shown in (tags for (model, _), tags in _tags(world.mlflow).items() if model == name):
            assert set(REQUIRED_TAGS) <= set(shown), "a version that is there is whole"
        made = world.registry().register(given, actor="training")
        assert [n for model, n in world.mlflow.versions if model == name] == [1]
        assert (made.semver, made.version) == ("v1.0.0", 1)
        assert world.registry().list(name) == [made]
        onnx = world.registry().fetch_artifact(made, "model.onnx", tmp_path / name)
        assert onnx.read_bytes() == given.onnx_path.read_bytes()
    assert world.kinds() == ["registered"] * 13


def test_a_registration_killed_is_not_seen_or_whole_before_it_is_run_again(
    world: World, tmp_path: Path
) -> None:
    rehearsal = candidate(tmp_path, "rehearsal", world.mlflow.make_run(), name="rehearsal")
    total = _steps_of_registration(world, rehearsal)
    seen = []
    for until in (total // 2, total - 6, total - 3, total):
        name = f"{NAME}-{until}"
        given = candidate(tmp_path, f"key{until}", world.mlflow.make_run(), name=name)
        assert run_killed(_register, world.uri, world.database, given, until)
        try:
            seen.append(world.registry().get(name, "v1.0.0").tags["training_key"] == f"key{until}")
        except NotFound:
            seen.append(False)
    assert seen[0] is False, "killed before MLflow was told"
    assert seen[-1] is True, "killed when only its event was missing"


def test_a_rollback_killed_anywhere_is_made_whole_or_not_at_all(world: World, tmp_path: Path) -> None:
    registry = world.registry()
    for key in "ab":
        registry.register(candidate(tmp_path, key, world.mlflow.make_run()), actor="training")
    registry.set_alias(NAME, Alias.CHAMPION, "v1.1.0", reason="rollout", actor="controller")
    before = len(world.kinds())
    made = 0
    for until in range(1, 40, 3):
        killed = run_killed(_roll_back, world.uri, world.database, until)
        fresh = world.registry()
        champion = fresh.get(NAME, "champion").semver
        shown = {alias: f"v1.{int(n) - 1}.0" for alias, n in world.mlflow.models[NAME].items()}
        assert shown["champion"] == champion, "MLflow agrees after the next call"
        if champion == "v1.1.0":
            assert killed
            assert "previous" not in shown
            assert len(world.kinds()) == before + made * 8
            continue
        made += 1
        assert shown["previous"] == "v1.1.0"
        statuses = {v["tags"]["semver"]: v["tags"]["status"] for v in world.mlflow.versions.values()}
        assert statuses == {"v1.0.0": "production", "v1.1.0": "archived"}
        undo = [
            AliasChange(Alias.CHAMPION, "v1.1.0"),
            AliasChange(Alias.PREVIOUS, None),
            StatusChange("v1.0.0", ModelStatus.CANDIDATE),
            StatusChange("v1.1.0", ModelStatus.CANDIDATE),
        ]
        fresh.change(NAME, undo, reason=f"undo {until}", actor="ops")
        if not killed:
            break
    else:
        pytest.fail("expected the rollback to come to its end")
    assert made > 2


def _tags(mlflow: StandInMlflow) -> dict[tuple[str, int], dict[str, str]]:
    return {key: version["tags"] for key, version in mlflow.versions.items()}
