"""Roll a version out, from its checks until it is live."""

from __future__ import annotations

from enum import StrEnum

from autotrader import command
from autotrader.config.actor import operator
from autotrader.config.settings import Settings
from autotrader.deployment import requests
from autotrader.deployment.projection import Projection, converged
from autotrader.deployment.report import StageLine, lines_of
from autotrader.deployment.switching import scope_of
from autotrader.domain.errors import ExitCode
from autotrader.domain.rollout import FAST, PROFILES, STANDARD, Outcome, Stage
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import DeploymentRecords, DeploymentTarget
from autotrader.ports.registry import ModelRegistry


class WatchProfile(StrEnum):
    """How long the stages are watched."""

    STANDARD = STANDARD.name
    FAST = FAST.name


def deploy(
    *,
    version: str,
    profile: WatchProfile = WatchProfile.STANDARD,
    reason: str = "asked for by hand",
    wait: bool = True,
    timeout_seconds: float = 6 * 3600.0,
    rollout_id: str | None = None,
    settings: Settings,
    records: DeploymentRecords,
    registry: ModelRegistry,
    target: DeploymentTarget,
    clock: WallClock,
) -> command.Result:
    """Roll a version out: checks, green up, tests, shadow, canary, 25, 50, 100 %, live.

    The controller does the work, and takes traffic back when the new version is worse. Ending this
    command does not end the rollout.

    Parameters
    ----------
    version : str
        Such as v1.2.3, a number, an alias, or `latest`: the newest that passed its gates.
    profile : WatchProfile
        standard watches for three hours in all, fast for seconds (replayed time).
    reason : str
        Why; kept with the rollout.
    wait : bool
        Wait for the end and show each stage's verdict.
    timeout_seconds : float
        How long to wait.
    rollout_id : str or None
        Names the rollout: asked for again under the same name, it goes on, and none is begun.
    """
    model = settings.strategy.strategy_id
    found = requests.deployable(registry, model, version)
    rollout = requests.begin(
        records,
        strategy_id=model,
        version=found.semver,
        profile=PROFILES[profile.value],
        goal=Stage.FINALIZE,
        reason=reason,
        actor=operator(),
        now=clock.now(),
        rollout_id=rollout_id,
    )
    if not wait:
        begun = {"rollout": rollout.id, "version": rollout.version}
        return command.Result(begun, f"{rollout.version}: rollout {rollout.id} begins; get_status shows it")
    end = requests.wait(
        records, rollout.id, Stage.FINALIZE, scope_of(settings), clock=clock, timeout_seconds=timeout_seconds
    )
    stages = lines_of(records, rollout.id)
    text = "\n".join([*map(StageLine.__str__, stages), f"{rollout.version}: {end.reason}"])
    data: dict[str, object] = {
        "rollout": rollout.id,
        "version": rollout.version,
        "outcome": end.outcome,
        "reason": end.reason,
        "stages": stages,
    }
    if end.outcome is not Outcome.PASS:
        return command.Result(data, text, ExitCode.FAILED)
    return converged(Projection(records, registry, clock, target=target, model=model), data, text)


if __name__ == "__main__":
    raise SystemExit(command.run(deploy))
