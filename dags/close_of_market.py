"""### The day's equity bars, right after the close

| step | what it does |
|---|---|
| plan_close | skips where no equities are traded, or the exchange has no session |
| load_equity_bars | runs `data_pipeline` for the venue of equities, and ends as that run ends |

Without it the summary at 16:30 would not know where equities closed: `data_pipeline` itself runs at
night. A day given by hand is loaded as a backfill of that day.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import dag, task

from autotrader.adapters.airflow_dag import conf, cron, default_args, form, run, skip
from autotrader.pipelines.params import CLOSE_OF_MARKET


@dag(
    dag_id="close_of_market",
    description="The day's equity bars, right after the close",
    doc_md=__doc__,
    schedule=cron("5 16 * * 1-5", timezone="America/New_York"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=20),
    default_args=default_args(retries=2, retry_delay=timedelta(minutes=2)),
    params=form(CLOSE_OF_MARKET),
    tags=["autotrader", "data"],
)
def close_of_market() -> None:
    @task
    def plan_close() -> dict[str, Any]:
        planned: dict[str, Any] = run("summary.plan_close", **conf())
        if not planned["due"]:
            skip(planned["reason"])
        return planned

    planned: Any = plan_close()
    # Its own run, not its steps in this one: two runs at a time would commit to one table.
    TriggerDagRunOperator(
        task_id="load_equity_bars",
        trigger_dag_id="data_pipeline",
        conf=planned["conf"],
        wait_for_completion=True,
        deferrable=True,
        poke_interval=5,
    )


close_of_market()
