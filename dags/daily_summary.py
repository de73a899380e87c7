"""### What the day came to, by mail

| step | what it does |
|---|---|
| check_market_day | skips where the exchange has no session; an early close is told in the mail |
| build_summary | trades and PnL, win rate, open positions, watch list, for each account |
| mail_summary | writes the mail to `<home>/mail`, then hands it to the mail server |
| forget_old | deletes signals, equity points and mails past their retention |

The summary covers the time since the one before, so that Monday's has the weekend's trades. A day is
mailed once: a run by hand for a day that was mailed builds it, shows it here, and sends nothing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import dag, task

from autotrader.adapters.airflow_dag import conf, cron, default_args, form, run, skip
from autotrader.pipelines.params import DAILY_SUMMARY


@dag(
    dag_id="daily_summary",
    description="Trades, PnL, positions and watch list of the day, by mail",
    doc_md=__doc__,
    schedule=cron("30 16 * * 1-5", timezone="America/New_York"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    default_args=default_args(retries=2, retry_delay=timedelta(minutes=5)),
    params=form(DAILY_SUMMARY),
    tags=["autotrader", "trading"],
)
def daily_summary() -> None:
    @task
    def check_market_day() -> dict[str, Any]:
        found: dict[str, Any] = run("summary.check_market_day", **conf())
        if not found["is_open"]:
            skip(found["reason"])
        return found

    @task
    def build_summary(market_day: dict[str, Any]) -> list[dict[str, Any]]:
        summaries: list[dict[str, Any]] = run("summary.build_summaries", market_day=market_day)
        if not summaries:
            skip("no account has traded yet")
        return summaries

    @task
    def mail_summary(summaries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        posted: list[dict[str, Any]] = run("summary.mail_summaries", summaries=summaries)
        return posted

    @task
    def forget_old() -> dict[str, Any]:
        forgotten: dict[str, Any] = run("summary.forget_old")
        return forgotten

    built = build_summary(check_market_day())
    mail_summary(built)
    built >> forget_old()


daily_summary()
