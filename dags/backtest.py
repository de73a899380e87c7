"""### A backtest on demand

Runs a registered model (or buy and hold) over stored features and bars, net of costs, with the same
sizing, cost and fill model as the gates and the trader. The result is a run in MLflow with its report.

`POST /jobs/backtest` asks for runs, too: theirs are called `job-<id>-<try>`, `GET /jobs/<id>` tells how they
ended, and a try that failed is followed by another one, which is held back for a while.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import dag, task

from autotrader.adapters.airflow_dag import conf, default_args, form, run, run_key
from autotrader.pipelines.params import BACKTEST


@dag(
    dag_id="backtest",
    description="A backtest of a registered model on demand",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,  # nothing starts it but who asks for it
    default_args=default_args(retries=0, retry_delay=timedelta(minutes=1)),
    params=form(BACKTEST),
    tags=["autotrader", "research"],
)
def backtest() -> None:
    @task
    def run_backtest() -> dict[str, Any]:
        return run("backtest.run", run_key=run_key(), **conf())

    run_backtest()


backtest()
