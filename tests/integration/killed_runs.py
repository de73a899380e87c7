"""Both pipelines step by step, with kills in between, and everything that they leave behind."""

from __future__ import annotations

import fcntl
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from autotrader.adapters.mlflow_rest import MlflowRest
from autotrader.bootstrap import Container
from autotrader.config.settings import load_settings
from autotrader.db.model_records import ModelRecords
from autotrader.ports.registry import ModelVersion
from tests.integration.pipeline_child import Nursery

MODEL = "autotrader-strategy"
# Steps of the data pipeline that may be killed with bars in the lake.
AFTER_COMMIT = {
    "data.commit_bars",
    "data.transform_features",
    "data.load_to_feature_store",
    "data.check_data_health",
}
LONG_AGO, FAR_AHEAD = datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)

RunStep = Callable[..., Any]


class StartAgain(Exception):
    """The run is given up, and one is started from its first step.

    Attributes
    ----------
    asks_again : bool
        Whether the venue is asked anew: under a new key nothing is staged, and what was committed may
        make an incremental window another one.
    """

    def __init__(self, step: str, *, new_key: bool) -> None:
        super().__init__()
        self.new_key = new_key
        self.asks_again = new_key or step in AFTER_COMMIT


def data_pipeline(run: RunStep, run_key: str, conf: Mapping[str, Any]) -> dict[str, Any]:
    """The steps of `dags/data_pipeline.py`, one after the other."""
    planned = run("data.plan_ingestion", run_key=run_key, **conf)
    fetched = [run("data.extract_market_data", work=work) for work in planned]
    archived = [run("data.archive_raw_data", work=work) for work in fetched]
    validated = [run("data.validate_data", work=work) for work in archived]
    changed = run("data.commit_bars", run_key=run_key, validated=validated)
    transformed = [run("data.transform_features", work=work) for work in changed]
    loaded = run("data.load_to_feature_store", run_key=run_key, transformed=transformed)
    health: dict[str, Any] = run(
        "data.check_data_health", run_key=run_key, planned=planned, validated=validated, loaded=loaded
    )
    return health


def training_pipeline(run: RunStep, run_key: str, conf: Mapping[str, Any]) -> dict[str, Any]:
    """The steps of `dags/training_pipeline.py`, one after the other."""
    families = run("training.prepare_training_data", run_key=run_key, **conf)
    searched = [run("training.train_models", work=work) for work in families]
    evaluated = run("training.evaluate_models", searched=searched)
    validated = run("training.validate_model", evaluated=evaluated)
    registered: dict[str, Any] = run("training.register_model", validated=validated)
    if registered["promoted"]:
        run("training.trigger_deployment", registered=registered)
    return registered


@dataclass
class Killer:
    """Runs steps, and kills each some times before it lets it come to its end.

    Attributes
    ----------
    due : Counter of str
        How many kills each step is still to get.
    seconds : dict of str to float
        How long each step takes: the moments are spread over that. Follows the machine, which others
        may use meanwhile.
    done : Counter of str
    missed : int
        Steps that ended before their moment.
    """

    nursery: Nursery
    due: Counter[str]
    seconds: dict[str, float]
    moments: random.Random
    at_most: int = 2
    again: float = 0.1
    done: Counter[str] = field(default_factory=Counter)
    restarts: Counter[str] = field(default_factory=Counter)
    missed: int = 0

    def run(self, environment: Mapping[str, str], step: str, **key: Any) -> Any:
        """The step's result, of the attempt that was let live.

        Raises
        ------
        StartAgain
            After some of the kills.
        """
        for attempt in range(self.at_most):
            if not self.due[step]:
                break
            moment = self.moments.uniform(0, self.seconds[step])
            ended = self.nursery.run(step, key, environment, kill_after=moment)
            if ended:
                result, took = ended
                self.missed += 1
                if attempt == 0:
                    self.seconds[step] = (self.seconds[step] + took) / 2
                return result
            self.due[step] -= 1
            self.done[step] += 1
            if self.moments.random() < self.again:
                new_key = self.moments.random() < 0.5
                self.restarts["new key" if new_key else "same key"] += 1
                raise StartAgain(step, new_key=new_key)
        ended = self.nursery.run(step, key, environment)
        assert ended is not None
        return ended[0]


