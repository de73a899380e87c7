"""Run one step of a pipeline by name: what a task's body is, wherever the task runs.

A step is a plain keyword-only function; its ports are injected by their annotated types. Its key
(the other arguments) and its result are small JSON values: URIs, hashes, counts, never frames.
`python -m autotrader.pipelines.run_step --name data.plan_ingestion --key '{...}'` does the same by hand,
and in a container that was started for this step: there key and result are objects in a bucket.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import structlog

from autotrader import command, tracing
from autotrader.config.settings import load_settings
from autotrader.data.places import write_whole
from autotrader.domain.errors import ConfigurationError, NotFound
from autotrader.log import mask_text
from autotrader.ports.places import Places

log = structlog.get_logger(__name__)

# Set by Airflow for each task, and by us in the containers that we start for one.
DAG_VARIABLE, RUN_VARIABLE, TASK_VARIABLE = (
    f"AIRFLOW_CTX_{word}" for word in ("DAG_ID", "DAG_RUN_ID", "TASK_ID")
)

STEPS: dict[str, str] = {
    "data.plan_ingestion": "autotrader.pipelines.data_steps:plan_ingestion",
    "data.extract_market_data": "autotrader.pipelines.data_steps:extract_market_data",
    "data.archive_raw_data": "autotrader.pipelines.data_steps:archive_raw_data",
    "data.validate_data": "autotrader.pipelines.data_steps:validate_data",
    "data.commit_bars": "autotrader.pipelines.data_steps:commit_bars",
    "data.transform_features": "autotrader.pipelines.feature_steps:transform_features",
    "data.load_to_feature_store": "autotrader.pipelines.feature_steps:load_to_feature_store",
    "data.check_data_health": "autotrader.pipelines.feature_steps:check_data_health",
    "training.prepare_training_data": "autotrader.pipelines.training_steps:prepare_training_data",
    "training.train_models": "autotrader.pipelines.training_steps:train_models",
    "training.evaluate_models": "autotrader.pipelines.training_steps:evaluate_models",
    "training.validate_model": "autotrader.pipelines.training_steps:validate_model",
    "training.register_model": "autotrader.pipelines.training_steps:register_model",
    "training.trigger_deployment": "autotrader.pipelines.training_steps:trigger_deployment",
    "deployment.sign_off_needed": "autotrader.pipelines.deployment_steps:sign_off_needed",
    "deployment.record_sign_off": "autotrader.pipelines.deployment_steps:record_sign_off",
    "deployment.begin_rollout": "autotrader.pipelines.deployment_steps:begin_rollout",
    "deployment.request_stage": "autotrader.pipelines.deployment_steps:request_stage",
    "deployment.stage_verdict": "autotrader.pipelines.deployment_steps:stage_verdict",
    "deployment.await_verdict": "autotrader.pipelines.deployment_steps:await_verdict",
    "deployment.ensure_rolled_back": "autotrader.pipelines.deployment_steps:ensure_rolled_back",
    "health.detect_feature_drift": "autotrader.pipelines.health_steps:detect_feature_drift",
    "health.check_feature_quality": "autotrader.pipelines.health_steps:check_feature_quality",
    "health.monitor_model_performance": "autotrader.pipelines.health_steps:monitor_model_performance",
    "health.generate_health_report": "autotrader.pipelines.health_steps:generate_health_report",
    "backtest.run": "autotrader.pipelines.backtest_steps:run_backtest",
    "summary.plan_close": "autotrader.pipelines.summary_steps:plan_close",
    "summary.check_market_day": "autotrader.pipelines.summary_steps:check_market_day",
    "summary.build_summaries": "autotrader.pipelines.summary_steps:build_summaries",
    "summary.mail_summaries": "autotrader.pipelines.summary_steps:mail_summaries",
    "summary.forget_old": "autotrader.pipelines.summary_steps:forget_old",
    "weekly.build_report": "autotrader.pipelines.weekly_steps:build_report",
    "weekly.mail_report": "autotrader.pipelines.weekly_steps:mail_report",
    "alerts.task_failed": "autotrader.pipelines.failure_steps:record_task_failure",
}


def run_step(name: str, key: Mapping[str, Any]) -> Any:
    """Call the step with its key and its ports; returns its result in JSON's own types.

    Raises
    ------
    ConfigurationError
        If there is no such step.
    AutotraderError
        Whatever the step raises.
    """
    if name not in STEPS:
        raise ConfigurationError(f"expected a step of {', '.join(sorted(STEPS))}, was {name!r}")
    asked = _asked_by()
    tracing.turn_on(load_settings().tracing.endpoint)
    parent = tracing.traceparent_of(asked["dag_id"], asked["run_id"]) if asked else None
    try:
        with (
            structlog.contextvars.bound_contextvars(step=name, **asked),
            tracing.span(f"step {name}", parent=parent, **asked),
            command.bound(command.load(STEPS[name]), key) as step,
        ):
            return command.to_plain(step())
    finally:
        tracing.flush()  # Airflow's task may end its process without a word


def _asked_by() -> dict[str, str]:
    """The DAG's run and task, where Airflow, or whoever started this container for it, says so."""
    names = {"dag_id": DAG_VARIABLE, "run_id": RUN_VARIABLE, "task_id": TASK_VARIABLE}
    asked = {name: os.environ.get(variable, "") for name, variable in names.items()}
    return asked if all(asked.values()) else {}


def step(*, name: str, key: str = "{}", result: str | None = None, places: Places) -> Any:
    """Run one step of a pipeline by hand, or for an Airflow that runs elsewhere.

    Parameters
    ----------
    name : str
        Such as data.plan_ingestion.
    key : str
        The step's arguments as a JSON object, or the s3:// URI of one.
    result : str or None
        Path or s3:// URI of a file for {"result": ...}, or {"error": {"type": ..., "message": ...}}.
    """
    if result is None:
        return run_step(name, _arguments(key, places))
    answer = places(result)
    try:
        outcome: dict[str, Any] = {"result": run_step(name, _arguments(key, places))}
    except Exception as error:
        told = {"type": type(error).__name__, "message": mask_text(str(error))}
        write_whole(answer, json.dumps({"error": told}).encode())
        raise
    write_whole(answer, json.dumps(outcome).encode())
    return outcome["result"]


def _arguments(key: str, places: Places) -> dict[str, Any]:
    if key.startswith("s3://"):
        key = _order(key, places)
    try:
        arguments = json.loads(key)
    except ValueError as error:
        raise ConfigurationError(f"expected --key to be a JSON object: {error}") from None
    if not isinstance(arguments, dict):
        raise ConfigurationError(f"expected --key to be a JSON object, was {type(arguments).__name__}")
    return arguments


def _order(uri: str, places: Places) -> str:
    try:
        return places(uri).read_bytes().decode()
    except FileNotFoundError:
        raise NotFound(f"expected the step's arguments in {uri}, was nothing: start the task again") from None


if __name__ == "__main__":
    raise SystemExit(command.run(step))
