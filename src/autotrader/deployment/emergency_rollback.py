"""All traffic back to the version before, now."""

from __future__ import annotations

from autotrader import command
from autotrader.config.actor import operator
from autotrader.config.settings import Settings
from autotrader.deployment import requests
from autotrader.deployment.projection import Projection
from autotrader.deployment.switching import Switching, scope_of
from autotrader.domain.errors import ExitCode, Refused
from autotrader.domain.rollout import Outcome, Stage
from autotrader.ports.clock import WallClock
from autotrader.ports.deployment import DeploymentRecords, DeploymentTarget
from autotrader.ports.registry import ModelRegistry
from autotrader.registry.lifecycle import require_reason


def emergency_rollback(
    *,
    reason: str,
    timeout_seconds: float = 300.0,
    settings: Settings,
    records: DeploymentRecords,
    registry: ModelRegistry,
    target: DeploymentTarget,
    clock: WallClock,
) -> command.Result:
    """Return all traffic to the version that was live before, at once.

    Where a rollout is under way, it is taken back. Otherwise the version before the live one takes
    over again: at once while its colour is kept warm, else as soon as it is up and has passed its
    integration tests. Needs no controller for what is warm. May itself be rolled back.

    Parameters
    ----------
    reason : str
        Why; kept with the rollout and in the event log.
    timeout_seconds : float
        Patience with a version that must be started first.
    """
    reason = require_reason(reason)
    actor = operator()
    began = clock.monotonic()
    projection = Projection(records, registry, clock, model=settings.strategy.strategy_id)
    taken_back = requests.take_back(records, reason, actor=actor, now=clock.now)
    if taken_back is not None:
        left, live = taken_back.version, taken_back.previous_version
        seconds = clock.monotonic() - began
    else:
        current = records.live()
        if current is None or current.previous_version is None:
            raise Refused("expected a version to return to, was none live before: nothing was changed")
        left, live = current.version, current.previous_version
        switching = Switching(settings, records, target, clock)
        rollout = switching.to(live, reason=reason, actor=actor)
        seconds = clock.monotonic() - began
        if not rollout.state.is_over:
            end = requests.wait(
                records,
                rollout.id,
                Stage.FINALIZE,
                scope_of(settings),
                clock=clock,
                timeout_seconds=timeout_seconds,
            )
            seconds = clock.monotonic() - began
            if end.outcome is not Outcome.PASS:
                data = {"live": left, "left": None, "reason": end.reason, "seconds": seconds}
                return command.Result(data, f"{left} still is live: {end.reason}", ExitCode.FAILED)
    projection.converge(now=True)
    pending = projection.pending
    to = live or "nobody: nothing was live before"
    text = f"traffic is on {to}, {left} is left ({seconds:.2f} s): {reason}"
    done: dict[str, object] = {
        "live": live,
        "left": left,
        "reason": reason,
        "seconds": round(seconds, 3),
        "pending": pending,
    }
    if pending:
        text = f"{text}\nstill to do: {'; '.join(pending)}"
        return command.Result(done, text, ExitCode.UNREACHABLE)
    return command.Result(done, text)


if __name__ == "__main__":
    raise SystemExit(command.run(emergency_rollback))
