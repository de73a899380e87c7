"""Which versions the deployment record gives traffic, and the command that takes it from one."""

from __future__ import annotations

from autotrader.domain.errors import NotFound
from autotrader.domain.rollout import RolloutState
from autotrader.ports.deployment import DeploymentRecords, Rollout
from autotrader.ports.registry import ModelRegistry
from autotrader.registry.lifecycle import why_not_live


def rollout_of(records: DeploymentRecords, version: str) -> Rollout | None:
    """The rollout by which the version is live, or is being brought up; None if it has no traffic to lose."""
    active, live = records.active(), records.live()
    if active is not None and active.version == version and active.state is not RolloutState.ROLLING_BACK:
        return active
    return live if live is not None and live.version == version else None


def way_to_leave(registry: ModelRegistry, model: str, rollout: Rollout) -> str:
    """The command that leaves the rollout's version; where none before it may serve, one is to be named."""
    command = f"python -m autotrader.deployment.emergency_rollback --version {rollout.version}"
    is_live = rollout.state is RolloutState.COMPLETED
    to = " --to-version VERSION" if is_live and not _may_return(registry, model, rollout) else ""
    return f"{command}{to} --reason REASON"


def _may_return(registry: ModelRegistry, model: str, rollout: Rollout) -> bool:
    if rollout.previous_version is None:
        return False
    try:
        return why_not_live(registry.get(model, rollout.previous_version)) is None
    except NotFound:
        return False
