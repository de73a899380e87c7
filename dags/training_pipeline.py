"""### Features into a judged model in the registry

| step | what it does |
|---|---|
| prepare_training_data | labels and features of the window, pinned to table versions |
| train_models | searches each model family on the first training window; every trial is recorded |
| evaluate_models | walk-forward over the evaluation window, net of costs, against baselines and champion |
| validate_model | all gates: pass, fail or undecided, enforced or advisory in this environment |
| register_model | the judged model with its ONNX copy, or the reason why there is none |
| trigger_deployment, start_deployment_pipeline | hands a promoted version to `deployment_pipeline` |

"Not promoted" is an outcome: tasks skip and say why. A failed run is an outage.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Asset, dag, task

from autotrader.adapters.airflow_dag import conf, cron, default_args, form, label, mapped, run, run_key, skip
from autotrader.pipelines.params import TRAINING_PIPELINE

FEATURES = Asset("features")
MODEL = Asset("model")


@dag(
    dag_id="training_pipeline",
    description="Features into a judged model in the registry",
    doc_md=__doc__,
    schedule=cron("0 3 * * 0"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=6),
    default_args=default_args(retries=1, retry_delay=timedelta(minutes=30)),
    params=form(TRAINING_PIPELINE),
    tags=["autotrader", "training"],
)
def training_pipeline() -> None:
    @task(inlets=[FEATURES])
    def prepare_training_data() -> list[dict[str, Any]]:
        return run("training.prepare_training_data", run_key=run_key(), **conf())

    @task(map_index_template="{{ label }}")
    def train_models(work: dict[str, Any]) -> dict[str, Any]:
        label(work["family"])
        return run("training.train_models", work=work)

    @task
    def evaluate_models(searched: list[dict[str, Any]]) -> dict[str, Any]:
        return run("training.evaluate_models", searched=mapped(searched))

    @task
    def validate_model(evaluated: dict[str, Any]) -> dict[str, Any]:
        return run("training.validate_model", evaluated=evaluated)

    @task(outlets=[MODEL])
    def register_model(validated: dict[str, Any]) -> dict[str, Any]:
        registered = run("training.register_model", validated=validated)
        if registered["version"] is None:
            skip(registered["reason"])
        return registered

    @task
    def trigger_deployment(registered: dict[str, Any]) -> dict[str, Any]:
        if not registered["promoted"]:
            skip(registered["reason"])
        asked = run("training.trigger_deployment", registered=registered)
        if not asked["deploy"]:
            skip(asked["reason"])
        return asked

    searched = train_models.expand(work=prepare_training_data())
    promoted: Any = trigger_deployment(register_model(validate_model(evaluate_models(searched))))
    TriggerDagRunOperator(
        task_id="start_deployment_pipeline",
        trigger_dag_id="deployment_pipeline",
        conf={"model_version": promoted["model_version"], "profile": promoted["profile"]},
    )


training_pipeline()
