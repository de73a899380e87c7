"""Which alerts have a page besides those of rules, and which runbooks are about which DAG."""

from __future__ import annotations

from collections.abc import Mapping

# What the application raises by itself and no rule has the name of, and when. News (a model was promoted, a
# deployment completed) asks nobody for anything: it has no page.
APPLICATION_ALERTS: Mapping[str, str] = {
    "BackupFailed": "a backup set could not be completed",
    "ModelHealthCritical": "the health check's verdict on the live model is critical",
    "OperatorAlert": "a person or a script raised it by `autotrader alerts send`",
    "PipelineTaskFailure": "a task failed for good, in a DAG that has no alert of its own",
    "Recovery": "a trader found something at its start that it did not expect",
    "TradingRestricted": "an account may only reduce its positions, or trades nothing",
}

# Names of alerts: each has a page of its name.
ALERTS_BY_DAG: Mapping[str, tuple[str, ...]] = {
    "data_pipeline": ("DataPipelineFailure", "DataQualityIssues"),
    "close_of_market": ("DataPipelineFailure", "DataQualityIssues"),
    "training_pipeline": ("PipelineTaskFailure",),
    "deployment_pipeline": ("ModelDeploymentFailure",),
    "feature_health_check": (
        "PipelineTaskFailure",
        "ModelHealthCritical",
        "CriticalFeatureDrift",
        "FeatureDriftWarning",
        "LowConfidence",
    ),
    "daily_summary": ("PipelineTaskFailure",),
    "weekly_report": ("PipelineTaskFailure",),
    "backtest": ("PipelineTaskFailure", "BacktestTakingTooLong", "HighBacktestFailureRate"),
}


def runbooks_of(dag_id: str) -> tuple[str, ...]:
    """Paths of the pages below the runbooks, the one that a failed run needs first."""
    return tuple(f"alerts/{name}.md" for name in ALERTS_BY_DAG.get(dag_id, ()))
