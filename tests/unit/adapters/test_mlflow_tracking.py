"""What arrives in MLflow, and how it is found again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from autotrader.adapters.mlflow_tracking import MlflowTracker
from autotrader.domain.errors import Rejected, Unreachable
from tests.fakes.mlflow_server import Refusal, Run, StandInMlflow, serve


@dataclass
class World:
    mlflow: StandInMlflow
    uri: str

    def tracker(self) -> MlflowTracker:
        return MlflowTracker(self.uri, experiment="autotrader-strategy")

    def run(self, run_id: str) -> Run:
        return self.mlflow.runs[run_id]


@pytest.fixture
def world() -> Iterator[World]:
    mlflow = StandInMlflow()
    with serve(mlflow) as uri:
        yield World(mlflow, uri)


def test_a_run_carries_its_key_its_parent_and_the_given_tags(world: World) -> None:
    parent = world.tracker().start_run(key="k1", name="training")
    child = world.tracker().start_run(key="k2", name="trial", parent_run_id=parent, tags={"family": "x"})
    tags = world.run(child).tags
    assert (tags["autotrader.key"], tags["mlflow.parentRunId"], tags["family"]) == ("k2", parent, "x")
    assert "mlflow.parentRunId" not in world.run(parent).tags
    assert world.run(child).name == "trial"


def test_another_process_finds_the_run_and_the_experiment(world: World) -> None:
    run = world.tracker().start_run(key="k1", name="training")
    world.tracker().finish(run)
    assert world.run(run).status == "FINISHED"
    assert world.tracker().start_run(key="k1", name="training") == run
    assert world.run(run).status == "RUNNING"
    assert len(world.mlflow.experiments) == 1


def test_of_two_runs_begun_at_once_the_older_one_stays(world: World) -> None:
    answer = world.mlflow.answer
    rivals: list[str] = []

    def begin_another_first(method: str, path: str, query: dict[str, object], body: bytes) -> bytes:
        if path.endswith("runs/create") and not rivals:
            rival = json.loads(answer(method, path, query, body))["run"]["info"]["run_id"]
            rivals.append(rival)
            world.run(rival).start_time -= 5
        return answer(method, path, query, body)

    world.mlflow.answer = begin_another_first  # type: ignore[method-assign]
    assert world.tracker().start_run(key="k1", name="training") == rivals[0]
    assert [run.id for run in world.mlflow.runs.values() if not run.deleted] == rivals


def test_an_experiment_that_another_process_makes_first_is_used(world: World) -> None:
    def make_first(method: str, path: str) -> None:
        if path.endswith("experiments/create"):
            world.mlflow.experiments.setdefault("autotrader-strategy", "77")

    world.mlflow.before = make_first
    run = world.tracker().start_run(key="k1", name="training")
    assert world.run(run).experiment_id == "77"


def test_many_params_and_metrics_go_in_batches(world: World) -> None:
    tracker = world.tracker()
    run = tracker.start_run(key="k1", name="training")
    params = {f"p{i}": i for i in range(250)}
    metrics = {f"m{i}": float(i) for i in range(2500)}
    begin = len(world.mlflow.requests)
    tracker.log(run, params=params, metrics=metrics)
    assert len(world.mlflow.requests) - begin == 6
    assert world.run(run).params == {k: str(v) for k, v in params.items()}
    assert world.run(run).metrics == metrics


def test_a_metric_that_is_not_finite_arrives_as_what_it_is(world: World) -> None:
    tracker = world.tracker()
    run = tracker.start_run(key="k1", name="training")
    tracker.log(run, metrics={"a": math.nan, "b": -math.inf})
    assert math.isnan(world.run(run).metrics["a"])
    assert world.run(run).metrics["b"] == -math.inf


def test_a_parameter_cannot_be_changed(world: World) -> None:
    tracker = world.tracker()
    run = tracker.start_run(key="k1", name="training")
    tracker.log(run, params={"leaves": 31})
    with pytest.raises(Rejected, match="param"):
        tracker.log(run, params={"leaves": 63})


@pytest.mark.parametrize("theirs", ["31", "63"])
def test_a_parameter_that_another_process_logs_at_the_same_moment_is_compared(
    world: World, theirs: str
) -> None:
    tracker = world.tracker()
    run = tracker.start_run(key="k1", name="training")
    answer = world.mlflow.answer

    def insert_first(method: str, path: str, query: dict[str, object], body: bytes) -> bytes:
        if path.endswith("runs/log-batch") and not world.run(run).params:
            world.run(run).params["leaves"] = theirs
            raise Refusal(
                "BAD_REQUEST",
                "(sqlite3.IntegrityError) UNIQUE constraint failed: params.key, params.run_uuid",
            )
        return answer(method, path, query, body)

    world.mlflow.answer = insert_first  # type: ignore[method-assign]
    if theirs == "31":
        tracker.log(run, params={"leaves": 31})
    else:
        with pytest.raises(Rejected, match="Changing param values"):
            tracker.log(run, params={"leaves": 31})
    assert world.run(run).params == {"leaves": theirs}


def test_a_table_is_kept_the_way_that_the_ui_shows(world: World) -> None:
    tracker = world.tracker()
    run = tracker.start_run(key="k1", name="training")
    for name in ("gates.json", "models.json", "gates.json"):
        tracker.log_table(run, name, {"gate": ["sharpe", "ece"], "value": [1.5, None]})
    (path,) = (p for p in world.mlflow.artifacts if p.endswith("gates.json"))
    table = json.loads(world.mlflow.artifacts[path])
    assert table == {"columns": ["gate", "value"], "data": [["sharpe", 1.5], ["ece", None]]}
    shown = json.loads(world.run(run).tags["mlflow.loggedArtifacts"])
    assert shown == [{"path": p, "type": "table"} for p in ("gates.json", "models.json")]


def test_a_table_of_uneven_columns_is_refused(world: World) -> None:
    tracker = world.tracker()
    run = tracker.start_run(key="k1", name="training")
    with pytest.raises(ValueError, match="zip"):
        tracker.log_table(run, "t.json", {"a": [1], "b": [1, 2]})


def test_a_file_lies_in_its_folder(world: World, tmp_path: Path) -> None:
    tracker = world.tracker()
    run = tracker.start_run(key="k1", name="training")
    path = tmp_path / "report.html"
    path.write_bytes(b"<html></html>")
    tracker.log_file(run, path)
    tracker.log_file(run, path, "reports/")
    names = {p.partition("/artifacts/")[2]: c for p, c in world.mlflow.artifacts.items()}
    assert names == {"report.html": b"<html></html>", "reports/report.html": b"<html></html>"}


def test_a_server_that_is_away_is_unreachable(world: World) -> None:
    def refuse(method: str, path: str) -> None:
        raise Refusal("TEMPORARILY_UNAVAILABLE", "down", 502)

    world.mlflow.before = refuse
    with pytest.raises(Unreachable):
        world.tracker().start_run(key="k1", name="training")


def test_a_key_that_a_query_could_trip_over_is_refused(world: World) -> None:
    with pytest.raises(ValueError, match="quotes"):
        world.tracker().start_run(key="k'1", name="training")
