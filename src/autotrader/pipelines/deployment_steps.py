"""Steps of `deployment_pipeline`: ask for the next stage, and hear what came of it.

The controller does the work and takes traffic back by itself; a run that is cleared, killed or never
continued leaves nothing unsupervised.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from autotrader.access.sign_off import (
    SignOffState,
    record_from_airflow,
    request_sign_off,
    sign_off_state,
    subject_of,
)
from autotrader.command import to_plain
from autotrader.config.settings import Environment, Settings
from autotrader.deployment import requests
from autotrader.deployment.switching import scope_of
from autotrader.domain.errors import NotFound, Refused, Unreachable
from autotrader.domain.rollout import PROFILES, RolloutState, Stage
from autotrader.ports.approvals import Approvals, Decision, Role
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import DeploymentRecords
from autotrader.ports.registry import ModelRegistry

ACTOR = "deployment_pipeline"
VERDICT_POLL_SECONDS = 1.0


def begin_rollout(
    *,
    run_key: str,
    model_version: str,
    profile: str,
    requested_by: str = ACTOR,
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
        actor=requested_by,
        now=clock.now(),
        rollout_id=run_key,
    )
    return {"rollout": rollout.id, "version": rollout.version, "previous_version": rollout.previous_version}


def sign_off_needed(
    *,
    model_version: str,
    role: str,
    requested_by: str,
    asked_at: str,
    settings: Settings,
    registry: ModelRegistry,
    approvals: Approvals,
    clock: WallClock,
) -> dict[str, Any]:
    """Whether this role still has to sign for the version, which is named by its semver from now on.

    Where it has, the request is open when this returns.

    Raises
    ------
    Refused
        If somebody rejected the version since the deployment was asked for, or time ran out.
    """
    if settings.environment is not Environment.PRODUCTION:
        reason = f"{settings.environment.value} asks for no sign-off"
        return {"needed": False, "version": None, "reason": reason}
    version = requests.deployable(registry, settings.strategy.strategy_id, model_version)
    now = clock.now()
    if sign_off_state(approvals, version, now=now).state is not SignOffState.APPROVED:
        request_sign_off(
            approvals,
            subject_of(version),
            submitted_by=requested_by,
            now=now,
            asked_at=datetime.fromisoformat(asked_at),
        )
    state = sign_off_state(approvals, version, now=now)
    if state.state in (SignOffState.REJECTED, SignOffState.EXPIRED):
        raise Refused(state.reason)
    return {"needed": Role(role) in state.missing, "version": version.semver, "reason": state.reason}


def record_sign_off(
    *,
    model_version: str,
    role: str,
    decision: str,
    reason: str,
    user: str,
    settings: Settings,
    registry: ModelRegistry,
    approvals: Approvals,
    clock: WallClock,
) -> dict[str, Any]:
    """Record what a person answered in Airflow, where the role did not sign elsewhere meanwhile."""
    version = requests.deployable(registry, settings.strategy.strategy_id, model_version)
    subject, now = subject_of(version), clock.now()
    state = sign_off_state(approvals, version, now=now)
    if Decision(decision) is Decision.REJECT or state.state is not SignOffState.APPROVED:
        state = record_from_airflow(
            approvals,
            subject,
            user=user,
            role=Role(role),
            decision=Decision(decision),
            reason=reason,
            now=now,
        )
    return {"state": state.state.value, "reason": state.reason}


def request_stage(
    *, rollout: str, stage: str, records: DeploymentRecords, clock: WallClock
) -> dict[str, Any]:
    """Let the rollout go on up to this stage."""
    requests.go_to(records, rollout, Stage(stage), actor=ACTOR, now=clock.now())
    return {"rollout": rollout, "stage": stage}


def stage_verdict(
    *, rollout: str, stage: str, settings: Settings, records: DeploymentRecords
) -> dict[str, Any]:
    """What is known of the stage so far: `is_known`, `outcome`, `reason`, `record`."""
    plain: dict[str, Any] = to_plain(requests.verdict(records, rollout, Stage(stage), scope_of(settings)))
    return plain


def await_verdict(
    *,
    rollout: str,
    stage: str,
    seconds: float,
    settings: Settings,
    records: DeploymentRecords,
    clock: WallClock,
) -> dict[str, Any]:
    """The verdict of the stage as soon as it is known, or what is known of it after so many seconds."""
    deadline = clock.monotonic() + seconds
    while True:
        try:
            known = stage_verdict(rollout=rollout, stage=stage, settings=settings, records=records)
        except Unreachable:
            if clock.monotonic() >= deadline:
                raise
        else:
            if known["is_known"] or clock.monotonic() >= deadline:
                return known
        time.sleep(VERDICT_POLL_SECONDS)


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
