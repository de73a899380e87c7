"""Steps of `deployment_pipeline`: ask for the next stage, and hear what came of it.

The controller does the work and takes traffic back by itself; a run that is cleared, killed or never
continued leaves nothing unsupervised.
"""

from __future__ import annotations

from typing import Any

from autotrader.command import to_plain
from autotrader.config.settings import Settings
from autotrader.deployment import requests
from autotrader.domain.errors import NotFound
from autotrader.domain.rollout import PROFILES, RolloutState, Stage
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import DeploymentRecords
from autotrader.ports.registry import ModelRegistry

ACTOR = "deployment_pipeline"


def begin_rollout(
    *,
    run_key: str,
    model_version: str,
    profile: str,
    settings: Settings,
    records: DeploymentRecords,
    registry: ModelRegistry,
    clock: WallClock,
) -> dict[str, Any]:
    """Begin the rollout of this run, or find it where the task runs again."""
    model = settings.strategy.strategy_id
    version = requests.deployable(registry, model, model_version)
    requests.require_controller(records, clock.now())
    rollout = requests.begin(
        records,
        strategy_id=model,
        version=version.semver,
        profile=PROFILES[profile],
        goal=Stage.PRE_DEPLOY_CHECKS,
        reason=f"run {run_key} of deployment_pipeline",
        actor=ACTOR,
        now=clock.now(),
        rollout_id=run_key,
    )
    return {"rollout": rollout.id, "version": rollout.version, "previous_version": rollout.previous_version}


def request_stage(
    *, rollout: str, stage: str, records: DeploymentRecords, clock: WallClock
) -> dict[str, Any]:
    """Let the rollout go on up to this stage."""
    requests.go_to(records, rollout, Stage(stage), actor=ACTOR, now=clock.now())
    return {"rollout": rollout, "stage": stage}


def stage_verdict(*, rollout: str, stage: str, records: DeploymentRecords) -> dict[str, Any]:
    """What is known of the stage so far: `is_known`, `outcome`, `reason`, `record`."""
    plain: dict[str, Any] = to_plain(requests.verdict(records, rollout, Stage(stage)))
    return plain


def ensure_rolled_back(*, rollout: str, records: DeploymentRecords, clock: WallClock) -> dict[str, Any]:
    """Take back what the run began and did not complete."""
    try:
        found = records.find(rollout)
    except NotFound:
        return {"rolled_back": False, "reason": "the run began no rollout"}
    if found.state is RolloutState.COMPLETED:
        return {"rolled_back": False, "reason": f"{found.version} is live"}
    active = records.active()
    if active is not None and active.id == rollout:
        requests.take_back(records, "the run of deployment_pipeline failed", actor=ACTOR, now=clock.now)
        found = records.find(rollout)
    return {"rolled_back": True, "reason": found.reason, "state": found.state.value}
