"""What every experiment tracker does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from autotrader.adapters import mlflow_rest
from autotrader.adapters.mlflow_tracking import MlflowTracker
from autotrader.ports.tracking import ExperimentTracker
from tests.fakes.mlflow_server import StandInMlflow, serve
from tests.fakes.tracking import InMemoryTracker
from tests.services import mlflow_server


@pytest.fixture(params=["memory", "stand-in", pytest.param("mlflow", marks=pytest.mark.integration)])
def tracker(request: pytest.FixtureRequest) -> Iterator[ExperimentTracker]:
    match request.param:
        case "memory":
            yield InMemoryTracker()
        case "mlflow":
            uri = request.getfixturevalue("real_mlflow")
            yield MlflowTracker(uri, experiment=request.node.name)
        case _:
            with serve(StandInMlflow()) as uri:
                yield MlflowTracker(uri, experiment="autotrader-strategy")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real server may take long over its first answers where others keep the machine busy."""
    monkeypatch.setattr(mlflow_rest, "ANSWER_TIMEOUT_SECONDS", 60.0)


@pytest.fixture(scope="session")
def real_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as uri:
        yield uri


def test_a_run_is_found_again_by_its_key(tracker: ExperimentTracker) -> None:
    assert isinstance(tracker, ExperimentTracker)
    first = tracker.start_run(key="k1", name="training", tags={"git_sha": "1"})
    assert tracker.start_run(key="k2", name="training") != first
    assert tracker.start_run(key="k1", name="training") == first


def test_a_finished_run_goes_on_when_its_step_is_repeated(tracker: ExperimentTracker) -> None:
    run = tracker.start_run(key="k1", name="training")
    tracker.finish(run)
    assert tracker.start_run(key="k1", name="training") == run
    tracker.log(run, metrics={"sharpe": 1.0})
    tracker.finish(run, status="FAILED")


def test_a_child_run_is_one_of_its_own(tracker: ExperimentTracker) -> None:
    parent = tracker.start_run(key="k1", name="training")
    child = tracker.start_run(key="k1/trial1", name="trial", parent_run_id=parent)
    assert child != parent


def test_what_is_logged_twice_is_left(tracker: ExperimentTracker, tmp_path: Path) -> None:
    run = tracker.start_run(key="k1", name="training")
    report = tmp_path / "report.html"
    report.write_text("<html></html>")
    for _ in range(2):
        tracker.log(run, params={"model": "lightgbm", "leaves": 31}, metrics={"sharpe": 1.5})
        tracker.log_table(run, "gates.json", {"name": ["sharpe", "ece"], "value": [1.5, 0.02]})
        tracker.log_file(run, report, "reports")


def test_metrics_need_not_be_finite(tracker: ExperimentTracker) -> None:
    run = tracker.start_run(key="k1", name="training")
    tracker.log(run, metrics={"a": float("nan"), "b": float("inf"), "c": float("-inf")})


def test_a_run_has_an_address_for_people(tracker: ExperimentTracker) -> None:
    run = tracker.start_run(key="k1", name="training")
    assert run in tracker.run_url(run)
