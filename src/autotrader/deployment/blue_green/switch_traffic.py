"""All traffic from one colour to the other."""

from __future__ import annotations

from autotrader import command
from autotrader.config.actor import operator
from autotrader.config.settings import Settings
from autotrader.deployment import requests
from autotrader.deployment.projection import Projection, converged
from autotrader.deployment.returning import require_may_serve
from autotrader.deployment.switching import Switching, scope_of
from autotrader.domain.errors import ExitCode, Refused
from autotrader.domain.rollout import Color, Outcome, Stage
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import DeploymentRecords, DeploymentTarget
from autotrader.ports.registry import ModelRegistry
from autotrader.registry.lifecycle import require_reason


def switch_traffic(
    *,
    from_env: Color,
    to_env: Color,
    reason: str = "switched by hand",
    timeout: float = 60.0,
    settings: Settings,
    records: DeploymentRecords,
    registry: ModelRegistry,
    target: DeploymentTarget,
    clock: WallClock,
) -> command.Result:
    """Give all traffic to the other colour, in one durable step that fails no request.

    To the version that `deploy_green` brought up there, or back to the one that was live before and
    is kept warm; refused if it failed meanwhile.

    Parameters
    ----------
    from_env : Color
        The colour that is live; refused if another is.
    to_env : Color
        The colour that is to be.
    reason : str
        Why; kept with the rollout.
    timeout : float
        Seconds to wait for the controller where it has to act.
    """
    reason = require_reason(reason)
    live, rollout = records.live(), records.active()
    model = settings.strategy.strategy_id
    projection = Projection(records, registry, clock, target=target, model=model)
    if to_env is not from_env.other:
        raise Refused(f"expected the other colour than {from_env}, was {to_env}: nothing was changed")
    if live is not None and live.candidate is to_env and rollout is None:
        text = f"{live.version} on {to_env} is live already"
        return converged(projection, {"live": live.version, "color": to_env, "reason": text}, text)
    if live is not None and live.candidate is not from_env:
        raise Refused(
            f"expected --from-env {live.candidate}, which is live, was {from_env}: nothing was changed"
        )
    if rollout is None:
        if live is None or live.previous_version is None:
            raise Refused(f"expected a version in {to_env}, was none: deploy_green brings one up")
        require_may_serve(registry, model, live.previous_version, was_checked=True)
        rollout = Switching(settings, records, target, clock).to(
            live.previous_version, reason=reason, actor=operator()
        )
    elif rollout.candidate is not to_env:
        raise Refused(
            f"expected --to-env {rollout.candidate}, where {rollout.version} comes up, was {to_env}"
        )
    else:
        require_may_serve(registry, model, rollout.version, was_checked=True)
        requests.go_to(records, rollout.id, Stage.FINALIZE, actor=operator(), now=clock.now())
    end = requests.wait(
        records, rollout.id, Stage.FINALIZE, scope_of(settings), clock=clock, timeout_seconds=timeout
    )
    if end.outcome is not Outcome.PASS:
        return command.Result(
            {"live": None, "color": to_env, "reason": end.reason}, end.reason, ExitCode.FAILED
        )
    return converged(projection, {"live": rollout.version, "color": to_env, "reason": end.reason}, end.reason)


if __name__ == "__main__":
    raise SystemExit(command.run(switch_traffic))
