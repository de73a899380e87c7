"""Bring a version up in the colour that is not live; traffic stays where it is."""

from __future__ import annotations

from autotrader import command
from autotrader.config.actor import operator
from autotrader.config.settings import Environment, Settings
from autotrader.deployment import requests
from autotrader.domain.errors import Refused
from autotrader.domain.rollout import DIRECT, Stage
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import DeploymentRecords
from autotrader.ports.registry import ModelRegistry


def deploy_green(
    *,
    model_version: str,
    environment: Environment,
    reason: str = "asked for by hand",
    settings: Settings,
    records: DeploymentRecords,
    registry: ModelRegistry,
    clock: WallClock,
) -> command.Result:
    """Check a version and start it beside what is live, without giving it traffic.

    `wait_for_ready` waits for it, `switch_traffic` gives it all traffic. A version that nobody
    switches to within the idle time is taken away again.

    Parameters
    ----------
    model_version : str
        Such as v1.2.3, a number, an alias, or `latest`.
    environment : Environment
        The one that you mean; refused if the settings are of another.
    reason : str
        Why; kept with the rollout.
    """
    if environment is not settings.environment:
        raise Refused(f"expected environment {settings.environment.value}, was {environment.value}")
    model = settings.strategy.strategy_id
    version = requests.deployable(registry, model, model_version)
    rollout = requests.begin(
        records,
        strategy_id=model,
        version=version.semver,
        profile=DIRECT,
        goal=Stage.INTEGRATION_TESTS,
        reason=reason,
        actor=operator(),
        now=clock.now(),
    )
    data = {"rollout": rollout.id, "version": rollout.version, "color": rollout.candidate}
    return command.Result(data, f"{rollout.version} comes up on {rollout.candidate} (rollout {rollout.id})")


if __name__ == "__main__":
    raise SystemExit(command.run(deploy_green))
