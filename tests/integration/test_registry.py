"""The registry with a real MLflow server, used the way that people and pipelines use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.mlflow_registry import MlflowRegistry
from autotrader.adapters.mlflow_tracking import MlflowTracker
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from autotrader.domain.errors import Unreachable
from autotrader.ports.registry import Alias, ModelCandidate, ModelVersion
from tests.killing import Steps, run_killed
from tests.models import FEATURES, candidate
from tests.services import fresh_database, mlflow_server

pytestmark = pytest.mark.integration

# Looks at the registry through MLflow's own client, as a user's notebook would.
MLFLOW_CLIENT = """
import json, sys, mlflow, numpy
name = sys.argv[1]
client = mlflow.MlflowClient()
version = client.get_model_version_by_alias(name, "champion")
model = mlflow.onnx.load_model(f"models:/{name}@champion")
served = mlflow.pyfunc.load_model(f"models:/{name}@champion")
row = numpy.ones((1, 3), dtype="float32")
print(json.dumps({
    "tags": version.tags,
    "version": version.version,
    "inputs": [i.name for i in model.graph.input],
    "signature": served.metadata.signature.inputs.to_dict(),
    "probabilities": float(served.predict(row)["probabilities"].sum()),
    "run_id": version.run_id,
}))
"""


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as uri:
        yield uri


@pytest.fixture
def database(tmp_path: Path) -> str:
    return fresh_database("sqlite", tmp_path)


def registry_at(uri: str, database: str, steps: Steps | None = None) -> MlflowRegistry:
    steps = steps or Steps()
    engine = steps.watch(open_database(database))
    return MlflowRegistry(uri, engine, SqlEventLog(engine), SystemWallClock(), transport=steps.transport())


def register(uri: str, database: str, folder: Path, key: str, name: str) -> ModelVersion:
    run = MlflowTracker(uri, experiment=name).start_run(key=key, name=f"training {key}")
    return registry_at(uri, database).register(candidate(folder, key, run, name=name), actor="training")


def python(*arguments: str, uri: str, database: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "AUTOTRADER_MLFLOW__TRACKING_URI": uri,
        "AUTOTRADER_DATABASE__URL": database,
        "MLFLOW_TRACKING_URI": uri,
    }
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def verb(line: str, *, uri: str, database: str) -> tuple[int, Any]:
    done = python("-m", *line.split(), "--json", uri=uri, database=database)
    return done.returncode, json.loads(done.stdout)


def test_mlflows_own_client_finds_loads_and_serves_the_champion(
    uri: str, database: str, tmp_path: Path
) -> None:
    name = "notebook"
    made = register(uri, database, tmp_path, "a", name)
    registry_at(uri, database).set_alias(name, Alias.CHAMPION, made.semver, reason="first", actor="ops")
    done = python("-c", MLFLOW_CLIENT, name, uri=uri, database=database)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["tags"] == dict(made.tags)
    assert (int(seen["version"]), seen["run_id"]) == (made.version, made.run_id)
    assert seen["inputs"] == ["features"]
    assert seen["signature"][0]["tensor-spec"]["shape"] == [-1, len(FEATURES)]
    assert seen["probabilities"] == pytest.approx(1.0, abs=1e-6)


def test_the_commands_of_the_runbook_work_in_their_order(uri: str, database: str, tmp_path: Path) -> None:
    name, at = "autotrader-strategy", {"uri": uri, "database": database}
    for key in "ab":
        register(uri, database, tmp_path, key, name)
    registry_at(uri, database).set_alias(name, Alias.CHAMPION, "v1.1.0", reason="rollout", actor="ops")

    code, shown = verb("autotrader.registry.get --version v1.1.0", **at)
    assert (code, shown["aliases"]) == (0, ["champion"])

    code, marked = verb("autotrader.registry.mark_failed --version v1.1.0 --reason drift", **at)
    assert (code, marked["rollback_needed"]) == (0, True)

    back = "autotrader.registry.rollback --from-version {} --to-version {} --reason drift"
    code, done = verb(back.format("v1.1.0", "v1.0.0"), **at)
    assert (code, done["champion"]["semver"], done["left"]["status"]) == (0, "v1.0.0", "failed")

    code, refused = verb(back.format("v1.0.0", "v1.1.0"), **at)
    assert (code, refused["error"]) == (4, "Refused")

    kinds = [e.data["kind"] for e in SqlEventLog(open_database(database)).recent()]
    assert kinds == ["status", "champion", "status", "champion", "registered", "registered"]


def _register_until(uri: str, database: str, given: ModelCandidate, until: int) -> None:
    registry_at(uri, database, Steps(until)).register(given, actor="training")


def test_a_registration_that_is_killed_and_run_again_is_one_whole_version(
    uri: str, database: str, tmp_path: Path
) -> None:
    tracker = MlflowTracker(uri, experiment="killed")
    for until in range(1, 31, 3):
        name = f"killed-{until}"
        run = tracker.start_run(key=name, name="training")
        given = candidate(tmp_path, name, run, name=name)
        assert run_killed(_register_until, uri, database, given, until)
        made = registry_at(uri, database).register(given, actor="training")
        assert (made.version, made.semver) == (1, "v1.0.0")
        assert registry_at(uri, database).list(name) == [made]
        onnx = registry_at(uri, database).fetch_artifact(made, "model.onnx", tmp_path / "serving" / name)
        assert onnx.read_bytes() == given.onnx_path.read_bytes()
    assert len(SqlEventLog(open_database(database)).recent()) == 10


def test_a_change_made_while_the_server_is_down_is_shown_when_it_is_back(
    database: str, tmp_path: Path
) -> None:
    name = "restarted"
    folder = tmp_path / "server"
    folder.mkdir()
    with mlflow_server(folder) as uri:
        register(uri, database, tmp_path, "a", name)
    registry = registry_at(uri, database)
    with pytest.raises(Unreachable, match=r"champion none -> v1\.0\.0"):
        registry.set_alias(name, Alias.CHAMPION, "v1.0.0", reason="first", actor="ops")
    with mlflow_server(folder) as uri:
        back = registry_at(uri, database)
        assert back.get(name, "champion").semver == "v1.0.0"
        fresh = registry_at(uri, f"sqlite:///{tmp_path}/another.db")
        assert fresh.get(name, "champion").semver == "v1.0.0"
