"""### Are the features and predictions that are served still what the model was trained on?

| step | what it does |
|---|---|
| detect_feature_drift | served features and predictions against the champion's training window |
| check_feature_quality | missing and impossible values, age, and served against recomputed |
| monitor_model_performance | predictions whose outcome is known by now, against the baseline |
| generate_health_report | one verdict with what to do, as JSON and as a page that people open |
| decide_retraining, trigger_retraining | where the settings allow it, after a critical verdict |

A critical verdict is a result, not a failed run: it raises an alert of its own.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Asset, dag, task

from autotrader.adapters.airflow_dag import cron, default_args, run, run_key, skip

FEATURES = Asset("features")
MODEL = Asset("model")


@dag(
    dag_id="feature_health_check",
    description="Drift, quality and performance of what is served",
    doc_md=__doc__,
    schedule=cron("0 * * * *"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=15),
    default_args=default_args(retries=2, retry_delay=timedelta(minutes=2)),
    tags=["autotrader", "monitoring"],
)
def feature_health_check() -> None:
    @task(inlets=[FEATURES, MODEL])
    def detect_feature_drift() -> dict[str, Any]:
        return run("health.detect_feature_drift")

    @task(inlets=[FEATURES])
    def check_feature_quality() -> dict[str, Any]:
        return run("health.check_feature_quality")

    @task(inlets=[MODEL])
    def monitor_model_performance() -> dict[str, Any]:
        return run("health.monitor_model_performance")

    @task
    def generate_health_report(
        drift: dict[str, Any], quality: dict[str, Any], performance: dict[str, Any]
    ) -> dict[str, Any]:
        return run(
            "health.generate_health_report",
            run_key=run_key(),
            drift=drift,
            quality=quality,
            performance=performance,
        )

    @task
    def decide_retraining(report: dict[str, Any]) -> None:
        if not report["retrain"]:
            skip(f"no retraining: {report['health']}: {report['reason']}")

    verdict = generate_health_report(
        detect_feature_drift(), check_feature_quality(), monitor_model_performance()
    )
    decide_retraining(verdict) >> TriggerDagRunOperator(
        task_id="trigger_retraining", trigger_dag_id="training_pipeline"
    )


feature_health_check()
