"""Run one step of a pipeline by name: what a task's body is, wherever the task runs.

A step is a plain keyword-only function; its ports are injected by their annotated types. Its key
(the other arguments) and its result are small JSON values: URIs, hashes, counts, never frames.
`python -m autotrader.pipelines.run_step --name data.plan --key '{...}'` does the same by hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import structlog

from autotrader import command
from autotrader.domain.errors import ConfigurationError

log = structlog.get_logger(__name__)

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
    with command.bound(command.load(STEPS[name]), key) as step:
        return command.to_plain(step())


def step(*, name: str, key: str = "{}") -> Any:
    """Run one step of a pipeline by hand.

    Parameters
    ----------
    name : str
        Such as data.plan_ingestion.
    key : str
        The step's arguments as a JSON object.
    """
    try:
        arguments = json.loads(key)
    except ValueError as error:
        raise ConfigurationError(f"expected --key to be a JSON object: {error}") from None
    if not isinstance(arguments, dict):
        raise ConfigurationError(f"expected --key to be a JSON object, was {type(arguments).__name__}")
    return run_step(name, arguments)


if __name__ == "__main__":
    raise SystemExit(command.run(step))
