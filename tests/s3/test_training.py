"""From nothing to a registered model, each step on a machine of its own that is gone afterwards.

The machines share a database, a bucket for lake, archive and training, and MLflow: what ECS tasks share.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from autotrader.adapters.clocks import SystemWallClock
from autotrader.adapters.mlflow_registry import MlflowRegistry
from autotrader.apps.exchange.server import StandInExchange, running
from autotrader.apps.exchange.simulated import SimulatedMarket
from autotrader.db.engine import open_database
from autotrader.db.events import SqlEventLog
from tests.integration.killed_runs import MODEL, data_pipeline, training_pipeline
from tests.integration.pipeline_child import LOG_FILE, Nursery
from tests.s3.buckets import REGION, in_bucket, new_bucket
from tests.services import AWS_ENVIRONMENT, empty_database, mlflow_server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

END = datetime(2024, 3, 1, tzinfo=UTC)
DAYS = 6


class Machines:
    """Runs each step on a machine with an empty home."""

    def __init__(self, nursery: Nursery, folder: Path, settings: Mapping[str, str]) -> None:
        self._nursery = nursery
        self._folder = folder
        self._settings = settings
        self.homes: list[Path] = []

    def run(self, step: str, **key: Any) -> Any:
        home = self._folder / f"{len(self.homes):02d}-{step}"
        home.mkdir()
        self.homes.append(home)
        ended = self._nursery.run(step, key, {**self._settings, "AUTOTRADER_HOME": str(home)})
        assert ended is not None
        return ended[0]


def test_steps_that_share_no_disk_end_with_a_registered_model(aws: str, tmp_path: Path) -> None:
    bucket = in_bucket(aws, new_bucket(aws)).bucket
    shared = f"s3://{bucket.name}"
    database = empty_database("postgres", tmp_path)
    market = SimulatedMarket(("BTCUSDT", "ETHUSDT"), seed=11, end=END, days=DAYS, planted_signal=0.3)
    with ExitStack() as stack:
        within = {**AWS_ENVIRONMENT, "MLFLOW_S3_ENDPOINT_URL": aws}
        mlflow = stack.enter_context(
            mlflow_server(tmp_path, artifacts=f"{shared}/mlflow", environment=within)
        )
        venue = stack.enter_context(running(StandInExchange(market)))
        settings = {
            "AWS__REGION": REGION,
            "AWS__ENDPOINT_URL": aws,
            "DATABASE__URL": database,
            "DATABASE__LEDGER_URL": database,
            "LAKE__URI": f"{shared}/lake",
            "LAKE__ARCHIVE_URI": f"{shared}/archive",
            "MLFLOW__TRACKING_URI": mlflow,
            "CLOCK__MARKET_TIME": END.isoformat(),
            "BINANCE__INSTRUMENTS": "BTCUSDT,ETHUSDT",
            "BINANCE__SOURCE": "SIMULATED",
            "BINANCE__REST_URL": venue.listening().rest_url,
            "INGESTION__INITIAL_DAYS": str(DAYS),
            "TRAINING__LOOKBACK_DAYS": "3",
            "TRAINING__EVALUATION_DAYS": "2",
            "TRAINING__FOLD_DAYS": "1",
            "TRAINING__TRIALS_PER_MODEL": "2",
            "TRAINING__MODELS": "logistic",
            "TRAINING__SAMPLE_EVERY_BARS": "15",
        }
        nursery = stack.enter_context(Nursery(tmp_path))
        machines = Machines(nursery, tmp_path, {f"AUTOTRADER_{k}": v for k, v in settings.items()})
        assert data_pipeline(machines.run, "data", {})["severity"] == "healthy"
        registered = training_pipeline(machines.run, "training", {})
        engine = open_database(database)
        registry = MlflowRegistry(mlflow, engine, SqlEventLog(engine), SystemWallClock())
        (version,) = registry.list(MODEL)
        assert version.semver == registered["semver"] == "v1.0.0"
        model = registry.fetch_artifact(version, "model.onnx", tmp_path / "fetched")
        assert model.stat().st_size > 0
        assert sa.inspect(engine).has_table("trials", schema="optuna")
        engine.dispose()
    keys = {found.key for found in bucket.below("")}
    made = {key.split("/")[2] for key in keys if key.startswith("lake/_training/")}
    assert made == {"dataset", "trials", "search", "folds", "evaluation", "validation", "runs"}
    assert not any(key.startswith("lake/_staging/") for key in keys)
    assert any(key.startswith("mlflow/") and key.endswith("/model.onnx") for key in keys)
    # Nothing that a later step needs lies in the home of an earlier one: logs, copies and locks are left.
    for home in machines.homes:
        assert {path.name for path in home.iterdir()} <= {LOG_FILE, "training"}, home
