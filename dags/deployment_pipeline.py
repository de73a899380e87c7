"""### A registered model into live traffic, step by step, and back when it is worse

| step | what it does |
|---|---|
| sign_off_quant, sign_off_risk | in production, two people decide in turn (or `autotrader approve`) |
| pre_deploy_checks | gates, digests, signature, features, parity, latency, memory; sign-offs in production |
| deploy_green | brings the version up in the colour that is not live (ready within 300 s) |
| run_integration_tests | asks it what callers will ask, and what they must not |
| shadow | it answers every request beside the live version; nobody acts on it |
| canary_rollout | it owns the canary instruments |
| gradual_rollout | it owns a quarter, half, all of the instruments |
| finalize_deployment | it is live; the version before is kept warm for a day |
| rollback | after any failure: makes sure that traffic is where it was before |

The controller does the work, looks every minute, and takes traffic back by itself; these tasks ask
for a stage and wait, deferred. A run that was rolled back is a failed run: the failed task says why.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, chain, dag, task_group, teardown

from autotrader.adapters.airflow_dag import default_args, form, run, run_key, skip
from autotrader.adapters.airflow_rollout import RolloutStage
from autotrader.adapters.airflow_sign_off import sign_offs
from autotrader.pipelines.params import DEPLOYMENT_PIPELINE

MODEL = Asset("model")


@dag(
    dag_id="deployment_pipeline",
    description="A registered model into live traffic, step by step, and back when it is worse",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args=default_args(retries=0, retry_delay=timedelta(0)),
    params=form(DEPLOYMENT_PIPELINE),
    tags=["autotrader", "deployment"],
)
def deployment_pipeline() -> None:
    checks = RolloutStage(
        task_id="pre_deploy_checks",
        stage="pre_deploy_checks",
        begins=True,
        inlets=[MODEL],
        trigger_rule="none_failed",  # sign-offs are skipped where none are needed
    )
    green = RolloutStage(task_id="deploy_green", stage="deploy_green")
    tests = RolloutStage(task_id="run_integration_tests", stage="run_integration_tests")
    shadow = RolloutStage(task_id="shadow", stage="shadow")
    canary = RolloutStage(task_id="canary_rollout", stage="canary")

    @task_group
    def gradual_rollout() -> None:
        (
            RolloutStage(task_id="quarter", stage="25_percent")
            >> RolloutStage(task_id="half", stage="50_percent")
            >> RolloutStage(task_id="all", stage="100_percent")
        )

    live = RolloutStage(task_id="finalize_deployment", stage="finalize")

    @teardown
    def rollback() -> dict[str, Any]:
        done = run("deployment.ensure_rolled_back", rollout=run_key())
        if not done["rolled_back"]:
            skip(done["reason"])
        return done

    chain(*sign_offs(), checks)
    checks >> green >> tests >> shadow >> canary >> gradual_rollout() >> live >> rollback()


deployment_pipeline()