@dataclass(frozen=True)
class Left:
    """Everything that both pipelines left behind in a home and in MLflow."""

    tables: Mapping[str, pl.DataFrame]
    archive: Counter[tuple[str, str]]
    fetched_at: frozenset[datetime]
    trials: list[tuple[str, str, str, float | None]]
    records: int
    version: ModelVersion
    artifacts: Mapping[str, bytes]
    events: list[str]
    staging: frozenset[str]
    tracked: list[tuple[str, str]]


def look(environment: Mapping[str, str]) -> Left:
    """Read it all, and check what must hold whatever happened before."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        container = Container(load_settings())
    home = container.settings.home
    assert [str(path) for path in home.rglob("*lock") if path.is_file() and _is_held(path)] == []
    assert [path for path in (home / "training").rglob(".*") if path.is_dir()] == []
    pages = [(entry, container.archive.load(entry)) for entry in container.archive.entries()]
    records = ModelRecords(container.engine)
    versions = container.registry.list(MODEL)
    assert len(versions) == 1, versions
    assert all(record.is_registered for record in records.all(MODEL))
    assert not [*records.pending(MODEL), *records.unrecorded(MODEL)]
    (version,) = versions
    digests = json.loads(version.tags["digests"])
    assert digests["model.onnx"] == version.tags["onnx_sha256"] == version.onnx_sha256
    assert digests["model.skops"] == version.tags["native_sha256"]
    artifacts = {
        file: container.registry.fetch_artifact(version, file, home / "fetched").read_bytes()
        for file in digests
    }
    left = Left(
        tables={name: container.lake.open(name).read() for name in container.lake.names()},
        archive=Counter((page.instrument, entry.sha256) for entry, page in pages),
        fetched_at=frozenset(page.fetched_at for _, page in pages),
        trials=sorted(
            (trial.key, trial.family, trial.state, trial.sharpe)
            for trial in container.trials.overlapping(MODEL, LONG_AGO, FAR_AHEAD)
        ),
        records=len(records.all(MODEL)),
        version=version,
        artifacts=artifacts,
        events=sorted(event.message for event in container.events.recent()),
        staging=frozenset(path.name for path in (home / "staging" / "data_pipeline").iterdir()),
        tracked=_tracked(MlflowRest(container.settings.mlflow_uri), version),
    )
    container.close()
    return left


def rename_in_mlflow(uri: str, suffix: str) -> None:
    """Put what a home left in MLflow aside: the next home finds the names free."""
    mlflow = MlflowRest(uri)
    found = mlflow.get("experiments/get-by-name", experiment_name=MODEL)["experiment"]
    mlflow.post("experiments/update", experiment_id=found["experiment_id"], new_name=f"{MODEL}-{suffix}")
    mlflow.post("registered-models/rename", name=MODEL, new_name=f"{MODEL}-{suffix}")


def _tracked(mlflow: MlflowRest, version: ModelVersion) -> list[tuple[str, str]]:
    """Name and status of every run in MLflow, after a look at what hangs together there."""
    shown = list(mlflow.pages("GET", "model-versions/search", "model_versions", filter=f"name='{MODEL}'"))
    assert [(int(v["version"]), v["run_id"]) for v in shown] == [(version.version, version.run_id)]
    assert {t["key"]: t["value"] for t in shown[0]["tags"]} == dict(version.tags)
    experiment = mlflow.get("experiments/get-by-name", experiment_name=MODEL)["experiment"]
    runs = list(mlflow.pages("POST", "runs/search", "runs", experiment_ids=[experiment["experiment_id"]]))
    tags = [{t["key"]: t["value"] for t in run["data"]["tags"]} for run in runs]
    keys = [t["autotrader.key"] for t in tags]
    assert len(set(keys)) == len(keys), "a run was tracked twice"
    parents = {t.get("mlflow.parentRunId") for t in tags} - {None}
    assert parents == {version.run_id}
    return sorted(
        (run["info"]["run_name"] if "mlflow.parentRunId" in t else "parent", run["info"]["status"])
        for run, t in zip(runs, tags, strict=True)
    )


def _is_held(path: Path) -> bool:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
