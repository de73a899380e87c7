"""### What the week came to, by mail and as a page

| step | what it does |
|---|---|
| build_report | accounts, model, drift, rollouts, pipelines, service levels, open alerts |
| mail_report | writes `<home>/reports/weekly/<key>.html`, and the mail as `daily_summary` does |

Of an account: trades and PnL by day and instrument, Sharpe, drawdown, win rate, fees, slippage.
Every figure is read from what was recorded; what cannot be read is left out, with the reason. A week ends
on Sunday at 18:00 UTC. It is mailed once: a run by hand for a week that was mailed writes the page anew,
and sends nothing. A report of a week that is not over is a mail of its own.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import dag, task

from autotrader.adapters.airflow_dag import conf, cron, default_args, form, run
from autotrader.pipelines.params import WEEKLY_REPORT


@dag(
    dag_id="weekly_report",
    description="PnL, costs, model, drift, rollouts, pipelines and service levels of the week, by mail",
    doc_md=__doc__,
    schedule=cron("0 18 * * 0"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    default_args=default_args(retries=2, retry_delay=timedelta(minutes=5)),
    params=form(WEEKLY_REPORT),
    tags=["autotrader", "trading"],
)
def weekly_report() -> None:
    @task
    def build_report() -> dict[str, Any]:
        report: dict[str, Any] = run("weekly.build_report", **conf())
        return report

    @task
    def mail_report(report: dict[str, Any]) -> list[dict[str, Any]]:
        posted: list[dict[str, Any]] = run("weekly.mail_report", report=report)
        return posted

    mail_report(build_report())


weekly_report()
