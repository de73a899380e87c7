"""Faults of what runs by itself: pipelines, the lake, served features, jobs, backups."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from autotrader.adapters.clocks import StandingMarketClock, SystemWallClock
from autotrader.db.engine import open_database
from autotrader.db.jobs import SqlJobs
from autotrader.domain.thresholds import ALERTS
from autotrader.pipelines.jobs import done_as_job
from autotrader.ports.jobs import run_id_of
from tests.fakes.airflow_history import AirflowHistory, Query
from tests.fakes.small_market import NOW, Stores
from tests.monitoring.at_work import AtWork
from tests.monitoring.parts import ROOT, surroundings
from tests.monitoring.watched import Fault, row
from tests.unit.monitoring.live import Live

DAY = timedelta(days=1)
STOPPED_AT, RESUMED_AT = NOW - timedelta(hours=6), NOW - timedelta(hours=3)  # a hole of half a night
INSTRUMENT = "BTCUSDT"
AGAIN_SECONDS = 1.5
UNIT_CHANGED, SHIFTED = "rsi_14", "zscore_20"


@dataclass
class WorkingAirflow(AirflowHistory):
    """Tells of runs that were, and takes new ones on; those that it takes on `fails` have failed at once."""

    tasks_of: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    fails: bool = False

    def asked(self, method: str, path: str, query: Query, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if "/dags/backtest/dagRuns" not in path or path.endswith("taskInstances"):
            return super().asked(method, path, query, body)
        status, answer = self.answer(method, path, body)
        if method == "POST" and status == httpx.codes.OK:
            self.runs[body["dag_run_id"]]["state"] = "failed" if self.fails else "running"
        return status, answer


@dataclass
class Pipelines:
    """An exporter over a lake, a database and Airflow, and an API that takes jobs."""

    home: Path
    api_url: str
    token: str
    airflow: WorkingAirflow
    live: Live
    market: pl.DataFrame
    environment: dict[str, str]
    at_work: AtWork = field(default_factory=AtWork)

    # -------------------------------------------------------------------------- pipelines

    def end_run(self, dag_id: str, state: str) -> None:
        self.airflow.add(dag_id, uuid.uuid4().hex, state, datetime.now(UTC))

    def fail_runs(self, dag_id: str) -> None:
        """One run after the other."""
        self.at_work.repeat(dag_id, lambda: self.end_run(dag_id, "failed"), every_seconds=AGAIN_SECONDS)

    def mend_runs(self, dag_id: str) -> None:
        self.at_work.end(dag_id)
        self.end_run(dag_id, "success")

    def queue_tasks(self, count: int) -> None:
        self.airflow.queues[:] = ["default"] * count

    def load_bars(self, start: datetime, end: datetime) -> None:
        """As data_pipeline does."""
        wanted = self.market.filter(pl.col("ts") >= start, pl.col("ts") < end)
        lake = Stores(self.live.bars, self.live.store)
        lake.bars.upsert([wanted], commit_key=f"bars-{start:%FT%R}", seen_at=NOW)

    def check_features(self, day: datetime, *, drifted: bool) -> None:
        """Serve what was asked on the day that ended, and make the check that is due."""
        change = spoilt if drifted else None
        self.live.clock = StandingMarketClock(day)
        self.live.serve(until=NOW - day, change=change)
        self.live.report(distributions=False)

    # ------------------------------------------------------------------- jobs and backups

    def ask_for_backtests(self, count: int) -> list[str]:
        headers = {"Authorization": f"Bearer {self.token}"}
        asked = {"strategy": "buy_and_hold", "instruments": [INSTRUMENT]}
        with httpx.Client(base_url=self.api_url, headers=headers, trust_env=False, timeout=60) as client:
            answers = [client.post("/jobs/backtest", json=asked) for _ in range(count)]
        return [str(answer.raise_for_status().json()["id"]) for answer in answers]

    def fail_backtests(self) -> None:
        """Whatever is asked for, its run fails."""
        self.airflow.fails = True
        self.ask_for_backtests(ALERTS.dead_letters)
        self.at_work.repeat(
            "failing backtests", lambda: self.ask_for_backtests(2), every_seconds=AGAIN_SECONDS
        )

    def begin_backtest(self) -> None:
        """One whose worker has begun, and does not come to an end."""
        (job,) = self.ask_for_backtests(1)
        jobs = SqlJobs(open_database(f"sqlite:///{self.home}/autotrader.db"), tries=1, retry_seconds=0)

        def work(ending: threading.Event) -> None:
            done_as_job(
                run_id_of(job, 1), lambda: {"ended": ending.wait()}, jobs=jobs, clock=SystemWallClock()
            )

        self.at_work.begin("hanging backtest", work)

    def back_up(self) -> None:
        command = [sys.executable, "-m", "autotrader.continuity", "backup"]
        environment = surroundings(self.environment)
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]


def spoilt(rows: pl.DataFrame) -> pl.DataFrame:
    """One feature is told in another unit, another one is a little too high."""
    return rows.with_columns(pl.col(UNIT_CHANGED) / 100, pl.col(SHIFTED) + 0.6)


def do_nothing(_: Pipelines) -> None:
    """The fault is that nothing is done."""


FAILED_PIPELINE = Fault[Pipelines](
    "the data pipeline fails",
    lambda platform: platform.fail_runs("data_pipeline"),
    lambda platform: platform.mend_runs("data_pipeline"),
    (
        row("DataPipelineFailure", dag_id="data_pipeline"),
        row("ErrorBudgetBurn", slo="pipeline_success", severity="warning"),
    ),
)
FAILED_DEPLOYMENT = Fault[Pipelines](
    "deployments fail",
    lambda platform: platform.fail_runs("deployment_pipeline"),
    lambda platform: platform.mend_runs("deployment_pipeline"),
    (row("ModelDeploymentFailure"),),
)
BACKLOG = Fault[Pipelines](
    "no worker takes tasks",
    lambda platform: platform.queue_tasks(ALERTS.queue_length + 1),
    lambda platform: platform.queue_tasks(0),
    (row("WorkerQueueBacklog", queue="default"),),
)
HOLE = Fault[Pipelines](
    "bars were not loaded",
    lambda platform: platform.load_bars(RESUMED_AT, NOW),
    lambda platform: platform.load_bars(STOPPED_AT, RESUMED_AT),
    (row("DataQualityIssues", instrument=f"binance:{INSTRUMENT}"),),
)
DRIFT = Fault[Pipelines](
    "features drift",
    lambda platform: platform.check_features(NOW - DAY, drifted=True),
    lambda platform: platform.check_features(NOW, drifted=False),
    (row("CriticalFeatureDrift", feature=UNIT_CHANGED), row("FeatureDriftWarning", feature=SHIFTED)),
)
HANGING_BACKTEST = Fault[Pipelines](
    "a backtest hangs",
    Pipelines.begin_backtest,
    lambda platform: platform.at_work.end("hanging backtest"),
    (row("BacktestTakingTooLong", type="backtest"),),
)
FAILED_BACKTESTS = Fault[Pipelines](
    "backtests fail",
    Pipelines.fail_backtests,
    lambda platform: platform.at_work.end("failing backtests"),
    (row("HighJobFailureRate"), row("HighBacktestFailureRate"), row("DeadLetterQueueGrowing")),
)
NO_BACKUP = Fault[Pipelines]("nobody backs up", do_nothing, Pipelines.back_up, (row("BackupMissing"),))

CHAINS = (
    (FAILED_PIPELINE,),
    (FAILED_DEPLOYMENT,),
    (BACKLOG,),
    (HOLE,),
    (DRIFT,),
    (HANGING_BACKTEST, FAILED_BACKTESTS),
    (NO_BACKUP,),
)
FAULTS = tuple(fault for chain in CHAINS for fault in chain)
